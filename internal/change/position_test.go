package change

import (
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A position without GTIDs: file, its creation time and offset. Frozen as the other vectors are.
func TestFilePositionVectorIsFrozen(t *testing.T) {
	t.Parallel()
	p := Position{File: "bin.000003", Offset: 1 << 33, FileCreated: 1769866620, Server: uuidA, CommitTime: 1769866620123456,
		Partial: &Partial{Rows: []TableRows{{"a", "b", 3}}}}
	b, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	const want = "120a62696e2e303030303033188080808020222433653131666134372d373163612d313165312d396533332d633830616139" +
		"3432393536322a0a12080a0161120162180330c0f2c4f9f2b5920338fc8af8cb06"
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	again, err := UnmarshalPosition(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(p, again); diff != "" || !again.ByFile() {
		t.Errorf("by file: %v; %s", again.ByFile(), diff)
	}
	if (Position{GTIDSet: "0-1-1", File: "bin.1", Offset: 4}).ByFile() {
		t.Error("a position by GTID says that it is one by file")
	}
}
