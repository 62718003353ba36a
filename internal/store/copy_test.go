package store

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

func TestCopy(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	if err := s.SaveSource(t.Context(), SourceRecord{Name: "shop", LogID: "abc", Seq: 7, Generation: 1}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	if err := s.Copy(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v and error %v, want a file of its owner alone", info, err)
	}
	if err := s.Copy(t.Context(), path); err == nil {
		t.Error("a copy goes over another file")
	}
	other, err := Open(t.Context(), dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if r, ok, err := other.Source(t.Context(), "shop"); err != nil || !ok || r.Seq != 7 {
		t.Errorf("got %+v, %v, %v", r, ok, err)
	}
}
