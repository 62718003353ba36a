package eventlog

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	idKey     = "rowhook-log-id"
	sourceKey = "rowhook-source"
	numberKey = "rowhook-segment"
	firstKey  = "rowhook-first-seq"

	streamPrefix = "log_"
	// numberLen is fixed, so that names sort as numbers do and no source's name can end like a number.
	numberLen = 8
	// defaultSegmentBytes is where a segment is closed. A killed process rereads about as much of the newest one at 2 GB/s; the files of
	// a segment are open to the server as one stream, of which a large log should not have thousands.
	defaultSegmentBytes = 1 << 30
)

// segment is one stream of a log's chain.
type segment struct {
	// number counts from 1.
	number        uint64
	name, subject string
	// base is the stream sequence before its first message: that of the seal of the segment before it.
	base uint64
	// first is the seq of the first change it can hold; 0 in segment 1, which takes any.
	first uint64
}

func newSegment(source string, number, base, first uint64) segment {
	n := fmt.Sprintf("%0*d", numberLen, number)
	return segment{number: number, name: streamPrefix + source + "_" + n, subject: "log." + source + "." + n, base: base, first: first}
}

// sourceOf returns the source whose segment a stream's name says it is.
func sourceOf(name string) (source string, ok bool) {
	rest, ok := strings.CutPrefix(name, streamPrefix)
	at := len(rest) - numberLen - 1
	if !ok || at < 1 || rest[at] != '_' || strings.Trim(rest[at+1:], "0123456789") != "" {
		return "", false
	}
	return rest[:at], true
}

// config is the same whoever makes it, so that two that create a segment at once agree.
func (g segment) config(st *stream) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: g.name, Subjects: []string{g.subject}, Storage: jetstream.FileStorage, Replicas: 1, FirstSeq: g.base + 1,
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew, MaxMsgs: -1, MaxBytes: -1, MaxMsgSize: -1, MaxConsumers: -1,
		MaxAge: st.srv.opts.Retention, Duplicates: minDuplicates, AllowDirect: true, DenyDelete: true, DenyPurge: true,
		Metadata: map[string]string{
			idKey: st.id, sourceKey: st.source, numberKey: strconv.FormatUint(g.number, 10), firstKey: strconv.FormatUint(g.first, 10),
		},
	}
}

// parseSegment reads back what config wrote; the log's id is for the caller to compare.
func parseSegment(source string, c jetstream.StreamConfig) (segment, error) {
	number, err := strconv.ParseUint(c.Metadata[numberKey], 10, 64)
	if err != nil {
		return segment{}, fmt.Errorf("stream %s: its segment number %q: %w", c.Name, c.Metadata[numberKey], err)
	}
	first, err := strconv.ParseUint(c.Metadata[firstKey], 10, 64)
	if err != nil {
		return segment{}, fmt.Errorf("stream %s: its first seq %q: %w", c.Name, c.Metadata[firstKey], err)
	}
	g := newSegment(source, number, max(1, c.FirstSeq)-1, first)
	if number == 0 || g.name != c.Name {
		return segment{}, fmt.Errorf("stream %s says that it is segment %d", c.Name, number)
	}
	return g, nil
}

// segmentState is a segment with what the server knows of its stream.
type segmentState struct {
	segment
	config jetstream.StreamConfig
	state  jetstream.StreamState
}

// spent says whether no block is left in a segment that is not the newest: its seal, at sequence seal, does not count.
func (s segmentState) spent(seal uint64) bool {
	return s.state.Msgs == 0 || s.state.FirstSeq >= seal
}

// chain is the whole log as the server sees it, oldest segment first.
type chain []segmentState

// check says what is wrong with a chain that does not hang together.
func (c chain) check(source string) error {
	for i, s := range c {
		if i == 0 {
			continue
		}
		before := c[i-1]
		switch {
		case s.number != before.number+1:
			return &CorruptError{Source: source, StreamSeq: before.state.LastSeq + 1, Reason: fmt.Sprintf("segment %d is missing", before.number+1)}
		case s.base <= before.base || s.first < before.first:
			return &CorruptError{Source: source, StreamSeq: s.base + 1, Reason: fmt.Sprintf("segment %d does not continue segment %d", s.number, before.number)}
		}
	}
	return nil
}

// msgs counts the messages, seals included; first and last are the ends of their sequences.
func (c chain) msgs() (n uint64) {
	for _, s := range c {
		n += s.state.Msgs
	}
	return n
}

func (c chain) last() uint64 {
	n := len(c) - 1
	return max(c[n].state.LastSeq, c[n].base)
}

func (c chain) first() uint64 {
	for _, s := range c {
		if s.state.Msgs > 0 {
			return s.state.FirstSeq
		}
	}
	return c.last() + 1
}

// segments are the chain as writers and readers use it; held under the stream's mu and replaced, never modified.
type segments []segment

func (s segments) newest() segment { return s[len(s)-1] }

// holding returns the segment that holds a sequence, or the oldest one there is, and the base of the one after it, 0 if it is the
// newest.
func (s segments) holding(seq uint64) (g segment, end uint64) {
	i, _ := slices.BinarySearchFunc(s, seq, func(g segment, seq uint64) int {
		if g.base < seq {
			return -1
		}
		return 1
	})
	i = max(1, i) - 1
	if i+1 < len(s) {
		end = s[i+1].base
	}
	return s[i], end
}

func (s segments) has(number uint64) bool {
	return len(s) > 0 && s[0].number <= number && number <= s.newest().number
}
