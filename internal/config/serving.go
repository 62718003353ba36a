package config

import (
	"encoding/base64"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

const (
	// socketName and keyName are the files in DataDir that are used if none is named.
	socketName = "rowhook.sock"
	keyName    = "rowhook.key"
	// maxSocket is what fits into a socket's address on every Unix.
	maxSocket = 100
	// KeyBytes is the length of an encryption key.
	KeyBytes = 32
)

// http reads where the process answers.
func (r *reader) http(v value, dataDir string) HTTP {
	h := HTTP{Socket: filepath.Join(dataDir, socketName)}
	socket := v
	r.object(v,
		field{"listen", func(v value) { h.Listen = r.hostPort(v) }},
		field{"socket", func(v value) { socket, h.Socket = v, r.path(v) }},
		field{"tls", func(v value) { h.Cert, h.Key = r.pair(v) }},
	)
	if len(h.Socket) > maxSocket && !r.failed(socket) {
		r.fail(socket, "set http.socket to a shorter path, such as /run/rowhook/rowhook.sock",
			"the socket's path %s has %d bytes, more than %d", h.Socket, len(h.Socket), maxSocket)
	}
	return h
}

func (r *reader) hostPort(v value) string {
	text, ok := r.word(v)
	if !ok {
		return ""
	}
	_, port, err := net.SplitHostPort(text)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		r.fail(v, "write 127.0.0.1:8500, or 0.0.0.0:8500 for every interface", "%s is not host:port", r.quoted(v))
	}
	return text
}

// pair reads a certificate and its key.
func (r *reader) pair(v value) (cert, key string) {
	var certAt, keyAt value
	r.object(v,
		field{"cert", func(v value) { certAt, cert = v, r.pem(v) }},
		field{"key", func(v value) { keyAt, key = v, r.pem(v) }},
	)
	switch {
	case certAt.given && !keyAt.given:
		r.fail(certAt, "add key", "stands without its key")
	case keyAt.given && !certAt.given:
		r.fail(keyAt, "add cert", "stands without its cert")
	}
	return cert, key
}

// encryption reads what encrypts the store's secrets.
func (r *reader) encryption(v value, dataDir string) Encryption {
	var e Encryption
	r.object(v,
		field{"keys", func(v value) { e.Keys = r.encryptionKeys(v) }},
		field{"key_file", func(v value) { e.KeyFile = r.pem(v) }},
	)
	if len(e.Keys) == 0 && e.KeyFile == "" {
		e.KeyFile, e.Default = filepath.Join(dataDir, keyName), true
	}
	return e
}

func (r *reader) encryptionKeys(v value) []Password {
	var all []Password
	r.list(v, func(v value) {
		text := r.text(v)
		if text == "" {
			return
		}
		key, problem := ParseEncryptionKey(text)
		if problem != "" {
			r.fail(v, "make one with: openssl rand -base64 32", "%s", problem)
			return
		}
		all = append(all, NewPassword(string(key)))
	})
	return all
}

// ParseEncryptionKey reads a key as it is written: base64 of KeyBytes bytes. problem says what is wrong without quoting it.
func ParseEncryptionKey(text string) (key []byte, problem string) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return nil, "is not base64"
	}
	if len(key) != KeyBytes {
		return nil, "is base64 of " + strconv.Itoa(len(key)) + " bytes, not of " + strconv.Itoa(KeyBytes)
	}
	return key, ""
}

// Socket returns the path of the Unix socket that a configuration leads to, for commands that only look for the process: nothing
// else in the file needs to be right, and no other variable to be set.
func Socket(path string, env func(string) (string, bool)) (string, error) {
	src, err := readFile(path)
	if err != nil {
		return "", Errors{{File: path, Message: "cannot be read: " + reason(err), Hint: "name the file with --config, or the socket with --socket"}}
	}
	r := newReader(path, src, env)
	root, ok := r.parse(src)
	if m, isMap := root.(ast.MapNode); ok && isMap {
		root = only(m, "data_dir", "http")
	}
	if !ok {
		return "", r.errs.err()
	}
	var dataDir string
	var h HTTP
	r.object(value{place: place{file: r.file}, node: root, given: true},
		field{"data_dir", func(v value) { dataDir = r.path(v) }},
		field{"http", func(v value) { h = r.http(v, dataDir) }},
	)
	return h.Socket, r.errs.err()
}

// only returns a mapping with those of its entries that are named; nil if there are none.
func only(m ast.MapNode, names ...string) ast.Node {
	var kept []*ast.MappingValueNode
	for entries := m.MapRange(); entries.Next(); {
		if key, ok := entries.Key().(*ast.StringNode); ok && slices.Contains(names, key.Value) {
			kept = append(kept, entries.KeyValue())
		}
	}
	if len(kept) == 0 {
		return nil
	}
	return ast.Mapping(kept[0].Start, false, kept...)
}
