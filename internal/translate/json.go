package translate

import (
	"fmt"
	"strconv"
	"time"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/event"
)

// AppendJSON appends the event as one JSON object to dst, with its members in this order: id, type, subject and tenant (unless
// empty), time, seq, op, source, data, for an update changed, and for a test event test. On an error it returns dst as it was. It keeps nothing of ev.
func AppendJSON(dst []byte, ev *event.Event) ([]byte, error) {
	if ev.Err != nil {
		return dst, fmt.Errorf("write %s as JSON: it is incomplete: %w", ev.ID, ev.Err)
	}
	p := append(dst, `{"id":"`...)
	p = append(p, ev.ID...)
	// Names of types hold only letters, digits, dots and underscores.
	p = append(append(p, `","type":"`...), ev.Type...)
	p = append(p, '"')
	var err error
	if p, err = appendSubject(p, ev); err != nil {
		return dst, err
	}
	p = appendTime(append(p, `,"time":"`...), ev.Time)
	p = strconv.AppendUint(append(p, `","seq":`...), ev.Seq, 10)
	p = append(append(p, `,"op":"`...), ev.Op.String()...)
	if p, err = appendSource(append(p, '"'), &ev.Source); err != nil {
		return dst, fmt.Errorf("write the source of %s as JSON: %w", ev.ID, err)
	}
	if p, err = appendData(p, ev); err != nil {
		return dst, err
	}
	if ev.Op == change.Update {
		if p, err = appendChanged(p, ev); err != nil {
			return dst, err
		}
	}
	if ev.Test {
		p = append(p, `,"test":true`...)
	}
	return append(p, '}'), nil
}

func appendSubject(p []byte, ev *event.Event) (_ []byte, err error) {
	if ev.Subject != "" {
		if p, err = appendString(append(p, `,"subject":`...), ev.Subject); err != nil {
			return nil, fmt.Errorf("write the subject of %s as JSON: %w", ev.ID, err)
		}
	}
	if ev.Tenant != "" {
		if p, err = appendString(append(p, `,"tenant":`...), ev.Tenant); err != nil {
			return nil, fmt.Errorf("write the tenant of %s as JSON: %w", ev.ID, err)
		}
	}
	return p, nil
}

func appendSource(p []byte, o *event.Origin) (_ []byte, err error) {
	if p, err = appendString(append(p, `,"source":{"name":`...), o.Name); err != nil {
		return nil, err
	}
	p = strconv.AppendUint(append(p, `,"server":`...), uint64(o.Server), 10)
	if o.GTID != "" {
		if p, err = appendString(append(p, `,"gtid":`...), o.GTID); err != nil {
			return nil, err
		}
	}
	if p, err = appendString(append(p, `,"file":`...), o.File); err != nil {
		return nil, err
	}
	p = strconv.AppendUint(append(p, `,"pos":`...), o.Offset, 10)
	if p, err = appendTransaction(p, o); err != nil {
		return nil, err
	}
	p = strconv.AppendUint(append(p, `,"ordinal":`...), o.Ordinal, 10)
	return append(p, '}'), nil
}

// appendTransaction writes one text that all events of a transaction share, with or without GTIDs.
func appendTransaction(p []byte, o *event.Origin) (_ []byte, err error) {
	p = append(p, `,"transaction":`...)
	if o.GTID != "" {
		return appendString(p, o.GTID)
	}
	if p, err = appendString(p, o.File); err != nil {
		return nil, err
	}
	p[len(p)-1] = ':' // in place of the closing quote
	p = strconv.AppendUint(p, o.Offset, 10)
	return append(p, '"'), nil
}

func appendData(p []byte, ev *event.Event) (_ []byte, err error) {
	p = append(p, `,"data":{`...)
	first := true
	for i := range ev.Data {
		f := &ev.Data[i]
		if f.Value.State == change.Absent {
			continue
		}
		if !first {
			p = append(p, ',')
		}
		first = false
		if p, err = appendString(p, f.Column.Name); err == nil {
			p, err = appendValue(append(p, ':'), f.Column, f.Value)
		}
		if err != nil {
			return nil, fmt.Errorf("write column %s of %s as JSON: %w", f.Column.Name, ev.ID, err)
		}
	}
	return append(p, '}'), nil
}

func appendChanged(p []byte, ev *event.Event) (_ []byte, err error) {
	p = append(p, `,"changed":[`...)
	for i, name := range ev.Changed {
		if i > 0 {
			p = append(p, ',')
		}
		if p, err = appendString(p, name); err != nil {
			return nil, fmt.Errorf("write changed of %s as JSON: %w", ev.ID, err)
		}
	}
	return append(p, ']'), nil
}

// appendTime writes microseconds of the Unix epoch as RFC 3339 with six digits, in UTC.
func appendTime(p []byte, us int64) []byte {
	t := time.UnixMicro(us).UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	if year < 0 || year > 9999 {
		// No commit has such a time; it is still written as what it is.
		return t.AppendFormat(p, "2006-01-02T15:04:05.000000Z")
	}
	p = appendDigits(append2(append2(p, year/100), year%100), '-', int(month))
	p = appendDigits(appendDigits(p, '-', day), 'T', hour)
	p = appendDigits(appendDigits(p, ':', minute), ':', second)
	micro := t.Nanosecond() / 1000
	p = appendDigits(p, '.', micro/10000)
	return append(append2(append2(p, micro/100%100), micro%100), 'Z')
}

func appendDigits(p []byte, sep byte, n int) []byte { return append2(append(p, sep), n) }

func append2(p []byte, n int) []byte { return append(p, byte('0'+n/10), byte('0'+n%10)) }
