package deliver

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rowhook/rowhook/webhook"
)

// answerOf posts one event to a real server with the real client.
func answerOf(t *testing.T, h http.HandlerFunc) outcome {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	egress, err := NewEgress(EgressPolicy{AllowHTTP: true, AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}})
	if err != nil {
		t.Fatal(err)
	}
	ep, err := NewEndpoint(EndpointConfig{Name: "a", URL: srv.URL, Secrets: []webhook.Secret{webhook.NewSecret()}, Timeout: 20 * time.Second}, egress)
	if err != nil {
		t.Fatal(err)
	}
	client := NewClient(egress, ClientOptions{})
	t.Cleanup(client.CloseIdleConnections)
	e := New(Options{Log: slog.New(slog.DiscardHandler)}, Deps{Client: client})
	e.sendCtx = t.Context()
	return e.post(ep, &item{ref: EventRef{1, "t"}, id: "evt_1", body: []byte(`{"id":"evt_1"}`)}, time.Now())
}

func TestRedirectIsAFailureAndNotFollowed(t *testing.T) {
	t.Parallel()
	var followed atomic.Bool
	out := answerOf(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			followed.Store(true)
			return
		}
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	if out.code != "http_307" || followed.Load() || verdictOf(out) != failed {
		t.Errorf("outcome %+v, followed %v", out, followed.Load())
	}
}

func TestHugeAnswerIsNotRead(t *testing.T) {
	t.Parallel()
	var written atomic.Int64
	out := answerOf(t, func(w http.ResponseWriter, _ *http.Request) {
		chunk := strings.Repeat("x", 1<<20)
		for range 64 {
			n, err := io.WriteString(w, chunk)
			written.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	if out.code != "ok" || written.Load() >= 64<<20 {
		t.Errorf("outcome %+v after %d bytes", out, written.Load())
	}
}

// An answer that broke off lost its status, and the pause that it asked for.
func TestStatusCountsWhenTheAnswerBreaksOff(t *testing.T) {
	t.Parallel()
	out := answerOf(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		panic(http.ErrAbortHandler)
	})
	if out.code != "http_429" || out.retryAfter != 7*time.Second {
		t.Errorf("outcome %+v", out)
	}
}

func TestRetryAfterForms(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for h, want := range map[string]time.Duration{
		"": 0, "0": 0, "90": 90 * time.Second, "-5": 0, "soon": 0, "99999999": maxRetryAfter, "99999999999999999999": 0,
		now.Add(time.Minute).Format(http.TimeFormat): time.Minute, now.Add(-time.Minute).Format(http.TimeFormat): 0,
	} {
		if got := retryAfter(h, now); got != want {
			t.Errorf("%q: %v, want %v", h, got, want)
		}
	}
}
