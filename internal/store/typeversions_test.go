package store

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTypeVersions(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := open(t, t.TempDir())
	if _, _, err := s.LatestTypes(ctx); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	a := []TypeFile{{"a.yaml", []byte("types:\n  \xff<\u2028")}, {"b.yaml", nil}}
	b := []TypeFile{{"a.yaml", []byte("other")}}
	put := func(files []TypeFile, want uint64, wantCreated bool) {
		t.Helper()
		if v, created, err := s.PutTypes(ctx, files); v != want || created != wantCreated || err != nil {
			t.Errorf("version %d, created %v, %v", v, created, err)
		}
	}
	put(a, 1, true)
	put(a, 1, false)
	put(b, 2, true)
	put(a, 3, true)
	put(nil, 4, true)
	put([]TypeFile{}, 4, false)
	for version, want := range map[uint64][]TypeFile{1: a, 2: b, 3: a, 4: {}} {
		got, err := s.Types(ctx, version)
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Error(version, err, d)
		}
	}
	if v, files, err := s.LatestTypes(ctx); v != 4 || len(files) != 0 || err != nil {
		t.Error(v, files, err)
	}
	if _, err := s.Types(ctx, 5); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, err := s.writer.Exec(`UPDATE type_versions SET files = '[]' WHERE version = 2`); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Types(ctx, 2); !errors.Is(err, ErrCorrupt) {
		t.Errorf("files that are not the stored ones: %v", err)
	}
}
