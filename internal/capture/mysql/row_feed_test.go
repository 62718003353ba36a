package mysql

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/rowhook/rowhook/internal/change"
)

// newRowFeed returns a logFeed whose rows are whole: operation, table, key, and each column by its name.
func newRowFeed(t *testing.T, flavor change.Flavor, from change.Position) *logFeed {
	t.Helper()
	f := newLogFeed(t, flavor, from)
	f.text = wholeRowText
	return f
}

func wholeRowText(c *change.Change) string {
	v, err := c.Row().Values(nil)
	if err != nil {
		return err.Error()
	}
	var key, row []string
	for _, i := range c.Table.Key {
		key = append(key, c.Table.Columns[i].Name)
	}
	for i := range c.Table.Columns {
		text := "NULL"
		switch {
		case v[i].State == change.Absent:
			text = "absent"
		case v[i].State != change.Null && c.Table.Columns[i].Kind == change.Bytes:
			text = hex.EncodeToString(v[i].Bytes())
		case v[i].State != change.Null:
			text = string(v[i].AppendText(nil))
		}
		row = append(row, c.Table.Columns[i].Name+"="+text)
	}
	return fmt.Sprintf("%s %s %v: %s", c.Op, c.Table.Name, key, strings.Join(row, " "))
}
