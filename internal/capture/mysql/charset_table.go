package mysql

import (
	_ "embed" // the tables
	"fmt"
	"sort"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/rowhook/rowhook/internal/change"
)

// charsetTables holds what the servers themselves make of every code of their character sets that are neither Unicode nor ASCII.
// TestCharsetTables compares it with them, and writes it anew with -update. A section begins with the name of a set, and of the server if
// only one of them has it so. A line "8140 丂丄" says what the codes from 8140 on are, one after the other; "a2a1+10 2170" says that 10
// codes from a2a1 on are the characters from U+2170 on.
//
//go:embed charset_tables.txt
var charsetTables string

// noCharacter stands at codes that are no character.
const noCharacter = -1

// threeByteLead begins a character of three bytes in the sets ujis and eucjpms.
const threeByteLead = 0x8f

// charTable is a character set of codes of up to four bytes.
type charTable struct {
	// ascii says that each byte below 0x80 is the character that ASCII says.
	ascii bool
	// single has the characters of one byte.
	single [256]rune
	// double has those of two bytes, by the first; triple those behind threeByteLead, by the second.
	double, triple [256]*[256]rune
	// quad has those of four bytes, in order.
	quad []charRun
}

// charRun is a run of characters of four bytes, whose codes are counted in their own order.
type charRun struct {
	first uint32
	count uint32
	char  rune
}

// charTableLoaders has a function for each section, which parses it once, when a column needs it.
var charTableLoaders = sync.OnceValue(func() map[string]func() *charTable {
	loaders := map[string]func() *charTable{}
	for _, section := range strings.Split(charsetTables, "\n\n") {
		name, lines, _ := strings.Cut(strings.TrimSpace(section), "\n")
		loaders[name] = sync.OnceValue(func() *charTable {
			t, err := parseCharTable(lines)
			if err != nil {
				panic(fmt.Sprintf("the table of %s that was built in: %v", name, err)) // a test parses them all
			}
			return t
		})
	}
	return loaders
})

// charTableOf returns the table of a character set, nil if there is none.
func charTableOf(charset string, flavor change.Flavor) *charTable {
	loaders := charTableLoaders()
	if load := loaders[charset+" "+string(flavor)]; load != nil {
		return load()
	}
	if load := loaders[charset]; load != nil {
		return load()
	}
	return nil
}

func parseCharTable(lines string) (*charTable, error) {
	t := &charTable{ascii: true}
	for i := range t.single {
		t.single[i] = noCharacter
	}
	for line := range strings.Lines(lines) {
		code, chars, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if !ok {
			return nil, fmt.Errorf("line %q", line)
		}
		if err := t.parseLine(code, chars); err != nil {
			return nil, fmt.Errorf("line %q: %w", line, err)
		}
	}
	for c := range utf8.RuneSelf {
		t.ascii = t.ascii && t.single[c] == rune(c)
	}
	return t, nil
}

func (t *charTable) parseLine(code, chars string) error {
	code, count, run := strings.Cut(code, "+")
	from, err := strconv.ParseUint(code, 16, 32)
	if err != nil {
		return err
	}
	if !run {
		at := uint32(from)
		for _, r := range chars {
			t.set(len(code)/2, at, r)
			at++
		}
		return nil
	}
	n, err := strconv.ParseUint(count, 10, 32)
	if err != nil {
		return err
	}
	r, err := strconv.ParseUint(chars, 16, 32)
	if err != nil {
		return err
	}
	if len(code) == 8 {
		t.quad = append(t.quad, charRun{first: quadNumber([]byte{byte(from >> 24), byte(from >> 16), byte(from >> 8), byte(from)}), count: uint32(n), char: rune(r)})
		return nil
	}
	for i := range n {
		t.set(len(code)/2, uint32(from+i), rune(r+i))
	}
	return nil
}

// set notes the character of a code of one to three bytes.
func (t *charTable) set(size int, code uint32, r rune) {
	if size == 1 {
		t.single[byte(code)] = r
		return
	}
	pages := &t.double
	if size == 3 {
		pages = &t.triple
	}
	page := &pages[byte(code>>8)]
	if *page == nil {
		*page = new([256]rune)
		for i := range *page {
			(*page)[i] = noCharacter
		}
	}
	(*page)[byte(code)] = r
}

// quadNumber counts the codes of four bytes in their order; the second and the fourth byte are digits.
func quadNumber(v []byte) uint32 {
	return ((uint32(v[0])-0x81)*10+uint32(v[1])-'0')*1260 + (uint32(v[2])-0x81)*10 + uint32(v[3]) - '0'
}

// next returns the first character of v, which is not empty, and its length; or noCharacter, and the length of the code that is none.
func (t *charTable) next(v []byte) (r rune, n int) {
	if r := t.single[v[0]]; r != noCharacter {
		return r, 1
	}
	if len(v) < 2 {
		return noCharacter, 1
	}
	if page := t.double[v[0]]; page != nil && page[v[1]] != noCharacter {
		return page[v[1]], 2
	}
	switch {
	case len(v) >= 3 && v[0] == threeByteLead && t.triple[v[1]] != nil:
		return t.triple[v[1]][v[2]], 3
	case len(v) >= 4 && len(t.quad) > 0 && isQuad(v):
		return t.quadRune(quadNumber(v)), 4
	case t.double[v[0]] == nil:
		return noCharacter, 1
	}
	return noCharacter, 2
}

func isQuad(v []byte) bool {
	return v[0] >= 0x81 && v[0] <= 0xfe && v[1] >= '0' && v[1] <= '9' && v[2] >= 0x81 && v[2] <= 0xfe && v[3] >= '0' && v[3] <= '9'
}

func (t *charTable) quadRune(number uint32) rune {
	i := sort.Search(len(t.quad), func(i int) bool { return t.quad[i].first+t.quad[i].count > number })
	if i == len(t.quad) || t.quad[i].first > number {
		return noCharacter
	}
	return t.quad[i].char + rune(number-t.quad[i].first)
}
