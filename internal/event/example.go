package event

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/rowhook/rowhook/internal/change"
)

// TestType is the type of an event that only tests an endpoint. No file can name it.
const TestType = ownSchema + ".test"

// TestDefinition returns the definition of TestType, for Example.
func TestDefinition() Definition {
	return Definition{Name: TestType, Table: ownSchema + ".test", On: []change.Op{change.Insert}, Data: []string{"id", "message"}}
}

// Example returns a made-up event of a type, marked as a test: of the first operation of its on, with values that fit the columns of
// t, a table that the type looks at. Without t the kinds of the columns are guessed from their names. What when says does not
// matter. The same seed gives the same event, another one an event with another id; it depends on nothing else.
//
// The event belongs to the caller, who sets Time, and may set Seq and Source. No change in any log has its id.
func Example(def Definition, t *change.Table, seed uint64) (*Event, error) {
	c := compiler{def: &def}
	typ := c.compileExample()
	if len(c.problems) > 0 {
		return nil, fmt.Errorf("make up an event: %w", c.problems[0])
	}
	if t == nil {
		t = guessTable(typ)
	}
	set := &Set{types: []*eventType{typ}}
	p := set.plan(t)
	if len(p.types) == 0 {
		return nil, fmt.Errorf("make up an event of type %s: it does not look at the table %s", def.Name, t.FullName())
	}
	block, err := exampleBlock(typ, t, seed)
	if err != nil {
		return nil, fmt.Errorf("make up an event of type %s: %w", def.Name, err)
	}
	m, tp := set.NewMatcher(), p.types[0]
	err = block.Each(func(c *change.Change) error {
		if err := m.load(p, c); err != nil {
			return err
		}
		return m.give(&matching{plan: p, source: TestType, generation: seed, change: c}, tp, side{op: c.Op}, tp.err, func(*Event) error { return nil })
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("make up an event of type %s: %w", def.Name, err)
	case m.event.Err != nil:
		return nil, fmt.Errorf("make up an event of type %s: %w", def.Name, m.event.Err)
	}
	m.event.Test = true
	return &m.event, nil
}

// compileExample is compile, but knows Rowhook's own types.
func (c *compiler) compileExample() *eventType {
	if isBuiltin(c.def.Name) {
		return c.compileBuiltin()
	}
	return c.compile()
}

// exampleBlock returns a block with one change of t.
func exampleBlock(typ *eventType, t *change.Table, seed uint64) (*change.Block, error) {
	op := change.Insert
	if len(typ.def.On) > 0 {
		op = typ.def.On[0]
	}
	r := rand.New(rand.NewPCG(seed, 0))
	after := make([]func([]byte) []byte, len(t.Columns))
	for i := range t.Columns {
		after[i] = exampleValue(&t.Columns[i], r)
	}
	before := slices.Clone(after)
	for i := range t.Columns {
		if changesInExample(typ, t, i) {
			before[i] = exampleValue(&t.Columns[i], r)
		}
	}
	b := change.NewBuilder(TestType, 0)
	b.BeginSegment(&change.Transaction{}, 0, nil, true)
	b.BeginChange(op, t)
	if op == change.Update || op == change.Delete {
		b.EndRow(appendRowOf(b.BeginRow(true), before), true, nil)
	}
	if op != change.Delete {
		b.EndRow(appendRowOf(b.BeginRow(false), after), false, nil)
	}
	b.EndChange()
	b.EndSegment(true)
	raw, err := b.Finish(1, change.Position{})
	if err != nil {
		return nil, err
	}
	return change.Parse(raw)
}

// changesInExample says whether an update changes the column: one that the type watches, but nothing that says which row it is, or
// whose.
func changesInExample(typ *eventType, t *change.Table, i int) bool {
	name := t.Columns[i].Name
	if slices.Contains(t.Key, i) || slices.Contains(typ.def.Key, name) || slices.Contains(typ.subject.columns(), name) || slices.Contains(typ.tenant.columns(), name) {
		return false
	}
	if len(typ.def.Columns) > 0 {
		return slices.Contains(typ.def.Columns, name)
	}
	return slices.Contains(typ.def.Data, name)
}

func appendRowOf(p []byte, values []func([]byte) []byte) []byte {
	for _, v := range values {
		p = v(p)
	}
	return p
}

// guessTable returns a table with the columns that the type names.
func guessTable(typ *eventType) *change.Table {
	schema, name, _ := strings.Cut(strings.ReplaceAll(typ.def.Table, "*", "example"), ".")
	t := &change.Table{Schema: schema, Name: name}
	var columns []string
	for _, names := range [][]string{typ.def.Data, typ.def.Columns, typ.def.Key, typ.subject.columns(), typ.tenant.columns()} {
		columns = append(columns, names...)
	}
	for _, name := range columns {
		if t.Index(name) < 0 {
			t.Columns = append(t.Columns, guessColumn(name, uint32(len(t.Columns)+1)))
		}
	}
	if i := t.Index("id"); i >= 0 {
		t.Key = []int{i}
	}
	return t
}

func guessColumn(name string, number uint32) change.Column {
	last := name[strings.LastIndexByte(name, '_')+1:]
	if slices.Contains([]string{"id", "count", "qty", "quantity", "number", "no", "position", "version", "year", "size", "age"}, last) {
		return change.Column{Name: name, Number: number, Kind: change.Int, Type: "int"}
	}
	return change.Column{Name: name, Number: number, Kind: change.Text, Type: "text"}
}
