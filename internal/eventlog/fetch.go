package eventlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	fetchTimeout = 20 * time.Second
	// A fetch stops at the message that passes fetchBytes; the server holds appends back while it runs.
	fetchBytes    = 1 << 20
	fetchMessages = 256
)

// message is one message of a log.
type message struct {
	seq  uint64
	at   time.Time
	mark mark
	data []byte
}

type getRequest struct {
	Seq      uint64 `json:"seq"`
	Batch    int    `json:"batch"`
	MaxBytes int    `json:"max_bytes"`
}

// errNoSegment says that the server does not know a segment, or has not begun to answer for it.
var errNoSegment = errors.New("no such segment")

// fetch returns up to n messages from a sequence on, all of one segment; none if there are none.
func (st *stream) fetch(ctx context.Context, e *engine, from uint64, n int) ([]message, error) {
	for {
		st.mu.Lock()
		g, end := st.segs.holding(from)
		st.mu.Unlock()
		from = max(from, g.base+1)
		ms, err := st.fetchIn(ctx, e, g, from, n)
		if errors.Is(err, errNoSegment) && st.dropped(g) {
			continue
		}
		if err != nil || len(ms) > 0 || end == 0 {
			return ms, err
		}
		from = end + 1
	}
}

// dropped says whether a segment has expired and is no longer of the log.
func (st *stream) dropped(g segment) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return !st.segs.has(g.number)
}

func (st *stream) fetchIn(ctx context.Context, e *engine, g segment, from uint64, n int) ([]message, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	inbox := e.read.NewInbox()
	sub, err := e.read.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("read log of source %s: %w", st.source, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only on a closed connection
	req, err := json.Marshal(getRequest{Seq: from, Batch: n, MaxBytes: fetchBytes})
	if err != nil {
		return nil, fmt.Errorf("read log of source %s: %w", st.source, err)
	}
	if err := e.read.PublishRequest("$JS.API.DIRECT.GET."+g.name, inbox, req); err != nil {
		return nil, fmt.Errorf("read log of source %s: %w", st.source, err)
	}
	var out []message
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return nil, fmt.Errorf("read log of source %s from stream sequence %d: %w", st.source, from, err)
		}
		switch status := m.Header.Get("Status"); status {
		case "":
		case "204", "404":
			return out, nil
		case "503":
			return nil, fmt.Errorf("read log of source %s, segment %d: %w", st.source, g.number, errNoSegment)
		default:
			return nil, fmt.Errorf("read log of source %s from stream sequence %d: status %s %s", st.source, from, status, m.Header.Get("Description"))
		}
		got, err := st.message(m)
		if err != nil {
			return nil, err
		}
		out = append(out, got)
	}
}

func (st *stream) message(m *nats.Msg) (message, error) {
	seq, err := strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64)
	if err != nil {
		return message{}, fmt.Errorf("read log of source %s: a message without a sequence", st.source)
	}
	at, err := time.Parse(time.RFC3339Nano, m.Header.Get("Nats-Time-Stamp"))
	if err != nil {
		return message{}, fmt.Errorf("read log of source %s: time of message %d: %w", st.source, seq, err)
	}
	mk, err := parseMark(m.Header.Get(markHeader))
	if err != nil {
		return message{}, &CorruptError{Source: st.source, StreamSeq: seq, Reason: err.Error()}
	}
	if mk.seal, err = parseSeal(m.Header.Get(sealHeader)); err != nil {
		return message{}, &CorruptError{Source: st.source, StreamSeq: seq, Reason: err.Error()}
	}
	if mk.appended, err = parseAppended(m.Header.Get(appendedHeader)); err != nil {
		return message{}, &CorruptError{Source: st.source, StreamSeq: seq, Reason: err.Error()}
	}
	if mk.appended > 0 {
		at = time.UnixMicro(mk.appended)
	}
	return message{seq: seq, at: at, mark: mk, data: m.Data}, nil
}

// lasting says whether a read fails the same way when it is tried again.
func lasting(err error) bool {
	return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrExpired) || errors.Is(err, ErrClosed)
}
