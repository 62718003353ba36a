package arch

import "slices"

// module is the path that the imports of our own packages begin with.
const module = "github.com/rowhook/rowhook"

// level is a floor of the house. Code imports from lower levels only.
type level int

// The levels. Event types are about changes, hence two levels of vocabulary.
const (
	ground      level = iota // generated code, and the public package webhook
	changes                  // what happened in a table
	events                   // what is told about it
	translation              // events to bytes
	stages                   // one loop each; they meet in the log and the store
	adapters                 // one technology each
	settings                 // the configuration
	process                  // the only package that knows everyone
	// free packages import what they like, and only each other may import them.
	free
	// support is for tests: it imports what it likes; only tests, free packages
	// and other support may import it.
	support
)

// places gives each package of the module its level, by folder. A folder below
// a place belongs to it, unless it is a place of its own.
func places() map[string]level {
	return map[string]level{
		"gen":     ground,
		"webhook": ground,

		"internal/spelling": ground,

		"internal/change":    changes,
		"internal/event":     events,
		"internal/translate": translation,

		"internal/capture": stages,
		"internal/publish": stages,
		"internal/deliver": stages,
		"internal/watch":   stages,
		"internal/cutover": stages,

		"internal/capture/mysql": adapters,
		"internal/eventlog":      adapters,
		"internal/publish/aws":   adapters,
		"internal/publish/kafka": adapters,
		"internal/publish/nats":  adapters,
		"internal/store":         adapters,
		"internal/api":           adapters,
		"internal/console":       adapters,

		"internal/config": settings,
		"internal/app":    process,

		"cmd":      free,
		"bench":    free,
		"e2e":      free,
		"examples": free,

		"docs":                       support,
		"internal/arch":              support,
		"internal/change/changetest": support,
		"internal/dbserver":          support,
		"internal/publish/sinktest":  support,
	}
}

// room is a technology and the only places that may import it, beside tests,
// free packages and support.
type room struct {
	imports string // this package and those below it
	places  []string
	why     string
}

func rooms() []room {
	sql := []string{"internal/store", "internal/capture/mysql"}
	return []room{
		{"github.com/go-mysql-org/go-mysql", []string{"internal/capture/mysql"}, "the replication protocol stays in the replica"},
		{"github.com/nats-io", []string{"internal/eventlog", "internal/publish/nats"}, "NATS stays in the log and its sink"},
		{"github.com/aws", []string{"internal/publish/aws"}, "AWS stays in its sink"},
		{"github.com/twmb/franz-go", []string{"internal/publish/kafka"}, "Kafka stays in its sink"},
		{"github.com/go-sql-driver/mysql", sql, "SQL drivers stay in the store and the replica"},
		{"modernc.org/sqlite", sql[:1], "SQLite stays in the store"},
		{"github.com/ncruces/go-sqlite3", sql[:1], "SQLite stays in the store"},
		{"github.com/pressly/goose", sql[:1], "migrations stay in the store"},
		{"github.com/spf13/cobra", nil, "commands stay in cmd"},
		{"github.com/goccy/go-yaml", []string{"internal/config", "internal/event"}, "YAML is for the files that people write"},
	}
}

// doesIO reports whether a package of the standard library reaches outside of
// the process, which the vocabulary never does.
func doesIO(path string) bool {
	return slices.Contains([]string{
		"database/sql", "io/ioutil", "log", "log/slog", "net", "net/http", "os", "os/exec", "os/signal", "plugin", "syscall",
	}, path)
}

// saysNothing reports whether a package name says nothing about what is in it.
func saysNothing(name string) bool {
	return slices.Contains([]string{
		"base", "common", "core", "helper", "helpers", "lib", "manager", "misc", "models", "shared", "tools", "types", "util", "utils",
	}, name)
}
