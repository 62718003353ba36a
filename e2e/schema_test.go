package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"net/http"
	"strconv"
	"strings"

	"github.com/rowhook/rowhook/e2e/receiver"
)

// The tables of a workload. In each row chk is the CRC-32 of the row's other values, so that a receiver can tell that what it got was
// written like that. The ledger says which transactions were committed, when a client does not know.
const schema = `
CREATE TABLE items (
  id BIGINT NOT NULL PRIMARY KEY,
  version INT NOT NULL,
  payload VARCHAR(300) NOT NULL,
  amount DECIMAL(12,2) NOT NULL,
  note TEXT NULL,
  flag TINYINT(1) NOT NULL DEFAULT 0,
  at DATETIME(6) NOT NULL,
  chk INT UNSIGNED NOT NULL
) DEFAULT CHARSET utf8mb4;
CREATE TABLE orders (
  region SMALLINT NOT NULL,
  id BIGINT NOT NULL,
  version INT NOT NULL,
  state ENUM('new','paid','sent') NOT NULL,
  chk INT UNSIGNED NOT NULL,
  PRIMARY KEY (region, id)
) DEFAULT CHARSET utf8mb4;
CREATE TABLE ledger (tx BIGINT NOT NULL PRIMARY KEY);
CREATE TABLE bystander (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, secret VARCHAR(100) NOT NULL);
`

// The event types of a workload's database.
const (
	kindItem  = "item.changed"
	kindOrder = "order.changed"
	kindEven  = "item.even"
)

// typesFile declares them. The third tells the even versions of items once more.
func typesFile(database string) string {
	return strings.ReplaceAll(`types:
  item.changed:
    table: DB.items
    on: [insert, update, delete]
    subject: items/{id}
    data: [id, version, payload, amount, note, flag, at, chk]
  order.changed:
    table: DB.orders
    on: [insert, update, delete]
    subject: orders/{region}/{id}
    data: [region, id, version, state, chk]
  item.even:
    table: DB.items
    on: [insert, update]
    when: after.version % 2 == 0
    subject: items/{id}
    data: [id, version, payload, amount, note, chk]
`, "DB", database)
}

// rolledBack stands in every payload that is never committed, and in the bystander, which nobody asked for.
const rolledBack = "ROLLED BACK"

// checkContent holds that a delivery's data is what was written: exact values in the promised form, with the right checksum.
func checkContent(header http.Header, d receiver.Delivery) error {
	var body struct {
		Time   string                     `json:"time"`
		Data   map[string]json.RawMessage `json:"data"`
		Source struct {
			Name        string      `json:"name"`
			GTID        string      `json:"gtid"`
			File        string      `json:"file"`
			Pos         json.Number `json:"pos"`
			Transaction string      `json:"transaction"`
			Ordinal     json.Number `json:"ordinal"`
		} `json:"source"`
	}
	if err := json.Unmarshal(d.Body, &body); err != nil {
		return err
	}
	switch {
	case header.Get("Content-Type") != "application/json":
		return fmt.Errorf("content type is %q", header.Get("Content-Type"))
	case d.Attempt < 1:
		return fmt.Errorf("no attempt in the headers")
	case body.Source.Transaction != cmp.Or(body.Source.GTID, body.Source.File+":"+body.Source.Pos.String()):
		return fmt.Errorf("the transaction is neither the GTID nor the place of one in %s", d.Body)
	case body.Time == "":
		return fmt.Errorf("no time in %s", d.Body)
	}
	text, chk, err := written(d.Type, body.Data)
	if err != nil {
		return fmt.Errorf("%w in %s", err, d.Body)
	}
	if want := strconv.FormatUint(uint64(crc32.ChecksumIEEE([]byte(text))), 10); want != chk {
		return fmt.Errorf("checksum of %q is %s, the row says %s", text, want, chk)
	}
	if strings.Contains(text, rolledBack) {
		return fmt.Errorf("a row that was never committed: %s", text)
	}
	return nil
}

// written is the text whose checksum a row holds, and the checksum.
func written(kind string, data map[string]json.RawMessage) (text, chk string, err error) {
	r := reader{data: data}
	switch kind {
	case kindItem, kindEven:
		text = fmt.Sprintf("%s|%s|%s|%s|%s", r.quoted("id"), r.bare("version"), r.quoted("payload"), r.quoted("amount"), r.orNull("note"))
	case kindOrder:
		text = fmt.Sprintf("%s|%s|%s|%s", r.bare("region"), r.quoted("id"), r.bare("version"), r.quoted("state"))
	default:
		return "", "", fmt.Errorf("unknown type %s", kind)
	}
	return text, r.bare("chk"), r.err
}

// reader reads fields in the one form they may have.
type reader struct {
	data map[string]json.RawMessage
	err  error
}

// quoted is a JSON string: text, decimals, 64-bit integers.
func (r *reader) quoted(name string) string {
	var text string
	if err := json.Unmarshal(r.data[name], &text); err != nil && r.err == nil {
		r.err = fmt.Errorf("field %s is %q, want a string", name, r.data[name])
	}
	return text
}

// bare is a JSON number: integers up to 32 bits.
func (r *reader) bare(name string) string {
	var number float64
	if err := json.Unmarshal(r.data[name], &number); err != nil && r.err == nil {
		r.err = fmt.Errorf("field %s is %q, want a number", name, r.data[name])
	}
	return string(r.data[name])
}

// orNull is a string, or "-" for null.
func (r *reader) orNull(name string) string {
	if string(r.data[name]) == "null" {
		return "-"
	}
	return r.quoted(name)
}
