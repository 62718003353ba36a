package receiver_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rowhook/rowhook/e2e/receiver"
	"github.com/rowhook/rowhook/webhook"
)

// sender posts signed events as Rowhook does.
type sender struct {
	t      *testing.T
	secret webhook.Secret
	client *http.Client
}

func newSender(t *testing.T) *sender {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &sender{t: t, secret: webhook.NewSecret(), client: &http.Client{Transport: transport}}
}

func start(t *testing.T, o receiver.Options) *receiver.Receiver {
	t.Helper()
	r, err := receiver.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// event is the body of one change of a row.
func event(seq int, row, version int) (id string, body []byte) {
	id = fmt.Sprintf("evt_%04d", seq)
	return id, fmt.Appendf(nil, `{"id":%q,"type":"item.changed","subject":"items/%d","seq":%d,"op":"update","data":{"id":"%d","version":%d}}`,
		id, row, seq, row, version)
}

// post sends one body and returns the answer's status; 0 if the connection broke.
func (s *sender) post(ctx context.Context, url, id string, body []byte) int {
	s.t.Helper()
	header, err := webhook.Sign(id, time.Now(), body, s.secret)
	if err != nil {
		s.t.Fatal(err)
	}
	header.Set("rowhook-attempt", "1")
	return s.send(ctx, url, header, body)
}

func (s *sender) send(ctx context.Context, url string, header http.Header, body []byte) int {
	s.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header = header
	resp, err := s.client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

func TestRecordsWhatCame(t *testing.T) {
	t.Parallel()
	s := newSender(t)
	r := start(t, receiver.Options{Secrets: []webhook.Secret{s.secret}, Key: []string{"id"}, Version: "version"})
	var bodies int
	r.OnDelivery(func(d receiver.Delivery) { bodies += len(d.Body) })
	for seq := 1; seq <= 3; seq++ {
		id, body := event(seq, 7, 10+seq)
		if got := s.post(t.Context(), r.URL("a"), id, body); got != 204 {
			t.Fatalf("answer = %d", got)
		}
	}
	id, body := event(2, 7, 12)
	s.post(t.Context(), r.URL("/a"), id, body)

	deliveries, forgotten := r.Snapshot()
	if len(deliveries) != 4 || forgotten != 0 || bodies == 0 {
		t.Fatalf("%d deliveries, %d forgotten, %d bytes seen", len(deliveries), forgotten, bodies)
	}
	second, again := deliveries[1], deliveries[3]
	if second.Path != "/a" || second.Type != "item.changed" || second.Op != "update" || second.Key != "7" || second.Version != 12 ||
		second.Seq != 2 || second.Attempt != 1 || second.Status != 204 || !second.Accepted() || second.Subject != "items/7" {
		t.Errorf("second = %+v", second)
	}
	if again.Nth != 2 || again.ID != second.ID || again.Digest != second.Digest || again.Order <= deliveries[2].Done {
		t.Errorf("repeat = %+v after %+v", again, second)
	}
	if got, want := r.Counts("/a"), (receiver.Counts{Requests: 4, Accepted: 4, Distinct: 3}); got != want {
		t.Errorf("counts = %+v, want %+v", got, want)
	}
}

func TestRefusesWhatIsNoDelivery(t *testing.T) {
	t.Parallel()
	s := newSender(t)
	r := start(t, receiver.Options{
		Secrets: []webhook.Secret{s.secret}, Version: "version", MaxBody: 4096,
		PathSecrets: map[string][]webhook.Secret{"/other": {webhook.NewSecret()}},
		Check: func(_ http.Header, d receiver.Delivery) error {
			if d.Version == 99 {
				return errors.New("nobody wrote that")
			}
			return nil
		},
	})
	id, good := event(1, 1, 1)
	_, unwritten := event(1, 1, 99)
	cases := map[string]struct {
		path, id string
		body     []byte
	}{
		"another path's secret": {"other", id, good},
		"another id":            {"a", "evt_other", good},
		"not JSON":              {"a", id, []byte("hello")},
		"no type":               {"a", id, []byte(`{"id":"evt_0001","seq":1,"data":{}}`)},
		"seq is no number":      {"a", id, []byte(`{"id":"evt_0001","type":"t","seq":"x","data":{}}`)},
		"version is no number":  {"a", id, []byte(`{"id":"evt_0001","type":"t","seq":1,"data":{"version":"x"}}`)},
		"check":                 {"a", id, unwritten},
		"too large":             {"a", id, bytes.Repeat([]byte(" "), 5000)},
	}
	for name, tc := range cases {
		if got := s.post(t.Context(), r.URL(tc.path), tc.id, tc.body); got != 401 {
			t.Errorf("%s: answer = %d, want 401", name, got)
		}
	}
	if got := s.send(t.Context(), r.URL("a"), http.Header{}, good); got != 401 {
		t.Errorf("unsigned: answer = %d, want 401", got)
	}
	if got := r.Counts(""); got.Refused != len(cases)+1 || got.Requests != 0 || len(r.Refusals()) != got.Refused {
		t.Errorf("counts = %+v, refusals = %v", got, r.Refusals())
	}
}

func TestMisbehaves(t *testing.T) {
	t.Parallel()
	s := newSender(t)
	r := start(t, receiver.Options{Secrets: []webhook.Secret{s.secret}})
	id, body := event(1, 1, 1)

	r.Behave("/gone", receiver.Always(receiver.Behaviour{Status: 410}))
	r.Behave("/close", receiver.Always(receiver.Behaviour{Close: true}))
	r.Behave("/slow", receiver.Always(receiver.Behaviour{Delay: time.Millisecond, Status: 429, RetryAfter: "3"}))
	r.Behave("/first", receiver.FailFirst(2, receiver.Behaviour{Status: 500}))
	for path, want := range map[string]int{"gone": 410, "close": 0, "slow": 429} {
		if got := s.post(t.Context(), r.URL(path), id, body); got != want {
			t.Errorf("%s: answer = %d, want %d", path, got, want)
		}
	}
	for attempt, want := range []int{500, 500, 204} {
		if got := s.post(t.Context(), r.URL("first"), id, body); got != want {
			t.Errorf("attempt %d: answer = %d, want %d", attempt+1, got, want)
		}
	}
	if got := r.Counts("/first"); got.Requests != 3 || got.Accepted != 1 || got.Distinct != 1 {
		t.Errorf("counts = %+v", got)
	}
}

// What hangs ends with the sender, and with the receiver.
func TestHangs(t *testing.T) {
	t.Parallel()
	s := newSender(t)
	r := start(t, receiver.Options{Secrets: []webhook.Secret{s.secret}})
	r.Behave("/hang", receiver.Always(receiver.Behaviour{Hang: true}))
	arrived := make(chan struct{}, 2)
	r.OnDelivery(func(receiver.Delivery) { arrived <- struct{}{} })
	id, body := event(1, 1, 1)

	ctx, cancel := context.WithCancel(t.Context())
	answer := make(chan int, 1)
	go func() { answer <- s.post(ctx, r.URL("hang"), id, body) }()
	<-arrived
	cancel()
	if got := <-answer; got != 0 {
		t.Errorf("answer = %d", got)
	}
	go func() { answer <- s.post(t.Context(), r.URL("hang"), id, body) }()
	<-arrived
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if got := <-answer; got != 0 {
		t.Errorf("answer = %d", got)
	}
	deliveries, _ := r.Snapshot()
	if len(deliveries) != 2 || deliveries[1].Accepted() || deliveries[1].Done != 0 || deliveries[1].Nth != 2 {
		t.Errorf("deliveries = %+v", deliveries)
	}
}

// A sender that dies in the middle of a body is not one that signs wrongly.
func TestCutRequestIsNotRefused(t *testing.T) {
	t.Parallel()
	s := newSender(t)
	r := start(t, receiver.Options{Secrets: []webhook.Secret{s.secret}})
	id, body := event(1, 1, 1)
	header, err := webhook.Sign(id, time.Now(), body, s.secret)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	var head strings.Builder
	_ = header.Write(&head)
	fmt.Fprintf(conn, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n%s", len(body), head.String(), body[:5])
	conn.Close()
	// The handler is the only one of its kind, so closing waits for it.
	deadline := time.After(10 * time.Second)
	for r.Counts("/a").Cut == 0 {
		select {
		case <-deadline:
			t.Fatalf("counts = %+v, refusals = %v", r.Counts("/a"), r.Refusals())
		case <-time.After(time.Millisecond):
		}
	}
	if got := r.Counts("/a"); got != (receiver.Counts{Cut: 1}) {
		t.Errorf("counts = %+v", got)
	}
}

func TestSometimesIsAFunctionOfTheSeed(t *testing.T) {
	t.Parallel()
	rule := receiver.Sometimes(42, 0.3, receiver.Behaviour{Status: 500}, receiver.Behaviour{Hang: true})
	again := receiver.Sometimes(42, 0.3, receiver.Behaviour{Status: 500}, receiver.Behaviour{Hang: true})
	other := receiver.Sometimes(43, 0.3, receiver.Behaviour{Status: 500}, receiver.Behaviour{Hang: true})
	var bad, differs int
	for i := range 1000 {
		d := receiver.Delivery{ID: fmt.Sprint(i), Nth: 1 + i%3}
		if rule(d) != again(d) {
			t.Fatalf("%+v: two answers from one seed", d)
		}
		if rule(d) != (receiver.Behaviour{}) {
			bad++
		}
		if rule(d) != other(d) {
			differs++
		}
	}
	if bad < 200 || bad > 400 || differs == 0 {
		t.Errorf("%d of 1000 misbehave, %d differ from another seed's", bad, differs)
	}
}

func TestKeepBoundsTheRecords(t *testing.T) {
	t.Parallel()
	s := newSender(t)
	r := start(t, receiver.Options{Secrets: []webhook.Secret{s.secret}, Keep: 1100})
	for seq := range 2500 {
		id, body := event(seq, seq, 1)
		s.post(t.Context(), r.URL("a"), id, body)
	}
	deliveries, forgotten := r.Snapshot()
	if len(deliveries)+forgotten != 2500 || len(deliveries) > 1100 || deliveries[len(deliveries)-1].Seq != 2499 {
		t.Errorf("%d kept, %d forgotten", len(deliveries), forgotten)
	}
	if got := r.Counts("/a"); got.Distinct != 2500 {
		t.Errorf("counts = %+v", got)
	}
}

func TestWaitFor(t *testing.T) {
	t.Parallel()
	s := newSender(t)
	r := start(t, receiver.Options{Secrets: []webhook.Secret{s.secret}})
	waited := make(chan error, 1)
	go func() { waited <- r.WaitFor(t.Context(), func() bool { return r.Counts("/a").Distinct >= 20 }) }()
	for seq := range 20 {
		id, body := event(seq, seq, 1)
		s.post(t.Context(), r.URL("a"), id, body)
	}
	if err := <-waited; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := r.WaitFor(ctx, func() bool { return false }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error = %v", err)
	}
}

func TestNeedsASecret(t *testing.T) {
	t.Parallel()
	if _, err := receiver.New(receiver.Options{}); !errors.Is(err, webhook.ErrInvalidSecret) {
		t.Errorf("error = %v", err)
	}
	if _, err := receiver.New(receiver.Options{Addr: "256.0.0.1:x", Secrets: []webhook.Secret{webhook.NewSecret()}}); err == nil {
		t.Error("listened on nonsense")
	}
}
