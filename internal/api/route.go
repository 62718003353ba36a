package api

import (
	"net/http"
	"time"
)

// route is one operation. The table below is the only place that says who may do what.
type route struct {
	id, method, path, summary string
	scope                     Scope
	// operator keeps out keys of a tenant: it is about what all tenants share.
	operator bool
	// tagged answers have an entity tag, and 304 for who has it already.
	tagged bool
	// status of a success.
	status int
	// produces is the media type of a success; empty is JSON.
	produces string
	// timeout of the Backend's work; zero is the usual one. Streams have none.
	timeout time.Duration
}

const (
	usualTimeout = time.Minute
	// slowTimeout is for what waits for a receiver, whose own timeout is at most two minutes.
	slowTimeout = 150 * time.Second

	mediaNDJSON = "application/x-ndjson"
	mediaTar    = "application/x-tar"
)

func routes() []route {
	const get, post, patch, del = http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete
	return []route{
		{id: "list-endpoints", method: get, path: "/v1/endpoints", summary: "List endpoints", scope: ScopeRead},
		{id: "create-endpoint", method: post, path: "/v1/endpoints", summary: "Make an endpoint", scope: ScopeManage, status: http.StatusCreated},
		{id: "get-endpoint", method: get, path: "/v1/endpoints/{id}", summary: "Show an endpoint", scope: ScopeRead, tagged: true},
		{id: "update-endpoint", method: patch, path: "/v1/endpoints/{id}", summary: "Change an endpoint", scope: ScopeManage},
		{id: "delete-endpoint", method: del, path: "/v1/endpoints/{id}", summary: "Delete an endpoint and what waits for it", scope: ScopeManage, status: http.StatusNoContent},
		{id: "pause-endpoint", method: post, path: "/v1/endpoints/{id}/pause", summary: "Stop sending to an endpoint; it keeps its place", scope: ScopeManage, timeout: slowTimeout},
		{id: "resume-endpoint", method: post, path: "/v1/endpoints/{id}/resume", summary: "Send to an endpoint again, also to a disabled one", scope: ScopeManage},
		{id: "rotate-secret", method: post, path: "/v1/endpoints/{id}/rotate-secret", summary: "Sign with a new secret, and with the old one for a while", scope: ScopeManage},
		{id: "test-endpoint", method: post, path: "/v1/endpoints/{id}/test", summary: "Send a test event and wait for the answer", scope: ScopeManage, timeout: slowTimeout},
		{id: "list-endpoint-attempts", method: get, path: "/v1/endpoints/{id}/attempts", summary: "List attempts of an endpoint, newest first", scope: ScopeRead},
		{id: "list-endpoint-exceptions", method: get, path: "/v1/endpoints/{id}/exceptions", summary: "List events that wait or are parked", scope: ScopeRead},

		{id: "list-subscriptions", method: get, path: "/v1/subscriptions", summary: "List subscriptions", scope: ScopeRead},
		{id: "create-subscription", method: post, path: "/v1/subscriptions", summary: "Make a subscription", scope: ScopeManage, status: http.StatusCreated},
		{id: "get-subscription", method: get, path: "/v1/subscriptions/{id}", summary: "Show a subscription", scope: ScopeRead, tagged: true},
		{id: "update-subscription", method: patch, path: "/v1/subscriptions/{id}", summary: "Change a subscription, from now on", scope: ScopeManage},
		{id: "delete-subscription", method: del, path: "/v1/subscriptions/{id}", summary: "Delete a subscription", scope: ScopeManage, status: http.StatusNoContent},
		{id: "pause-subscription", method: post, path: "/v1/subscriptions/{id}/pause", summary: "Hold back what commits from now on", scope: ScopeManage},
		{id: "resume-subscription", method: post, path: "/v1/subscriptions/{id}/resume", summary: "Send what was held back, and go on", scope: ScopeManage},

		{id: "tail-events", method: get, path: "/v1/events", summary: "Follow events as they commit, one JSON document a line", scope: ScopeRead, produces: mediaNDJSON},
		{id: "get-event", method: get, path: "/v1/events/{id}", summary: "Show an event, where it came from and where it went", scope: ScopeRead},
		{id: "list-event-attempts", method: get, path: "/v1/events/{id}/attempts", summary: "List attempts of an event, oldest first", scope: ScopeRead},

		{id: "list-types", method: get, path: "/v1/types", summary: "List the event types in force", scope: ScopeRead},
		{id: "get-type", method: get, path: "/v1/types/{name}", summary: "Show an event type", scope: ScopeRead},
		{id: "trigger-type", method: post, path: "/v1/types/{name}/trigger", summary: "Send an event with made-up values to every endpoint that wants the type", scope: ScopeManage, operator: true, timeout: slowTimeout},

		{id: "get-status", method: get, path: "/v1/status", summary: "Show the process at a glance", scope: ScopeRead, operator: true},
		{id: "list-sources", method: get, path: "/v1/sources", summary: "List sources", scope: ScopeRead, operator: true},
		{id: "get-source", method: get, path: "/v1/sources/{name}", summary: "Show a source", scope: ScopeRead, operator: true},
		{id: "start-source", method: post, path: "/v1/sources/{name}/start", summary: "Follow a stopped source again", scope: ScopeAdmin, operator: true},
		{id: "stop-source", method: post, path: "/v1/sources/{name}/stop", summary: "Stop following a source; what is in the log is still delivered", scope: ScopeAdmin, operator: true},
		{id: "skip-transaction", method: post, path: "/v1/sources/{name}/skip", summary: "Give up the transaction that a source stopped at, and follow it again", scope: ScopeAdmin, operator: true},
		{id: "list-tenants", method: get, path: "/v1/tenants", summary: "List tenants that something belongs to", scope: ScopeRead, operator: true},
		{id: "reload", method: post, path: "/v1/reload", summary: "Read the configuration and the event types again", scope: ScopeAdmin, operator: true, timeout: slowTimeout},
		{id: "backup", method: get, path: "/v1/backup", summary: "Take a backup of the store and the logs", scope: ScopeAdmin, operator: true, produces: mediaTar},

		{id: "list-keys", method: get, path: "/v1/keys", summary: "List API keys", scope: ScopeAdmin, operator: true},
		{id: "create-key", method: post, path: "/v1/keys", summary: "Make an API key, which is shown this once", scope: ScopeAdmin, operator: true, status: http.StatusCreated},
		{id: "delete-key", method: del, path: "/v1/keys/{id}", summary: "Delete an API key, at once", scope: ScopeAdmin, operator: true, status: http.StatusNoContent},
	}
}

func (r route) streams() bool { return r.produces != "" }

// mediaType of a success.
func (r route) mediaType() string {
	if r.streams() {
		return r.produces
	}
	return jsonMediaType
}

// repeatable reports whether the operation takes an Idempotency-Key.
func (r route) repeatable() bool { return r.method == http.MethodPost }

// allowed says why the caller may not; nil if it may.
func (r route) allowed(c Caller) *refusal {
	switch {
	case rank(c.Scope) < rank(r.scope):
		return forbidden("this needs a key with the scope "+string(r.scope)+"; this key has "+string(c.Scope), "ask the operator for one: rowhook key create --scope "+string(r.scope))
	case r.operator && c.Tenant != "":
		return forbidden("this is about all tenants, and the key belongs to one", "ask the operator, or use a key without a tenant and with the scope "+string(r.scope))
	}
	return nil
}

func forbidden(detail, hint string) *refusal {
	return &refusal{Problem: Problem{Status: http.StatusForbidden, Code: codeForbidden, Detail: detail, Hint: hint}}
}

// rank orders the scopes; an unknown one may do nothing.
func rank(s Scope) int {
	switch s {
	case ScopeRead:
		return 1
	case ScopeManage:
		return 2
	case ScopeAdmin:
		return 3
	default:
		return 0
	}
}
