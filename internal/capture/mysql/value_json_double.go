package mysql

import (
	"math"
	"strconv"
)

// jsonPlainDigits is how many digits of a whole number, or places behind the point before the first digit, the server prints before it
// takes to an exponent.
const jsonPlainDigits = 15

// appendJSONDouble appends a double as the server prints it inside JSON: the shortest digits that read back as the same number, with
// ".0" behind a whole one, and an exponent ("1e15", "2.5e-16") where the point is far from the digits. It reports whether the number is finite.
func appendJSONDouble(p []byte, bits uint64) ([]byte, bool) {
	f := math.Float64frombits(bits)
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return p, false
	}
	if f == 0 {
		if math.Signbit(f) {
			p = append(p, '-')
		}
		return append(p, "0.0"...), true
	}
	var text [32]byte
	e := strconv.AppendFloat(text[:0], f, 'e', -1, 64) // d.ddde±dd
	if e[0] == '-' {
		p, e = append(p, '-'), e[1:]
	}
	var store [24]byte
	digits := append(store[:0], e[0])
	i := 1
	if e[i] == '.' {
		for i++; e[i] != 'e'; i++ {
			digits = append(digits, e[i])
		}
	}
	exponent := 0
	for _, c := range e[i+2:] {
		exponent = exponent*10 + int(c-'0')
	}
	if e[i+1] == '-' {
		exponent = -exponent
	}
	return appendPlaced(p, digits, exponent+1), true
}

// appendPlaced appends the digits with the point behind so many of them, which may be none or more than there are.
func appendPlaced(p, digits []byte, point int) []byte {
	switch {
	case point > jsonPlainDigits && point >= len(digits) || point < 1-jsonPlainDigits:
		p = append(p, digits[0])
		if len(digits) > 1 {
			p = append(append(p, '.'), digits[1:]...)
		}
		return strconv.AppendInt(append(p, 'e'), int64(point-1), 10)
	case point <= 0:
		p = append(p, "0."...)
		p = append(p, "000000000000000"[:-point]...)
		return append(p, digits...)
	case point >= len(digits):
		p = append(p, digits...)
		p = append(p, "000000000000000"[:point-len(digits)]...)
		return append(p, ".0"...)
	default:
		p = append(p, digits[:point]...)
		return append(append(p, '.'), digits[point:]...)
	}
}
