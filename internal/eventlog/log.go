package eventlog

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rowhook/rowhook/internal/change"
)

// Log is one writer of a source's log, and a way to its readers. Its methods may be called by many goroutines at once; appends
// take turns.
type Log struct {
	st        *stream
	writer    string
	importing bool

	mu sync.Mutex
	// place is the last sequence of the log as this writer knows it, once it has taken its place.
	placed bool
	place  uint64
	wrote  bool
	lost   error
	// What was begun at place, and may be there without this writer knowing: trying again must do the same.
	begun step
}

type step int

const (
	stepNone step = iota
	stepBlock
	stepSeal
)

// ID returns the random name the log was given when it was created. A store keeps a copy, so that a store and a log that do not
// belong together are noticed.
func (l *Log) ID() string { return l.st.id }

// Last returns the last whole block, from the disk, and takes the writer's place after it; ok is false if the log never held
// one. Blocks of which a crash left only a part do not count. It fails with ErrExpired if there were blocks and all have
// expired: the position to go on from is lost.
//
// Once the writer has appended, Last moves its place only past messages of its own.
func (l *Log) Last(ctx context.Context) (block []byte, h change.Header, ok bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, err := l.takePlace(ctx)
	switch {
	case err != nil:
		return nil, change.Header{}, false, err
	case e.block != nil:
		return e.block.Block, e.block.Header, true, nil
	case !e.expired:
		return nil, change.Header{}, false, nil
	}
	l.st.mu.Lock()
	next := l.st.nextSeq()
	l.st.mu.Unlock()
	return nil, change.Header{}, false, &ExpiredError{Source: l.st.source, Wanted: max(1, next) - 1, First: next}
}

// takePlace reads the end of the log and takes the place there; mu is held.
func (l *Log) takePlace(ctx context.Context) (end, error) {
	e, err := l.st.readEnd(ctx)
	if err != nil {
		return end{}, fmt.Errorf("read the end of the log of source %s: %w", l.st.source, err)
	}
	if !l.wrote || e.writer == l.writer {
		l.placed, l.place, l.begun = true, e.seq, stepNone
	}
	return e, nil
}

// Tail returns where the log ends: the seq of the next change, the position of the last block and when it was appended. All are
// zero while the log is empty. It does no input or output.
func (l *Log) Tail() (nextSeq uint64, pos change.Position, appended time.Time) {
	l.st.mu.Lock()
	defer l.st.mu.Unlock()
	t := &l.st.tail
	return t.header.NextSeq(), t.header.Position, t.appended
}

// State is what the blocks of a log take on the disk.
type State struct {
	Bytes, Messages uint64
	// Oldest and Newest are when the first and the last message were appended; zero if there is none.
	Oldest, Newest time.Time
}

// State asks the server what the log takes on the disk.
func (l *Log) State(ctx context.Context) (State, error) {
	e, err := l.st.srv.running(ctx)
	if err != nil {
		return State{}, err
	}
	c, err := l.st.refresh(ctx, e)
	if err != nil {
		return State{}, err
	}
	l.st.mu.Lock()
	sealed := l.st.sealed
	l.st.mu.Unlock()
	var out State
	for i, s := range c {
		seal := sealed
		if i+1 < len(c) {
			seal = c[i+1].base
		}
		out.add(s, seal)
	}
	return out, nil
}

// add counts a segment whose seal is at a sequence, 0 if it has none.
func (s *State) add(g segmentState, seal uint64) {
	if g.state.Msgs == 0 || seal > 0 && g.spent(seal) {
		return
	}
	if s.Messages == 0 {
		s.Oldest = g.state.FirstTime
	}
	s.Newest = g.state.LastTime
	s.Bytes += g.state.Bytes
	s.Messages += g.state.Msgs
	if seal > 0 {
		s.Messages--
	}
}

// First returns the seq of the first change that can still be read; of the next one if there is none, 0 if there never was one.
func (l *Log) First(ctx context.Context) (uint64, error) {
	e, err := l.st.srv.running(ctx)
	if err != nil {
		return 0, err
	}
	ms, err := l.st.fetch(ctx, e, 1, 1)
	if err != nil {
		return 0, err
	}
	if len(ms) == 0 {
		l.st.mu.Lock()
		defer l.st.mu.Unlock()
		return l.st.nextSeq(), nil
	}
	return ms[0].firstWhole(), nil
}

// firstWhole returns the seq of the first change that can be read from m on: a block whose first part is gone is not whole.
func (m message) firstWhole() uint64 {
	if m.mark.part > 1 {
		return m.mark.nextSeq()
	}
	return m.mark.firstSeq
}
