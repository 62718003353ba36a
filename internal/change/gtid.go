package change

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Flavor is the family of a server, which decides how its GTIDs look.
type Flavor string

// The two families.
const (
	MySQL   Flavor = "mysql"
	MariaDB Flavor = "mariadb"
)

// GTID names one transaction. N is the number within (UUID, Tag) on MySQL and within Domain on MariaDB.
// The zero GTID means that the source has none.
type GTID struct {
	UUID   [16]byte
	Tag    string
	Domain uint32
	Server uint32
	N      uint64
	Flavor Flavor
}

// String returns "uuid:7", "uuid:tag:7" or "0-1-7", and "" for the zero GTID.
func (g GTID) String() string {
	if g.Flavor == "" {
		return ""
	}
	var b [64]byte // as long as they get without a tag
	return string(g.Append(b[:0]))
}

// Append appends what String returns.
func (g GTID) Append(b []byte) []byte {
	switch g.Flavor {
	case MariaDB:
		b = strconv.AppendUint(b, uint64(g.Domain), 10)
		b = strconv.AppendUint(append(b, '-'), uint64(g.Server), 10)
		return strconv.AppendUint(append(b, '-'), g.N, 10)
	case MySQL:
		b = gtidSource{g.UUID, g.Tag}.append(b)
		return strconv.AppendUint(append(b, ':'), g.N, 10)
	default:
		return b
	}
}

type gtidSource struct {
	uuid [16]byte
	tag  string
}

func (s gtidSource) append(b []byte) []byte {
	b = appendUUID(b, s.uuid)
	if s.tag != "" {
		b = append(append(b, ':'), s.tag...)
	}
	return b
}

func appendUUID(b []byte, u [16]byte) []byte {
	for i, part := range [...][]byte{u[:4], u[4:6], u[6:8], u[8:10], u[10:]} {
		if i > 0 {
			b = append(b, '-')
		}
		b = hex.AppendEncode(b, part)
	}
	return b
}

func parseUUID(s string) (u [16]byte, err error) {
	h := strings.ReplaceAll(s, "-", "")
	if len(h) != 32 {
		return u, fmt.Errorf("%q is not a server UUID", s)
	}
	if _, err := hex.Decode(u[:], []byte(h)); err != nil {
		return u, fmt.Errorf("%q is not a server UUID", s)
	}
	return u, nil
}

// interval holds the numbers from..to, both included.
type interval struct{ from, to uint64 }

type domainPosition struct {
	server uint32
	n      uint64
}

// GTIDSet is a set of transactions: intervals by server UUID and tag on MySQL, the last transaction of each domain on MariaDB.
// The zero value is not usable: call NewGTIDSet or ParseGTIDSet. A set must not be used by two goroutines at once.
type GTIDSet struct {
	flavor  Flavor
	sources map[gtidSource][]interval
	domains map[uint32]domainPosition
}

// NewGTIDSet returns an empty set.
func NewGTIDSet(f Flavor) *GTIDSet {
	return &GTIDSet{flavor: f, sources: map[gtidSource][]interval{}, domains: map[uint32]domainPosition{}}
}

// ParseGTIDSet reads what a server prints for gtid_executed (MySQL) or gtid_binlog_pos (MariaDB). White space is ignored, "" is the empty set.
func ParseGTIDSet(f Flavor, s string) (*GTIDSet, error) {
	set := NewGTIDSet(f)
	for part := range strings.SplitSeq(strings.Join(strings.Fields(s), ""), ",") {
		if part == "" {
			continue
		}
		if err := set.parsePart(part); err != nil {
			return nil, fmt.Errorf("GTID set: %w", err)
		}
	}
	return set, nil
}

func (s *GTIDSet) parsePart(part string) error {
	if s.flavor == MariaDB {
		g, err := parseMariaDBGTID(part)
		if err == nil {
			s.Add(g)
		}
		return err
	}
	fields := strings.Split(part, ":")
	uuid, err := parseUUID(fields[0])
	if err != nil {
		return err
	}
	if len(fields) == 1 {
		return fmt.Errorf("%q names no transactions", part)
	}
	src := gtidSource{uuid: uuid}
	for _, f := range fields[1:] {
		// A tag starts with a letter or an underscore, an interval with a digit.
		if f != "" && (f[0] == '_' || f[0]|0x20 >= 'a' && f[0]|0x20 <= 'z') {
			src.tag = strings.ToLower(f)
			continue
		}
		iv, err := parseInterval(f)
		if err != nil {
			return fmt.Errorf("%q: %w", part, err)
		}
		s.sources[src] = addInterval(s.sources[src], iv)
	}
	return nil
}

func parseInterval(s string) (interval, error) {
	from, to, ranged := strings.Cut(s, "-")
	a, err := strconv.ParseUint(from, 10, 63)
	if err != nil || a == 0 {
		return interval{}, fmt.Errorf("%q is not a transaction number", s)
	}
	if !ranged {
		return interval{a, a}, nil
	}
	b, err := strconv.ParseUint(to, 10, 63)
	if err != nil || b < a {
		return interval{}, fmt.Errorf("%q is not a range of transaction numbers", s)
	}
	return interval{a, b}, nil
}

func parseMariaDBGTID(s string) (GTID, error) {
	fields := strings.Split(s, "-")
	if len(fields) != 3 {
		return GTID{}, fmt.Errorf("%q is not domain-server-number", s)
	}
	domain, err1 := strconv.ParseUint(fields[0], 10, 32)
	server, err2 := strconv.ParseUint(fields[1], 10, 32)
	n, err3 := strconv.ParseUint(fields[2], 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil {
		return GTID{}, fmt.Errorf("%q is not domain-server-number", s)
	}
	return GTID{Flavor: MariaDB, Domain: uint32(domain), Server: uint32(server), N: n}, nil
}

// ParseGTID reads what GTID.String returns.
func ParseGTID(f Flavor, s string) (GTID, error) {
	if f == MariaDB {
		return parseMariaDBGTID(s)
	}
	fields := strings.Split(s, ":")
	if len(fields) != 2 && len(fields) != 3 {
		return GTID{}, fmt.Errorf("%q is not uuid:number", s)
	}
	uuid, err := parseUUID(fields[0])
	if err != nil {
		return GTID{}, err
	}
	g := GTID{Flavor: MySQL, UUID: uuid}
	if len(fields) == 3 {
		g.Tag = fields[1]
	}
	if g.N, err = strconv.ParseUint(fields[len(fields)-1], 10, 63); err != nil || g.N == 0 {
		return GTID{}, fmt.Errorf("%q is not uuid:number", s)
	}
	return g, nil
}

// Flavor returns the family of the set.
func (s *GTIDSet) Flavor() Flavor { return s.flavor }

// Empty reports whether the set holds no transaction.
func (s *GTIDSet) Empty() bool { return len(s.sources) == 0 && len(s.domains) == 0 }

// Add puts g into the set. On MariaDB g becomes the last transaction of its domain.
func (s *GTIDSet) Add(g GTID) {
	if s.flavor == MariaDB {
		s.domains[g.Domain] = domainPosition{g.Server, g.N}
		return
	}
	src := gtidSource{g.UUID, g.Tag}
	ivs := s.sources[src]
	// The usual case, without an allocation: the next number of the last interval.
	if n := len(ivs); n > 0 && ivs[n-1].to+1 == g.N {
		ivs[n-1].to = g.N
		return
	}
	s.sources[src] = addInterval(ivs, interval{g.N, g.N})
}

func addInterval(ivs []interval, iv interval) []interval {
	// First interval that touches iv or lies behind it.
	i, _ := slices.BinarySearchFunc(ivs, iv, func(x, y interval) int {
		if x.to+1 < y.from {
			return -1
		}
		return 1
	})
	j := i
	for j < len(ivs) && ivs[j].from <= iv.to+1 {
		iv.from, iv.to = min(iv.from, ivs[j].from), max(iv.to, ivs[j].to)
		j++
	}
	return slices.Replace(ivs, i, j, iv)
}

// Contains reports whether g is in the set. On MariaDB all numbers up to the last of the domain are.
func (s *GTIDSet) Contains(g GTID) bool {
	if s.flavor == MariaDB {
		return g.N <= s.domains[g.Domain].n
	}
	return containsInterval(s.sources[gtidSource{g.UUID, g.Tag}], interval{g.N, g.N})
}

func containsInterval(ivs []interval, iv interval) bool {
	i, _ := slices.BinarySearchFunc(ivs, iv.from, func(x interval, n uint64) int {
		if x.to < n {
			return -1
		}
		return 1
	})
	return i < len(ivs) && ivs[i].from <= iv.from && iv.to <= ivs[i].to
}

// Covers reports whether every transaction of o is in s.
func (s *GTIDSet) Covers(o *GTIDSet) bool { return o.Minus(s).Empty() }

// Minus returns the transactions of s that are not in o. On MariaDB these are the domains in which s is ahead of o.
func (s *GTIDSet) Minus(o *GTIDSet) *GTIDSet {
	rest := NewGTIDSet(s.flavor)
	for d, p := range s.domains {
		if p.n > o.domains[d].n {
			rest.domains[d] = p
		}
	}
	for src, ivs := range s.sources {
		left := slices.Clone(ivs)
		for _, cut := range o.sources[src] {
			left = cutInterval(left, cut)
		}
		if len(left) > 0 {
			rest.sources[src] = left
		}
	}
	return rest
}

func cutInterval(ivs []interval, cut interval) []interval {
	var out []interval
	for _, iv := range ivs {
		if iv.to < cut.from || iv.from > cut.to {
			out = append(out, iv)
			continue
		}
		if iv.from < cut.from {
			out = append(out, interval{iv.from, cut.from - 1})
		}
		if iv.to > cut.to {
			out = append(out, interval{cut.to + 1, iv.to})
		}
	}
	return out
}

// Clone returns a copy that shares nothing with s.
func (s *GTIDSet) Clone() *GTIDSet {
	c := NewGTIDSet(s.flavor)
	maps.Copy(c.domains, s.domains)
	for src, ivs := range s.sources {
		c.sources[src] = slices.Clone(ivs)
	}
	return c
}

// String returns the set as the server prints it, sorted, without white space.
func (s *GTIDSet) String() string { return string(s.Append(nil)) }

// Append appends what String returns.
func (s *GTIDSet) Append(b []byte) []byte {
	if s.flavor == MariaDB {
		return s.appendDomains(b)
	}
	srcs := slices.SortedFunc(maps.Keys(s.sources), func(x, y gtidSource) int {
		return cmp.Or(slices.Compare(x.uuid[:], y.uuid[:]), strings.Compare(x.tag, y.tag))
	})
	for i, src := range srcs {
		if i > 0 {
			b = append(b, ',')
		}
		b = src.append(b)
		for _, iv := range s.sources[src] {
			b = strconv.AppendUint(append(b, ':'), iv.from, 10)
			if iv.to > iv.from {
				b = strconv.AppendUint(append(b, '-'), iv.to, 10)
			}
		}
	}
	return b
}

func (s *GTIDSet) appendDomains(b []byte) []byte {
	for i, d := range slices.Sorted(maps.Keys(s.domains)) {
		if i > 0 {
			b = append(b, ',')
		}
		p := s.domains[d]
		b = GTID{Flavor: MariaDB, Domain: d, Server: p.server, N: p.n}.Append(b)
	}
	return b
}
