package api

import (
	"context"
	"encoding/base64"
	"hash/crc32"
	"net/url"
	"strings"
)

// cursorVersion is the first byte of a cursor.
const cursorVersion = 1

// PageQuery asks for a page; it is exported for huma, which looks into no other embedded struct.
type PageQuery struct {
	Limit  int        `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"how many items at most"`
	Cursor cursorText `query:"cursor" doc:"next_cursor of the page before"`
}

// page is one page of a list.
type page[T any] struct {
	Items      []T    `json:"items"`
	NextCursor string `json:"next_cursor,omitempty" doc:"where the next page begins; absent on the last one"`
}

type pageOutput[T any] struct {
	Link string `header:"Link" doc:"the next page, as RFC 8288 says it"`
	Body page[T]
}

// page returns what the Backend is asked for.
func (p PageQuery) page(ctx context.Context) (Page, error) {
	out := Page{Limit: p.Limit}
	if p.Cursor == "" {
		return out, nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(string(p.Cursor))
	if err != nil || len(raw) < 6 || raw[0] != cursorVersion {
		return out, errCursor()
	}
	after := string(raw[5:])
	if cursorSum(ctx, after) != [4]byte(raw[1:5]) {
		return out, errCursor()
	}
	out.After = after
	return out, nil
}

func errCursor() *refusal {
	return fieldProblem("query.cursor", "is no cursor of this list: leave it out for the first page, or take next_cursor of the page before")
}

// cursorSum tells a cursor from garbage, and from that of another list. It is no secret: a cursor gives no rights.
func cursorSum(ctx context.Context, after string) [4]byte {
	n := crc32.ChecksumIEEE([]byte(visitOf(ctx).pattern + "\x00" + after))
	return [4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
}

// paged makes the answer of a page and where the next one begins; empty if there is none.
func paged[T any](ctx context.Context, items []T, next string, err error) (*pageOutput[T], error) {
	if err != nil {
		return nil, err
	}
	out := &pageOutput[T]{Body: page[T]{Items: items}}
	if next == "" {
		return out, nil
	}
	sum := cursorSum(ctx, next)
	raw := append([]byte{cursorVersion}, sum[:]...)
	out.Body.NextCursor = base64.RawURLEncoding.EncodeToString(append(raw, next...))
	out.Link = nextLink(visitOf(ctx).request.URL, out.Body.NextCursor)
	return out, nil
}

// nextLink is the request's URL with another cursor.
func nextLink(u *url.URL, cursor string) string {
	q := u.Query()
	q.Set("cursor", cursor)
	return "<" + strings.NewReplacer("<", "%3C", ">", "%3E").Replace(u.EscapedPath()) + "?" + q.Encode() + `>; rel="next"`
}
