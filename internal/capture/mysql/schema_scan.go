package mysql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// scan looks through the binlog from a place to its present end for statements of definitions.
func (r *Replica) scan(ctx context.Context, s *session, d *ddlScan, from place) error {
	now, err := s.now(ctx)
	if err != nil {
		return fmt.Errorf("ask for the end of the binlog: %w", err)
	}
	if d.stop = (place{file: now.File, offset: now.Offset}); d.reached() {
		return nil
	}
	err = r.dump(ctx, s, d, beginning{place: &from}, r.derivedID(idOfSecondDump))
	if errors.Is(err, errSeen) {
		return nil
	}
	return err
}

// ddlScan takes the events of a dump beside the stream's own. It reads statements only.
//
// Compressed transactions are passed over: no statement of definitions stands in one but CREATE TABLE … SELECT, whose table had no rows
// before.
type ddlScan struct {
	names   names
	touched func(touched)
	heardOf func()
	from    place // statements up to there are not asked for; a dump may begin earlier
	stop    place

	file        string
	end         uint64
	checksummed bool
	err         error
}

func (d *ddlScan) reached() bool { return d.file == d.stop.file && d.end >= d.stop.offset }

func (d *ddlScan) connected(checksummed bool) { d.checksummed = checksummed }

func (d *ddlScan) heard(time.Time) { d.heardOf() }

func (d *ddlScan) event(raw []byte) error {
	if d.err = d.take(raw); d.err == nil && d.reached() {
		d.err = errSeen
	}
	return d.err
}

func (d *ddlScan) take(raw []byte) (err error) {
	h, err := parseHeader(raw)
	if err != nil {
		return err
	}
	body := raw[headerSize:]
	if h.kind == evFormatDescription {
		d.checksummed, err = parseFormat(body)
		return err
	}
	if d.checksummed {
		if len(body) < checksumSize {
			return malformedEvent("event of type %d has no checksum", h.kind)
		}
		body = body[:len(body)-checksumSize]
	}
	switch h.kind {
	case evHeartbeat, evHeartbeatV2:
		return nil
	case evRotate:
		d.file, d.end, err = parseRotate(body)
		return err
	}
	if h.flags&flagArtificial == 0 {
		d.end = endOffset(d.end, h)
	}
	early := d.file == d.from.file && d.end <= d.from.offset
	if !early && (h.kind == evQuery || h.kind == evMariaQueryZip) {
		return d.query(h, body)
	}
	return nil
}

func (d *ddlScan) query(h eventHeader, body []byte) (err error) {
	if h.kind == evMariaQueryZip {
		if body, err = inflateQuery(body); err != nil {
			return err
		}
	}
	schema, text, err := parseQuery(body)
	if err != nil {
		return err
	}
	if classifyStatement(schema, text) != stmtDDL {
		return nil
	}
	for _, t := range d.names.tablesOf(schema, text, body) {
		d.touched(t)
	}
	return nil
}

func (d *ddlScan) largePayload(header []byte, body io.Reader) error {
	h, err := parseHeader(header)
	if err == nil {
		_, err = io.Copy(io.Discard, body)
	}
	if err != nil {
		d.err = err
		return err
	}
	if d.end = endOffset(d.end, h); d.reached() {
		d.err = errSeen
	}
	return d.err
}

func (d *ddlScan) ended() error { return d.err }
