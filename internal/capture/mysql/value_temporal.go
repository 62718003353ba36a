package mysql

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/rowhook/rowhook/internal/change"
)

// Times with fractions keep their whole part in this many bytes, and two fractional digits in each byte behind it.
const (
	timeSize      = 3
	datetimeSize  = 5
	timestampSize = 4
	maxFraction   = 6
)

// Offsets that make negative values sort before positive ones.
const (
	timeOffset     = 1 << 23
	datetimeOffset = 1 << 39
)

func (rc *rowColumn) planTime(c *mappedColumn) (change.Kind, string) {
	if c.meta[0] > maxFraction {
		return 0, fmt.Sprintf("%d fractional digits", c.meta[0])
	}
	rc.digits = c.meta[0]
	fraction := uint32(rc.digits+1) / 2
	switch c.typ {
	case typeTime2:
		return rc.fixed(opTime, timeSize+fraction, change.Time), ""
	case typeDatetime2:
		return rc.fixed(opDatetime, datetimeSize+fraction, change.Datetime), ""
	default:
		return rc.fixed(opTimestamp, timestampSize+fraction, change.Timestamp), ""
	}
}

// planOldTime plans the types from before MySQL 5.6. MariaDB's have fractions too, of which the binlog says nothing.
func (rc *rowColumn) planOldTime(c *mappedColumn, now string, flavor change.Flavor) (change.Kind, string) {
	if flavor == change.MariaDB && (baseWord(now) != typeWord(c.typ) || strings.Contains(now, "(")) {
		return 0, fmt.Sprintf("a %s in the format from before MariaDB 10.1.2, whose length the binlog does not tell; run ALTER TABLE … FORCE with mysql56_temporal_format=ON", typeWord(c.typ))
	}
	switch c.typ {
	case typeTime:
		return rc.fixed(opOldTime, 3, change.Time), ""
	case typeDatetime:
		return rc.fixed(opOldDatetime, 8, change.Datetime), ""
	default:
		return rc.fixed(opOldTimestamp, 4, change.Timestamp), ""
	}
}

// moment is a point in time, or a duration, taken apart. Zero parts are kept as they are.
type moment struct {
	year, month, day           uint32
	hour, minute, second, frac uint32 // frac in microseconds
	negative                   bool
}

// fraction reads what stands behind the whole part: hundredths, ten-thousandths or millionths.
func fraction(v []byte) uint32 {
	switch len(v) {
	case 1:
		return uint32(v[0]) * 10000
	case 2:
		return uint32(v[0])<<8*100 + uint32(v[1])*100
	case 3:
		return uint32(v[0])<<16 | uint32(v[1])<<8 | uint32(v[2])
	default:
		return 0
	}
}

// time2 reads a TIME. A negative one is stored as a whole, with its fraction, as the complement of its absolute value.
func time2(v []byte) moment {
	packed := int64(bigEndian(v)) - timeOffset<<(8*uint(len(v)-timeSize))
	m := moment{negative: packed < 0}
	if packed < 0 {
		packed = -packed
	}
	bits := 8 * uint(len(v)-timeSize)
	hms := uint32(packed >> bits)
	m.hour, m.minute, m.second = hms>>12&0x3ff, hms>>6&0x3f, hms&0x3f
	m.frac = uint32(packed & (1<<bits - 1))
	switch bits {
	case 8:
		m.frac *= 10000
	case 16:
		m.frac *= 100
	}
	return m
}

func datetime2(v []byte) moment {
	packed := uint64(v[0])<<32 | uint64(binary.BigEndian.Uint32(v[1:datetimeSize]))
	m := unpackDatetime(packed - datetimeOffset)
	m.frac = fraction(v[datetimeSize:])
	return m
}

// unpackDatetime reads year, month, day, hour, minute and second out of their bits.
func unpackDatetime(packed uint64) moment {
	ymd, hms := uint32(packed>>17), uint32(packed&(1<<17-1))
	months := ymd >> 5
	return moment{
		year: months / 13, month: months % 13, day: ymd & 0x1f,
		hour: hms >> 12, minute: hms >> 6 & 0x3f, second: hms & 0x3f,
	}
}

// timestamp reads seconds since 1970, unsigned: MariaDB's reach into 2106. All zero is the zero date.
func timestamp(seconds, frac uint32) moment {
	if seconds == 0 && frac == 0 {
		return moment{}
	}
	m := civil(seconds / 86400)
	rest := seconds % 86400
	m.hour, m.minute, m.second, m.frac = rest/3600, rest/60%60, rest%60, frac
	return m
}

// civil turns days since 1970 into a date, counting years from March so that the leap day comes last.
func civil(days uint32) moment {
	const daysPerEra, toMarch0 = 146097, 719468
	z := days + toMarch0
	era, doe := z/daysPerEra, z%daysPerEra
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	m := moment{year: era*400 + yoe, month: mp + 3, day: doy - (153*mp+2)/5 + 1}
	if m.month > 12 {
		m.month, m.year = m.month-12, m.year+1
	}
	return m
}

func date(v []byte) moment {
	x := uint24(v)
	return moment{year: x >> 9, month: x >> 5 & 0xf, day: x & 0x1f}
}

// oldTime reads a number that looks like the time: 123456 is 12:34:56.
func oldTime(v []byte) moment {
	x := int24(v)
	m := moment{negative: x < 0}
	if x < 0 {
		x = -x
	}
	u := uint32(x)
	m.hour, m.minute, m.second = u/10000, u/100%100, u%100
	return m
}

// oldDatetime reads a number that looks like the time: 20260131133700.
func oldDatetime(v []byte) (moment, bool) {
	x := littleEndian(v)
	if x >= 1e14 {
		return moment{}, false
	}
	d, t := uint32(x/1e6), uint32(x%1e6)
	return moment{year: d / 10000, month: d / 100 % 100, day: d % 100, hour: t / 10000, minute: t / 100 % 100, second: t % 100}, true
}

// valid reports whether every part has the digits that it is printed with.
func (m *moment) valid() bool {
	return m.year <= 9999 && m.month <= 12 && m.day <= 31 && m.minute <= 59 && m.second <= 59 && m.frac <= 999999
}

func put2(p []byte, x uint32) {
	x *= 2
	p[1], p[0] = twoDigits[x+1], twoDigits[x]
}

// appendDate appends "2026-01-31".
func (m *moment) appendDate(p []byte) []byte {
	at := len(p)
	p = append(p, "0000-00-00"...)
	m.putDate(p[at:])
	return p
}

func (m *moment) putDate(out []byte) {
	_ = out[9]
	put2(out, m.year/100)
	put2(out[2:], m.year%100)
	put2(out[5:], m.month)
	put2(out[8:], m.day)
}

// appendDatetime appends "2026-01-31 13:37:00.000000" with so many fractional digits.
func (m *moment) appendDatetime(p []byte, digits uint8) []byte {
	at := len(p)
	p = append(p, "0000-00-00 00:00:00.000000"...)
	out := p[at:]
	_ = out[25]
	m.putDate(out)
	put2(out[11:], m.hour)
	put2(out[14:], m.minute)
	put2(out[17:], m.second)
	if digits == 0 {
		return p[:at+19]
	}
	if m.frac != 0 {
		put2(out[20:], m.frac/10000)
		put2(out[22:], m.frac/100%100)
		put2(out[24:], m.frac%100)
	}
	return p[:at+20+int(digits)]
}

// appendTime appends "-838:59:59.000000" with so many fractional digits; hours have two digits or three.
func (m *moment) appendTime(p []byte, digits uint8) []byte {
	if m.negative {
		p = append(p, '-')
	}
	hour := m.hour
	if hour > 99 {
		p = append(p, '0'+byte(hour/100))
		hour %= 100
	}
	at := len(p)
	p = append(p, "00:00:00.000000"...)
	out := p[at:]
	put2(out, hour)
	put2(out[3:], m.minute)
	put2(out[6:], m.second)
	put2(out[9:], m.frac/10000)
	put2(out[11:], m.frac/100%100)
	put2(out[13:], m.frac%100)
	if digits == 0 {
		return p[:at+8]
	}
	return p[:at+9+int(digits)]
}

// appendMoment appends a value of one of the temporal types.
func (rc *rowColumn) appendMoment(p, v []byte) ([]byte, bool) {
	if rc.op == opDatetime { // by far the commonest
		m := datetime2(v)
		if !m.valid() || m.hour > 23 {
			return p, false
		}
		p, at := rc.openValue(p)
		p = m.appendDatetime(p, rc.digits)
		p[at] = byte(len(p) - at - 1)
		return p, true
	}
	m, ok := rc.moment(v)
	if !ok || !m.valid() {
		return p, false
	}
	p, at := rc.openValue(p)
	switch rc.op {
	case opDate:
		p = m.appendDate(p)
	case opTime, opOldTime:
		p = m.appendTime(p, rc.digits)
	default:
		p = m.appendDatetime(p, rc.digits)
	}
	p[at] = byte(len(p) - at - 1)
	return p, true
}

func (rc *rowColumn) moment(v []byte) (moment, bool) {
	switch rc.op {
	case opDate:
		return date(v), true
	case opTime:
		m := time2(v)
		return m, m.hour <= 838
	case opTimestamp:
		return timestamp(uint32(bigEndian(v[:timestampSize])), fraction(v[timestampSize:])), true
	case opOldTime:
		m := oldTime(v)
		return m, m.hour <= 838
	case opOldDatetime:
		m, ok := oldDatetime(v)
		return m, ok && m.hour <= 23
	case opOldTimestamp:
		return timestamp(uint32(littleEndian(v)), 0), true
	default:
		return moment{}, false
	}
}
