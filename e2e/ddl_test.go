package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rowhook/rowhook/e2e/receiver"
	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

// Statements of definitions are told among the rows, in the order of the server, to who asked for them by name; a pattern with a
// wildcard does not mean them. The process is down for some of them, and killed after others.
func TestSchemaChangesAreDelivered(t *testing.T) {
	t.Parallel()
	dbservertest.Each(t, func(t *testing.T, srv *dbserver.Server) {
		s := newSite(t, srv, endpoint{name: "wide", kinds: []string{`"*"`}},
			endpoint{name: "both", kinds: []string{"doc.written", "rowhook.schema.changed"}, extra: "order: none"})
		s.tables = []string{"docs", "docs_*"}
		told := &hearing{seen: map[string]map[uint64]string{}}
		s.receiver.OnDelivery(func(d receiver.Delivery) { told.note(d.Path, d.Seq, toldBy(s.database, d.Type, d.Body)) })
		s.types = strings.ReplaceAll(`
  doc.written:
    table: DB.docs
    data: [id]
`, "DB", s.database)
		s.ddl("CREATE TABLE docs (id INT PRIMARY KEY)")
		s.attach()
		s.ddl("INSERT INTO docs VALUES (1)", "ALTER TABLE docs ADD note TEXT", "INSERT INTO docs VALUES (2, 'x')")
		eventually(t, time.Minute, "the first statement", func() bool { return len(told.by("/both")) >= 3 })
		s.kill()
		s.ddl("CREATE TABLE docs_new (name TEXT, id INT PRIMARY KEY)", "RENAME TABLE docs TO docs_old, docs_new TO docs", "INSERT INTO docs VALUES ('y', 3)",
			"TRUNCATE TABLE docs_old", "ALTER TABLE items COMMENT 'no change of shape'")
		s.start()
		s.ddl("DROP TABLE docs_old", "INSERT INTO docs VALUES ('z', 4)")
		want := []string{
			"doc 1", "alter docs [docs]", "doc 2", "create docs_new [docs_new]", "rename docs [docs docs_old docs_new]", "doc 3", "truncate docs_old [docs_old]",
			"alter items [items]", "drop docs_old [docs_old]", "doc 4",
		}
		eventually(t, time.Minute, "all statements", func() bool { return len(told.by("/both")) >= len(want) })
		if diff := cmp.Diff(want, told.by("/both")); diff != "" {
			t.Errorf("told (-want +got):\n%s", diff)
		}
		eventually(t, time.Minute, "all rows", func() bool { return s.receiver.Counts("/wide").Distinct >= 4 })
		for _, what := range told.by("/wide") {
			if !strings.HasPrefix(what, "doc ") && what != "probe.written" {
				t.Errorf("a wildcard got %s", what)
			}
		}
	})
}

func (s *site) ddl(statements ...string) {
	s.t.Helper()
	for _, q := range statements {
		if _, err := s.db.ExecContext(s.t.Context(), q); err != nil {
			s.t.Fatalf("%s: %v", q, err)
		}
	}
}

// hearing keeps what each path was told, by seq.
type hearing struct {
	mu   sync.Mutex
	seen map[string]map[uint64]string
}

func (h *hearing) note(path string, seq uint64, what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.seen[path] == nil {
		h.seen[path] = map[uint64]string{}
	}
	h.seen[path][seq] = what
}

// by lists what a path was told, in the order of seq.
func (h *hearing) by(path string) (out []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, seq := range slices.Sorted(maps.Keys(h.seen[path])) {
		out = append(out, h.seen[path][seq])
	}
	return out
}

// toldBy says an event in a few words.
func toldBy(database, typ string, body []byte) string {
	var ev struct {
		Subject string
		Data    struct {
			ID            json.RawMessage
			Kind          string
			Schema, Table string
			Tables        []struct{ Schema, Table string }
		}
	}
	if err := json.Unmarshal(body, &ev); err != nil {
		return err.Error()
	}
	switch typ {
	case "doc.written":
		return "doc " + string(ev.Data.ID)
	case "rowhook.schema.changed":
		var tables []string
		for _, t := range ev.Data.Tables {
			tables = append(tables, t.Table)
		}
		if ev.Subject != database+"."+ev.Data.Table || ev.Data.Schema != database {
			return "another subject or schema: " + string(body)
		}
		return fmt.Sprintf("%s %s %v", ev.Data.Kind, ev.Data.Table, tables)
	}
	return typ
}
