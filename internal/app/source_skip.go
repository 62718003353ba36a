package app

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/rowhook/rowhook/internal/api"
	"github.com/rowhook/rowhook/internal/capture"
	"github.com/rowhook/rowhook/internal/config"
	"github.com/rowhook/rowhook/internal/store"
)

// loadSkips tells the replica which transactions were given up.
func (s *source) loadSkips(ctx context.Context) error {
	all, err := s.store.Skips(ctx, s.name)
	if err != nil {
		return err
	}
	var skips []capture.Skip
	for _, k := range all {
		skips = append(skips, captureSkip(k.Stop))
	}
	s.replica.Pass(skips)
	return nil
}

func captureSkip(p store.Stop) capture.Skip {
	return capture.Skip{GTID: p.GTID, File: p.File, Offset: p.Offset, FileCreated: p.FileCreated}
}

// saveStop remembers at which transaction the source stopped, beyond the end of the process.
func (s *source) saveStop(ctx context.Context, stop *capture.StopError) {
	if stop.At == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	next, _, _ := s.log.Tail()
	err := s.store.SaveStop(ctx, store.Stop{Source: s.name, GTID: stop.At.GTID, File: stop.At.File, Offset: stop.At.Offset, FileCreated: stop.At.FileCreated,
		Seq: next, Code: stop.Code, Message: stop.Text(), At: time.Now()})
	if err != nil {
		s.logger.Warn("where the source stopped is not remembered", "source", s.name, "err", err)
	}
}

// clearStop forgets it when the source is followed again.
func (s *source) clearStop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	if err := s.store.ClearStop(ctx, s.name); err != nil {
		s.logger.Warn("the source's last stop is not forgotten", "source", s.name, "err", err)
	}
}

// SkipSource gives up the transaction that the source stopped at, and follows it again.
func (c *control) SkipSource(ctx context.Context, who api.Caller, name string, k api.NewGap) (api.Source, error) {
	s, err := c.app.source(name)
	if err != nil {
		return api.Source{}, err
	}
	if state, problem := s.status(); state != sourceStopped || problem == nil {
		return api.Source{}, conflict("not_stopped", "source "+name+" has not stopped by itself", "a transaction can be given up only where the source stopped at it: rowhook source show "+name)
	}
	if err := addGap(ctx, c.app.store, c.app.log, name, k, who.KeyID); err != nil {
		return api.Source{}, err
	}
	if err := s.loadSkips(ctx); err != nil {
		return api.Source{}, err
	}
	s.Start()
	return c.Source(ctx, who, name)
}

// SkipStopped is SkipSource on the data folder of a process that has ended, as one does whose only source has stopped. It fails with
// store.ErrLocked while one runs.
func SkipStopped(ctx context.Context, cfg *config.Config, name string, k api.NewGap, log *slog.Logger) (err error) {
	st, err := store.Open(ctx, filepath.Join(cfg.DataDir, "store"), log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	return addGap(ctx, st, log, name, k, "offline")
}

// addGap records the gap if it is the transaction that the source stopped at.
func addGap(ctx context.Context, st *store.Store, log *slog.Logger, source string, k api.NewGap, by string) error {
	stop, err := st.LastStop(ctx, source)
	if errors.Is(err, store.ErrNotFound) {
		return conflict("not_stopped", "source "+source+" has not stopped at a transaction", "what to do instead is said at its stop: rowhook source show "+source)
	}
	if err != nil {
		return err
	}
	at := captureSkip(stop)
	if k.GTID != at.GTID || k.GTID == "" && k.Position != at.Place() {
		return conflict("other_transaction", "source "+source+" has not stopped at "+strings.TrimSpace(k.GTID+" "+k.Position)+", but at "+at.Name()+" ("+stop.Code+")",
			skipCommand(source, at))
	}
	stop.At = time.Now()
	if err := st.AddSkip(ctx, store.Skip{Stop: stop, Reason: k.Reason, By: by}); err != nil {
		return err
	}
	log.Warn("a transaction was given up: its changes will not be in the log", "source", source, "transaction", at.Name(), "code", stop.Code,
		"seq", stop.Seq, "reason", k.Reason, "by", by)
	return nil
}

// skipCommand is what to type to give up a transaction.
func skipCommand(source string, at capture.Skip) string {
	flag := "--gtid " + at.GTID
	if at.GTID == "" {
		flag = "--position " + at.Place()
	}
	return "rowhook source skip " + source + " " + flag + " --reason '…'"
}

func conflict(code, detail, hint string) error {
	return &api.Problem{Status: http.StatusConflict, Code: code, Detail: detail, Hint: hint}
}

// gaps lists what was given up of the source.
func (s *source) gaps(ctx context.Context) ([]api.Gap, error) {
	all, err := s.store.Skips(ctx, s.name)
	var out []api.Gap
	for _, k := range all {
		out = append(out, api.Gap{GTID: k.GTID, Position: captureSkip(k.Stop).Place(), Seq: k.Seq, Code: k.Code, Reason: k.Reason, By: k.By, At: k.At})
	}
	return out, err
}

// withGaps describes the source, with its gaps for those who may know where it is.
func (c *control) withGaps(ctx context.Context, s *source, who api.Caller) (api.Source, error) {
	out := c.source(s, who)
	if who.Tenant != "" {
		return out, nil
	}
	var err error
	out.Gaps, err = s.gaps(ctx)
	return out, err
}
