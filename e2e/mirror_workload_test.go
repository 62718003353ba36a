package e2e

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/rowhook/rowhook/internal/dbserver"
)

// randomTable is a table made by chance, and what is known of it to write to it.
type randomTable struct {
	name    string
	columns []randomColumn
	// key are the columns that an ON DUPLICATE KEY UPDATE or a change of the key may be about; empty without a key.
	key []string
}

type randomColumn struct {
	name     string
	value    func(*rand.Rand) string
	nullable bool
}

// randomTables makes n tables of random columns: every type is in one of them, and every sort of key.
func randomTables(t *testing.T, db *sql.DB, kind dbserver.Kind, r *rand.Rand, n int) []*randomTable {
	t.Helper()
	var types []mirrorType
	for _, mt := range mirrorTypes() {
		if mt.only == "" || mt.only == kind {
			types = append(types, mt)
		}
	}
	r.Shuffle(len(types), func(i, j int) { types[i], types[j] = types[j], types[i] })
	var out []*randomTable
	for i := range n {
		table := &randomTable{name: fmt.Sprintf("r%d", i)}
		definition := table.begin(i%6, kind)
		for j := i; j < len(types); j += n {
			definition = append(definition, table.add(types[j], r))
		}
		for range 3 {
			definition = append(definition, table.add(types[r.IntN(len(types))], r))
		}
		definition = append(definition, table.end(i%6)...)
		must(t, db, "CREATE TABLE "+table.name+" ("+strings.Join(definition, ", ")+") ENGINE=InnoDB DEFAULT CHARSET utf8mb4")
		out = append(out, table)
	}
	return out
}

// begin is the part of the definition before the random columns. sort says what the key is to be.
func (rt *randomTable) begin(sort int, kind dbserver.Kind) []string {
	number := func(name string) {
		rt.columns = append(rt.columns, randomColumn{name: name, value: wholeNumber(0, 3000)})
	}
	word := randomColumn{name: "word", value: textOf("abcdefghij", 6)}
	switch sort {
	case 0:
		number("id")
		rt.key = []string{"id"}
		return []string{"id INT NOT NULL AUTO_INCREMENT"}
	case 1:
		number("a")
		rt.columns, rt.key = append(rt.columns, word), []string{"a", "word"}
		return []string{"a BIGINT NOT NULL", "word VARCHAR(30) CHARACTER SET utf8mb4 NOT NULL"}
	case 2:
		rt.columns, rt.key = append(rt.columns, word), []string{"word"}
		return []string{"word VARCHAR(30) CHARACTER SET latin1 NOT NULL"}
	case 3:
		number("loose")
		return []string{"loose INT NOT NULL", "twice INT GENERATED ALWAYS AS (loose * 2) STORED", "thrice INT GENERATED ALWAYS AS (loose * 3) VIRTUAL"}
	case 4:
		number("u")
		hidden := "hidden INT NULL INVISIBLE"
		return []string{"u INT NOT NULL", hidden}
	}
	number("big")
	rt.columns = append(rt.columns, randomColumn{name: "raw", value: bytesOf(5)})
	rt.key = []string{"raw", "big"}
	return []string{"big BIGINT UNSIGNED NOT NULL", "raw BINARY(5) NOT NULL"}
}

func (rt *randomTable) add(mt mirrorType, r *rand.Rand) string {
	c := randomColumn{name: fmt.Sprintf("c%d", len(rt.columns)), value: mt.value, nullable: r.IntN(4) > 0 || strings.Contains(mt.sql, "NULL")}
	rt.columns = append(rt.columns, c)
	if c.nullable {
		return c.name + " " + mt.sql
	}
	return c.name + " " + mt.sql + " NOT NULL"
}

// end is the part after them: the keys.
func (rt *randomTable) end(sort int) []string {
	switch {
	case len(rt.key) > 0:
		return []string{"PRIMARY KEY (" + strings.Join(rt.key, ", ") + ")"}
	case sort == 4:
		return []string{"KEY (u)"}
	}
	return nil
}

func (c randomColumn) random(r *rand.Rand) string {
	if c.nullable && r.IntN(5) == 0 {
		return "NULL"
	}
	return c.value(r)
}

// statement is a random one that changes the table.
func (rt *randomTable) statement(r *rand.Rand) string {
	switch r.IntN(12) {
	case 0, 1, 2:
		return rt.insert(r, "INSERT IGNORE", 1)
	case 3, 4:
		return rt.insert(r, "INSERT IGNORE", 2+r.IntN(40))
	case 5:
		return rt.insert(r, "REPLACE", 1+r.IntN(5))
	case 6:
		c := rt.columns[len(rt.columns)-1]
		return rt.insert(r, "INSERT", 1+r.IntN(5)) + " ON DUPLICATE KEY UPDATE " + c.name + " = VALUES(" + c.name + ")"
	case 7:
		if len(rt.key) == 0 {
			return "INSERT INTO " + rt.name + " (" + rt.names() + ") SELECT " + rt.names() + " FROM " + rt.name + " LIMIT " + fmt.Sprint(1+r.IntN(5))
		}
		c := rt.column(rt.key[r.IntN(len(rt.key))])
		return "UPDATE IGNORE " + rt.name + " SET " + c.name + " = " + c.value(r) + rt.some(r)
	case 8:
		return "DELETE FROM " + rt.name + rt.some(r)
	}
	return rt.update(r)
}

func (rt *randomTable) names() string {
	var names []string
	for _, c := range rt.columns {
		names = append(names, c.name)
	}
	return strings.Join(names, ", ")
}

func (rt *randomTable) column(name string) randomColumn {
	for _, c := range rt.columns {
		if c.name == name {
			return c
		}
	}
	panic("no column " + name)
}

func (rt *randomTable) insert(r *rand.Rand, verb string, rows int) string {
	var all []string
	for range rows {
		var values []string
		for _, c := range rt.columns {
			values = append(values, c.random(r))
		}
		all = append(all, "("+strings.Join(values, ", ")+")")
	}
	return verb + " INTO " + rt.name + " (" + rt.names() + ") VALUES " + strings.Join(all, ", ")
}

func (rt *randomTable) update(r *rand.Rand) string {
	var sets []string
	for range 1 + r.IntN(3) {
		c := rt.columns[r.IntN(len(rt.columns))]
		sets = append(sets, c.name+" = "+c.random(r))
	}
	return "UPDATE IGNORE " + rt.name + " SET " + strings.Join(sets, ", ") + rt.some(r)
}

// some picks rows.
func (rt *randomTable) some(r *rand.Rand) string {
	c := rt.columns[r.IntN(len(rt.columns))]
	if c.nullable && r.IntN(4) == 0 {
		return " WHERE " + c.name + " IS NULL LIMIT " + fmt.Sprint(1+r.IntN(6))
	}
	return fmt.Sprintf(" WHERE CRC32(CONCAT(%s)) %% %d = 0 LIMIT %d", rt.columns[0].name, 1+r.IntN(5), 1+r.IntN(6))
}

// randomLoad writes to the tables from two connections at once until ctx ends or each has made so many transactions.
type randomLoad struct {
	tables []*randomTable
	db     *sql.DB
	seed   uint64
	work   sync.WaitGroup
	errs   chan error
}

// loadMode lets the values in that the mirror takes too.
const loadMode = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION', time_zone = '+05:30'"

func startRandomLoad(ctx context.Context, db *sql.DB, tables []*randomTable, seed uint64, transactions int) *randomLoad {
	l := &randomLoad{tables: tables, db: db, seed: seed, errs: make(chan error, 2)}
	for i := range 2 {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		l.work.Go(func() { l.errs <- l.run(ctx, r, transactions) })
	}
	return l
}

// finish waits for the end.
func (l *randomLoad) finish(t *testing.T) {
	t.Helper()
	l.work.Wait()
	for range 2 {
		if err := <-l.errs; err != nil {
			t.Fatalf("ROWHOOK_SEED=%d: %v", l.seed, err)
		}
	}
}

func (l *randomLoad) run(ctx context.Context, r *rand.Rand, transactions int) error {
	var conn *sql.Conn
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	for range transactions {
		if conn == nil {
			var err error
			if conn, err = l.connect(ctx); err != nil {
				return err
			}
		}
		err := l.transaction(ctx, conn, r)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil || passing(err):
		case errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, sql.ErrConnDone) || lostConnection(err):
			conn.Close()
			conn = nil
		default:
			return err
		}
	}
	return nil
}

func (l *randomLoad) connect(ctx context.Context) (*sql.Conn, error) {
	for try := 0; ; try++ {
		conn, err := l.db.Conn(ctx)
		if err == nil {
			if _, err = conn.ExecContext(ctx, loadMode); err == nil {
				return conn, nil
			}
			conn.Close()
		}
		if ctx.Err() != nil || try == 2000 {
			return nil, err
		}
		if err := pauseFor(ctx, 10); err != nil {
			return nil, err
		}
	}
}

// passing errors are what colliding statements get.
func passing(err error) bool {
	var e *mysql.MySQLError
	if !errors.As(err, &e) {
		return false
	}
	switch e.Number {
	case 1213, 1205, 1020, 1062, 1054, 1146, 1412, 1305, 1136:
		return true
	}
	return false
}

func lostConnection(err error) bool {
	var e *mysql.MySQLError
	return !errors.As(err, &e) || e.Number == 1053 || e.Number == 1927 || e.Number == 1317 || e.Number == 3169
}

// transaction makes a few statements, with savepoints, and commits mostly.
func (l *randomLoad) transaction(ctx context.Context, conn *sql.Conn, r *rand.Rand) error {
	image := []string{"FULL", "FULL", "FULL", "MINIMAL", "NOBLOB"}[r.IntN(5)]
	script := []string{"SET SESSION binlog_row_image = '" + image + "'", "BEGIN"}
	saved := false
	for range 1 + r.IntN(6) {
		script = append(script, l.tables[r.IntN(len(l.tables))].statement(r))
		switch {
		case r.IntN(6) == 0:
			script, saved = append(script, "SAVEPOINT s"), true
		case saved && r.IntN(3) == 0:
			script = append(script, "ROLLBACK TO s")
		}
	}
	end := "COMMIT"
	if r.IntN(8) == 0 {
		end = "ROLLBACK"
	}
	for _, s := range append(script, end) {
		if _, err := conn.ExecContext(ctx, s); err != nil {
			if ctx.Err() == nil {
				_, _ = conn.ExecContext(ctx, "ROLLBACK") // a lost connection has no transaction either
			}
			return fmt.Errorf("%s: %w", shorten(s), err)
		}
	}
	return nil
}
