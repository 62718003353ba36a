package app

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rowhook/rowhook/internal/api"
	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/deliver"
	"github.com/rowhook/rowhook/internal/event"
	"github.com/rowhook/rowhook/internal/translate"
)

// maxTriggers is how many endpoints a triggered event is sent to at once.
const maxTriggers = 16

// TestEndpoint sends a made-up event of the endpoint's tenant.
func (c *control) TestEndpoint(ctx context.Context, who api.Caller, id, eventType string) (api.TestResult, error) {
	f, err := c.find(ctx, who, id)
	if err != nil {
		return api.TestResult{}, err
	}
	def := event.TestDefinition()
	if eventType != "" && eventType != event.TestType {
		def, err = c.definition(ctx, who, eventType)
		if isNotFound(err) {
			return api.TestResult{}, invalid("body.type", "is not the name of an event type")
		}
		if err != nil {
			return api.TestResult{}, err
		}
	}
	ev, err := c.madeUp(ctx, def, f.tenant())
	if err != nil {
		return api.TestResult{}, err
	}
	for _, s := range c.app.sources {
		out, err := sendTest(ctx, s, id, ev)
		if !errors.Is(err, deliver.ErrNoEndpoint) {
			return out, err
		}
	}
	return api.TestResult{}, notFound("endpoint")
}

// definition returns an event type that the caller may see.
func (c *control) definition(ctx context.Context, who api.Caller, name string) (event.Definition, error) {
	if _, err := c.EventType(ctx, who, name); err != nil {
		return event.Definition{}, err
	}
	_, set := c.app.types.latest()
	def, ok := set.Definition(name)
	if !ok {
		return event.Definition{}, notFound("event type") // a reload came in between
	}
	return def, nil
}

// madeUp returns an event with values for the columns that the type's table has, as far as the log knows one. tenant, if set, is whose
// event it is said to be.
func (c *control) madeUp(ctx context.Context, def event.Definition, tenant string) (*event.Event, error) {
	ev, err := event.Example(def, c.tableOf(ctx, def), rand.Uint64())
	if err != nil {
		return nil, &api.Problem{Status: http.StatusConflict, Code: "no_example", Detail: err.Error(), Hint: "change a row of the table, and look at the event with a tail"}
	}
	ev.Time = time.Now().UnixMicro()
	if tenant != "" {
		ev.Tenant = tenant
	}
	return ev, nil
}

// tableOf returns a table of the newest blocks that the type looks at; nil if there is none. That a log cannot be read keeps nobody
// from a test.
func (c *control) tableOf(ctx context.Context, def event.Definition) *change.Table {
	schema, name, _ := strings.Cut(def.Table, ".")
	for _, s := range c.app.sources {
		var found *change.Table
		next, _, _ := s.log.Tail()
		err := c.scan(ctx, s, max(next, 1)-1, func(blk *change.Block) (bool, error) {
			for _, t := range blk.Tables {
				if change.Glob(schema, t.Schema) && change.Glob(name, t.Name) {
					found = t
				}
			}
			return found != nil, nil
		})
		if err != nil {
			c.app.log.Debug("no table for an example", "source", s.name, "err", err)
		}
		if found != nil {
			return found
		}
	}
	return nil
}

func sendTest(ctx context.Context, s *source, endpoint string, ev *event.Event) (api.TestResult, error) {
	made := *ev // several are sent at once
	made.Source.Name = s.name
	body, err := translate.AppendJSON(nil, &made)
	if err != nil {
		return api.TestResult{}, fmt.Errorf("write the example of %s: %w", ev.Type, err)
	}
	a, err := s.engine.SendTest(ctx, endpoint, ev.Type, ev.ID, body)
	if err != nil {
		return api.TestResult{}, err
	}
	return api.TestResult{EventID: a.EventID, Outcome: a.Outcome, Status: a.Status, DurationMS: float64(a.DurationUS) / 1000, Error: a.Error}, nil
}

// Trigger sends one event to all endpoints that want it and that the caller may see, each once.
func (c *control) Trigger(ctx context.Context, who api.Caller, eventType string) ([]api.TriggerResult, error) {
	def, err := c.definition(ctx, who, eventType)
	if err != nil {
		return nil, err
	}
	ev, err := c.madeUp(ctx, def, who.Tenant)
	if err != nil {
		return nil, err
	}
	targets, err := c.wanting(ctx, who, ev)
	if err != nil {
		return nil, err
	}
	out := make([]api.TriggerResult, len(targets))
	var g errgroup.Group
	g.SetLimit(maxTriggers)
	for i, t := range targets {
		g.Go(func() error {
			res, err := sendTest(ctx, t.source, t.endpoint, ev)
			if err != nil {
				// What the endpoint did is in the result; this is about us, and about this endpoint alone.
				res = api.TestResult{EventID: ev.ID, Outcome: "not_sent", Error: err.Error()}
			}
			out[i] = api.TriggerResult{Endpoint: t.endpoint, TestResult: res}
			return nil
		})
	}
	return out, g.Wait()
}

// target is an endpoint and a source whose engine sends to it.
type target struct {
	endpoint string
	source   *source
}

func (c *control) wanting(ctx context.Context, who api.Caller, ev *event.Event) ([]target, error) {
	var out []target
	v := c.visible(who)
	for _, s := range c.app.sources {
		for _, endpoint := range s.engine.Matching(ev) {
			if slices.ContainsFunc(out, func(t target) bool { return t.endpoint == endpoint }) {
				continue
			}
			ok, err := v.endpoint(ctx, endpoint)
			if err != nil {
				return nil, err
			}
			if ok {
				out = append(out, target{endpoint, s})
			}
		}
	}
	return out, nil
}
