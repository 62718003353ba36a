package mysql

import (
	"fmt"
	"strconv"

	"github.com/rowhook/rowhook/internal/change"
)

// Digits of a DECIMAL are stored nine in four bytes; what is left over, on either side of the point, in as few as hold it.
const digitsPerWord = 9

const maxDecimalDigits, maxDecimalScale = 65, 38

var bytesOfDigits = [digitsPerWord + 1]uint8{0, 1, 1, 2, 2, 3, 3, 4, 4, 4}

var powersOfTen = [digitsPerWord + 1]uint32{1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000}

// twoDigits holds "00" to "99".
const twoDigits = "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849" +
	"5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899"

func (rc *rowColumn) planDecimal(c *mappedColumn) (change.Kind, string) {
	precision, scale := c.meta[0], c.meta[1]
	if precision > maxDecimalDigits || scale > maxDecimalScale || scale > precision || precision == 0 {
		return 0, fmt.Sprintf("DECIMAL(%d,%d)", precision, scale)
	}
	rc.whole, rc.digits = precision-scale, scale
	return rc.fixed(opDecimal, uint32(decimalSize(int(precision-scale))+decimalSize(int(scale))), change.Decimal), ""
}

func decimalSize(digits int) int {
	return digits/digitsPerWord*4 + int(bytesOfDigits[digits%digitsPerWord])
}

// appendDecimal appends the decimal number v with so many digits before and after the point, and reports whether it is one.
// v must have the size that goes with the digits.
func appendDecimal(p, v []byte, whole, digits int) ([]byte, bool) {
	var plain [32]byte // 65 digits take at most 31 bytes
	b := plain[:copy(plain[:], v)]
	// The first bit is 1 for a number that is not negative; all bits of a negative one are turned over.
	if b[0]&0x80 == 0 {
		for i := range b {
			b[i] = ^b[i]
		}
		p = append(p, '-')
	}
	b[0] ^= 0x80
	p, b, ok := appendWholePart(p, b, whole)
	if digits == 0 || !ok {
		return p, ok
	}
	p = append(p, '.')
	for ; digits >= digitsPerWord; digits -= digitsPerWord {
		if p, ok = appendDigits(p, uint32(bigEndian(b[:4])), digitsPerWord); !ok {
			return p, false
		}
		b = b[4:]
	}
	return appendDigits(p, uint32(bigEndian(b)), digits)
}

// appendWholePart appends the digits before the point without leading zeros, and returns the bytes behind them.
func appendWholePart(p, b []byte, whole int) (out, rest []byte, ok bool) {
	start, first := len(p), whole%digitsPerWord
	n := int(bytesOfDigits[first])
	if x := uint32(bigEndian(b[:n])); x != 0 {
		if x >= powersOfTen[first] {
			return p, nil, false
		}
		p = strconv.AppendUint(p, uint64(x), 10)
	}
	b = b[n:]
	for range whole / digitsPerWord {
		x := uint32(bigEndian(b[:4]))
		b = b[4:]
		switch {
		case x >= powersOfTen[digitsPerWord]:
			return p, nil, false
		case len(p) > start:
			p, _ = appendDigits(p, x, digitsPerWord)
		case x != 0:
			p = strconv.AppendUint(p, uint64(x), 10)
		}
	}
	if len(p) == start {
		p = append(p, '0')
	}
	return p, b, true
}

// appendDigits appends x with n digits, at most nine, and reports whether it has no more.
func appendDigits(p []byte, x uint32, n int) ([]byte, bool) {
	if x >= powersOfTen[n] {
		return p, false
	}
	at := len(p)
	p = append(p, "000000000"[:n]...)
	out := p[at:]
	for n >= 2 {
		q := x / 100
		r := (x - q*100) * 2
		out[n-1], out[n-2] = twoDigits[r+1], twoDigits[r]
		x, n = q, n-2
	}
	if n == 1 {
		out[0] = '0' + byte(x)
	}
	return p, true
}
