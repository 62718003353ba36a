package deliver

import (
	"bytes"
	"fmt"
	"net/url"
	"time"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/event"
	"github.com/rowhook/rowhook/internal/translate"
	"github.com/rowhook/rowhook/webhook"
)

// EndpointConfig declares a customer's URL.
type EndpointConfig struct {
	Name string
	URL  string
	// Tenant, if set, keeps out the events of all others.
	Tenant  string
	Secrets []webhook.Secret
	// Concurrency is how many requests may be in flight, at least 1.
	Concurrency int
	// Timeout of a whole attempt.
	Timeout time.Duration
	// QueueBytes bounds the bodies that wait in memory.
	QueueBytes int64
	// Ordered keeps the order of each key.
	Ordered bool
	// UserAgent of the requests.
	UserAgent string
}

// Endpoint is a customer's URL, ready to be sent to.
type Endpoint struct {
	EndpointConfig
	url       *url.URL
	signer    *webhook.Signer
	userAgent string
}

// NewEndpoint checks the declaration; egress decides which URLs are allowed.
func NewEndpoint(c EndpointConfig, egress *Egress) (*Endpoint, error) {
	if err := egress.CheckURL(c.URL); err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", c.Name, err)
	}
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", c.Name, err)
	}
	signer, err := webhook.NewSigner(c.Secrets...)
	if err != nil {
		return nil, fmt.Errorf("endpoint %s: %w", c.Name, err)
	}
	return &Endpoint{EndpointConfig: c, url: u, signer: signer, userAgent: c.UserAgent}, nil
}

// Subscription says which events an endpoint gets.
type Subscription struct {
	Name     string
	Endpoint string
	// Types are the names of event types, without globs.
	Types []string
	// Subject is a change.Glob over the event's subject; empty is any.
	Subject string
	// From is the seq after which it begins.
	From uint64
}

// routes finds the lanes of an event.
type routes struct {
	byType map[string][]route
}

type route struct {
	lane    *lane
	subject string
	from    uint64
}

func newRoutes(subs []Subscription, lanes map[string]*lane) (*routes, error) {
	r := &routes{byType: map[string][]route{}}
	for _, s := range subs {
		l, ok := lanes[s.Endpoint]
		if !ok {
			return nil, fmt.Errorf("subscription %s: no endpoint %s", s.Name, s.Endpoint)
		}
		for _, t := range s.Types {
			r.byType[t] = append(r.byType[t], route{l, s.Subject, s.From})
		}
	}
	return r, nil
}

// each calls f for the lane of every subscription that ev matches; a lane with several is called several times.
func (r *routes) each(ev *event.Event, f func(*lane)) {
	for _, rt := range r.byType[ev.Type] {
		if ev.Seq > rt.from && rt.matches(ev) {
			f(rt.lane)
		}
	}
}

func (rt *route) matches(ev *event.Event) bool {
	// An event that failed may not know its tenant or subject. It is never sent, only parked wherever it might have gone.
	if ev.Err != nil {
		return true
	}
	if t := rt.lane.ep.Tenant; t != "" && t != ev.Tenant {
		return false
	}
	return rt.subject == "" || change.Glob(rt.subject, ev.Subject)
}

// body is an event's JSON, made once for all lanes that want it.
type body struct {
	bytes   []byte
	err     error
	made    bool
	scratch []byte
}

func (b *body) reset() { b.bytes, b.err, b.made = nil, nil, false }

func (b *body) render(ev *event.Event) error {
	if b.made {
		return b.err
	}
	b.made = true
	if ev.Err != nil {
		b.err = ev.Err
		return b.err
	}
	if b.scratch, b.err = translate.AppendJSON(b.scratch[:0], ev); b.err == nil {
		b.bytes = bytes.Clone(b.scratch)
	}
	return b.err
}
