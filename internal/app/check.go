package app

import (
	"context"
	"log/slog"
	"time"

	"github.com/rowhook/rowhook/internal/capture/mysql"
	"github.com/rowhook/rowhook/internal/config"
	"github.com/rowhook/rowhook/internal/event"
)

// Finding is one thing that the preflight looked at.
type Finding struct {
	Source   string `json:"source"`
	Code     string `json:"code"`
	Severity string `json:"severity"`
	Subject  string `json:"subject"`
	Message  string `json:"message"`
	// SQL is what to run to put it right.
	SQL string `json:"sql,omitempty"`
}

// CountErrors returns how many of the findings stop a source.
func CountErrors(all []Finding) int {
	n := 0
	for _, f := range all {
		if f.Severity == string(mysql.Error) {
			n++
		}
	}
	return n
}

// Check looks at a source: its settings, its privileges, its tables, and whether the event types fit them.
func Check(ctx context.Context, s config.Source, types *event.Set, timeout time.Duration, log *slog.Logger) ([]Finding, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r, err := NewReplica(s, "", log)
	if err != nil {
		return nil, err
	}
	found, err := r.Check(ctx)
	if err != nil {
		return nil, err
	}
	var out []Finding
	for _, f := range found {
		out = append(out, Finding{Source: s.Name, Code: f.Code, Severity: string(f.Severity), Subject: f.Subject, Message: f.Message, SQL: f.SQL})
	}
	if CountErrors(out) > 0 {
		return out, nil // the tables may be out of reach, and what stands above says why
	}
	more, err := checkTypes(ctx, s, r, types)
	return append(out, more...), err
}

// checkTypes compares the event types with the tables as they are now.
func checkTypes(ctx context.Context, s config.Source, r *mysql.Replica, types *event.Set) ([]Finding, error) {
	tables, err := r.Tables(ctx)
	if err != nil {
		return nil, err
	}
	var out []Finding
	for _, t := range tables {
		for _, problem := range types.CheckTable(t) {
			out = append(out, Finding{Source: s.Name, Code: "event_type", Severity: string(mysql.Error), Subject: t.FullName(), Message: problem.Error()})
		}
		if !types.Wants(t.Schema, t.Name) {
			out = append(out, Finding{Source: s.Name, Code: "event_type", Severity: string(mysql.Warning), Subject: t.FullName(),
				Message: "no event type is about table " + t.FullName() + "; its changes fill the log and reach nobody"})
		}
	}
	return out, nil
}
