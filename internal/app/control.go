package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rowhook/rowhook/internal/api"
	"github.com/rowhook/rowhook/internal/config"
	"github.com/rowhook/rowhook/internal/deliver"
	"github.com/rowhook/rowhook/internal/store"
)

const (
	// finishing is how long a change that was begun may take to its end, whether or not its caller is still there.
	finishing = 30 * time.Second
	// secretsEvery is how often secrets that have ended stop signing.
	secretsEvery = 20 * time.Second
	// answersEvery is how often old answers to repeated requests are removed.
	answersEvery = 5 * time.Minute
	// maxTails bounds the tails at once; each reads the log for itself.
	maxTails = 16
	// loadPage is how many records are read at once where all are.
	loadPage = 200
)

// control is the running process as the API sees it; it implements api.Backend.
//
// What it changes it changes in the store and in the engines of all sources, one change of an endpoint at a time. The engines know
// what is sent, the store knows what is promised: a change is answered when both have it.
type control struct {
	app   *App
	locks keyedLocks
	// tails and searches have room for those that may be under way at once.
	tails, searches chan struct{}
}

func newControl(a *App) *control {
	return &control{
		app: a, locks: keyedLocks{held: map[string]*keyedLock{}},
		tails: make(chan struct{}, maxTails), searches: make(chan struct{}, maxSearches),
	}
}

// Run does what time brings until ctx ends: it brings the engines in line with what a crash has left, ends secrets and forgets old
// answers. It waits for the engines, which run beside it.
func (c *control) Run(ctx context.Context) error {
	err := errors.Join(c.finishDeletions(ctx), c.reconcile(ctx))
	inLine := err == nil
	secrets, answers := time.NewTicker(secretsEvery), time.NewTicker(answersEvery)
	defer secrets.Stop()
	defer answers.Stop()
	for {
		if err != nil && ctx.Err() == nil {
			c.app.log.Warn("upkeep of endpoints and subscriptions failed and is tried again", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-secrets.C:
			err = c.expireSecrets(ctx)
			if !inLine {
				err = errors.Join(err, c.finishDeletions(ctx), c.reconcile(ctx))
				inLine = err == nil
			}
		case <-answers.C:
			err = c.pruneAnswers(ctx)
		}
	}
}

// toTheEnd gives a change that was begun the time to end, also when its caller has gone: half of it would help nobody.
func toTheEnd(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), finishing)
}

// maySee is the rule of tenants: a caller of a tenant sees what belongs to it, the operator sees everything.
func maySee(who api.Caller, tenant string) bool { return who.Tenant == "" || who.Tenant == tenant }

// notFound is the answer about what does not exist, and about what belongs to others: the two look the same.
func notFound(what string) *api.Problem {
	return &api.Problem{Status: http.StatusNotFound, Code: "not_found", Detail: "there is no such " + what}
}

func invalid(location, format string, args ...any) *api.Problem {
	return invalidFields(api.FieldProblem{Location: location, Message: fmt.Sprintf(format, args...)})
}

func invalidFields(fields ...api.FieldProblem) *api.Problem {
	return &api.Problem{
		Status: http.StatusUnprocessableEntity, Code: "invalid", Detail: fields[0].Location + " " + fields[0].Message, Fields: fields,
	}
}

// isDeclared is the answer to a change of what stands in the configuration.
func isDeclared(what string) *api.Problem {
	return &api.Problem{
		Status: http.StatusConflict, Code: "declared", Detail: "the " + what + " stands in the configuration",
		Hint: "change it in the configuration file, then: rowhook reload",
	}
}

func stale() *api.Problem {
	return &api.Problem{
		Status: http.StatusPreconditionFailed, Code: "precondition_failed", Detail: "it has changed since that version",
		Hint: "read it again, and send the ETag of that answer in If-Match",
	}
}

// answered turns what the store says of a record into what the caller can do about it.
func answered(err error, what string) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return notFound(what)
	case errors.Is(err, store.ErrVersion):
		return stale()
	default:
		return err
	}
}

// found is an endpoint: a declared one, or one that the API made.
type found struct {
	declared *config.Endpoint
	record   store.EndpointRecord
}

func (f *found) id() string {
	if f.declared != nil {
		return f.declared.Name
	}
	return f.record.ID
}

func (f *found) tenant() string {
	if f.declared != nil {
		return f.declared.Tenant
	}
	return f.record.Tenant
}

// find returns an endpoint that the caller may see.
func (c *control) find(ctx context.Context, who api.Caller, id string) (found, error) {
	f, err := c.lookUp(ctx, id)
	if err != nil {
		return found{}, err
	}
	if !maySee(who, f.tenant()) {
		return found{}, notFound("endpoint")
	}
	return f, nil
}

func (c *control) lookUp(ctx context.Context, id string) (found, error) {
	endpoints := c.app.declaredEndpoints()
	if i := slices.IndexFunc(endpoints, func(e config.Endpoint) bool { return e.Name == id }); i >= 0 {
		return found{declared: &endpoints[i]}, nil
	}
	r, err := c.app.store.Endpoint(ctx, id)
	if err != nil {
		return found{}, answered(err, "endpoint")
	}
	return found{record: r}, nil
}

// made returns an endpoint that the API made and that the caller may change.
func (c *control) made(ctx context.Context, who api.Caller, id string) (store.EndpointRecord, error) {
	f, err := c.find(ctx, who, id)
	if err != nil {
		return store.EndpointRecord{}, err
	}
	if f.declared != nil {
		return store.EndpointRecord{}, isDeclared("endpoint")
	}
	return f.record, nil
}

// everywhere does something with the engine of every source, at the same time: some of it waits for requests in flight.
func (c *control) everywhere(f func(s *source) error) error {
	var g errgroup.Group
	for _, s := range c.app.sources {
		g.Go(func() error {
			if err := f(s); err != nil {
				return fmt.Errorf("source %s: %w", s.name, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// ready makes an endpoint of a record, with the secrets that sign at a time. Whether requests may go to its URL is decided when they are
// sent: one that was made before the guard became stricter keeps its place, its deliveries fail, and anybody can see why.
func (c *control) ready(r *store.EndpointRecord, at time.Time) (*deliver.Endpoint, error) {
	open, err := deliver.NewEgress(deliver.EgressPolicy{
		AllowHTTP: true, AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")},
	})
	if err != nil {
		return nil, err
	}
	e := deliver.EndpointConfig{
		Name: r.ID, URL: r.URL, Tenant: r.Tenant, Concurrency: r.Settings.Concurrency, Timeout: r.Settings.Timeout,
		QueueBytes: r.Settings.QueueBytes, Ordered: r.Settings.Ordered, UserAgent: "Rowhook/" + c.app.version,
	}
	for _, s := range live(r.Secrets, at) {
		e.Secrets = append(e.Secrets, s.Secret)
	}
	return deliver.NewEndpoint(e, open)
}

// live returns the secrets that sign at a time.
func live(secrets []store.SigningSecret, at time.Time) []store.SigningSecret {
	return slices.DeleteFunc(slices.Clone(secrets), func(s store.SigningSecret) bool { return !s.ExpiresAt.IsZero() && !at.Before(s.ExpiresAt) })
}

// pageSize holds a page's size to its bounds.
func pageSize(p api.Page) int { return min(max(p.Limit, 1), 200) }

func isNotFound(err error) bool {
	p, ok := errors.AsType[*api.Problem](err)
	return ok && p.Status == http.StatusNotFound
}
