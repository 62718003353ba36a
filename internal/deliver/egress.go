package deliver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Time-outs and sizes of a connection to an endpoint.
const (
	defaultConnectTimeout = 5 * time.Second
)

// ErrEgressBlocked is wrapped by errors that say that the egress guard refused
// where a request was to go: an address in a blocked range, or plain http.
var ErrEgressBlocked = errors.New("egress blocked")

// ErrEgressURL is wrapped by errors that say that a text is not the URL of an
// endpoint, wherever it may point.
var ErrEgressURL = errors.New("invalid endpoint URL")

// EgressPolicy says what the egress guard lets through. The zero policy is
// https to public addresses only.
type EgressPolicy struct {
	// AllowHTTP lets http through beside https.
	AllowHTTP bool
	// AllowCIDRs opens ranges that are blocked by default, for receivers on
	// one's own network or machine. A range is matched against the address
	// that is dialled: opening 10.0.0.0/8 does not open its forms in NAT64.
	AllowCIDRs []netip.Prefix
	// DenyCIDRs blocks ranges; it wins over AllowCIDRs, and is matched against
	// an IPv4 address inside a NAT64 address too.
	DenyCIDRs []netip.Prefix
	// ConnectTimeout bounds looking up a name and connecting, together; 0
	// means 5 s.
	ConnectTimeout time.Duration
	// Resolver looks names up; nil means net.DefaultResolver.
	Resolver *net.Resolver
}

// Egress guards where deliveries go. Endpoint URLs are written by strangers,
// so the address of every connection is checked after the name was looked up
// and just before connect(2) is called with it: a name that answers one thing
// when it is checked and another when it is dialled gains nothing. CheckURL
// only tells early what dialling would refuse. It is safe for concurrent use.
type Egress struct {
	policy   EgressPolicy
	reserved []egressRange
	resolver *net.Resolver
	dialer   net.Dialer
}

// EgressError says that an address is in a blocked range. It wraps
// ErrEgressBlocked. It names an address that a private name server may have
// given away: show it to the operator, and Reason alone to whoever owns the
// endpoint.
type EgressError struct {
	Host   string       // as it stands in the URL, without the port
	Addr   netip.Addr   // the address that was refused
	Range  netip.Prefix // the range it is in; zero if it is in none
	Reason string       // what that range is, such as "loopback"
}

// Error says what was refused, why, and which key of the configuration opens it.
func (e *EgressError) Error() string {
	where := e.Reason
	if e.Range.IsValid() {
		where += ", " + e.Range.String()
	}
	return fmt.Sprintf("%v: %s is %v (%s); egress.allow opens a range", ErrEgressBlocked, e.Host, e.Addr, where)
}

// Unwrap returns ErrEgressBlocked.
func (e *EgressError) Unwrap() error { return ErrEgressBlocked }

// NewEgress returns the guard for a policy. It fails if a prefix is the zero
// Prefix. Prefixes within ::ffff:0:0/96 mean the IPv4 ranges they map.
func NewEgress(policy EgressPolicy) (*Egress, error) {
	var err error
	if policy.AllowCIDRs, err = egressPrefixes(policy.AllowCIDRs); err != nil {
		return nil, fmt.Errorf("read egress.allow: %w", err)
	}
	if policy.DenyCIDRs, err = egressPrefixes(policy.DenyCIDRs); err != nil {
		return nil, fmt.Errorf("read egress.deny: %w", err)
	}
	e := &Egress{policy: policy, reserved: egressReserved(), resolver: policy.Resolver}
	if e.resolver == nil {
		e.resolver = net.DefaultResolver
	}
	if policy.ConnectTimeout <= 0 {
		e.policy.ConnectTimeout = defaultConnectTimeout
	}
	e.dialer = net.Dialer{Timeout: e.policy.ConnectTimeout, Resolver: e.resolver, Control: e.control}
	return e, nil
}

// egressPrefixes returns a normal copy of prefixes: masked, and IPv4 as such.
func egressPrefixes(prefixes []netip.Prefix) ([]netip.Prefix, error) {
	out := slices.Clone(prefixes)
	for i, p := range out {
		if !p.IsValid() {
			return nil, fmt.Errorf("number %d is not a range", i+1)
		}
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		out[i] = p.Masked()
	}
	return out, nil
}

// DialContext connects to address, "host:port", over TCP within the connect
// timeout. It fails with an *EgressError in the chain if the guard refuses the
// address that the name turned out to have. It fits what dials elsewhere.
func (e *Egress) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := e.dialer.DialContext(ctx, network, address)
	if blocked := (*EgressError)(nil); errors.As(err, &blocked) {
		host, _, splitErr := net.SplitHostPort(address)
		if splitErr != nil {
			host = address
		}
		named := *blocked
		named.Host = host
		return nil, fmt.Errorf("dial %s: %w", address, &named)
	}
	return conn, err
}

// control is called by the dialer with each address it is about to connect to.
// What it cannot read as TCP to an IP address it refuses.
func (e *Egress) control(network, address string, _ syscall.RawConn) error {
	dialled, err := netip.ParseAddrPort(address)
	if err != nil || !strings.HasPrefix(network, "tcp") {
		return &EgressError{Host: address, Reason: "not TCP to an IP address"}
	}
	return e.checkAddr(dialled.Addr().String(), dialled.Addr())
}

// CheckURL reports why deliveries could never go to raw: it is not an absolute
// http or https URL with a plain host and port, it carries user information,
// it is http and the policy wants https, or its host is an address, in any
// notation, or a name for this machine, in a blocked range. It looks no name
// up; the address behind a name is checked when it is dialled. The error wraps
// ErrEgressURL or ErrEgressBlocked, and does not quote the URL, which may hold
// a token.
func (e *Egress) CheckURL(raw string) error {
	_, err := e.checkURL(raw)
	return err
}

// CheckDNS does what CheckURL does and looks the name up, so that whoever
// writes the URL hears at once of a name that leads nowhere or, in any of its
// addresses, where the guard refuses. It is advice: what counts is decided at
// each dial. A failed lookup is returned as it is, wrapped.
func (e *Egress) CheckDNS(ctx context.Context, raw string) error {
	host, err := e.checkURL(raw)
	if err != nil {
		return err
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, e.policy.ConnectTimeout)
	defer cancel()
	addrs, err := e.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return fmt.Errorf("look up the endpoint's host: %w", err)
	}
	for _, addr := range addrs {
		if err := e.checkAddr(host, addr); err != nil {
			return err
		}
	}
	return nil
}

// checkURL does the work of CheckURL and returns the host without the port.
func (e *Egress) checkURL(raw string) (host string, err error) {
	u, err := url.Parse(raw)
	if err != nil {
		if inner := (*url.Error)(nil); errors.As(err, &inner) {
			err = inner.Err
		}
		return "", fmt.Errorf("%w: %w", ErrEgressURL, err)
	}
	if err := e.checkScheme(u.Scheme); err != nil {
		return "", err
	}
	if u.User != nil {
		return "", fmt.Errorf("%w: it has user information before the host", ErrEgressURL)
	}
	if err := checkPort(u); err != nil {
		return "", err
	}
	return u.Hostname(), e.checkHost(u.Hostname())
}

// checkScheme refuses what is not https, or http where the policy allows it.
func (e *Egress) checkScheme(scheme string) error {
	switch {
	case scheme == "https", scheme == "http" && e.policy.AllowHTTP:
		return nil
	case scheme == "http":
		return fmt.Errorf("%w: the URL is http, not https; egress.allow_http allows it", ErrEgressBlocked)
	}
	return fmt.Errorf("%w: its scheme is not https", ErrEgressURL)
}

// checkPort refuses a port that is empty after its colon or out of range.
func checkPort(u *url.URL) error {
	port := u.Port()
	if port == "" && !strings.HasSuffix(u.Host, ":") {
		return nil
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%w: its port is not a number from 1 to 65535", ErrEgressURL)
	}
	return nil
}

// checkHost refuses an address that is blocked and a name that is not one.
func (e *Egress) checkHost(host string) error {
	if addr, err := netip.ParseAddr(host); err == nil {
		return e.checkAddr(host, addr)
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if err := checkName(name); err != nil {
		return err
	}
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		if e.checkAddr(host, netip.IPv6Loopback()) == nil {
			return nil
		}
		return e.checkAddr(host, netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	}
	if last := name[strings.LastIndexByte(name, '.')+1:]; !isNumber(last) {
		return nil
	}
	// Some resolvers read this as an address, some look it up as a name, and
	// they differ about octal. No host is really called so.
	if addr, ok := parseLooseIPv4(name); ok {
		if err := e.checkAddr(host, addr); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: its host ends in a number and is not an address in plain dotted form", ErrEgressURL)
}

// checkName refuses what cannot be a host name in the lower-case ASCII form
// that is looked up. Other scripts could be folded into an address later on.
func checkName(name string) error {
	if name == "" || len(name) > 253 {
		return fmt.Errorf("%w: its host is empty or longer than 253 bytes", ErrEgressURL)
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return fmt.Errorf("%w: its host has an empty label or one longer than 63 bytes", ErrEgressURL)
		}
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && !strings.ContainsRune("-_.", rune(c)) {
			return fmt.Errorf("%w: its host is not letters, digits, hyphens and dots; "+
				"a name in another script is written in its xn-- form", ErrEgressURL)
		}
	}
	return nil
}

// isNumber reports whether a label makes the whole host an IPv4 address in the
// eyes of inet_aton and of browsers.
func isNumber(label string) bool {
	hex, isHex := strings.CutPrefix(label, "0x")
	if isHex {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

// parseLooseIPv4 reads the notations of inet_aton: one to four numbers,
// decimal, octal or hexadecimal, of which the last fills what is left.
func parseLooseIPv4(name string) (netip.Addr, bool) {
	parts := strings.Split(name, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var sum uint64
	for i, part := range parts {
		limit, shift := uint64(1)<<8, 8*(3-i)
		if i == len(parts)-1 {
			limit, shift = uint64(1)<<(8*(5-len(parts))), 0
		}
		// Base 0 would also read 0o17, 0b1 and 1_0, which inet_aton does not.
		base, digits := 10, part
		if hex, ok := strings.CutPrefix(part, "0x"); ok {
			base, digits = 16, "0"+hex
		} else if len(part) > 1 && part[0] == '0' {
			base = 8
		}
		n, err := strconv.ParseUint(digits, base, 32)
		if err != nil || n >= limit {
			return netip.Addr{}, false
		}
		sum |= n << shift
	}
	return netip.AddrFrom4([4]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}), true
}

// checkAddr returns an *EgressError, which names host, if addr is refused.
func (e *Egress) checkAddr(host string, addr netip.Addr) error {
	// A zone says where an address is dialled from, not what it is; and the
	// system connects to a mapped address over IPv4.
	plain := addr.WithZone("").Unmap()
	inner, wrapped := embeddedIPv4(plain)
	for _, p := range e.policy.DenyCIDRs {
		if p.Contains(plain) || wrapped && p.Contains(inner) {
			return &EgressError{Host: host, Addr: addr, Range: p, Reason: "denied by egress.deny"}
		}
	}
	for _, p := range e.policy.AllowCIDRs {
		if p.Contains(plain) {
			return nil
		}
	}
	if wrapped {
		plain = inner
	}
	for _, r := range e.reserved {
		if r.prefix.Contains(plain) {
			return &EgressError{Host: host, Addr: addr, Range: r.prefix, Reason: r.reason}
		}
	}
	if !plain.Is4() && !globalIPv6().Contains(plain) {
		return &EgressError{Host: host, Addr: addr, Reason: "not a global unicast address"}
	}
	return nil
}

// embeddedIPv4 returns the IPv4 address that a NAT64 gateway would connect to
// for addr. Networks without IPv4 reach public hosts so; hence what is inside
// decides, while every other form of IPv4 in IPv6 is blocked as a range.
func embeddedIPv4(addr netip.Addr) (netip.Addr, bool) {
	if !netip.MustParsePrefix("64:ff9b::/96").Contains(addr) {
		return netip.Addr{}, false
	}
	b := addr.As16()
	return netip.AddrFrom4([4]byte(b[12:])), true
}

// globalIPv6 is all that has been given out as global unicast so far; what
// lies outside is refused whether or not it has a name yet.
func globalIPv6() netip.Prefix { return netip.MustParsePrefix("2000::/3") }

// egressRange is a blocked range and what it is.
type egressRange struct {
	prefix netip.Prefix
	reason string
}

// egressReserved returns the ranges that are blocked by default, narrower ones
// first where they overlap: the special-purpose registries of IANA, and one
// public address that is private in practice.
func egressReserved() []egressRange {
	var ranges []egressRange
	for _, r := range [][2]string{
		{"0.0.0.0/32", "unspecified"},
		{"0.0.0.0/8", "this network"},
		{"10.0.0.0/8", "private"},
		{"100.64.0.0/10", "carrier-grade NAT"},
		{"127.0.0.0/8", "loopback"},
		{"169.254.0.0/16", "link-local"},
		{"172.16.0.0/12", "private"},
		{"192.0.0.0/24", "protocol assignments"},
		{"192.0.2.0/24", "documentation"},
		{"192.88.99.0/24", "6to4 relays"},
		{"192.168.0.0/16", "private"},
		{"198.18.0.0/15", "benchmarking"},
		{"198.51.100.0/24", "documentation"},
		{"203.0.113.0/24", "documentation"},
		{"224.0.0.0/4", "multicast"},
		{"255.255.255.255/32", "broadcast"},
		{"240.0.0.0/4", "reserved"},
		{"168.63.129.16/32", "Azure's host agent"},
		{"::/128", "unspecified"},
		{"::1/128", "loopback"},
		{"::/96", "IPv4-compatible"},
		{"64:ff9b:1::/48", "local NAT64"},
		{"100::/64", "discard"},
		{"100:0:0:1::/64", "dummy"},
		{"2001::/32", "Teredo"},
		{"2001::/23", "protocol assignments"},
		{"2001:db8::/32", "documentation"},
		{"2002::/16", "6to4"},
		{"3fff::/20", "documentation"},
		{"5f00::/16", "segment routing"},
		{"fc00::/7", "private"},
		{"fe80::/10", "link-local"},
		{"fec0::/10", "site-local"},
		{"ff00::/8", "multicast"},
	} {
		ranges = append(ranges, egressRange{netip.MustParsePrefix(r[0]), r[1]})
	}
	return ranges
}
