package change

import (
	"testing"

	"pgregory.net/rapid"
)

const (
	uuidA = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
	uuidB = "4d8b564f-03f4-4975-856a-0e65c3105328"
)

func TestParseGTIDSetPrintsCanonically(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		flavor   Flavor
		in, want string
	}{
		{MySQL, "", ""},
		{MySQL, uuidA + ":1-5", uuidA + ":1-5"},
		{MySQL, "3E11FA47-71CA-11E1-9E33-C80AA9429562:1-5:7:6,\n" + uuidB + ":3", uuidA + ":1-7," + uuidB + ":3"},
		{MySQL, uuidA + ":5:1-3:9-12:4", uuidA + ":1-5:9-12"},
		{MySQL, uuidA + ":1-2:tag_a:4-5:7", uuidA + ":1-2," + uuidA + ":tag_a:4-5:7"},
		{MariaDB, "1-2-3,0-1-77", "0-1-77,1-2-3"},
	} {
		s, err := ParseGTIDSet(tc.flavor, tc.in)
		if err != nil {
			t.Errorf("ParseGTIDSet(%q): %v", tc.in, err)
			continue
		}
		if got := s.String(); got != tc.want {
			t.Errorf("ParseGTIDSet(%q) = %q, want %q", tc.in, got, tc.want)
		}
	}
}

func TestParseGTIDSetRefusesWhatIsNone(t *testing.T) {
	t.Parallel()
	for flavor, bad := range map[Flavor][]string{
		MySQL:   {"x", uuidA, uuidA + ":0", uuidA + ":5-4", uuidA + ":1-", uuidA + ":-1", "3e11:1", uuidA + ":99999999999999999999"},
		MariaDB: {"1-2", "0-1-x", "0-1-2-3", "4294967296-1-1"},
	} {
		for _, s := range bad {
			if set, err := ParseGTIDSet(flavor, s); err == nil {
				t.Errorf("ParseGTIDSet(%s, %q) = %s, want an error", flavor, s, set)
			}
		}
	}
}

func TestCoversAndMinus(t *testing.T) {
	t.Parallel()
	parse := func(f Flavor, s string) *GTIDSet {
		set, err := ParseGTIDSet(f, s)
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	for _, tc := range []struct {
		flavor     Flavor
		a, b, less string
	}{
		{MySQL, uuidA + ":1-10", uuidA + ":3-4:8", uuidA + ":1-2:5-7:9-10"},
		{MySQL, uuidA + ":1-10," + uuidB + ":1", uuidA + ":1-20", uuidB + ":1"},
		{MySQL, uuidA + ":5", uuidA + ":1-9", ""},
		{MySQL, uuidA + ":tag:5", uuidA + ":1-9", uuidA + ":tag:5"},
		{MariaDB, "0-1-10,1-1-5", "0-2-10", "1-1-5"},
		{MariaDB, "0-1-9", "0-2-10", ""},
	} {
		a, b := parse(tc.flavor, tc.a), parse(tc.flavor, tc.b)
		if got := a.Minus(b).String(); got != tc.less {
			t.Errorf("%s minus %s = %q, want %q", tc.a, tc.b, got, tc.less)
		}
		if got, want := b.Covers(a), tc.less == ""; got != want {
			t.Errorf("%s covers %s = %t, want %t", tc.b, tc.a, got, want)
		}
	}
}

// A set is what was added to it, whatever the order: compared with a plain map.
func TestGTIDSetIsASet(t *testing.T) {
	t.Parallel()
	u, err := parseUUID(uuidA)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		model := map[uint64]bool{}
		set := NewGTIDSet(MySQL)
		for _, n := range rapid.SliceOf(rapid.Uint64Range(1, 40)).Draw(t, "numbers") {
			model[n] = true
			set.Add(GTID{Flavor: MySQL, UUID: u, N: n})
		}
		again, err := ParseGTIDSet(MySQL, set.String())
		if err != nil {
			t.Fatal(err)
		}
		for n := uint64(1); n <= 41; n++ {
			g := GTID{Flavor: MySQL, UUID: u, N: n}
			if set.Contains(g) != model[n] || again.Contains(g) != model[n] {
				t.Fatalf("%s contains %d: %t, added: %t", set, n, set.Contains(g), model[n])
			}
		}
		if !again.Covers(set) || !set.Covers(again) {
			t.Fatalf("%s and %s differ", set, again)
		}
	})
}

func FuzzParseGTIDSet(f *testing.F) {
	f.Add(uuidA+":1-5:7,"+uuidB+":tag:3", true)
	f.Add("0-1-77,1-2-3", false)
	f.Fuzz(func(t *testing.T, s string, mysql bool) {
		flavor := MariaDB
		if mysql {
			flavor = MySQL
		}
		set, err := ParseGTIDSet(flavor, s)
		if err != nil {
			return
		}
		again, err := ParseGTIDSet(flavor, set.String())
		if err != nil || again.String() != set.String() {
			t.Fatalf("%q printed as %q, read again as %v, %v", s, set, again, err)
		}
	})
}

func TestParseGTID(t *testing.T) {
	t.Parallel()
	for flavor, texts := range map[Flavor][]string{MySQL: {uuidA + ":7", uuidA + ":tag:7"}, MariaDB: {"0-1-7"}} {
		for _, s := range texts {
			g, err := ParseGTID(flavor, s)
			if err != nil || g.String() != s {
				t.Errorf("ParseGTID(%q) = %q, %v", s, g, err)
			}
		}
	}
	for flavor, texts := range map[Flavor][]string{MySQL: {"", uuidA, uuidA + ":0", "x:1"}, MariaDB: {"", "1-2"}} {
		for _, s := range texts {
			if g, err := ParseGTID(flavor, s); err == nil {
				t.Errorf("ParseGTID(%q) = %v, want an error", s, g)
			}
		}
	}
}
