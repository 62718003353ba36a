package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/goccy/go-yaml/ast"
)

// Load reads the file at path, the variables it names from env, which is
// os.LookupEnv in a program, and the files of event types. Relative paths in
// the file are relative to its folder. Whatever is wrong in the file, or in the
// files it names, is returned as Errors.
func Load(path string, env func(string) (string, bool)) (*Config, error) {
	src, err := readFile(path)
	if err != nil {
		hint := ""
		if errors.Is(err, os.ErrNotExist) {
			hint = "name the file with --config, or start from the one in docs/configuration.md"
		}
		return nil, Errors{{File: path, Message: "cannot be read: " + reason(err), Hint: hint}}
	}
	r := newReader(path, src, env)
	c := r.config(src)
	r.resolve(c)
	if err := r.errs.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// config reads the whole file, but none that it names. What it returns is
// whole only if no error was noted.
func (r *reader) config(src []byte) *Config {
	c := &Config{}
	root, ok := r.parse(src)
	if !ok {
		return c
	}
	if _, empty := root.(*ast.NullNode); empty {
		root = nil
	}
	r.object(value{place: place{file: r.file}, node: root, given: true},
		field{"data_dir", func(v value) { c.DataDir = r.path(v) }},
		// Before log and endpoints, which are checked against them.
		field{"delivery", func(v value) { c.Delivery = r.delivery(v) }},
		field{"egress", func(v value) { c.Egress = r.egress(v) }},
		field{"log", func(v value) { c.Log = r.log(v, c.Delivery) }},
		field{"sources", func(v value) { c.Sources = r.sources(v) }},
		field{"types", func(v value) { r.typePatterns(v) }},
		field{"endpoints", func(v value) { c.Endpoints = r.endpoints(v, c.Egress) }},
		field{"subscriptions", func(v value) { c.Subscriptions = r.subscriptions(v, c.Endpoints) }},
		field{"encryption", func(v value) { c.Encryption = r.encryption(v, c.DataDir) }},
		field{"http", func(v value) { c.HTTP = r.http(v, c.DataDir) }},
		field{"logging", func(v value) { c.Logging = r.logging(v) }},
	)
	return c
}

// file is a file that the configuration names, and where it does.
type file struct {
	value
	path    string
	pattern bool // of files of event types
}

// path returns a path, relative ones from the folder of the configuration.
func (r *reader) path(v value) string {
	path := r.text(v)
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(r.file), path)
}

// typePatterns notes the patterns of the files of event types.
func (r *reader) typePatterns(v value) {
	r.list(v, func(v value) {
		if path := r.path(v); path != "" {
			r.files = append(r.files, file{v, path, true})
		}
	})
}

// resolve looks at the files that the configuration names, and reads those of
// event types, each once and in the order of the patterns.
func (r *reader) resolve(c *Config) {
	var seen []string
	for _, f := range r.files {
		if !f.pattern {
			if _, err := readFile(f.path); err != nil {
				r.fail(f.value, "", "%s cannot be read: %s", f.path, reason(err))
			}
			continue
		}
		found, err := filepath.Glob(f.path)
		if err != nil {
			r.fail(f.value, "* is any run of characters, ? any one, and [a-z] a range", "%s is not a pattern of files", r.quoted(f.value))
		} else if len(found) == 0 {
			r.fail(f.value, "paths are relative to the folder of this file", "%s matches no file", f.path)
		}
		for _, path := range found {
			if slices.Contains(seen, path) {
				continue
			}
			seen = append(seen, path)
			content, err := readFile(path)
			if err != nil {
				r.fail(f.value, "", "%s cannot be read: %s", path, reason(err))
			}
			c.Types = append(c.Types, TypeFile{path, content})
		}
	}
}

// readFile returns the contents of a regular file of a sensible size. Devices
// and pipes are refused, as reading one may never end.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, err
	}
	if len(src) > maxFileBytes {
		return nil, fmt.Errorf("it is larger than %s", Size(maxFileBytes))
	}
	return src, nil
}

// reason is an error without the path, which the message has already.
func reason(err error) string {
	if at := (*os.PathError)(nil); errors.As(err, &at) {
		return at.Err.Error()
	}
	return err.Error()
}
