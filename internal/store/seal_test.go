package store

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rowhook/rowhook/webhook"
)

func testKey(t testing.TB, b byte) Key {
	t.Helper()
	k, err := NewKey(bytes.Repeat([]byte{b}, sealKeySize))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func testSealer(t testing.TB, keys ...byte) *Sealer {
	t.Helper()
	var all []Key
	for _, b := range keys {
		all = append(all, testKey(t, b))
	}
	s, err := NewSealer(all...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// openSealed opens a store that can keep secrets.
func openSealed(t testing.TB) *Store {
	t.Helper()
	s := open(t, t.TempDir())
	s.SetSealer(testSealer(t, 1))
	return s
}

func TestSealOpens(t *testing.T) {
	t.Parallel()
	s := testSealer(t, 1, 2)
	for _, plain := range []string{"", "x", strings.Repeat("long ", 10_000)} {
		sealed := s.Seal("a", []byte(plain))
		if got, err := s.Open("a", sealed); err != nil || string(got) != plain {
			t.Errorf("%d bytes: %q %v", len(plain), got, err)
		}
		if len(plain) > 20 && bytes.Contains(sealed, []byte(plain)) {
			t.Error("it stands there in clear")
		}
		if bytes.Equal(sealed, s.Seal("a", []byte(plain))) {
			t.Error("the same twice: the nonce is not drawn")
		}
		if _, err := s.Open("b", sealed); !errors.Is(err, ErrBroken) {
			t.Errorf("under another name: %v", err)
		}
	}
}

// sealVector is vectorPlain under vectorName with the key of 32 ones.
const (
	sealVector  = "0183b2945b3f64f8c39338f7b277a059fa677d1e7b9f2eb3d97ce85ffe6a82e14359b30125f1a66d3c5e0779e30bbb676a2858a26b1aaeb9d48499"
	vectorName  = "endpoint ep_1"
	vectorPlain = `[{"secret":"whsec_x"}]`
)

// TestSealVector holds the form that stands on disks.
func TestSealVector(t *testing.T) {
	t.Parallel()
	sealed, err := hex.DecodeString(sealVector)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := testSealer(t, 1).Open(vectorName, sealed); err != nil || string(got) != vectorPlain {
		t.Errorf("%q %v", got, err)
	}
	if id := testKey(t, 1).ID(); id != "83b2945b3f64f8c3" {
		t.Errorf("the key's id is %s", id)
	}
}

func TestSealRotates(t *testing.T) {
	t.Parallel()
	old, both, fresh := testSealer(t, 1), testSealer(t, 2, 1), testSealer(t, 2)
	sealed := old.Seal("a", []byte("x"))
	if got, err := both.Open("a", sealed); err != nil || string(got) != "x" {
		t.Fatal(err)
	}
	_, err := fresh.Open("a", sealed)
	var missing *UnknownKeyError
	if !errors.As(err, &missing) || !errors.Is(err, ErrUnknownKey) || missing.KeyID != testKey(t, 1).ID() || missing.Record != "a" {
		t.Fatalf("%#v", err)
	}
	for _, want := range []string{testKey(t, 1).ID(), testKey(t, 2).ID(), "put that key back"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

func TestSealRefuses(t *testing.T) {
	t.Parallel()
	if _, err := NewKey(make([]byte, 31)); err == nil {
		t.Error("a short key was taken")
	}
	if _, err := NewSealer(); !errors.Is(err, ErrNoSealer) {
		t.Error(err)
	}
	if _, err := NewSealer(testKey(t, 1), Key{}); err == nil {
		t.Error("an empty key was taken")
	}
	s := open(t, t.TempDir())
	r := testRecord("ep_1", "")
	if err := s.CreateEndpoint(t.Context(), &r); !errors.Is(err, ErrNoSealer) {
		t.Error(err)
	}
	if _, err := s.Reseal(t.Context()); !errors.Is(err, ErrNoSealer) {
		t.Error(err)
	}
}

func TestKeyStaysSecret(t *testing.T) {
	t.Parallel()
	raw := []byte("0123456789abcdefghijklmnopqrstuv")
	k, err := NewKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	type holder struct{ k Key }
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "key", k)
	out := log.String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		out += fmt.Sprintf(verb+"|"+verb+"|", k, holder{k})
	}
	for _, leak := range []string{string(raw[:8]), hex.EncodeToString(raw[:4]), "48 49 50 51"} {
		if strings.Contains(out, leak) {
			t.Errorf("%q shows in %s", leak, out)
		}
	}
}

// FuzzOpen changes a sealed record: it opens only as it was.
func FuzzOpen(f *testing.F) {
	s := testSealer(f, 1, 2)
	sealed, err := hex.DecodeString(sealVector)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed, vectorName)
	f.Add(sealed, "endpoint ep_2")
	f.Add(sealed[:sealHead], vectorName)
	f.Add([]byte{}, "")
	f.Add(bytes.Clone(sealed[:len(sealed)-1]), vectorName)
	for i := range sealed {
		b := bytes.Clone(sealed)
		b[i] ^= 1
		f.Add(b, vectorName)
	}
	f.Fuzz(func(t *testing.T, b []byte, name string) {
		plain, err := s.Open(name, b)
		if opened := bytes.Equal(b, sealed) && name == vectorName; opened != (err == nil) || opened && string(plain) != vectorPlain {
			t.Fatalf("%x under %q: %q, %v", b, name, plain, err)
		}
		if err != nil && !errors.Is(err, ErrBroken) && !errors.Is(err, ErrUnknownKey) {
			t.Fatalf("an error of no kind: %v", err)
		}
	})
}

func TestReseal(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := openSealed(t)
	for i := range resealBatch + 5 {
		r := testRecord(fmt.Sprintf("ep_%03d", i), "")
		if err := s.CreateEndpoint(ctx, &r); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		key := itoa(i)
		if _, _, err := s.BeginAnswer(ctx, "k", key, [32]byte{1}); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			continue // without an answer there is nothing to seal
		}
		if err := s.FinishAnswer(ctx, "k", key, &Answer{Status: 201, Body: []byte("body")}); err != nil {
			t.Fatal(err)
		}
	}
	s.SetSealer(testSealer(t, 2))
	if _, err := s.Reseal(ctx); !errors.Is(err, ErrUnknownKey) {
		t.Fatalf("without the old key: %v", err)
	}
	s.SetSealer(testSealer(t, 2, 1))
	if n, err := s.Reseal(ctx); err != nil || n != resealBatch+7 {
		t.Fatalf("%d records, %v", n, err)
	}
	if n, err := s.Reseal(ctx); err != nil || n != 0 {
		t.Errorf("again: %d records, %v", n, err)
	}
	s.SetSealer(testSealer(t, 2))
	all, err := s.Endpoints(ctx, "", "", 1000)
	if err != nil || len(all) != resealBatch+5 || !all[7].Secrets[0].Secret.Equal(testRecord("", "").Secrets[0].Secret) {
		t.Fatalf("%d endpoints, %v", len(all), err)
	}
	if a, same, err := s.BeginAnswer(ctx, "k", "2", [32]byte{1}); err != nil || !same || string(a.Body) != "body" {
		t.Errorf("%+v %v %v", a, same, err)
	}
}

// TestSecretsAreNotOnTheDisk looks for what must not be there in the files themselves.
func TestSecretsAreNotOnTheDisk(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := openSealed(t)
	r := testRecord("ep_1", "")
	if err := s.CreateEndpoint(ctx, &r); err != nil {
		t.Fatal(err)
	}
	key, err := s.CreateKey(ctx, &KeyRecord{Name: "n", Scope: "read"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.BeginAnswer(ctx, "k", "a", [32]byte{}); err != nil {
		t.Fatal(err)
	}
	if err := s.FinishAnswer(ctx, "k", "a", &Answer{Status: 201, Body: []byte(`{"secret":"whsec_answer"}`)}); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"rowhook.db", "rowhook.db-wal"} {
		b, err := os.ReadFile(filepath.Join(filepath.Dir(s.path), file))
		if err != nil {
			t.Fatal(err)
		}
		for _, leak := range []string{r.Secrets[0].Secret.Reveal()[10:], key[15:], "whsec_answer"} {
			if bytes.Contains(b, []byte(leak)) {
				t.Errorf("%s holds %q", file, leak)
			}
		}
	}
}

func testRecord(id, tenant string) EndpointRecord {
	secret, err := webhook.ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		panic(err)
	}
	return EndpointRecord{
		ID: id, Tenant: tenant, URL: "https://example.com/hook", Description: "d",
		Settings: EndpointSettings{Concurrency: 4, Timeout: 1500 * time.Millisecond, QueueBytes: 1 << 20, Ordered: true},
		Secrets:  []SigningSecret{{Secret: secret}},
	}
}
