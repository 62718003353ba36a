package event

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/rowhook/rowhook/internal/change"
	"github.com/rowhook/rowhook/internal/spelling"
)

// Bounds of an expression. One without a loop costs no more than its length; a loop is stopped at the cost limit, about 50 ms.
const (
	maxExpression     = 16 << 10
	maxExpressionTree = 100
	costLimit         = 1_000_000
)

// The variables of an expression.
const (
	varBefore  = "before"
	varAfter   = "after"
	varOp      = "op"
	varTable   = "table"
	varSchema  = "schema"
	varChanged = "changed"
)

func variableNames() []string {
	return []string{varBefore, varAfter, varOp, varTable, varSchema, varChanged}
}

// expression is a compiled when.
type expression struct {
	text    string
	program cel.Program
	refs    []reference
}

// reference is a column that an expression names.
type reference struct {
	image, column string
	// asked is set where the expression asks whether the column is there.
	asked bool
}

// newEnvironment returns the CEL environment that all types share.
func newEnvironment() (*cel.Env, error) {
	row := cel.MapType(cel.StringType, cel.DynType)
	return cel.NewEnv(
		cel.Variable(varBefore, row),
		cel.Variable(varAfter, row),
		cel.Variable(varOp, cel.StringType),
		cel.Variable(varTable, cel.StringType),
		cel.Variable(varSchema, cel.StringType),
		cel.Variable(varChanged, cel.ListType(cel.StringType)),
		cel.CrossTypeNumericComparisons(true),
		cel.ParserExpressionSizeLimit(maxExpression),
		cel.ParserRecursionLimit(maxExpressionTree),
	)
}

// expressionProblem is one error in an expression, at a line and column of it from 1.
type expressionProblem struct {
	at  place
	msg string
}

func compileExpression(env *cel.Env, text string) (x *expression, problems []expressionProblem) {
	// The compiler is foreign code over foreign text: a panic of it is an error in the expression.
	defer func() {
		if p := recover(); p != nil {
			x, problems = nil, []expressionProblem{{place{1, 1}, fmt.Sprintf("the expression cannot be compiled: %v", p)}}
		}
	}()
	checked, issues := env.Compile(text)
	if issues.Err() != nil {
		for _, e := range issues.Errors() {
			problems = append(problems, expressionProblem{
				place{max(e.Location.Line(), 1), max(e.Location.Column(), 0) + 1},
				e.Message + expressionHint(e.Message, text),
			})
		}
		return nil, problems
	}
	if t := checked.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, []expressionProblem{{place{1, 1}, fmt.Sprintf("the expression gives %s; it must give true or false", cel.FormatCELType(t))}}
	}
	opts := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	refs, loops := inspect(checked.NativeRep().Expr())
	if loops {
		// Tracking costs time in each evaluation; without a loop the length of the expression is bound enough.
		opts = append(opts, cel.CostLimit(costLimit))
	}
	program, err := env.Program(checked, opts...)
	if err != nil {
		return nil, []expressionProblem{{place{1, 1}, err.Error()}}
	}
	return &expression{text: text, program: program, refs: refs}, nil
}

// inspect returns the columns that an expression names and whether it loops.
func inspect(root ast.Expr) (refs []reference, loops bool) {
	ast.PreOrderVisit(root, ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.ComprehensionKind:
			loops = true
		case ast.SelectKind:
			s := e.AsSelect()
			if image := imageName(s.Operand()); image != "" {
				refs = append(refs, reference{image, s.FieldName(), s.IsTestOnly()})
			}
		case ast.CallKind:
			args := e.AsCall().Args()
			switch e.AsCall().FunctionName() {
			case operators.Index:
				refs = appendIndexed(refs, args[0], args[1], false)
			case operators.In, operators.OldIn:
				refs = appendIndexed(refs, args[1], args[0], true)
			}
		}
	}))
	return refs, loops
}

func appendIndexed(refs []reference, operand, index ast.Expr, asked bool) []reference {
	image := imageName(operand)
	if image == "" || index.Kind() != ast.LiteralKind {
		return refs
	}
	if name, ok := index.AsLiteral().(types.String); ok {
		refs = append(refs, reference{image, string(name), asked})
	}
	return refs
}

func imageName(e ast.Expr) string {
	if e.Kind() == ast.IdentKind && (e.AsIdent() == varBefore || e.AsIdent() == varAfter) {
		return e.AsIdent()
	}
	return ""
}

func expressionHint(msg, text string) string {
	const undeclared = "undeclared reference to '"
	if i := strings.Index(msg, undeclared); i >= 0 {
		name, _, _ := strings.Cut(msg[i+len(undeclared):], "'")
		if near := spelling.Nearest(name, variableNames()); near != "" {
			return fmt.Sprintf("; did you mean %q?", near)
		}
		return fmt.Sprintf("; a column is written after.%s or before.%s", name, name)
	}
	if strings.Contains(msg, "Syntax error") {
		switch {
		case strings.Contains(text, "<>"):
			return `; "differs" is written !=`
		case strings.Contains(strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(text,
			"==", ""), "!=", ""), "<=", ""), ">=", ""), "="):
			return `; "equals" is written ==`
		case containsWord(text, "and") || containsWord(text, "or") || containsWord(text, "not"):
			return "; and, or, not are written &&, ||, !"
		}
	}
	return ""
}

func containsWord(text, word string) bool {
	return slices.Contains(strings.Fields(strings.ToLower(text)), word)
}

// eval returns the value of the expression for the change that a stands for.
func (x *expression) eval(a *activation) (fires bool, failed *Error) {
	// CEL recovers its own panics; this guards what runs around it, because a panic here would stop every type.
	defer func() {
		if recover() != nil {
			fires, failed = false, &Error{Code: CodeExpression, Message: fmt.Sprintf("when: %s: the evaluation broke off", x.text)}
		}
	}()
	out, _, err := x.program.Eval(a)
	if err != nil {
		return false, x.explain(err, a)
	}
	b, ok := out.(types.Bool)
	if !ok {
		return false, &Error{Code: CodeExpression, Message: fmt.Sprintf("when: %s: gave %s, must give true or false%s", x.text, out.Type().TypeName(), x.kinds(a))}
	}
	return bool(b), nil
}

// explain turns an error of CEL into one of ours. Messages of CEL may quote values of the row, so only those known to be free
// of them pass.
func (x *expression) explain(err error, a *activation) *Error {
	msg := err.Error()
	if key, ok := strings.CutPrefix(msg, "no such key: "); ok {
		for _, r := range x.refs {
			if r.column == key && !r.asked {
				return a.missing(x.text, r)
			}
		}
		return &Error{Code: CodeExpression, Message: fmt.Sprintf("when: %s: reads a column that is not there", x.text)}
	}
	why := "cannot be evaluated for this row"
	for _, known := range []string{"no such overload", "division by zero", "modulus by zero", "unsigned integer overflow", "integer overflow",
		"index out of bounds", "actual cost limit exceeded"} {
		if strings.Contains(msg, known) && len(msg) < 2*len(known) {
			why = known
			break
		}
	}
	return &Error{Code: CodeExpression, Message: fmt.Sprintf("when: %s: %s%s", x.text, why, x.kinds(a))}
}

// kinds lists what the columns of the expression are: the usual cause of a failure is a column of another type than expected.
func (x *expression) kinds(a *activation) string {
	var out []string
	for _, r := range x.refs {
		i, ok := a.plan.columns[r.column]
		if !ok {
			continue
		}
		s := r.column + " is " + celKind(a.plan.table.Columns[i].Kind)
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return ""
	}
	return " (" + strings.Join(out, ", ") + ")"
}

func celKind(k change.Kind) string {
	switch k {
	case change.Int, change.Uint:
		return "int"
	case change.Float, change.Double:
		return "double"
	case change.Decimal:
		return "decimal, a string: write double() around it to compare it as a number"
	case change.Bytes, change.Geometry, change.Vector:
		return "bytes"
	default:
		return "string"
	}
}
