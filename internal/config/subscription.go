package config

import (
	"regexp"
	"slices"
)

var typePattern = regexp.MustCompile(`^[A-Za-z0-9_.*-]{1,128}$`)

// subscriptions reads the list of subscriptions.
func (r *reader) subscriptions(v value, endpoints []Endpoint) []Subscription {
	names := make([]string, len(endpoints))
	for i, e := range endpoints {
		names[i] = e.Name
	}
	var all []Subscription
	r.list(v, func(v value) {
		s := r.subscription(v, names)
		if s.Name != "" && slices.ContainsFunc(all, func(o Subscription) bool { return o.Name == s.Name && o.Endpoint == s.Endpoint }) {
			r.fail(v, "each subscription of an endpoint has its own name", "a subscription named %q of endpoint %q stands above already", s.Name, s.Endpoint)
		}
		all = append(all, s)
	})
	return all
}

func (r *reader) subscription(v value, endpoints []string) Subscription {
	var s Subscription
	r.object(v,
		field{"name", func(v value) { s.Name = r.name(v, endpointName) }},
		field{"endpoint", func(v value) {
			s.Endpoint = r.text(v)
			if s.Endpoint != "" && !slices.Contains(endpoints, s.Endpoint) {
				r.fail(v, didYouMean(s.Endpoint, endpoints), "no endpoint is named %s", r.quoted(v))
			}
		}},
		field{"types", func(v value) { s.Types, s.places = r.typeGlobs(v) }},
		field{"subject", func(v value) { s.Subject = r.text(v) }},
		field{"from", func(v value) { s.From = r.from(v) }},
	)
	return s
}

// from reads where a subscription begins.
func (r *reader) from(v value) From {
	if text, _, ok := r.raw(v); ok {
		if _, isTime := From(text).Time(); isTime {
			return From(text)
		}
	}
	return choice(r, v, FromNow, FromEarliest, "a time such as 2026-11-22T09:30:00Z")
}

// typeGlobs reads patterns over the names of event types, and where they stand.
func (r *reader) typeGlobs(v value) ([]string, []place) {
	var all []string
	var places []place
	ok := r.list(v, func(v value) {
		text := r.text(v)
		if text != "" && !typePattern.MatchString(text) {
			r.fail(v, "write a name such as order.created, or a pattern such as order.*", "%s is not a pattern of event types", r.quoted(v))
			return
		}
		all, places = append(all, text), append(places, v.place)
	})
	if ok && len(all) == 0 && !r.failed(v) {
		r.fail(v, `"*" subscribes to every type`, "is empty")
	}
	return all, places
}

// CheckTypes reports, as Errors, each pattern of a subscription that matches
// none of the declared event types. match says whether a pattern matches a
// name; it is the one that matches events later.
func (c *Config) CheckTypes(declared []string, match func(pattern, name string) bool) error {
	var errs Errors
	for _, s := range c.Subscriptions {
		for i, pattern := range s.Types {
			if slices.ContainsFunc(declared, func(name string) bool { return match(pattern, name) }) {
				continue
			}
			at := place{key: "subscription " + s.Name + " of endpoint " + s.Endpoint}
			if i < len(s.places) {
				at = s.places[i]
			}
			hint := didYouMean(pattern, declared)
			if len(declared) == 0 {
				hint = "name the files of event types in types"
			}
			errs = append(errs, at.error("matches no declared event type: "+pattern, hint))
		}
	}
	return errs.err()
}
