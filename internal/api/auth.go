package api

import (
	"crypto/sha256"
	"net/http"
	"net/netip"
	"strings"
)

// keyPrefix is what API keys begin with, so that scanners of repositories find those that leak.
const keyPrefix = "rhk_"

const maxKeyLength = 256

// authenticate says who a request's key belongs to. An address with too many failures is refused before its key is looked up,
// unless it was right lately: a stranger behind the same address must not lock out others. Requests without a key are no failures.
func (s *Server) authenticate(r *http.Request) (Caller, *refusal) {
	from := remoteAddr(r)
	key, ok := bearer(r.Header.Values("Authorization"))
	if !ok { // no guess, and nothing to look up
		return Caller{}, unauthorized(`Bearer realm="rowhook"`, "this needs an API key")
	}
	digest := sha256.Sum256([]byte(key))
	if wait := s.guesses.wait(from, digest); wait > 0 {
		p := &refusal{Problem: Problem{Status: http.StatusTooManyRequests, Code: codeTooManyAttempts, Detail: "too many requests from this address had no valid key", Hint: "check the key, then wait as long as Retry-After says"}}
		return Caller{}, p.retryAfter(wait)
	}
	caller, ok, err := s.backend.Authenticate(r.Context(), key)
	switch {
	case err != nil:
		return Caller{}, s.failure(r.Context(), err)
	case !ok:
		s.guesses.wrong(from, digest)
		return Caller{}, unauthorized(`Bearer realm="rowhook", error="invalid_token"`, "the API key is unknown, has expired or was deleted")
	}
	s.guesses.right(digest)
	return caller, nil
}

func unauthorized(challenge, detail string) *refusal {
	return &refusal{
		Problem: Problem{Status: http.StatusUnauthorized, Code: codeUnauthorized, Detail: detail, Hint: "send Authorization: Bearer " + keyPrefix + "…; the operator makes keys with: rowhook key create"},
		header:  http.Header{"Www-Authenticate": {challenge}},
	}
}

// bearer returns the key of the only Authorization header.
func bearer(headers []string) (string, bool) {
	if len(headers) != 1 {
		return "", false
	}
	scheme, key, _ := strings.Cut(headers[0], " ")
	key = strings.TrimSpace(key)
	if !strings.EqualFold(scheme, "Bearer") || !strings.HasPrefix(key, keyPrefix) || len(key) > maxKeyLength {
		return "", false
	}
	for _, c := range []byte(key) {
		if c <= ' ' || c > '~' {
			return "", false
		}
	}
	return key, true
}

// remoteAddr returns the peer's address, of IPv6 the network that one customer has; the zero one if it has none.
func remoteAddr(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	addr := peer.Addr().Unmap()
	if addr.Is4() {
		return addr
	}
	network, err := addr.WithZone("").Prefix(64)
	if err != nil {
		return netip.Addr{}
	}
	return network.Addr()
}
