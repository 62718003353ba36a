package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rowhook/rowhook/internal/dbserver"
	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

// startLimit is how long the first delivery may take after the start, however large the log is.
const startLimit = 10 * time.Second

// With a log of 20 GB (ROWHOOK_LOG_GB says otherwise), filled by large transactions, the first delivery after kill -9 comes within
// ten seconds of the process's start.
func TestSoakTwentyGigabyteLog(t *testing.T) {
	t.Parallel()
	soak(t)
	goal := int64(number(t, "ROWHOOK_LOG_GB", 20)) << 30
	srv := dbservertest.Start(t, dbserver.Options{Kind: dbserver.MariaDB, BufferPool: "1G", Args: []string{
		"--max-binlog-size=256M", "--innodb-log-file-size=1G",
	}})
	s := newSite(t, srv, append(usualEndpoints(), endpoint{name: "bulk", kinds: []string{"bulk.some"}})...)
	s.types = strings.ReplaceAll(`
  bulk.some:
    table: DB.bulk
    on: [update]
    when: after.id % 100000 == 0
    data: [id, version]
`, "DB", s.database)
	s.tables = []string{"bulk"}
	s.makeBulk(200_000)
	s.load.rate = 300
	s.attach()
	s.load.start(t)
	rounds := 0
	for size := s.logSize(); size < goal; size = s.logSize() {
		if _, err := s.db.ExecContext(t.Context(), "UPDATE bulk SET version = version + 1, pad = REVERSE(pad)"); err != nil {
			t.Fatal(err)
		}
		rounds++
		s.heardWithin(10 * time.Minute)
		s.purge()
		if rounds%10 == 0 {
			t.Logf("the log has %d MB after %d rounds", s.logSize()>>20, rounds)
		}
	}
	for range 3 {
		s.changes(200)
		s.kill()
		s.start()
		s.heard()
		took := time.Since(s.daemon.began)
		t.Logf("first delivery %v after the start, with a log of %d MB; peak memory %s", took.Round(time.Millisecond), s.logSize()>>20, s.daemon.peakMemory())
		if took > startLimit {
			t.Errorf("the first delivery came %v after the start, and may take %v", took, startLimit)
		}
	}
	s.finish()
	s.drained(drainTime, "all", "orders")
	s.waitFor("/bulk", 2*rounds)
	s.judge("all", "orders")
}

// makeBulk makes a table of rows of a kilobyte.
func (s *site) makeBulk(rows int) {
	s.t.Helper()
	if _, err := s.db.ExecContext(s.t.Context(), "CREATE TABLE bulk (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, version INT NOT NULL, pad TEXT NOT NULL)"); err != nil {
		s.t.Fatal(err)
	}
	one := "(1, REPEAT(MD5(RAND()), 32))"
	for range rows / 1000 {
		if _, err := s.db.ExecContext(s.t.Context(), "INSERT INTO bulk (version, pad) VALUES "+strings.Repeat(one+",", 999)+one); err != nil {
			s.t.Fatal(err)
		}
	}
	var least, most int
	if err := s.db.QueryRowContext(s.t.Context(), "SELECT MIN(id), MAX(id) FROM bulk").Scan(&least, &most); err != nil || least != 1 || most != rows {
		s.t.Fatalf("ids from %d to %d, %v", least, most, err)
	}
}

// logSize is the size of the log's folder in bytes.
func (s *site) logSize() int64 {
	s.t.Helper()
	var size int64
	err := filepath.WalkDir(filepath.Join(s.data, "log"), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // files come and go
		}
		if info, err := d.Info(); err == nil {
			size += info.Size()
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return size
}

// peakMemory is the most that was resident of the process.
func (d *daemon) peakMemory() string {
	d.t.Helper()
	status, err := os.ReadFile("/proc/" + strconv.Itoa(d.cmd.Process.Pid) + "/status")
	if err != nil {
		return "unknown"
	}
	return string(regexp.MustCompile(`VmHWM:\s*(.*)`).FindSubmatch(status)[1])
}
