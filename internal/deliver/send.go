package deliver

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"github.com/rowhook/rowhook/internal/event"
)

// maxResponse is how much of an answer is read: enough to keep the connection, and never trusted.
const maxResponse = 16 << 10

// maxRetryAfter bounds what an endpoint may ask for.
const maxRetryAfter = 24 * time.Hour

type verdict int

const (
	// delivered: 2xx.
	delivered verdict = iota
	// failed: another try may help.
	failed
	// gone: 410, the endpoint wants no more.
	gone
	// dropped: a named rule says that it is not sent: its type does not make it any more, or retention removed it.
	dropped
	// poisoned: the types of today cannot make it.
	poisoned
	// aborted: the process is ending.
	aborted
)

// result is what came of an attempt.
type result struct {
	verdict    verdict
	attempt    *Attempt
	reason     string
	retryAfter time.Duration
	// mark settles the send in the journal; 0 if there was none.
	mark uint64
	// spare is set when the failure was ours and does not count against the schedule.
	spare bool
}

// outcome is what the endpoint did.
type outcome struct {
	code       string
	status     int
	err        string
	retryAfter time.Duration
}

// attempt sends one event once: gate, body, journal, request, outcome.
func (e *Engine) attempt(l *lane, it *item) result {
	if e.gate.wait(e.sendCtx) != nil || e.mayWrite(e.sendCtx) != nil {
		return result{verdict: aborted}
	}
	ep, ok := l.definition()
	if !ok {
		return result{verdict: aborted}
	}
	if it.body == nil {
		if res, ok := e.loadWithin(ep.Timeout, l, it); !ok {
			return res
		}
		if ep, ok = l.definition(); !ok {
			return result{verdict: aborted}
		}
	}
	started := time.Now()
	mark, err := e.deps.Journal.Append(l.sendRecord(it, started))
	if err != nil {
		// The next checkpoint that is written opens the gate again; until then one line says it for all.
		if e.gate.set(false) {
			e.opts.Log.Error("send journal not written, sending stops until it is", "source", e.opts.Source, "err", err)
		}
		return result{verdict: failed, spare: true, reason: "journal"}
	}
	out := e.post(ep, it, started)
	if out.code == "aborted" {
		return result{verdict: aborted}
	}
	took := time.Since(started)
	res := result{mark: mark, attempt: l.attemptRecord(it, started, out, took), reason: out.code, retryAfter: out.retryAfter}
	res.verdict = verdictOf(out)
	e.observe(l, it, res, started.Add(took))
	return res
}

func verdictOf(out outcome) verdict {
	switch out.code {
	case "ok":
		return delivered
	case "gone":
		return gone
	default:
		return failed
	}
}

// loadWithin is load with a deadline.
func (e *Engine) loadWithin(timeout time.Duration, l *lane, it *item) (result, bool) {
	ctx, cancel := context.WithTimeout(e.sendCtx, timeout)
	defer cancel()
	return e.load(ctx, l, it)
}

// post sends the request of one attempt, which began at the given time.
func (e *Engine) post(ep *Endpoint, it *item, at time.Time) outcome {
	a, err := e.deps.Client.Post(e.sendCtx, ep.target, ep.request(it, at), at.Add(ep.Timeout))
	if err != nil {
		return e.failure(err)
	}
	out := answer(a)
	// The status has said all that counts, whatever becomes of the rest.
	if a.Cut != nil && out.code != "ok" {
		out.err = "answer cut off: " + a.Cut.Error()
	}
	return out
}

func answer(a Answer) outcome {
	out := outcome{status: a.Status}
	switch {
	case a.Status >= 200 && a.Status < 300:
		out.code = "ok"
	case a.Status == http.StatusGone:
		out.code = "gone"
	default:
		out.code = "http_" + strconv.Itoa(a.Status)
		if a.Status == http.StatusTooManyRequests || a.Status == http.StatusServiceUnavailable {
			out.retryAfter = retryAfter(a.RetryAfter, time.Now())
		}
	}
	return out
}

// retryAfter reads a Retry-After header: seconds, or an HTTP date.
func retryAfter(h string, now time.Time) time.Duration {
	if h == "" {
		return 0
	}
	d := time.Duration(0)
	if s, err := strconv.ParseUint(h, 10, 32); err == nil {
		d = time.Duration(s) * time.Second
	} else if t, err := http.ParseTime(h); err == nil {
		d = t.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}

// failure names what went wrong without an answer.
func (e *Engine) failure(err error) outcome {
	if e.sendCtx.Err() != nil {
		return outcome{code: "aborted"}
	}
	code := failureCode(err)
	return outcome{code: code, err: err.Error()}
}

func failureCode(err error) string {
	if errors.Is(err, ErrEgressBlocked) || errors.Is(err, ErrEgressURL) {
		return "egress"
	}
	if isTimeout(err) {
		return "timeout"
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return "dns"
	}
	if isTLS(err) {
		return "tls"
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "reset"
	default:
		return "network"
	}
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return errors.Is(err, context.DeadlineExceeded) || ok && t.Timeout()
}

func isTLS(err error) bool {
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, verify := errors.AsType[*tls.CertificateVerificationError](err)
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	return record || verify || unknown || alert
}

// request makes the signed request of one attempt. The signature is of this attempt's time; the id is the event's.
func (ep *Endpoint) request(it *item, at time.Time) *Request {
	ts := at.Unix()
	h := append(make([]byte, 0, len(ep.head)+320), ep.head...)
	h = append(append(append(h, "Webhook-Id: "...), it.id...), "\r\nWebhook-Timestamp: "...)
	h = append(strconv.AppendInt(h, ts, 10), "\r\nWebhook-Signature: "...)
	h = append(ep.signer.AppendSignature(h, it.id, ts, it.body), "\r\nRowhook-Attempt: "...)
	h = append(strconv.AppendUint(h, uint64(it.attempts)+1, 10), "\r\nRowhook-Seq: "...)
	h = append(strconv.AppendUint(h, it.ref.Seq, 10), "\r\nContent-Length: "...)
	h = strconv.AppendInt(h, int64(len(it.body)), 10)
	if it.test {
		h = append(h, "\r\nRowhook-Test: 1"...)
	}
	return &Request{Head: append(h, "\r\n\r\n"...), Body: it.body}
}

func (l *lane) sendRecord(it *item, at time.Time) Send {
	return Send{
		Source: l.engine.opts.Source, Endpoint: l.sender.name, Seq: it.ref.Seq, Type: it.ref.Type, EventID: it.id,
		Epoch: l.engine.epoch(l.slot), Attempt: it.attempts + 1, TimeUS: at.UnixMicro(),
	}
}

func (l *lane) attemptRecord(it *item, started time.Time, out outcome, took time.Duration) *Attempt {
	a := &Attempt{
		Source: l.engine.opts.Source, Endpoint: l.sender.name, Seq: it.ref.Seq, Type: it.ref.Type, EventID: it.id,
		Attempt: it.attempts + 1, Epoch: l.engine.epoch(l.slot),
		StartedUS: started.UnixMicro(), DurationUS: took.Microseconds(),
		Status: out.status, Outcome: out.code, Error: out.err,
	}
	if it.body != nil {
		a.BodySHA256 = sha256.Sum256(it.body)
	}
	switch {
	case it.test:
		a.Cause = "test"
	case it.attempts > 0 || it.probe:
		a.Cause = "retry"
	}
	return a
}

// errNoEvent says that the types of today make no such event of the change.
var errNoEvent = errors.New("the types make no such event any more")

// errPoison says that the types of today fail on the change: trying again cannot help.
var errPoison = errors.New("the event cannot be made")

// render reads an event back from the log into the item. It is found by its id: a change may make several events of one type.
func (e *Engine) render(ctx context.Context, it *item) error {
	found := false
	err := e.eventsAt(ctx, it.ref.Seq, func(ev *event.Event) error {
		if ev.ID != it.id {
			return nil
		}
		b := body{}
		if err := b.render(ev); err != nil {
			return fmt.Errorf("%w: %w", errPoison, err)
		}
		it.body, found = b.bytes, true
		return nil
	})
	if err == nil && !found {
		return errNoEvent
	}
	return err
}
