package config

import (
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// maxFileBytes is about 20,000 endpoints; beyond it somebody named the
	// wrong file.
	maxFileBytes = 4 << 20
	// maxNesting is far more than the file's own 4 levels. The parser's time
	// grows with the square of the nesting, and its stack with it.
	maxNesting = 32
)

// parse returns the root of the file; nil if the file is empty. It reports
// false, and notes the error, if the text is not one YAML document.
func (r *reader) parse(src []byte) (ast.Node, bool) {
	tokens := lexer.Tokenize(string(src))
	if deep := tooDeep(tokens); deep != nil {
		p := r.at(deep, "")
		p.excerpt = ""
		r.errs = append(r.errs, p.error(fmt.Sprintf("is nested more than %d levels deep", maxNesting), ""))
		return nil, false
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		r.syntax(err)
		return nil, false
	}
	var root ast.Node
	for i, doc := range file.Docs {
		if i > 0 {
			p := r.at(doc.Start, "")
			r.errs = append(r.errs, p.error("a second document begins here", "remove the line ---, or what follows it"))
			return nil, false
		}
		root = doc.Body
	}
	if root != nil {
		r.hide(root)
	}
	return root, true
}

// syntax notes an error of the parser. As it is not known what the line's text
// belongs to, no more of it is shown than a key.
func (r *reader) syntax(err error) {
	p := place{file: r.file, line: 1, column: 1}
	message := "is not YAML"
	if at := yaml.Error(nil); errors.As(err, &at) {
		message = "is not YAML: " + at.GetMessage()
		p = r.at(at.GetToken(), "")
		p.excerpt = ""
		if p.line <= len(r.lines) {
			p.excerpt = keyOfLine.FindString(r.lines[p.line-1])
		}
		p.mark = min(p.mark, len(p.excerpt))
		if p.excerpt != "" {
			p.excerpt += " …"
		}
	}
	r.errs = append(r.errs, p.error(message, ""))
}

// tooDeep returns the token at which nesting exceeds the limit, or nil. Block
// nesting by indentation is left alone: its text grows with the square of it.
func tooDeep(tokens token.Tokens) *token.Token {
	flow, line, onLine := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, onLine = t.Position.Line, 0
		}
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow = max(0, flow-1)
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType, token.AliasType:
			onLine++
		}
		if flow > maxNesting || onLine > maxNesting {
			return t
		}
	}
	return nil
}
