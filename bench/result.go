package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
)

// Result is what one scenario has measured.
type Result struct {
	Scenario string `json:"scenario"`
	// Server is the kind of server, "mariadb" or "mysql", or "none".
	Server   string  `json:"server"`
	Settings Figures `json:"settings"`
	Measured Figures `json:"measured"`
	Ratios   Figures `json:"ratios"`

	// Title and Rows are what people read first.
	Title string `json:"-"`
	Rows  []Row  `json:"-"`
	// Warnings say why the figures may mean less than they seem to.
	Warnings []string `json:"-"`
}

// Row is a line of the table for people; the first one holds the headings.
type Row []string

// Figure is a named value.
type Figure struct {
	Name  string
	Value any
}

// Figures are named values in the order in which they are shown.
type Figures []Figure

// Add appends a figure.
func (f *Figures) Add(name string, value any) { *f = append(*f, Figure{name, value}) }

// Number returns the named figure; ok is false if there is none that is a number.
func (f Figures) Number(name string) (n float64, ok bool) {
	for _, x := range f {
		if x.Name != name {
			continue
		}
		switch v := x.Value.(type) {
		case float64:
			return v, true
		case int:
			return float64(v), true
		case int64:
			return float64(v), true
		}
	}
	return 0, false
}

// MarshalJSON writes an object whose members are in order.
func (f Figures) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, x := range f {
		name, err := json.Marshal(x.Name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(x.Value)
		if err != nil {
			return nil, fmt.Errorf("figure %s: %w", x.Name, err)
		}
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// WriteJSON writes the result as one object.
func (r Result) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteTable writes the result for people.
func (r Result) WriteTable(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n\n", r.Title)
	writeRows(&b, r.Rows)
	if len(r.Settings) > 0 {
		b.WriteString("\nsettings\n")
		var rows []Row
		for _, s := range r.Settings {
			rows = append(rows, Row{s.Name, fmt.Sprint(s.Value)})
		}
		writeRows(&b, rows)
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(&b, "\nwarning: %s\n", warning)
	}
	_, err := w.Write(b.Bytes())
	return err
}

func writeRows(w io.Writer, rows []Row) {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, row := range rows {
		fmt.Fprint(t, "  ")
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(t, "\t")
			}
			fmt.Fprint(t, cell)
		}
		fmt.Fprintln(t)
	}
	_ = t.Flush() // into memory
}
