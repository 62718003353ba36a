package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// itemSum is the checksum of an item, after the assignments to its left.
const itemSum = "CRC32(CONCAT_WS('|', id, version, payload, amount, IFNULL(note, '-')))"

// plan is a transaction that is going to be: its statements, what they change, and how to forget it.
type plan struct {
	random  *rand.Rand
	payload string // instead of a random one
	sql     strings.Builder
	args    []any
	changes []change
	undos   []func()
}

func newPlan(random *rand.Rand) *plan { return &plan{random: random} }

// add appends one statement.
func (p *plan) add(statement string, args ...any) {
	p.sql.WriteString(statement)
	p.sql.WriteString("; ")
	p.args = append(p.args, args...)
}

// remember keeps a row's state for undo.
func (p *plan) remember(r *row) {
	old := *r
	p.undos = append(p.undos, func() { *r = old })
}

// undo puts the rows back as they were before the plan.
func (p *plan) undo() {
	for i := len(p.undos) - 1; i >= 0; i-- {
		p.undos[i]()
	}
	p.undos = nil
}

func (p *plan) insertItem(id, version int64, payload string) {
	p.add("INSERT INTO items (id, version, payload, amount, note, flag, at, chk) VALUES (?, ?, ?, ?, ?, ?, NOW(6), "+itemSum+")",
		id, version, p.text(payload), p.amount(), p.note(), p.random.IntN(2))
	p.changes = append(p.changes, change{id: id, version: version})
}

func (p *plan) updateItem(id, version int64, payload string) {
	p.add("UPDATE items SET version = version + 1, payload = ?, amount = ?, note = ?, flag = 1 - flag, at = NOW(6), chk = "+itemSum+" WHERE id = ?",
		p.text(payload), p.amount(), p.note(), id)
	p.changes = append(p.changes, change{id: id, version: version})
}

// text is what was asked for, or random text that is hard on quoting and charsets.
func (p *plan) text(payload string) string {
	if payload != "" {
		return payload
	}
	if p.payload != "" {
		return p.payload
	}
	words := []string{"plain", "quo\"te", "it's", `back\slash`, "käse", "日本", "🦆", "<b>&amp;", "line\nbreak", "tab\t", "\u2028", "nul\x00"}
	var b strings.Builder
	for range 1 + p.random.IntN(12) {
		b.WriteString(words[p.random.IntN(len(words))])
		b.WriteByte(' ')
	}
	return b.String()
}

func (p *plan) amount() string {
	cents := p.random.Int64N(200_000_000) - 100_000_000
	sign := ""
	if cents < 0 {
		sign, cents = "-", -cents
	}
	return fmt.Sprintf("%s%d.%02d", sign, cents/100, cents%100)
}

// note is text, often long, or NULL.
func (p *plan) note() any {
	switch p.random.IntN(20) {
	case 0, 1, 2, 3, 4, 5:
		return nil
	case 6:
		return strings.Repeat(p.text(""), 40)
	}
	return p.text("")
}
