package store

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if mode := os.Getenv("ROWHOOK_STORE_TEST_CHILD"); mode != "" {
		child(mode, os.Getenv("ROWHOOK_STORE_TEST_DIR"))
		return
	}
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(t.Context(), dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() }) // a test that closes it earlier closes it twice, which is harmless
	return s
}

func TestOpenFromEmptyAndAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "deep", "store ä?#%")
	s := open(t, dir)
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("folder has mode %v", info.Mode())
	}
	for _, file := range []string{"rowhook.db", "rowhook.db-wal"} {
		if info, err := os.Stat(filepath.Join(dir, file)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v %v", info, err)
		}
	}
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "5000"} {
		for name, db := range map[string]*sql.DB{"writer": s.writer, "reader": s.reader} {
			var got string
			if err := db.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil || got != want {
				t.Errorf("%s: %s is %q (%v), want %q", name, pragma, got, err, want)
			}
		}
	}
	if _, err := s.reader.Exec("DELETE FROM slots"); err == nil {
		t.Error("a reading connection wrote")
	}
	var slots int
	if err := s.reader.QueryRow("SELECT COUNT(*) FROM slots WHERE epoch = 0 AND slot BETWEEN 0 AND 255").Scan(&slots); err != nil || slots != 256 {
		t.Errorf("%d slots, %v", slots, err)
	}
	if err := s.SaveSource(t.Context(), SourceRecord{Name: "shop", LogID: "l1", Seq: 7, Position: []byte("p")}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if r, ok, err := open(t, dir).Source(t.Context(), "shop"); err != nil || !ok || r.Seq != 7 {
		t.Errorf("after opening again: %+v %v %v", r, ok, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(t *testing.T, dir string) string
		want  error
		says  string
	}{
		"a folder inside a file": {func(t *testing.T, dir string) string {
			file := filepath.Join(dir, "file")
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return filepath.Join(file, "store")
		}, ErrNotWritable, "chown"},
		"a folder that may not be made": {func(*testing.T, string) string { return "/sys/rowhook" }, ErrNotWritable, "/sys/rowhook"},
		"a file that is no database": {func(t *testing.T, dir string) string {
			if err := os.WriteFile(filepath.Join(dir, "rowhook.db"), []byte(strings.Repeat("not a database. ", 1000)), 0o600); err != nil {
				t.Fatal(err)
			}
			return dir
		}, ErrCorrupt, "copy"},
		"a database of a newer release": {func(t *testing.T, dir string) string {
			s := open(t, dir)
			if _, err := s.writer.Exec("INSERT INTO schema_version (version_id, is_applied) VALUES (99, 1)"); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return dir
		}, ErrNewer, "99"},
		"a database with a broken page": {breakPages, ErrCorrupt, "copy"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := c.spoil(t, t.TempDir())
			s, err := Open(t.Context(), dir, slog.New(slog.DiscardHandler))
			if s != nil {
				s.Close()
				t.Fatal("it opened")
			}
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v, want %v saying %q", err, c.want, c.says)
			}
			var known *Error
			if !errors.As(err, &known) || known.Hint == "" || known.Path == "" {
				t.Errorf("no hint in %#v", err)
			}
		})
	}
}

// breakPages overwrites the middle of the pages of a control table.
func breakPages(t *testing.T, dir string) string {
	s := open(t, dir)
	var page, size int64
	if err := s.writer.QueryRow("SELECT rootpage FROM sqlite_schema WHERE name = 'slots'").Scan(&page); err != nil {
		t.Fatal(err)
	}
	if err := s.writer.QueryRow("PRAGMA page_size").Scan(&size); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte(strings.Repeat("\xff", int(size)/2)), (page-1)*size+8); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestErrorsAreClassified(t *testing.T) {
	t.Parallel()
	t.Run("full", func(t *testing.T) {
		t.Parallel()
		s := open(t, t.TempDir())
		var pages int
		if err := s.writer.QueryRow("PRAGMA page_count").Scan(&pages); err != nil {
			t.Fatal(err)
		}
		if _, err := s.writer.Exec("PRAGMA max_page_count = " + itoa(pages+1)); err != nil {
			t.Fatal(err)
		}
		c := claimOne(t, s, "a", testEndpoint)
		err := s.Commit(t.Context(), attemptsBatch(c, 0, 500))
		if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "free space") {
			t.Fatal(err)
		}
		if n := rowCount(t, s, "attempts"); n != 0 {
			t.Errorf("%d attempts of the batch that did not fit", n)
		}
		if _, err := s.writer.Exec("PRAGMA max_page_count = 1000000"); err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(t.Context(), attemptsBatch(c, 0, 500)); err != nil {
			t.Errorf("with space again: %v", err)
		}
	})
	t.Run("read only", func(t *testing.T) {
		t.Parallel()
		s := open(t, t.TempDir())
		if _, err := s.writer.Exec("PRAGMA query_only = 1"); err != nil {
			t.Fatal(err)
		}
		if err := s.SaveSource(t.Context(), SourceRecord{Name: "shop"}); !errors.Is(err, ErrNotWritable) {
			t.Fatal(err)
		}
	})
	t.Run("locked", func(t *testing.T) {
		t.Parallel()
		s := open(t, t.TempDir())
		if _, err := s.writer.Exec("PRAGMA busy_timeout = 1"); err != nil {
			t.Fatal(err)
		}
		other, err := sql.Open("sqlite", dsn(s.path, "_txlock=immediate"))
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		tx, err := other.Begin()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback() }() // the end of the test, whatever it says
		if err := s.SaveSource(t.Context(), SourceRecord{Name: "shop"}); !errors.Is(err, ErrBusy) {
			t.Fatal(err)
		}
	})
	t.Run("file system", func(t *testing.T) {
		t.Parallel()
		for cause, want := range map[error]error{syscall.ENOSPC: ErrFull, syscall.EROFS: ErrNotWritable, syscall.EACCES: ErrNotWritable} {
			err := classify("/x", &fs.PathError{Op: "write", Path: "/x", Err: cause})
			if !errors.Is(err, want) || !errors.Is(err, cause) {
				t.Errorf("%v: %v", cause, err)
			}
		}
		plain := errors.New("plain")
		if got := classify("/x", plain); !errors.Is(got, plain) || got.Error() != plain.Error() {
			t.Error("an error that nobody knows was changed")
		}
	})
}

func TestCancelledContext(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.SaveSource(ctx, SourceRecord{Name: "shop"}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := s.SaveSource(t.Context(), SourceRecord{Name: "shop"}); err != nil {
		t.Fatalf("after a cancelled write: %v", err)
	}
}

func TestSource(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	if _, ok, err := s.Source(t.Context(), "shop"); ok || err != nil {
		t.Fatal(ok, err)
	}
	save := func(r SourceRecord) error { return s.SaveSource(t.Context(), r) }
	if err := save(SourceRecord{Name: "shop", LogID: "l1", Seq: 10, Position: []byte("ten"), Generation: 1}); err != nil {
		t.Fatal(err)
	}
	if err := save(SourceRecord{Name: "shop", LogID: "l1", Seq: 9, Position: []byte("nine"), Generation: 1}); err != nil {
		t.Fatal(err)
	}
	if r, _, err := s.Source(t.Context(), "shop"); err != nil || r.Seq != 10 || string(r.Position) != "ten" {
		t.Errorf("went back: %+v %v", r, err)
	}
	if err := save(SourceRecord{Name: "shop", LogID: "l1", Seq: 11, Position: []byte("eleven"), Generation: 2}); err != nil {
		t.Fatal(err)
	}
	err := save(SourceRecord{Name: "shop", LogID: "l2", Seq: 12})
	if !errors.Is(err, ErrMismatch) || !strings.Contains(err.Error(), "l1") || !strings.Contains(err.Error(), "l2") {
		t.Error(err)
	}
	want := SourceRecord{Name: "shop", LogID: "l1", Seq: 11, Position: []byte("eleven"), Generation: 2}
	if r, _, err := s.Source(t.Context(), "shop"); err != nil || !reflect.DeepEqual(r, want) {
		t.Errorf("%+v %v", r, err)
	}
}
