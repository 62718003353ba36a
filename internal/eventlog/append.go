package eventlog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rowhook/rowhook/internal/change"
)

const (
	// publishTimeout is long enough for a disk that stalls, publishTries times.
	publishTimeout = 15 * time.Second
	publishTries   = 3
)

// Append adds a block, whose header is h, to the log. When it returns nil the block is on the disk and on its way to the
// readers; the block then belongs to the log and must not be modified.
//
// The block must continue the log: h.FirstSeq is the last block's NextSeq, or any seq from 1 on if the log is empty. The first
// append takes the writer's place, unless Last did.
//
// ErrFenced is for good: open the log again, read Last, and go on from there. Any other error leaves the writer its place: append
// the same block again (it is never written twice), or ask Last whether it is there.
func (l *Log) Append(ctx context.Context, block []byte, h change.Header) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.append(ctx, block, h, time.Time{}); err != nil {
		return fmt.Errorf("append block %d of source %s: %w", h.FirstSeq, l.st.source, err)
	}
	return nil
}

// append adds a block that was appended to another log at the given time, or now if that is zero; mu is held.
func (l *Log) append(ctx context.Context, block []byte, h change.Header, appended time.Time) error {
	if l.lost != nil {
		return l.lost
	}
	if !l.placed {
		if _, err := l.takePlace(ctx); err != nil {
			return err
		}
	}
	h, err := l.check(block, h)
	if err != nil {
		return err
	}
	if err := l.makeRoom(ctx); err != nil {
		return err
	}
	marks, parts := cut(block, h, l.writer, l.st.srv.opts.MaxPayload)
	if appended.IsZero() {
		appended = time.Now()
	} else {
		for i := range marks {
			marks[i].appended = appended.UnixMicro()
		}
	}
	l.wrote, l.begun = true, stepBlock
	place := l.place
	for i := range parts {
		if err := l.put(ctx, parts[i], marks[i], place); err != nil {
			return err
		}
		place++
	}
	entry := &Entry{Block: block, Header: h, StreamSeq: l.place + 1, Appended: appended, last: place}
	l.place, l.begun = place, stepNone
	l.st.appended(entry)
	return nil
}

// check returns the block's own header.
func (l *Log) check(block []byte, h change.Header) (change.Header, error) {
	own, err := change.ParseHeader(block)
	if err != nil {
		return own, err
	}
	l.st.mu.Lock()
	t, first := l.st.tail, l.st.segs.newest().first
	l.st.mu.Unlock()
	switch {
	case own.FirstSeq != h.FirstSeq || own.Changes != h.Changes || own.Epoch != h.Epoch:
		return own, fmt.Errorf("the block starts at seq %d with %d changes in epoch %d, its header says %d, %d and %d",
			own.FirstSeq, own.Changes, own.Epoch, h.FirstSeq, h.Changes, h.Epoch)
	case own.Source != l.st.source:
		return own, fmt.Errorf("the block is of source %q", own.Source)
	case own.FirstSeq == 0:
		return own, errors.New("seqs begin at 1")
	case t.end != l.place:
		// The log has moved on: whether by a message of ours is for the fence to say.
		return own, nil
	case t.known && own.Epoch < t.header.Epoch:
		return own, l.lose()
	case t.known && own.FirstSeq != t.header.NextSeq():
		return own, fmt.Errorf("the log goes on at seq %d", t.header.NextSeq())
	case !t.known && own.FirstSeq < first:
		return own, fmt.Errorf("all blocks of the log have expired, it goes on at seq %d or after it", first)
	}
	return own, nil
}

func (l *Log) lose() error {
	l.lost = ErrFenced
	return l.lost
}

// put makes the message after place this one, and returns when it is durable. Trying again is safe: the server takes the
// message only right after place, and one that is there already is recognised.
func (l *Log) put(ctx context.Context, data []byte, m mark, place uint64) error {
	for try := 1; ; try++ {
		e, err := l.st.srv.running(ctx)
		if err != nil {
			return err
		}
		err = e.publish(ctx, l.st, data, m, place)
		var api *jetstream.APIError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &api) && isFence(api.ErrorCode):
			return l.settle(ctx, e, data, m, place+1)
		case errors.As(err, &api):
			return err
		case ctx.Err() != nil:
			return fmt.Errorf("gave up while it was under way: %w", ctx.Err())
		}
		e.checkAlive()
		if cause := context.Cause(e.broken); cause != nil {
			return diskError(l.st.srv.opts.Dir, cause)
		}
		if try == publishTries {
			return fmt.Errorf("no answer from the log's server after %d tries: %w", try, err)
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}

func isFence(c jetstream.ErrorCode) bool {
	// 10164 is how a cluster says it.
	return c == jetstream.JSErrCodeStreamWrongLastSequence || c == 10164
}

// settle finds out whose message stands in the place of ours.
func (l *Log) settle(ctx context.Context, e *engine, data []byte, m mark, seq uint64) error {
	ms, err := l.st.fetch(ctx, e, seq, 1)
	if err != nil {
		return fmt.Errorf("find out whether it is there: %w", err)
	}
	if len(ms) == 1 && ms[0].seq == seq && ms[0].mark == m && bytes.Equal(ms[0].data, data) {
		return nil
	}
	return l.lose()
}

// pause waits before the next try: 50 ms, doubling, at most 5 s, less up to a half.
func pause(ctx context.Context, try int) error {
	d := min(50*time.Millisecond<<min(try-1, 10), 5*time.Second)
	t := time.NewTimer(d - rand.N(d/2))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type ack struct {
	Error *jetstream.APIError `json:"error"`
	Seq   uint64              `json:"seq"`
}

// publish sends one message to the newest segment and waits until it is synced. It gives up as soon as the disk fails: the server would not answer.
func (e *engine) publish(ctx context.Context, st *stream, data []byte, m mark, place uint64) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	defer context.AfterFunc(e.broken, cancel)()
	st.mu.Lock()
	g := st.segs.newest()
	st.mu.Unlock()
	msg := nats.NewMsg(g.subject)
	msg.Header.Set(markHeader, m.String())
	if m.seal > 0 {
		msg.Header.Set(sealHeader, strconv.FormatUint(m.seal, 10))
	}
	if m.appended > 0 {
		msg.Header.Set(appendedHeader, strconv.FormatInt(m.appended, 10))
	}
	msg.Header.Set(jetstream.ExpectedLastSeqHeader, fmt.Sprint(place))
	msg.Header.Set(jetstream.ExpectedStreamHeader, g.name)
	msg.Data = data
	resp, err := e.write.RequestMsgWithContext(ctx, msg)
	if err != nil {
		return err
	}
	var a ack
	if err := json.Unmarshal(resp.Data, &a); err != nil {
		return fmt.Errorf("read the acknowledgement: %w", err)
	}
	if a.Error != nil {
		return a.Error
	}
	if a.Seq != place+1 {
		return fmt.Errorf("acknowledged as sequence %d, expected %d", a.Seq, place+1)
	}
	return nil
}
