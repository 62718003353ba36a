package deliver

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
)

func newTestEgress(tb testing.TB, policy EgressPolicy) *Egress {
	tb.Helper()
	e, err := NewEgress(policy)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

// TestEgressAddresses tries the first and last address of every range, and
// the public ones beside them.
func TestEgressAddresses(t *testing.T) {
	t.Parallel()
	e := newTestEgress(t, EgressPolicy{})
	for reason, addrs := range map[string]string{
		"unspecified":                  "0.0.0.0 :: ::ffff:0.0.0.0 64:ff9b::",
		"this network":                 "0.0.0.1 0.255.255.255",
		"private":                      "10.0.0.0 10.255.255.255 172.16.0.0 172.31.255.255 192.168.0.0 192.168.255.255 fc00:: fd00:ec2::254 fdff:ffff::1 ::ffff:10.0.0.1 64:ff9b::10.0.0.1 64:ff9b::192.168.1.1",
		"carrier-grade NAT":            "100.64.0.0 100.100.100.200 100.127.255.255",
		"loopback":                     "127.0.0.0 127.0.0.1 127.255.255.255 ::1 ::1%lo ::ffff:127.0.0.1 ::ffff:7f00:1 64:ff9b::127.0.0.1",
		"link-local":                   "169.254.0.0 169.254.169.254 169.254.255.255 fe80:: fe80::1%eth0 febf:ffff::1 ::ffff:169.254.169.254 ::ffff:169.254.169.254%1 64:ff9b::a9fe:a9fe",
		"protocol assignments":         "192.0.0.0 192.0.0.192 192.0.0.255 2001:1::1 2001:2::1 2001:20::1 2001:1ff:ffff::1",
		"documentation":                "192.0.2.0 192.0.2.255 198.51.100.0 198.51.100.255 203.0.113.0 203.0.113.255 2001:db8::1 2001:db8:ffff::1 3fff:: 3fff:fff:ffff::1",
		"6to4 relays":                  "192.88.99.0 192.88.99.255",
		"benchmarking":                 "198.18.0.0 198.19.255.255",
		"multicast":                    "224.0.0.0 239.255.255.255 ff00:: ff02::1 ff02::1%eth0 ffff:ffff::1",
		"reserved":                     "240.0.0.0 255.255.255.254",
		"broadcast":                    "255.255.255.255",
		"Azure's host agent":           "168.63.129.16",
		"IPv4-compatible":              "::2 ::127.0.0.1 ::8.8.8.8 ::ffff",
		"local NAT64":                  "64:ff9b:1:: 64:ff9b:1:ffff::1",
		"discard":                      "100:: 100::ffff",
		"dummy":                        "100:0:0:1::1",
		"Teredo":                       "2001:: 2001:0:ffff::1",
		"6to4":                         "2002:: 2002:7f00:1:: 2002:808:808::1 2002:ffff::1",
		"segment routing":              "5f00:: 5f00:ffff::1",
		"site-local":                   "fec0:: feff::1",
		"not a global unicast address": "::ffff:0:127.0.0.1 1::1 64:ff9b::1:0:0 64:ff9b:2::1 200::1 4000::1 1fff::1 fe00::1",
	} {
		for text := range strings.FieldsSeq(addrs) {
			err := e.checkAddr("host", netip.MustParseAddr(text))
			var blocked *EgressError
			if !errors.As(err, &blocked) || !errors.Is(err, ErrEgressBlocked) || blocked.Reason != reason {
				t.Errorf("%s: %v; want it refused as %s", text, err, reason)
			}
		}
	}
	for text := range strings.FieldsSeq(`1.0.0.0 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255
		128.0.0.0 168.63.129.15 169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.3.0
		192.88.98.255 192.88.100.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0
		203.0.112.255 203.0.114.0 223.255.255.255 ::ffff:8.8.8.8 64:ff9b::8.8.8.8 2000::1 2001:200::1 2001:db7:ffff::1
		2001:db9::1 2001:4860:4860::8888 2003::1 2606:4700::1 3ffe::1 3fff:1000::1`) {
		if err := e.checkAddr("host", netip.MustParseAddr(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestEgressAllowAndDeny(t *testing.T) {
	t.Parallel()
	e := newTestEgress(t, EgressPolicy{
		AllowCIDRs: prefixes("10.1.2.3/16", "::ffff:192.168.7.0/120", "fd00:1::/32", "127.0.0.1/32"),
		DenyCIDRs:  prefixes("10.1.9.0/24", "8.8.8.0/24", "2606:4700::/32"),
	})
	for text, open := range map[string]bool{
		"10.1.0.1": true, "::ffff:10.1.0.1": true, "192.168.7.9": true, "fd00:1::1": true, "fd00:1::1%eth0": true, "127.0.0.1": true, "8.8.4.4": true,
		"10.1.9.1": false, "::ffff:10.1.9.1": false, "10.2.0.1": false, "192.168.8.1": false, "fd00:2::1": false, "127.0.0.2": false, "::1": false,
		"8.8.8.8": false, "64:ff9b::8.8.8.8": false, "2606:4700::1": false, "64:ff9b::10.1.0.1": false,
	} {
		if err := e.checkAddr("host", netip.MustParseAddr(text)); (err == nil) != open {
			t.Errorf("%s: %v, want open = %v", text, err, open)
		}
	}
	for _, policy := range []EgressPolicy{{AllowCIDRs: make([]netip.Prefix, 1)}, {DenyCIDRs: make([]netip.Prefix, 1)}} {
		if _, err := NewEgress(policy); err == nil {
			t.Error("a zero prefix is accepted")
		}
	}
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	e := newTestEgress(t, EgressPolicy{})
	for kind, raws := range map[error]string{
		nil: `https://example.com https://example.com/ https://EXAMPLE.com:8443/a?b=c https://example.com.:443 HTTPS://a_b.example.com
			https://8.8.8.8 https://[2606:4700::1]:65535/x https://xn--mnchen-3ya.de https://1.2.3.4.example.com https://0x.example
			https://single https://[::ffff:8.8.8.8] https://localhost.example.com https://face.be0x1`,
		ErrEgressBlocked: `http://example.com http://127.0.0.1 https://127.0.0.1 https://127.0.0.1:8443/x https://[::1] https://[::]
			https://0.0.0.0 https://0 https://127.1 https://127.0.1 https://2130706433 https://017700000001 https://0x7f000001 https://0X7F.1
			https://0177.0.0.1 https://0x7f.0.0.0x1 https://127.0.0.1. https://127.0.0.01 https://0xa9fea9fe https://0251.0376.0251.0376 https://2852039166
			https://169.254.169.254/latest/meta-data https://[fe80::1%25eth0] https://[::1%25lo] https://[::ffff:127.0.0.1] https://[::ffff:7f00:1]
			https://[0:0:0:0:0:ffff:a9fe:a9fe] https://[64:ff9b::7f00:1] https://[2002:7f00:1::] https://[::127.0.0.1] https://[fd00:ec2::254]
			https://localhost https://LOCALHOST:8443 https://localhost. https://a.localhost https://10.1 https://0x0 https://192.168.257`,
		ErrEgressURL: `example.com //example.com /path https: https:// https:///path https://:443 https:example.com ftp://example.com file:///etc/passwd
			unix:///run/x gopher://example.com javascript:alert(1) https://user@example.com https://user:pw@example.com https://@example.com
			https://example.com: https://example.com:0 https://example.com:65536 https://example.com:99999999999999999999 https://example.com:x https://example.com:-1
			https://8.8.2056 https://134744072 https://0x8.8.8.8 https://8.8.8.8. https://08.8.8.8 https://256.1.1.1 https://1.2.3.4.5 https://1.2.3.0x
			https://4294967296 https://0x100000000 https://example.1 https://127.0.0.0x1g.1 https://1..1 https://a..b https://.example.com https://example.com..
			https://exa$mple.com https://ex%61mple.com https://127%2e0%2e0%2e1 https://１２７.0.0.1 https://127。0。0。1 https://bücher.example https://[::1 https://[v1.a]
			https://[127.0.0.1.1] https://exam_ple!.com https://a*b.com https://0o17.1`,
	} {
		for raw := range strings.FieldsSeq(raws) {
			if err := e.CheckURL(raw); !errors.Is(err, kind) {
				t.Errorf("CheckURL(%q) = %v, want %v", raw, err, kind)
			}
		}
	}
	for _, raw := range []string{"", " https://example.com", "https://example.com /", "https://exa\tmple.com", "https://example.com\n", "https://a\x00b.com",
		"https://" + strings.Repeat("a", 64) + ".com", "https://" + strings.Repeat("a.", 127) + "com", `https://example.com\@127.0.0.1`} {
		if err := e.CheckURL(raw); !errors.Is(err, ErrEgressURL) {
			t.Errorf("CheckURL(%q) = %v", raw, err)
		}
	}
}

func TestCheckURLPolicy(t *testing.T) {
	t.Parallel()
	e := newTestEgress(t, EgressPolicy{AllowHTTP: true, AllowCIDRs: prefixes("127.0.0.0/8")})
	for _, raw := range []string{"http://example.com", "https://example.com", "http://localhost:8080", "http://127.0.0.1:8080", "http://[::ffff:127.0.0.1]"} {
		if err := e.CheckURL(raw); err != nil {
			t.Errorf("CheckURL(%q) = %v", raw, err)
		}
	}
	if err := e.CheckURL("http://127.1"); !errors.Is(err, ErrEgressURL) {
		t.Errorf("an allowed address in a loose form: %v", err)
	}
	v6 := newTestEgress(t, EgressPolicy{AllowCIDRs: prefixes("::1/128")})
	if err := v6.CheckURL("https://localhost"); err != nil {
		t.Errorf("localhost, where ::1 is open: %v", err)
	}
}

func TestEgressErrorsTellWhatIsNeeded(t *testing.T) {
	t.Parallel()
	e := newTestEgress(t, EgressPolicy{})
	err := e.CheckURL("https://127.0.0.1:8443/token-5ecret")
	for _, want := range []string{"127.0.0.1", "loopback", "127.0.0.0/8", "egress.allow"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %s", err, want)
		}
	}
	for _, raw := range []string{"https://127.0.0.1/5ecret", "https://u:5ecret@example.com", "https://u:5ecret@[", "https://example.com:5ecret ", "http://x/5ecret"} {
		if err := e.CheckURL(raw); err == nil || strings.Contains(err.Error(), "/5ecret") || strings.Contains(err.Error(), "u:5ecret") {
			t.Errorf("CheckURL(%q) = %v", raw, err)
		}
	}
}

// listen returns a listener on 127.0.0.1 and the port it has.
func listen(t *testing.T) (ln net.Listener, port string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	_, port, _ = net.SplitHostPort(ln.Addr().String())
	return ln, port
}

// dialAllowed connects to ln by host, and checks that this is the first
// connection that ln ever got.
func dialAllowed(t *testing.T, policy EgressPolicy, ln net.Listener, hostport string) {
	t.Helper()
	policy.AllowCIDRs = prefixes("127.0.0.0/8")
	conn, err := newTestEgress(t, policy).DialContext(t.Context(), "tcp", hostport)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	got, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = got.Close() }()
	if got.RemoteAddr().String() != conn.LocalAddr().String() {
		t.Errorf("%v connected before it was allowed", got.RemoteAddr())
	}
}

func TestDialRefusesAndAllows(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"127.0.0.1", "localhost", "::ffff:127.0.0.1"} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			ln, port := listen(t)
			hostport := net.JoinHostPort(host, port)
			conn, err := newTestEgress(t, EgressPolicy{}).DialContext(t.Context(), "tcp", hostport)
			var blocked *EgressError
			if conn != nil || !errors.As(err, &blocked) || !errors.Is(err, ErrEgressBlocked) {
				t.Fatalf("DialContext = %v, %v", conn, err)
			}
			if blocked.Host != host || blocked.Reason != "loopback" {
				t.Errorf("refused as %+v", blocked)
			}
			dialAllowed(t, EgressPolicy{}, ln, hostport)
		})
	}
}

func TestDialRefusesOtherNetworks(t *testing.T) {
	t.Parallel()
	e := newTestEgress(t, EgressPolicy{})
	for network, address := range map[string]string{"udp": "8.8.8.8:53", "unix": "/nowhere/to.sock"} {
		if _, err := e.DialContext(t.Context(), network, address); !errors.Is(err, ErrEgressBlocked) {
			t.Errorf("%s: %v", network, err)
		}
	}
	if _, err := e.DialContext(t.Context(), "tcp", "no port"); err == nil || errors.Is(err, ErrEgressBlocked) {
		t.Errorf("an address without a port: %v", err)
	}
}

// testDNS answers every A query with the address it holds and every other
// query with nothing.
type testDNS struct {
	addr atomic.Pointer[netip.Addr]
	conn net.PacketConn
}

func newTestDNS(t *testing.T) *testDNS {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d, done := &testDNS{conn: conn}, make(chan struct{})
	go func() {
		defer close(done)
		d.serve()
	}()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return d
}

func (d *testDNS) answer(text string) {
	addr := netip.MustParseAddr(text)
	d.addr.Store(&addr)
}

func (d *testDNS) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", d.conn.LocalAddr().String())
	}}
}

func (d *testDNS) serve() {
	buf := make([]byte, 1500)
	for {
		n, from, err := d.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		_, _ = d.conn.WriteTo(d.reply(buf[:n]), from)
	}
}

// reply builds the answer: header, the question as it came, and for type A one
// record that points back to the name in the question.
func (d *testDNS) reply(query []byte) []byte {
	end := 12
	for query[end] != 0 {
		end += 1 + int(query[end])
	}
	end += 5
	isA := binary.BigEndian.Uint16(query[end-4:]) == 1
	out := append([]byte{query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, query[12:end]...)
	if isA {
		out[7] = 1
		out = append(out, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
		out = append(out, d.addr.Load().AsSlice()...)
	}
	return out
}

// TestRebinding has a name that is public when it is checked and this machine
// when it is dialled.
func TestRebinding(t *testing.T) {
	t.Parallel()
	dns := newTestDNS(t)
	ln, port := listen(t)
	policy := EgressPolicy{Resolver: dns.resolver()}
	e := newTestEgress(t, policy)
	hostport := net.JoinHostPort("hook.rebind.test", port)

	dns.answer("8.8.8.8")
	if err := e.CheckDNS(t.Context(), "https://"+hostport+"/hook"); err != nil {
		t.Fatalf("while it is public: %v", err)
	}
	dns.answer("127.0.0.1")
	_, err := e.DialContext(t.Context(), "tcp", hostport)
	var blocked *EgressError
	if !errors.As(err, &blocked) || blocked.Host != "hook.rebind.test" || blocked.Addr != netip.MustParseAddr("127.0.0.1") {
		t.Fatalf("DialContext: %v", err)
	}
	if err := e.CheckDNS(t.Context(), "https://"+hostport+"/hook"); !errors.Is(err, ErrEgressBlocked) {
		t.Errorf("CheckDNS now: %v", err)
	}
	dialAllowed(t, policy, ln, hostport)
}

func TestCheckDNS(t *testing.T) {
	t.Parallel()
	lost := errors.New("no name server")
	e := newTestEgress(t, EgressPolicy{Resolver: &net.Resolver{PreferGo: true,
		Dial: func(context.Context, string, string) (net.Conn, error) { return nil, lost }}})
	if err := e.CheckDNS(t.Context(), "https://8.8.8.8/"); err != nil {
		t.Errorf("an address needs no lookup: %v", err)
	}
	if err := e.CheckDNS(t.Context(), "https://10.0.0.1/"); !errors.Is(err, ErrEgressBlocked) {
		t.Errorf("a blocked address: %v", err)
	}
	var dnsErr *net.DNSError
	if err := e.CheckDNS(t.Context(), "https://hook.lost.test/"); !errors.As(err, &dnsErr) {
		t.Errorf("a failed lookup: %v", err)
	}
}

// FuzzEgressAddr holds the table against what the standard library knows.
func FuzzEgressAddr(f *testing.F) {
	e := newTestEgress(f, EgressPolicy{})
	for _, text := range []string{"127.0.0.1", "8.8.8.8", "::1", "fe80::1", "64:ff9b::1", "2606:4700::1", "::ffff:10.0.0.1"} {
		f.Add(netip.MustParseAddr(text).AsSlice(), "")
	}
	f.Add([]byte{254, 128, 15: 1}, "eth0")
	f.Fuzz(func(t *testing.T, raw []byte, zone string) {
		addr, ok := netip.AddrFromSlice(raw)
		if !ok {
			return
		}
		refused := e.checkAddr("host", addr.WithZone(zone)) != nil
		a := addr.Unmap()
		if !refused && (!a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast()) {
			t.Fatalf("%v is let through", addr)
		}
		if a.Is4() && refused != (e.checkAddr("host", netip.AddrFrom16(a.As16())) != nil) {
			t.Fatalf("%v and its mapped form differ", addr)
		}
	})
}

// FuzzCheckURL holds that a URL which passes has a host that is a public
// address or can be nothing but a name.
func FuzzCheckURL(f *testing.F) {
	for _, raw := range []string{"https://example.com:8443/x?y#z", "https://127.1", "https://[fe80::1%25eth0]:1", "https://0x7f.0.0.1.", "http://u:p@h", "https://0177.1"} {
		f.Add(raw)
	}
	e := newTestEgress(f, EgressPolicy{})
	loose := regexp.MustCompile(`(?i)(^|\.)([0-9]+|0x[0-9a-f]*|localhost)$`)
	f.Fuzz(func(t *testing.T, raw string) {
		if err := e.CheckURL(raw); err != nil {
			if !errors.Is(err, ErrEgressURL) && !errors.Is(err, ErrEgressBlocked) {
				t.Fatalf("CheckURL(%q): an error of no kind: %v", raw, err)
			}
			return
		}
		u, err := url.Parse(raw)
		if err != nil || u.Scheme != "https" || u.User != nil || u.Hostname() == "" {
			t.Fatalf("CheckURL(%q) passes", raw)
		}
		host := strings.TrimSuffix(u.Hostname(), ".")
		if addr, err := netip.ParseAddr(host); err == nil {
			if e.checkAddr(host, addr) != nil {
				t.Fatalf("CheckURL(%q) lets %v through", raw, addr)
			}
			return
		}
		if loose.MatchString(host) {
			t.Fatalf("CheckURL(%q) lets %q through as a name", raw, host)
		}
	})
}
