package event

import (
	"errors"
	"fmt"
	"math"
	"reflect"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/rowhook/rowhook/internal/change"
)

// activation gives an expression its variables for one change. It is reused from change to change.
type activation struct {
	plan          *plan
	op            change.Op
	before, after row
	diff          []difference
	changed       ref.Val
}

var (
	_ cel.Activation = (*activation)(nil)
	_ traits.Mapper  = (*row)(nil)
)

// ResolveName returns the variable's value.
func (a *activation) ResolveName(name string) (any, bool) {
	switch name {
	case varBefore:
		return &a.before, true
	case varAfter:
		return &a.after, true
	case varOp:
		return types.String(a.op.String()), true
	case varTable:
		return types.String(a.plan.table.Name), true
	case varSchema:
		return types.String(a.plan.table.Schema), true
	case varChanged:
		if a.changed == nil {
			a.changed = a.changedList()
		}
		return a.changed, true
	}
	return nil, false
}

// Parent returns nil: there is no outer scope.
func (a *activation) Parent() cel.Activation { return nil }

func (a *activation) changedList() ref.Val {
	names := []string{}
	for i, d := range a.diff {
		if d == differs {
			names = append(names, a.plan.table.Columns[i].Name)
		}
	}
	return types.NewStringList(types.DefaultTypeAdapter, names)
}

// missing says why the column of r could not be read.
func (a *activation) missing(text string, r reference) *Error {
	if _, ok := a.plan.columns[r.column]; !ok {
		return unknownColumn(a.plan.table, "when", r.column)
	}
	img := &a.after
	if r.image == varBefore {
		img = &a.before
	}
	if !img.present {
		return &Error{Code: CodeExpression, Column: r.column, Message: fmt.Sprintf(
			`when: %s: %s.%s does not exist for %s; ask first: has(%s.%s) && …, or op == "update" && …`, text, r.image, r.column, a.op, r.image, r.column)}
	}
	return &Error{Code: CodeColumnAbsent, Column: r.column, Message: fmt.Sprintf(
		"when: %s: the row image did not carry %s.%s; set binlog_row_image=FULL", text, r.image, r.column)}
}

// row is one image of a row as a CEL map, over values that stand in the block's bytes: a value is converted when it is read.
type row struct {
	plan    *plan
	values  []change.Value
	present bool
}

func (r *row) at(name string) (ref.Val, bool) {
	i, ok := r.plan.columns[name]
	if !ok || !r.present || r.values[i].State == change.Absent {
		return nil, false
	}
	return celValue(r.values[i]), true
}

func celValue(v change.Value) ref.Val {
	if v.State == change.Null {
		return types.NullValue
	}
	switch v.Kind {
	case change.Int:
		return types.Int(v.Int())
	case change.Uint:
		if u := v.Uint(); u > math.MaxInt64 {
			return types.Uint(u)
		}
		return types.Int(v.Uint())
	case change.Float:
		return types.Double(v.Float())
	case change.Double:
		return types.Double(v.Double())
	case change.Bytes, change.Geometry, change.Vector:
		return types.Bytes(v.Bytes())
	default:
		return types.String(v.Bytes())
	}
}

// Find returns the value of the column.
func (r *row) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return nil, false
	}
	return r.at(string(name))
}

// Get returns the value of the column, or an error value.
func (r *row) Get(key ref.Val) ref.Val {
	if v, ok := r.Find(key); ok {
		return v
	}
	return types.NewErr("no such key: %v", key)
}

// Contains reports whether the image carries the column.
func (r *row) Contains(key ref.Val) ref.Val {
	_, ok := r.Find(key)
	return types.Bool(ok)
}

func (r *row) names() []string {
	out := []string{}
	for i := range r.values {
		if r.present && r.values[i].State != change.Absent {
			out = append(out, r.plan.table.Columns[i].Name)
		}
	}
	return out
}

// Size returns the number of columns that the image carries.
func (r *row) Size() ref.Val { return types.Int(len(r.names())) }

// Iterator walks the names of the columns, in table order.
func (r *row) Iterator() traits.Iterator {
	return types.NewStringList(types.DefaultTypeAdapter, r.names()).(traits.Iterable).Iterator()
}

// Equal compares column by column.
func (r *row) Equal(other ref.Val) ref.Val {
	o, ok := other.(traits.Mapper)
	if !ok || r.Size() != o.Size() {
		return types.False
	}
	for _, name := range r.names() {
		a, _ := r.at(name)
		b, found := o.Find(types.String(name))
		if !found || types.Equal(a, b) != types.True {
			return types.False
		}
	}
	return types.True
}

// Type returns the CEL map type.
func (r *row) Type() ref.Type { return types.MapType }

// Value returns the row itself: it has no native form.
func (r *row) Value() any { return r }

// ConvertToNative always fails: a row has no native form.
func (r *row) ConvertToNative(reflect.Type) (any, error) {
	return nil, errors.New("a row cannot be converted")
}

// ConvertToType converts to map, and to the type itself.
func (r *row) ConvertToType(t ref.Type) ref.Val {
	switch t {
	case types.MapType:
		return r
	case types.TypeType:
		return types.MapType
	}
	return types.NewErr("type conversion error from 'map' to '%s'", t.TypeName())
}
