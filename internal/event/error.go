package event

// Codes of errors that park an event.
const (
	// CodeUnknownColumn: the type names a column that the table does not have.
	CodeUnknownColumn = "unknown_column"
	// CodeColumnAbsent: the row image did not carry a column that the type needs.
	CodeColumnAbsent = "column_absent"
	// CodeExpression: the expression of the type failed.
	CodeExpression = "expression"
	// CodeTemplate: the subject or tenant could not be written.
	CodeTemplate = "template"
)

// Error says why a change could not be made into a complete event. It holds names of columns, never values of a row.
type Error struct {
	// Code is one of the Code constants, for records and metrics.
	Code string
	// Column is the column at fault, if it is one.
	Column  string
	Message string
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }
