package dbserver

import (
	"errors"
	"testing"
)

// A server the environment names is used, and none of our faults or stops reach it.
func TestEnvironmentNamesTheServer(t *testing.T) {
	private := start(t, Options{Kind: MariaDB})
	t.Setenv(MariaDB.EnvDSN(), private.DSN(""))
	s, err := Start(t.Context(), Options{Kind: MariaDB})
	if err != nil {
		t.Fatal(err)
	}
	if !s.External() || s.Addr() != private.Addr() || s.Version() != private.Version() {
		t.Errorf("external %v, at %s; want true, %s", s.External(), s.Addr(), private.Addr())
	}
	for name, fault := range map[string]func() error{
		"Kill": s.Kill, "Pause": s.Pause, "Resume": s.Resume,
		"Restart": func() error { return s.Restart(t.Context()) },
	} {
		if err := fault(); !errors.Is(err, errExternal) {
			t.Errorf("%s = %v; want %v", name, err, errExternal)
		}
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	wantOne(t, private, "SELECT 1", "1")
}

func TestEnvironmentsServerMustFit(t *testing.T) {
	private := start(t, Options{Kind: MariaDB})
	t.Setenv(MySQL.EnvDSN(), private.DSN(""))
	if _, err := Start(t.Context(), Options{Kind: MySQL}); err == nil {
		t.Error("a MariaDB server was taken for MySQL")
	}
	t.Setenv(MariaDB.EnvDSN(), private.DSN(""))
	if _, err := Start(t.Context(), Options{Kind: MariaDB, Args: []string{"--max-binlog-size=4096"}}); err == nil {
		t.Error("arguments were dropped in silence")
	}
}
