package webhook_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/rowhook/rowhook/webhook"
)

// at returns a clock that stands d after the time of the vectors.
func at(d time.Duration) webhook.Option {
	return webhook.WithClock(func() time.Time { return time.Unix(vectorTime, 0).Add(d) })
}

// vectorHeader returns the headers of the v1 vector, each changed by an edit.
func vectorHeader(edits ...func(http.Header)) http.Header {
	h := http.Header{}
	h.Set("webhook-id", vectorID)
	h.Set("webhook-timestamp", fmt.Sprint(vectorTime))
	h.Set("webhook-signature", vectorV1)
	for _, edit := range edits {
		edit(h)
	}
	return h
}

func set(name, value string) func(http.Header) { return func(h http.Header) { h.Set(name, value) } }
func add(name, value string) func(http.Header) { return func(h http.Header) { h.Add(name, value) } }
func del(name string) func(http.Header)        { return func(h http.Header) { h.Del(name) } }

func TestVerify(t *testing.T) {
	t.Parallel()
	const wrong = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="
	const sig, id, ts = "webhook-signature", "webhook-id", "webhook-timestamp"
	for _, tc := range []struct {
		name string
		edit func(http.Header)
		want error
	}{
		{"the vector", set(sig, vectorV1), nil},
		{"right among wrong", set(sig, wrong+" v2,xyz "+vectorV1+" "+wrong), nil},
		{"doubled spaces", set(sig, "  "+vectorV1+"  "), nil},
		{"no id", del(id), webhook.ErrMissingHeader},
		{"no timestamp", del(ts), webhook.ErrMissingHeader},
		{"no signature", del(sig), webhook.ErrMissingHeader},
		{"empty id", set(id, ""), webhook.ErrMissingHeader},
		{"empty signature header", set(sig, ""), webhook.ErrMissingHeader},
		{"two ids", add(id, "other"), webhook.ErrInvalidHeader},
		{"two timestamps", add(ts, "1614265330"), webhook.ErrInvalidHeader},
		{"two signature headers", add(sig, vectorV1), webhook.ErrInvalidHeader},
		{"endless list", set(sig, strings.Repeat(wrong+" ", 100)+vectorV1), webhook.ErrInvalidHeader},
		{"id with a dot", set(id, "msg.1"), webhook.ErrInvalidID},
		{"id with a line break", set(id, "msg\n1"), webhook.ErrInvalidID},
		{"timestamp in words", set(ts, "now"), webhook.ErrInvalidTimestamp},
		{"timestamp with a sign", set(ts, "+1614265330"), webhook.ErrInvalidTimestamp},
		{"timestamp before 1970", set(ts, "-1"), webhook.ErrInvalidTimestamp},
		{"timestamp with zeros", set(ts, "01614265330"), webhook.ErrInvalidTimestamp},
		{"timestamp with a fraction", set(ts, "1614265330.5"), webhook.ErrInvalidTimestamp},
		{"timestamp with a space", set(ts, " 1614265330"), webhook.ErrInvalidTimestamp},
		{"timestamp too long", set(ts, "99999999999999999999"), webhook.ErrInvalidTimestamp},
		{"timestamp in nanoseconds", set(ts, "1614265330000000000"), webhook.ErrInvalidTimestamp},
		{"timestamp in the year 9999", set(ts, "253402300799"), webhook.ErrTooNew},
		{"timestamp zero", set(ts, "0"), webhook.ErrTooOld},
		{"other timestamp", set(ts, "1614265331"), webhook.ErrNoMatch},
		{"other id", set(id, "msg_other"), webhook.ErrNoMatch},
		{"wrong signature", set(sig, wrong), webhook.ErrNoMatch},
		{"version and nothing", set(sig, "v1,"), webhook.ErrNoMatch},
		{"version alone", set(sig, "v1"), webhook.ErrNoMatch},
		{"only commas", set(sig, ", ,, v1,,"), webhook.ErrNoMatch},
		{"unknown version", set(sig, strings.Replace(vectorV1, "v1", "v2", 1)), webhook.ErrNoMatch},
		{"no version", set(sig, strings.TrimPrefix(vectorV1, "v1,")), webhook.ErrNoMatch},
		{"upper case version", set(sig, strings.Replace(vectorV1, "v1", "V1", 1)), webhook.ErrNoMatch},
		{"HMAC called v1a", set(sig, strings.Replace(vectorV1, "v1", "v1a", 1)), webhook.ErrNoMatch},
		{"prefix of the right one", set(sig, vectorV1[:20]), webhook.ErrNoMatch},
		{"right one and more", set(sig, vectorV1+"A"), webhook.ErrNoMatch},
		{"separated by a tab", set(sig, wrong+"\t"+vectorV1), webhook.ErrNoMatch},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			secrets := []webhook.Secret{mustParse(t, vectorSecret)}
			msg, err := webhook.Verify(secrets, vectorHeader(tc.edit), []byte(vectorBody), at(0))
			wantIs(t, err, tc.want)
			if (msg.ID == "") != (tc.want != nil) {
				t.Errorf("Message is %+v beside %v", msg, err)
			}
		})
	}
}

func TestVerifyOtherContent(t *testing.T) {
	t.Parallel()
	secrets := []webhook.Secret{mustParse(t, vectorSecret)}
	for _, body := range []string{"", vectorBody + " ", strings.ReplaceAll(vectorBody, " ", ""), vectorBody[1:]} {
		_, err := webhook.Verify(secrets, vectorHeader(), []byte(body), at(0))
		wantIs(t, err, webhook.ErrNoMatch)
	}
	_, err := webhook.Verify([]webhook.Secret{webhook.NewSecret()}, vectorHeader(), []byte(vectorBody), at(0))
	wantIs(t, err, webhook.ErrNoMatch)
}

func TestVerifySecrets(t *testing.T) {
	t.Parallel()
	v1, v1a, public := mustParse(t, vectorSecret), mustParse(t, vectorSigning), mustParse(t, vectorPublic)
	_, stranger := webhook.NewKeyPair()
	list := func(secrets ...webhook.Secret) []webhook.Secret { return secrets }
	for _, tc := range []struct {
		name      string
		secrets   []webhook.Secret
		signature string
		want      error
	}{
		{"public key", list(public), vectorV1a, nil},
		{"signing key", list(v1a), vectorV1a, nil},
		{"old and new secret", list(webhook.NewSecret(), v1), vectorV1, nil},
		{"one of each", list(stranger, public, v1), vectorV1, nil},
		{"v1a beside v1", list(public), vectorV1 + " v1a,AAAA " + vectorV1a, nil},
		{"other public key", list(stranger), vectorV1a, webhook.ErrNoMatch},
		{"v1a called v1", list(public, v1), strings.Replace(vectorV1a, "v1a", "v1", 1), webhook.ErrNoMatch},
		{"v1 for a public key", list(public), vectorV1, webhook.ErrNoMatch},
		{"v1a cut short", list(public), vectorV1a[:60], webhook.ErrNoMatch},
		{"none", nil, vectorV1, webhook.ErrInvalidSecret},
		{"a zero one", list(v1, webhook.Secret{}), vectorV1, webhook.ErrInvalidSecret},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			header := vectorHeader(set("webhook-signature", tc.signature))
			_, err := webhook.Verify(tc.secrets, header, []byte(vectorBody), at(0))
			wantIs(t, err, tc.want)
		})
	}
}

func TestVerifyTolerance(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		late time.Duration
		opt  webhook.Option
		want error
	}{
		{"as old as allowed", 5 * time.Minute, nil, nil},
		{"too old", 5*time.Minute + 1, nil, webhook.ErrTooOld},
		{"as new as allowed", -5 * time.Minute, nil, nil},
		{"too new", -5*time.Minute - 1, nil, webhook.ErrTooNew},
		{"older than a Duration", math.MaxInt64, nil, webhook.ErrTooOld},
		{"newer than a Duration", math.MinInt64, nil, webhook.ErrTooNew},
		{"wider", time.Hour, webhook.WithTolerance(time.Hour), nil},
		{"narrower", 2 * time.Second, webhook.WithTolerance(time.Second), webhook.ErrTooOld},
		{"negative", 0, webhook.WithTolerance(-1), webhook.ErrTooOld},
		{"any time", 1000 * time.Hour, webhook.WithAnyTimestamp(), nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			opts := []webhook.Option{at(tc.late)}
			if tc.opt != nil {
				opts = append(opts, tc.opt)
			}
			_, err := webhook.Verify([]webhook.Secret{mustParse(t, vectorSecret)}, vectorHeader(), []byte(vectorBody), opts...)
			wantIs(t, err, tc.want)
		})
	}
}

func TestVerifyRequest(t *testing.T) {
	t.Parallel()
	verifier, err := webhook.NewVerifier([]webhook.Secret{mustParse(t, vectorSecret)}, at(0))
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("connection cut")
	size := int64(len(vectorBody))
	for _, tc := range []struct {
		name   string
		body   io.Reader
		limit  int64
		header http.Header
		want   error
	}{
		{"exactly the limit", strings.NewReader(vectorBody), size, vectorHeader(), nil},
		{"no length, exactly the limit", iotest.OneByteReader(strings.NewReader(vectorBody)), size, vectorHeader(), nil},
		{"default limit", strings.NewReader(vectorBody), 0, vectorHeader(), nil},
		{"largest limit", iotest.HalfReader(strings.NewReader(vectorBody)), math.MaxInt64, vectorHeader(), nil},
		{"too large by its length", strings.NewReader(vectorBody), size - 1, vectorHeader(), webhook.ErrBodyTooLarge},
		{"too large when read", iotest.OneByteReader(strings.NewReader(vectorBody)), size - 1, vectorHeader(), webhook.ErrBodyTooLarge},
		{"over the default", bytes.NewReader(make([]byte, webhook.DefaultMaxBody+1)), 0, vectorHeader(), webhook.ErrBodyTooLarge},
		{"cut", iotest.ErrReader(broken), 0, vectorHeader(), broken},
		{"headers refused before reading", iotest.ErrReader(broken), 0, http.Header{}, webhook.ErrMissingHeader},
		{"other body", strings.NewReader("{}"), 0, vectorHeader(), webhook.ErrNoMatch},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodPost, "/", tc.body)
			r.Header = tc.header
			msg, err := verifier.VerifyRequest(r, tc.limit)
			wantIs(t, err, tc.want)
			if tc.want == nil && string(msg.Body) != vectorBody {
				t.Errorf("Body is %q", msg.Body)
			}
		})
	}
	if _, err := verifier.VerifyRequest(&http.Request{Header: vectorHeader()}, 0); !errors.Is(err, webhook.ErrNoMatch) {
		t.Errorf("a request without a body: %v", err)
	}
}

// FuzzVerify gives the parser any headers. What it accepts must be what the
// secret signs for exactly these headers and this body.
func FuzzVerify(f *testing.F) {
	secret, signing := mustParse(f, vectorSecret), mustParse(f, vectorSigning)
	signer := mustSigner(f, secret, signing)
	verifier, err := webhook.NewVerifier([]webhook.Secret{secret, signing}, webhook.WithAnyTimestamp())
	if err != nil {
		f.Fatal(err)
	}
	ts := fmt.Sprint(vectorTime)
	f.Add(vectorID, ts, vectorV1, []byte(vectorBody))
	f.Add(vectorID, ts, vectorV1a, []byte(vectorBody))
	f.Add(vectorID, ts, "v2,x  v1, v1a,= v1,, "+vectorV1, []byte(vectorBody))
	f.Add("a.b", "-0", ",", []byte(nil))
	f.Fuzz(func(t *testing.T, id, ts, signatures string, body []byte) {
		header := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {ts}, "Webhook-Signature": {signatures}}
		msg, err := verifier.Verify(header, body)
		if err != nil {
			return
		}
		if msg.ID != id || fmt.Sprint(msg.Timestamp.Unix()) != ts || webhook.CheckID(id) != nil {
			t.Fatalf("accepted %q at %q as %+v", id, ts, msg)
		}
		right := strings.Fields(string(signer.AppendSignature(nil, id, msg.Timestamp.Unix(), body)))
		if !slices.ContainsFunc(right, func(s string) bool { return strings.Contains(signatures, s) }) {
			t.Fatalf("accepted %q, right are %q", signatures, right)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	header := vectorHeader()
	verifier, err := webhook.NewVerifier([]webhook.Secret{mustParse(b, vectorSecret)}, at(0))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := verifier.Verify(header, []byte(vectorBody)); err != nil {
			b.Fatal(err)
		}
	}
}
