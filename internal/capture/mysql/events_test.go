package mysql

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/rowhook/rowhook/internal/change"
)

func FuzzEvents(f *testing.F) {
	f.Add(byte(evGTID), make([]byte, 60))
	f.Add(byte(evMariaGTID), make([]byte, 19))
	f.Add(byte(evQuery), queryBody("app", "BEGIN"))
	f.Add(byte(evQuery), queryBody("app", "CREATE TABLE `a` (b int /*!50100 x */) -- SELECT"))
	f.Add(byte(evTransactionPayload), payloadBody(f, event(evXID, make([]byte, 8))))
	f.Add(byte(evGTIDTagged), []byte{2, 100, 10, 0, 2})
	f.Add(byte(evRotate), append(make([]byte, 8), "binlog.000002"...))
	f.Fuzz(func(t *testing.T, kind byte, body []byte) {
		for _, flavor := range []change.Flavor{change.MySQL, change.MariaDB} {
			st := testStream(flavor, discard{})
			// Whatever the bytes are, the stream must say yes or no; a transaction is open for those that need one.
			_ = st.event(event(evMariaGTID, mariaGTID(7, 0)))
			_ = st.event(event(kind, body))
			_ = st.event(event(evFormatDescription, body))
		}
	})
}

func FuzzPayload(f *testing.F) {
	f.Add(payloadBody(f, event(evXID, make([]byte, 8)), event(evQuery, queryBody("", "COMMIT"))))
	f.Fuzz(func(t *testing.T, body []byte) {
		_ = new(payloadReader).each(body, func([]byte) error { return nil })
	})
}

func TestParseGTIDTakesTheOriginalCommitTime(t *testing.T) {
	t.Parallel()
	body := make([]byte, 25+17)
	copy(body[1:], bytes.Repeat([]byte{0xab}, 16))
	binary.LittleEndian.PutUint64(body[17:], 42)
	body[25] = 2
	immediate, original := uint64(1_700_000_000_000_009), uint64(1_700_000_000_000_001)
	short := append(bytes.Clone(body), micros(immediate)...)
	long := append(append(bytes.Clone(body), micros(immediate|1<<55)...), micros(original)...)
	for _, c := range []struct {
		name string
		body []byte
		want int64
	}{{"same server", short, int64(immediate)}, {"through a replica", long, int64(original)}, {"MySQL 5.7", body, 0}} {
		e, err := parseGTID(c.body)
		if err != nil || e.commitTime != c.want || e.gtid.N != 42 {
			t.Errorf("%s: commit time %d, number %d, %v; want %d, 42", c.name, e.commitTime, e.gtid.N, err, c.want)
		}
	}
	if _, err := parseGTID(long[:len(long)-1]); err == nil {
		t.Error("a GTID that is cut off was accepted")
	}
}

func TestEndOffsetGoesPast32Bits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		before uint64
		size   uint32
		logPos uint32
		want   uint64
	}{
		{1000, 50, 1050, 1050},
		{1000, 50, 0, 1050},
		{1<<32 - 10, 50, 40, 1<<32 + 40},
		{3 << 32, 50, 60, 3<<32 + 60},
		{1000, 50, 2000, 2000}, // events the server left out
		{1<<32 - 10, 50, 0, 1<<32 + 40},
	} {
		if got := endOffset(c.before, eventHeader{size: c.size, logPos: c.logPos}); got != c.want {
			t.Errorf("endOffset(%d, %d bytes, %d) = %d, want %d", c.before, c.size, c.logPos, got, c.want)
		}
	}
}

func TestClassifyStatement(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]statement{
		"BEGIN":                            stmtBegin,
		"COMMIT /* x */":                   stmtCommit,
		"ROLLBACK":                         stmtRollback,
		"ROLLBACK TO `a`":                  stmtRollbackTo,
		"rollback work to savepoint a":     stmtRollbackTo,
		"SAVEPOINT `a`":                    stmtSavepoint,
		"XA START X'61',X'',1":             stmtXAStart,
		"XA END X'61',X'',1":               stmtXAEnd,
		"XA COMMIT X'61',X'',1":            stmtXAFinish,
		"/* hi */ alter table t add b int": stmtDDL,
		"-- hi\nDROP TABLE t":              stmtDDL,
		"CREATE TABLE t (a int comment 'SELECT', `select` int)": stmtDDL,
		"CREATE VIEW v AS SELECT 1":                             stmtDDL,
		"CREATE DEFINER=`a`@`b` TRIGGER t AFTER INSERT ON u FOR EACH ROW BEGIN INSERT INTO v SELECT 1; END": stmtDDL,
		"create or replace table t as select 1":                            stmtChange,
		"CREATE /*!50000 TEMPORARY */ TABLE t SELECT 1":                    stmtChange,
		"/*!40000 INSERT */ INTO t VALUES (1)":                             stmtChange,
		"INSERT INTO app.t VALUES (1)":                                     stmtChange,
		"update t set a = 1":                                               stmtChange,
		"(SELECT f())":                                                     stmtChange,
		"WITH x AS (SELECT 1) DELETE FROM t":                               stmtChange,
		"INSERT INTO mysql.rds_heartbeat2(id, value) values (1,2)":         stmtServerTable,
		"DELETE FROM `mysql`.`rds_sysinfo`":                                stmtServerTable,
		"DELETE FROM `mysqlx`.`t`":                                         stmtChange,
		"REPLACE INTO percona.checksums SELECT * FROM app.t":               stmtChange,
		"# Dummy event replacing event type 160 that slave cannot handle.": stmtNothing,
		"":                      stmtNothing,
		"'":                     stmtChange,
		";":                     stmtNothing,
		"(":                     stmtChange,
		"FROBNICATE EVERYTHING": stmtChange,
	} {
		if got := classifyStatement("app", []byte(text)); got != want {
			t.Errorf("%q is %d, want %d", text, got, want)
		}
	}
}

func TestPayloadIsRefusedWhenItContradictsItself(t *testing.T) {
	t.Parallel()
	good := payloadBody(t, event(evXID, make([]byte, 8)))
	var n int
	if err := new(payloadReader).each(good, func([]byte) error { n++; return nil }); err != nil || n != 1 {
		t.Fatalf("%d events, %v; want 1", n, err)
	}
	lying := event(evXID, make([]byte, 8))
	binary.LittleEndian.PutUint32(lying[9:], 1<<30)
	for name, body := range map[string][]byte{
		"no end of fields":     {1, 1, 7},
		"field too long":       {1, 200, 7, 0},
		"unknown compression":  {2, 1, 9, 0},
		"not zstd":             {0, 1, 2, 3, 4},
		"cut off":              good[:len(good)-3],
		"event longer than it": payloadBody(t, lying),
	} {
		if err := new(payloadReader).each(body, func([]byte) error { return nil }); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func micros(v uint64) []byte {
	b := make([]byte, 8)
	binary.LittleEndian.PutUint64(b, v)
	return b[:7]
}

// event frames a body as it stands in a binlog without checksums.
func event(kind byte, body []byte) []byte {
	b := make([]byte, headerSize, headerSize+len(body))
	b[4] = kind
	binary.LittleEndian.PutUint32(b[5:], 1)
	binary.LittleEndian.PutUint32(b[9:], uint32(headerSize+len(body)))
	return append(b, body...)
}

func mariaGTID(n uint64, flags byte) []byte {
	b := make([]byte, 19)
	binary.LittleEndian.PutUint64(b, n)
	b[12] = flags
	return b
}

func queryBody(schema, text string) []byte {
	b := make([]byte, 13)
	b[8] = byte(len(schema))
	return append(append(append(b, schema...), 0), text...)
}

func payloadBody(t testing.TB, events ...[]byte) []byte {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	return z.EncodeAll(bytes.Join(events, nil), []byte{2, 1, payloadZstd, 0})
}
