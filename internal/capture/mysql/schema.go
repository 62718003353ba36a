package mysql

// lowerNames reports whether names of schemas and tables do not tell case apart.
func (s *session) lowerNames() bool {
	return s.vars["lower_case_table_names"] != "0" && s.vars["lower_case_table_names"] != ""
}
