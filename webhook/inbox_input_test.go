package webhook_test

import (
	"database/sql"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/rowhook/rowhook/webhook"
)

func TestNewInboxRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		o    webhook.InboxOptions
		want string
	}{
		"no dialect":        {webhook.InboxOptions{}, `"" is no dialect: use webhook.MySQL, webhook.PostgreSQL or webhook.SQLite`},
		"unknown dialect":   {webhook.InboxOptions{Dialect: "oracle"}, `"oracle" is no dialect`},
		"negative horizon":  {webhook.InboxOptions{Dialect: webhook.MySQL, Horizon: -1}, "the horizon is -1ns"},
		"injection":         {webhook.InboxOptions{Dialect: webhook.MySQL, Table: "t; DROP TABLE t"}, "no name of a table"},
		"quotes":            {webhook.InboxOptions{Dialect: webhook.MySQL, Table: "t`"}, "no name of a table"},
		"other quotes":      {webhook.InboxOptions{Dialect: webhook.PostgreSQL, Table: `"t"`}, "no name of a table"},
		"digit first":       {webhook.InboxOptions{Dialect: webhook.SQLite, Table: "1t"}, "no name of a table"},
		"space":             {webhook.InboxOptions{Dialect: webhook.SQLite, Table: "a b"}, "no name of a table"},
		"line end":          {webhook.InboxOptions{Dialect: webhook.SQLite, Table: "ab\n"}, "no name of a table"},
		"letters with dots": {webhook.InboxOptions{Dialect: webhook.SQLite, Table: "ä"}, "no name of a table"},
		"too long":          {webhook.InboxOptions{Dialect: webhook.SQLite, Table: strings.Repeat("t", 49)}, "no name of a table"},
		"empty schema":      {webhook.InboxOptions{Dialect: webhook.SQLite, Table: ".t"}, "no schema"},
		"empty table":       {webhook.InboxOptions{Dialect: webhook.SQLite, Table: "app."}, "no name of a table"},
		"three parts":       {webhook.InboxOptions{Dialect: webhook.SQLite, Table: "a.b.c"}, "no name of a table"},
	} {
		in, err := webhook.NewInbox(c.o)
		if in != nil || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v; want an error with %q", name, in, err, c.want)
		}
	}
}

func TestInboxRefuses(t *testing.T) {
	t.Parallel()
	db := database{openSQLite(t, ""), webhook.SQLite}
	in := db.inbox(t, webhook.InboxOptions{})
	tx := db.begin(t, sql.LevelDefault)
	for name, id := range map[string]string{
		"empty": "", "too long": strings.Repeat("x", 257), "space": "evt 1", "dot": "evt.1", "NUL": "evt\x00", "not ASCII": "evt_é",
	} {
		if fresh, err := in.Accept(t.Context(), tx, id); fresh || !errors.Is(err, webhook.ErrInvalidID) {
			t.Errorf("id, %s: %v, %v; want ErrInvalidID", name, fresh, err)
		}
	}
	for name, c := range map[string]struct {
		source, key string
		seq         uint64
		want        string
	}{
		"no source":       {"", "k", 1, "the source is empty"},
		"no key":          {"s", "", 1, "the key is empty"},
		"long source":     {strings.Repeat("s", 257), "k", 1, "257 bytes, more than 256"},
		"long key":        {"s", strings.Repeat("k", 513), 1, "513 bytes, more than 512"},
		"NUL in source":   {"s\x00", "k", 1, "the source is not UTF-8 without NUL"},
		"NUL in key":      {"s", "\x00", 1, "the key is not UTF-8 without NUL"},
		"key not UTF-8":   {"s", "\xff", 1, "the key is not UTF-8 without NUL"},
		"no seq":          {"s", "k", 0, "the seq is 0"},
		"seq over int64":  {"s", "k", math.MaxInt64 + 1, "more than 9223372036854775807"},
		"largest integer": {"s", "k", math.MaxUint64, "more than 9223372036854775807"},
	} {
		if newer, err := in.Newer(t.Context(), tx, c.source, c.key, c.seq); newer || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v; want an error with %q", name, newer, err, c.want)
		}
	}
	// None of these has spoiled the transaction.
	if fresh, err := in.Accept(t.Context(), tx, "evt_1"); err != nil || !fresh {
		t.Errorf("afterwards: %v, %v; want true", fresh, err)
	}
}

func TestInboxWithoutATransaction(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db database) {
		in := db.inbox(t, webhook.InboxOptions{})
		ended := db.begin(t, sql.LevelDefault)
		if err := ended.Rollback(); err != nil {
			t.Fatal(err)
		}
		if fresh, err := in.Accept(t.Context(), ended, "evt_1"); fresh || !errors.Is(err, sql.ErrTxDone) {
			t.Errorf("after the end: %v, %v; want ErrTxDone", fresh, err)
		}
		if newer, err := in.Newer(t.Context(), ended, "shop", "k", 1); newer || !errors.Is(err, sql.ErrTxDone) {
			t.Errorf("after the end: %v, %v; want ErrTxDone", newer, err)
		}
		if fresh, err := in.Accept(t.Context(), nil, "evt_1"); fresh || err == nil {
			t.Errorf("nil: %v, %v; want an error", fresh, err)
		}
		if newer, err := in.Newer(t.Context(), nil, "shop", "k", 1); newer || err == nil {
			t.Errorf("nil: %v, %v; want an error", newer, err)
		}
		if _, err := in.Prune(t.Context(), nil); err == nil {
			t.Error("pruned nothing at all")
		}
		if err := in.Create(t.Context(), nil); err == nil {
			t.Error("created nowhere")
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := in.Prune(t.Context(), db.DB); err == nil || !strings.Contains(err.Error(), "inbox rowhook_inbox: prune: ") {
			t.Errorf("closed: %v", err)
		}
		if err := in.Create(t.Context(), db.DB); err == nil {
			t.Error("closed: created")
		}
	})
}

// Without its tables each call says what to run.
func TestInboxWithoutTables(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db database) {
		in, err := webhook.NewInbox(webhook.InboxOptions{Dialect: db.dialect})
		if err != nil {
			t.Fatal(err)
		}
		_, accept := db.tryAccept(t, in, "evt_1")
		_, newer := db.tryNewer(t, in, "shop")
		_, prune := in.Prune(t.Context(), db.DB)
		for _, err := range []error{accept, newer, prune} {
			if err == nil || !strings.Contains(err.Error(), "Inbox.Schema") {
				t.Errorf("%v; want a hint at Inbox.Schema", err)
			}
		}
	})
}

// What the database refuses is an error, never a known id: an event would be lost.
func TestInboxPassesOtherErrorsOn(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db database) {
		in := db.inbox(t, webhook.InboxOptions{})
		if db.dialect == webhook.SQLite {
			db.exec(t, "CREATE TRIGGER bad BEFORE INSERT ON rowhook_inbox WHEN new.id = 'evt_bad' BEGIN SELECT RAISE(ABORT, 'bad'); END")
			db.exec(t, "CREATE TRIGGER worse BEFORE INSERT ON rowhook_inbox_seqs WHEN new.source = 'bad' BEGIN SELECT RAISE(ABORT, 'bad'); END")
		} else {
			db.exec(t, "ALTER TABLE rowhook_inbox ADD CHECK (id <> 'evt_bad')")
			db.exec(t, "ALTER TABLE rowhook_inbox_seqs ADD CHECK (source <> 'bad')")
		}
		if fresh, err := db.tryAccept(t, in, "evt_bad"); err == nil {
			t.Errorf("fresh = %v without an error", fresh)
		}
		if newer, err := db.tryNewer(t, in, "bad"); err == nil {
			t.Errorf("newer = %v without an error", newer)
		}
	})
}

func TestInboxWithAnotherDialect(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, db database) {
		db.inbox(t, webhook.InboxOptions{})
		wrong := webhook.MySQL
		if db.dialect == webhook.MySQL {
			wrong = webhook.SQLite
		}
		in, err := webhook.NewInbox(webhook.InboxOptions{Dialect: wrong})
		if err != nil {
			t.Fatal(err)
		}
		if fresh, err := db.tryAccept(t, in, "evt_1"); err == nil {
			t.Errorf("fresh = %v without an error", fresh)
		}
		if newer, err := db.tryNewer(t, in, "shop"); err == nil {
			t.Errorf("newer = %v without an error", newer)
		}
	})
}

// The default horizon is longer than the sender's defaults may repeat an event.
func TestDefaultHorizon(t *testing.T) {
	t.Parallel()
	if longest := 96*time.Hour + 75*time.Hour + 35*time.Minute + 5*time.Second; webhook.DefaultHorizon < longest+12*time.Hour {
		t.Errorf("the horizon is %v, an event may come again for %v", webhook.DefaultHorizon, longest)
	}
}

// tryAccept accepts in a transaction of its own, which is rolled back.
func (db database) tryAccept(t *testing.T, in *webhook.Inbox, id string) (bool, error) {
	t.Helper()
	tx := db.begin(t, sql.LevelDefault)
	defer func() { _ = tx.Rollback() }()
	return in.Accept(t.Context(), tx, id)
}

// tryNewer asks for the first seq in a transaction of its own, which is rolled back.
func (db database) tryNewer(t *testing.T, in *webhook.Inbox, source string) (bool, error) {
	t.Helper()
	tx := db.begin(t, sql.LevelDefault)
	defer func() { _ = tx.Rollback() }()
	return in.Newer(t.Context(), tx, source, "k", 1)
}
