// Package translate writes events as bytes. Its functions are pure: the same event gives the same bytes, in every release.
//
// [AppendJSON] writes Rowhook's native JSON straight from the block's bytes, without an allocation. Values are exact:
//
//	BIGINT, BIT above 32 bits, DECIMAL   string: a JSON number would lose digits in most readers
//	other integers, YEAR                 number
//	FLOAT, DOUBLE                        number, the shortest that reads back as the same FLOAT or DOUBLE
//	text, ENUM, SET                      string
//	binary values, geometry              string, base64 (geometry: 4 bytes SRID, little-endian, and WKB)
//	JSON                                 the document itself; text that is not JSON (MariaDB allows it) as a string
//	DATE, TIME, DATETIME                 string as the server prints it, zero dates too
//	TIMESTAMP                            string, RFC 3339 in UTC; the zero timestamp as the server prints it
//	NULL                                 null
//
// A column that the row image did not carry is left out. Nothing is guessed: what cannot be written exactly is an error.
package translate
