package config

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/rowhook/rowhook/internal/deliver"
)

// maxSpan is the longest time that anything is kept: ten years.
const maxSpan = 10 * 365 * 24 * time.Hour

func (r *reader) log(v value, d Delivery) Log {
	var l Log
	r.object(v,
		field{"retention", func(v value) { l.Retention = r.longerThanRetries(v, d) }},
		field{"ring_bytes", func(v value) { l.RingBytes = r.size(v, 1<<20, 256<<20) }},
	)
	return l
}

func (r *reader) delivery(v value) Delivery {
	var d Delivery
	r.object(v,
		// First, as the retention is checked against it.
		field{"retry", func(v value) { d.Retry = r.schedule(v) }},
		field{"progress_interval", func(v value) {
			d.ProgressInterval = r.duration(v, time.Millisecond, 100*time.Millisecond)
		}},
		field{"attempts_retention", func(v value) { d.AttemptsRetention = r.longerThanRetries(v, d) }},
	)
	return d
}

// maxRetries bounds the schedule; 32 waits of the longest kind are 7 months.
const maxRetries = 32

// schedule reads the waits between attempts.
func (r *reader) schedule(v value) []time.Duration {
	var all []time.Duration
	r.list(v, func(v value) {
		all = append(all, r.duration(v, 10*time.Millisecond, 168*time.Hour))
	})
	if len(all) > maxRetries {
		r.fail(v, "", "has %d waits, more than %d", len(all), maxRetries)
	}
	return all
}

// longerThanRetries reads a retention that the whole retry schedule fits into.
func (r *reader) longerThanRetries(v value, d Delivery) time.Duration {
	keep := r.duration(v, time.Second, maxSpan)
	if total := d.longest(); keep > 0 && keep <= total && !r.failed(v) {
		enough := total.Truncate(time.Hour) + time.Hour
		r.fail(v, "set it to "+Duration(enough)+" or more, or shorten delivery.retry",
			"%s is not longer than the retry schedule, which takes up to %s: events would be gone before their last attempt", Duration(keep), Duration(total))
	}
	return keep
}

// longest is the most time that the waits between attempts can take together.
func (d Delivery) longest() time.Duration {
	var total time.Duration
	for _, wait := range d.Retry {
		total += wait
	}
	return total
}

func (r *reader) egress(v value) deliver.EgressPolicy {
	var p deliver.EgressPolicy
	r.object(v,
		field{"allow_http", func(v value) { p.AllowHTTP = r.boolean(v) }},
		field{"allow", func(v value) { p.AllowCIDRs = r.ranges(v) }},
		field{"deny", func(v value) { p.DenyCIDRs = r.ranges(v) }},
	)
	return p
}

// ranges reads a list of CIDR ranges.
func (r *reader) ranges(v value) []netip.Prefix {
	var all []netip.Prefix
	r.list(v, func(v value) {
		text := r.text(v)
		if text == "" {
			return
		}
		prefix, err := netip.ParsePrefix(text)
		addr, addrErr := netip.ParseAddr(text)
		switch {
		case addrErr == nil && addr.Zone() == "":
			r.fail(v, "write "+netip.PrefixFrom(addr, addr.BitLen()).String()+" for this address alone", "%s is an address, not a range", r.quoted(v))
		case err != nil:
			r.fail(v, "write a range such as 10.0.0.0/8 or fd00::/8", "%s is not a CIDR range", r.quoted(v))
		case prefix != prefix.Masked():
			r.fail(v, "write "+prefix.Masked().String()+" for the range", "%s has bits set beyond its length", r.quoted(v))
		default:
			all = append(all, prefix)
		}
	})
	return all
}

func (r *reader) logging(v value) Logging {
	var l Logging
	r.object(v,
		field{"level", func(v value) {
			level := choice(r, v, "debug", "info", "warn", "error")
			l.Level = map[string]slog.Level{
				"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
			}[level]
		}},
		field{"format", func(v value) { l.Format = choice(r, v, LogText, LogJSON) }},
	)
	return l
}
