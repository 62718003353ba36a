package change

import (
	"bytes"
	"fmt"
	"testing"
)

// A large block leaves in the builder's own buffer. What is built after it must not reach it, and it is the same block as one that
// was copied.
func TestBuilderGivesBlocksAway(t *testing.T) {
	t.Parallel()
	wide := make([]*Table, 200) // more than there is room for in front of the block
	for i := range wide {
		wide[i] = &Table{Schema: "app", Name: fmt.Sprintf("table_%d", i), Columns: []Column{{Name: "id", Number: 1, Kind: Int, Type: "int"}}}
	}
	b := NewBuilder("orders", 1)
	type built struct {
		block, copied []byte
		changes       int
	}
	var all []built
	for _, c := range []struct{ changes, size, tables int }{
		{1, 10, 1}, {2000, 500, 1}, {2000, 500, 1}, {5, 10, 1}, {2000, 500, len(wide)}, {700, 500, 1}, {2000, 500, 2}, {2, 3 << 20, 1}, {300, 500, 1}, {2000, 520, 1},
	} {
		value := bytes.Repeat([]byte{byte('a' + len(all))}, c.size)
		b.BeginSegment(&Transaction{GTID: "0-1-1"}, 0, nil, true)
		for i := range c.changes {
			b.BeginChange(Insert, wide[i%c.tables])
			b.EndRow(AppendBytes(b.BeginRow(false), 1, value, false), false, nil)
			b.EndChange()
		}
		b.EndSegment(true)
		size := b.Size()
		block, err := b.Finish(1, Position{GTIDSet: "0-1-1"})
		if err != nil {
			t.Fatal(err)
		}
		if b.Size() != 0 || size > len(block) || cap(block) > len(block)+len(block)/2+2*headRoom {
			t.Errorf("a block of %d bytes for %d has room for %d; the builder has %d bytes", len(block), size, cap(block), b.Size())
		}
		all = append(all, built{block, bytes.Clone(block), c.changes})
	}
	for i, got := range all {
		if !bytes.Equal(got.block, got.copied) {
			t.Errorf("block %d was written to after it was finished", i)
		}
		blk, err := Parse(got.block)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		if err := blk.Each(func(*Change) error { n++; return nil }); err != nil || n != got.changes {
			t.Errorf("block %d holds %d changes, %v; want %d", i, n, err, got.changes)
		}
	}
}
