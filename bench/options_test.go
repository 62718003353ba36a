package bench

import (
	"strings"
	"testing"
	"time"
)

func TestParseDSN(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string]string{
		"mysql://root@127.0.0.1:3307/":      "root::127.0.0.1:3307",
		"mysql://me:p%40ss@db.example.com/": "me:p@ss:db.example.com:3306",
		"mysql://me:pass@[::1]/":            "me:pass:[::1]:3306",
		"me:p@ss@tcp(127.0.0.1:3306)/app":   "me:p@ss:127.0.0.1:3306",
	} {
		cfg, err := parseDSN(dsn)
		if err != nil {
			t.Errorf("%s: %v", dsn, err)
			continue
		}
		if got := cfg.User + ":" + cfg.Passwd + ":" + cfg.Addr; got != want || cfg.DBName != "" {
			t.Errorf("%s is %s, database %q; want %s and no database", dsn, got, cfg.DBName, want)
		}
		again, err := parseDSN(sourceDSN(cfg))
		if err != nil || again.Passwd != cfg.Passwd || again.Addr != cfg.Addr {
			t.Errorf("%s: as a source it is %+v, %v", dsn, again, err)
		}
	}
	for _, dsn := range []string{"", "nonsense", "mysql://", "mysql://secret@", "mysql://u:secret@h:1/?tls=true", "mysql://u:secret%zz@h/", "u:secret@unix(/s)/", "tcp(h:1)/", "postgres://u:secret@h/"} {
		if _, err := parseDSN(dsn); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: error %v; want one that does not quote the DSN", dsn, err)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		validate interface{ Validate() error }
		want     string // empty: no error
	}{
		"capture":          {CaptureOptions{Rows: CaptureShortRows}, ""},
		"capture mysql":    {CaptureOptions{Rows: CaptureRows, Server: ServerOptions{Kind: "mysql"}}, ""},
		"no rows":          {CaptureOptions{}, "--rows is 0"},
		"negative rows":    {CaptureOptions{Rows: -1}, "--rows is -1"},
		"unknown server":   {CaptureOptions{Rows: 1000, Server: ServerOptions{Kind: "oracle"}}, "--server"},
		"bad dsn":          {CaptureOptions{Rows: 1000, Server: ServerOptions{DSN: "x"}}, "--dsn"},
		"latency":          {LatencyOptions{Rate: LatencyRate, For: LatencyFor}, ""},
		"idle only":        {LatencyOptions{For: LatencyShortFor}, ""},
		"negative rate":    {LatencyOptions{Rate: -1, For: time.Minute}, "--rate is -1"},
		"too much":         {LatencyOptions{Rate: 1 << 20, For: time.Minute}, "--rate"},
		"no time":          {LatencyOptions{Rate: 1}, "--for is 0s"},
		"far too long":     {LatencyOptions{Rate: 1, For: time.Hour}, "--for is 1h"},
		"unknown server 2": {LatencyOptions{Rate: 1, For: time.Minute, Server: ServerOptions{Kind: "MySQL"}}, "--server"},
	} {
		err := c.validate.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error is %v, want %q", name, err, c.want)
		}
	}
}

func TestDiskTooSmall(t *testing.T) {
	t.Parallel()
	d, err := findDisk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.need(1); err != nil {
		t.Error(err)
	}
	if err := d.need(1 << 62); err == nil || !strings.Contains(err.Error(), "--dir") {
		t.Errorf("error is %v, want one that names --dir", err)
	}
	if len(disk{memory: true}.warnings()) == 0 {
		t.Error("no warning of a disk in memory")
	}
}
