package app

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rowhook/rowhook/internal/config"
	"github.com/rowhook/rowhook/internal/store"
)

// KeyError says that the key that encrypts the store's secrets cannot be used.
type KeyError struct {
	File string
	Err  error
}

func (e *KeyError) Error() string { return "encryption key in " + e.File + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *KeyError) Unwrap() error { return e.Err }

// encryptionKeys returns the configured keys, the newest first. The default file is made if it is missing.
func encryptionKeys(e config.Encryption) ([][]byte, error) {
	var keys [][]byte
	for _, k := range e.Keys {
		keys = append(keys, []byte(k.Reveal()))
	}
	if e.KeyFile == "" {
		return keys, nil
	}
	text, err := os.ReadFile(e.KeyFile)
	if errors.Is(err, fs.ErrNotExist) && e.Default {
		text, err = makeKeyFile(e.KeyFile)
	}
	if err != nil {
		return nil, &KeyError{e.KeyFile, err}
	}
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		key, problem := config.ParseEncryptionKey(line)
		if problem != "" {
			return nil, &KeyError{e.KeyFile, fmt.Errorf("line %d %s", i+1, problem)}
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// useKeys gives the store what encrypts its secrets, and encrypts with the newest key what an older one has.
func (a *App) useKeys(ctx context.Context) error {
	raw, err := encryptionKeys(a.cfg.Encryption)
	if err != nil {
		return err
	}
	var keys []store.Key
	for _, r := range raw {
		k, err := store.NewKey(r)
		if err != nil {
			return err
		}
		keys = append(keys, k)
	}
	sealer, err := store.NewSealer(keys...)
	if err != nil {
		return err
	}
	a.store.SetSealer(sealer)
	n, err := a.store.Reseal(ctx)
	if err != nil {
		return err
	}
	if n > 0 {
		a.log.Info("secrets are encrypted with the newest key, the others are not needed any more", "key", keys[0].ID(), "records", n)
	}
	return nil
}

// makeKeyFile writes a new key, synced before it is used: what it encrypts must not outlive it.
func makeKeyFile(path string) (text []byte, err error) {
	key := make([]byte, config.KeyBytes)
	_, _ = rand.Read(key) // never fails
	text = []byte(base64.StdEncoding.EncodeToString(key) + "\n")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return text, syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
