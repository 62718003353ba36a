package event

import "github.com/rowhook/rowhook/internal/change"

// Definition is an event type as somebody wrote it: a named rule from changes to events.
type Definition struct {
	// Name of the type: words of a-z, 0-9 and _ joined by dots, "sheet.row.updated".
	Name string
	// Table is "schema.table"; * in either part stands for any characters.
	Table string
	// On lists the operations; empty means insert, update and delete.
	On []change.Op
	// Columns, if any, of which one must have changed for an update to fire.
	Columns []string
	// When is a CEL expression that must be true, or empty.
	When string
	// Subject and Tenant are templates such as "sheets/{sheet_id}", or empty.
	Subject, Tenant string
	// Key names the columns of the order key; empty means the primary key.
	Key []string
	// Data names the columns that leave.
	Data []string
	// Mask says by column of Data how it leaves in place of its value: sha256, redact, null or last4.
	Mask map[string]string

	origin origin
}

// origin says where the parts of a definition stand, so that an error found later can still point at them.
type origin struct {
	src *source
	// fields holds the place of each value by its key in the file, and of the name under "".
	fields map[string]place
	// items holds the places of a list's values.
	items map[string][]place
	// masks holds the places of the entries of mask.
	masks map[string]maskPlace
	// inside turns a place within a field's text into a place in the file.
	inside map[string]func(place) place
	// broken names the keys whose values could not be read and were reported already.
	broken map[string]bool
}

type maskPlace struct{ column, value place }

// at returns the place of item i of a field; of the field itself if i is negative; of the name where the field is missing.
func (o *origin) at(field string, i int) place {
	if items := o.items[field]; i >= 0 && i < len(items) {
		return items[i]
	}
	if p, ok := o.fields[field]; ok {
		return p
	}
	return o.fields[""]
}

// within returns the place in the file of a place in a field's text.
func (o *origin) within(field string, p place) place {
	if f := o.inside[field]; f != nil {
		return f(p)
	}
	return o.at(field, -1)
}

// The keys of a definition in YAML.
const (
	fieldTable   = "table"
	fieldOn      = "on"
	fieldColumns = "columns"
	fieldWhen    = "when"
	fieldSubject = "subject"
	fieldTenant  = "tenant"
	fieldKey     = "key"
	fieldData    = "data"
	fieldMask    = "mask"
)

func fieldNames() []string {
	return []string{fieldTable, fieldOn, fieldColumns, fieldWhen, fieldSubject, fieldTenant, fieldKey, fieldData, fieldMask}
}

func opNames() []string { return []string{"insert", "update", "delete", "snapshot"} }

func opByName(s string) (change.Op, bool) {
	for _, op := range []change.Op{change.Insert, change.Update, change.Delete, change.Snapshot} {
		if op.String() == s {
			return op, true
		}
	}
	return 0, false
}
