package bench

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRowID(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]int64{
		`{"id":"evt_1","data":{"id":"42","title":"x"}}`: 42,
		`{"id":"evt_1","data":{"id":42}}`:               42,
		`{"id":"9","data":{"title":"x","id":"42"}}`:     -1,
		`{"data":{"id":""}}`:                            -1,
		`{"data":{"id":"7`:                              -1,
		`{"data":{"id":"99999999999999999999"}}`:        -1,
		``:                                              -1,
	} {
		id, ok := rowID([]byte(body))
		if !ok {
			id = -1
		}
		if id != want {
			t.Errorf("%s: row %d, want %d", body, id, want)
		}
	}
}

// TestReceive talks to a receiver as Latency does, and ends it as the death of the parent would.
func TestReceive(t *testing.T) {
	t.Parallel()
	in, parent := io.Pipe()
	line := &firstLine{done: make(chan struct{})}
	ended := make(chan error, 1)
	go func() { ended <- Receive(t.Context(), in, line) }()
	<-line.done
	r := &remote{addr: line.text.String(), client: http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	before := time.Now().UnixNano()
	for _, body := range []string{`{"data":{"id":"1"}}`, `{"data":{"id":"2"}}`, `{"data":{"id":"2"}}`, `{}`} {
		post(t, &r.client, "http://"+r.addr+"/hook", body)
	}
	n, err := r.count(t.Context())
	if err != nil || n != 4 {
		t.Errorf("count is %d, %v; want 4", n, err)
	}
	got, err := r.arrivals(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var ids []int64
	for _, a := range got.All {
		ids = append(ids, a.ID)
		if a.At < before || a.At > time.Now().UnixNano() {
			t.Errorf("row %d arrived at %d", a.ID, a.At)
		}
	}
	if diff := cmp.Diff([]int64{1, 2, 2}, ids); diff != "" || got.Unreadable != 1 {
		t.Errorf("unreadable: %d, want 1; rows: %s", got.Unreadable, diff)
	}
	if err := parent.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func post(t *testing.T, c *http.Client, url, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("answer is %s", resp.Status)
	}
}

func TestReceiveEndsWithContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	in, parent := io.Pipe()
	defer parent.Close()
	line := &firstLine{done: make(chan struct{})}
	ended := make(chan error, 1)
	go func() { ended <- Receive(ctx, in, line) }()
	<-line.done
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
