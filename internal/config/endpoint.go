package config

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/rowhook/rowhook/internal/deliver"
	"github.com/rowhook/rowhook/webhook"
)

var endpointName = regexp.MustCompile(`^[a-z0-9_.-]{1,64}$`)

// endpoints reads the list of endpoints.
func (r *reader) endpoints(v value, policy deliver.EgressPolicy) []Endpoint {
	guard, err := deliver.NewEgress(policy)
	if err != nil {
		r.fail(v, "", "%s", err)
		return nil
	}
	var all []Endpoint
	var names []string
	r.list(v, func(v value) {
		e := r.endpoint(v, guard)
		if e.Name != "" && slices.Contains(names, e.Name) {
			r.fail(v, "each endpoint has its own name", "an endpoint named %q stands above already", e.Name)
		}
		names = append(names, e.Name)
		all = append(all, e)
	})
	return all
}

// APIPrefix begins the ids of endpoints that the API made, and of no declared one.
const APIPrefix = "ep_"

func (r *reader) endpoint(v value, guard *deliver.Egress) Endpoint {
	var e Endpoint
	r.object(v, append([]field{
		{"name", func(v value) {
			if e.Name = r.name(v, endpointName); strings.HasPrefix(e.Name, APIPrefix) {
				r.fail(v, "choose a name that begins otherwise", "names that begin with %s are given by the API", APIPrefix)
			}
		}},
		{"url", func(v value) { e.URL = r.url(v, guard) }},
		{"tenant", func(v value) { e.Tenant = r.text(v) }},
		{"secrets", func(v value) { e.Secrets = r.secrets(v) }},
	}, r.endpointSettings(&e)...)...)
	return e
}

// endpointSettings are the keys of an endpoint that have defaults.
func (r *reader) endpointSettings(e *Endpoint) []field {
	return []field{
		{"concurrency", func(v value) { e.Concurrency = int(r.integer(v, MinConcurrency, MaxConcurrency)) }},
		{"timeout", func(v value) { e.Timeout = r.duration(v, MinTimeout, MaxTimeout) }},
		{"queue_bytes", func(v value) { e.QueueBytes = r.size(v, MinQueueBytes, MaxQueueBytes) }},
		{"order", func(v value) { e.Order = choice(r, v, OrderKey, OrderNone) }},
	}
}

// url returns a URL that the egress guard lets through, as far as that can be
// said without looking its name up. Errors do not quote it.
func (r *reader) url(v value, guard *deliver.Egress) string {
	text := r.text(v)
	if text == "" {
		return ""
	}
	err := guard.CheckURL(text)
	if err == nil {
		return text
	}
	hint := "write https://host/path"
	if errors.Is(err, deliver.ErrEgressBlocked) {
		hint = "set egress.allow_http: true if the receiver is your own"
		if blocked := (*deliver.EgressError)(nil); errors.As(err, &blocked) && blocked.Range.IsValid() {
			hint = "add " + blocked.Range.String() + ", or the part of it that you mean, to egress.allow if the receiver is your own"
		}
	}
	r.fail(v, hint, "%s", err)
	return ""
}

// secrets reads the signing secrets of an endpoint. Errors do not quote them.
func (r *reader) secrets(v value) []webhook.Secret {
	var all []webhook.Secret
	texts := map[string]bool{}
	ok := r.list(v, func(v value) {
		text := r.text(v)
		if text == "" {
			return
		}
		secret, err := webhook.ParseSecret(text)
		switch {
		case err != nil:
			r.fail(v, "make one with: echo whsec_$(openssl rand -base64 32)", "%s", err)
		case strings.HasPrefix(text, "whpk_"):
			r.fail(v, "name the signing key, whsk_…; the public key is for the receiver", "is a public key, which cannot sign")
		case texts[text]:
			r.fail(v, "remove it", "stands above already")
		}
		texts[text] = true
		all = append(all, secret)
	})
	if ok && len(all) == 0 && !r.failed(v) {
		r.fail(v, "make one with: echo whsec_$(openssl rand -base64 32)", "is empty")
	}
	return all
}
