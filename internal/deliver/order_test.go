package deliver

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestKeyOrderMatchesModel holds keyOrder to a list: an event may be sent when no earlier one that is left shares a key with it.
func TestKeyOrderMatchesModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o := keyOrder{}
		var left []*item // in order
		ready := map[*item]bool{}
		shares := func(a, b *item) bool {
			return slices.ContainsFunc(a.keys[:], func(k uint64) bool { return k != 0 && slices.Contains(b.keys[:], k) })
		}
		before := func(it *item) (out []*item) {
			for _, other := range left {
				if other == it {
					break
				}
				if shares(other, it) {
					out = append(out, other)
				}
			}
			return out
		}
		check := func() {
			for _, it := range left {
				if want := len(before(it)) == 0; ready[it] != want || it.first() != want {
					t.Fatalf("event %d: ready %v, first %v, the model says %v", it.ref.Seq, ready[it], it.first(), want)
				}
			}
		}
		seq := uint64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if len(ready) == 0 || rapid.Bool().Draw(t, "add") {
				seq++
				it := &item{ref: EventRef{Seq: seq}, keys: orderKeys(
					rapid.Uint64Range(1, 4).Draw(t, "key"), rapid.Uint64Range(0, 4).Draw(t, "other"), rapid.IntRange(0, 9).Draw(t, "ordered") > 0)}
				left = append(left, it)
				if o.add(it) {
					ready[it] = true
				}
				check()
				continue
			}
			i := rapid.SampledFrom(slices.DeleteFunc(slices.Clone(left), func(it *item) bool { return !ready[it] })).Draw(t, "remove")
			delete(ready, i)
			left = slices.DeleteFunc(left, func(it *item) bool { return it == i })
			for _, n := range o.remove(i) {
				if ready[n] {
					t.Fatalf("event %d became ready twice", n.ref.Seq)
				}
				ready[n] = true
			}
			check()
		}
		for len(ready) > 0 {
			for it := range ready {
				delete(ready, it)
				left = slices.DeleteFunc(left, func(x *item) bool { return x == it })
				for _, n := range o.remove(it) {
					ready[n] = true
				}
				break
			}
		}
		if len(left) > 0 || len(o) > 0 {
			t.Fatalf("%d events and %d keys are left", len(left), len(o))
		}
	})
}
