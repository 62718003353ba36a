package config

import (
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rowhook/rowhook/internal/deliver"
	"github.com/rowhook/rowhook/webhook"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const (
	encryptionKey = "an encryption key of 32 bytes..!"
	awkward       = `p@ss:w/o%r?d#+ &"ü${x}`
	testSecret    = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
)

// environment has the variables that the files in testdata name.
func environment(name string) (string, bool) {
	value, ok := map[string]string{
		"PASSWORD":       awkward,
		"DSN":            "mysql://rowhook:p%40w@db.example.com:3310/",
		"DIR":            "/var/lib/rowhook",
		"NAME":           "shop",
		"USER_NAME":      "row@hook",
		"PORT":           "3308",
		"NUMBER":         "77",
		"YES":            "true",
		"EMPTY":          "",
		"DOLLAR":         "a$",
		"SECONDS":        "9",
		"SECRET":         testSecret,
		"SHOP_PASSWORD":  "hunter2",
		"BILLING_SECRET": testSecret,
		"ROWHOOK_KEY":    base64.StdEncoding.EncodeToString([]byte(encryptionKey)),
	}[name]
	return value, ok
}

// same compares all of a Config but the places that it remembers.
func same() cmp.Option {
	return cmp.Options{
		cmp.Comparer(Password.Equal),
		cmp.Comparer(webhook.Secret.Equal),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmpopts.IgnoreUnexported(Subscription{}),
	}
}

func TestLoadBad(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/bad-*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			c, err := Load(file, environment)
			if err == nil || c != nil {
				t.Fatalf("got %+v and error %v, want an error alone", c, err)
			}
			got := err.Error() + "\n"
			for _, secret := range []string{"hunter2", testSecret, awkward, "MDEyMzQ1Njc4", "not-a-secret"} {
				if strings.Contains(got, secret) {
					t.Errorf("the error shows %s:\n%s", secret, got)
				}
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", got)
		})
	}
}

// golden compares got with a file, or writes it with -update.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("differs from %s (-want +got):\n%s", file, diff)
	}
}

// minimal is what testdata/good-minimal.yaml and the defaults give. The values
// are written out here a second time on purpose: changing one is a decision.
func minimal() *Config {
	return &Config{
		DataDir: "testdata/rowhook-data",
		Log:     Log{Retention: 96 * time.Hour, RingBytes: 16 << 20},
		Sources: []Source{{
			Name: "shop", Address: "127.0.0.1:3306", User: "rowhook",
			TLS:       TLS{Mode: TLSPreferred},
			Heartbeat: 5 * time.Second, Generation: 1, Attach: FromNow, Tables: []string{"sakila.*"},
		}},
		Delivery: Delivery{
			Retry: []time.Duration{
				5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
				10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
			},
			ProgressInterval:  100 * time.Millisecond,
			AttemptsRetention: 168 * time.Hour,
		},
		Encryption: Encryption{KeyFile: "testdata/rowhook-data/rowhook.key", Default: true},
		HTTP:       HTTP{Listen: "127.0.0.1:8500", Socket: "testdata/rowhook-data/rowhook.sock"},
		Logging:    Logging{Level: slog.LevelInfo, Format: LogText},
	}
}

func TestLoadMinimal(t *testing.T) {
	t.Parallel()
	got, err := Load("testdata/good-minimal.yaml", environment)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(minimal(), got, same()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestLoadPasswords(t *testing.T) {
	t.Parallel()
	c, err := Load("testdata/good-password-with-every-character.yaml", environment)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []Source{
		{Address: "[::1]:3307", User: "rowhook", Password: NewPassword(awkward)},
		{Address: "db.example.com:3306", User: "row@hook", Password: NewPassword("p/w")},
		{Address: "db.example.com:3310", User: "rowhook", Password: NewPassword("p@w")},
	} {
		got := c.Sources[i]
		if got.Address != want.Address || got.User != want.User || !got.Password.Equal(want.Password) {
			t.Errorf("source %s: got %s, %s, %q", got.Name, got.Address, got.User, got.Password.Reveal())
		}
	}
}

func TestLoadVariables(t *testing.T) {
	t.Parallel()
	c, err := Load("testdata/good-variables.yaml", environment)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := webhook.ParseSecret(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	want := minimal()
	want.DataDir = "/var/lib/rowhook"
	want.Encryption.KeyFile, want.HTTP.Socket = "/var/lib/rowhook/rowhook.key", "/var/lib/rowhook/rowhook.sock"
	want.Sources[0].Address, want.Sources[0].User, want.Sources[0].ServerID = "127.0.0.1:3308", "row@hook", 77
	want.Egress = deliver.EgressPolicy{AllowHTTP: true}
	want.Endpoints = []Endpoint{{
		Name: "a", URL: "http://example.com/${not}/a$a$", Secrets: []webhook.Secret{secret},
		Concurrency: 16, Timeout: 9 * time.Second, QueueBytes: 4 << 20, Order: OrderKey,
	}}
	if diff := cmp.Diff(want, c, same()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// exampleIn writes the example, and the files it names, into a folder.
func exampleIn(t *testing.T, dir string) string {
	t.Helper()
	for name, content := range map[string]string{
		"rowhook.yaml": Example(), "types/b.yaml": "b", "types/a.yaml": "a",
		"tls/ca.pem": "", "tls/client.pem": "", "tls/client-key.pem": "", "tls/http.pem": "", "tls/http-key.pem": "", "rowhook.key": "",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "rowhook.yaml")
}

func TestExampleLoads(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	got, err := Load(exampleIn(t, dir), environment)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := webhook.ParseSecret(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	want := minimal()
	want.DataDir = filepath.Join(dir, "rowhook-data")
	s := &want.Sources[0]
	s.Password = NewPassword("hunter2")
	s.TLS = TLS{TLSVerifyIdentity, filepath.Join(dir, "tls/ca.pem"), filepath.Join(dir, "tls/client.pem"), filepath.Join(dir, "tls/client-key.pem")}
	s.Tables = []string{"sakila.*", "app.sheet_rows"}
	s.ExcludeColumns = []string{"sakila.staff.password"}
	want.Types = []TypeFile{{filepath.Join(dir, "types/a.yaml"), []byte("a")}, {filepath.Join(dir, "types/b.yaml"), []byte("b")}}
	want.Endpoints = []Endpoint{{
		Name: "billing", URL: "https://hooks.example.com/billing", Tenant: "acme", Secrets: []webhook.Secret{secret},
		Concurrency: 16, Timeout: 20 * time.Second, QueueBytes: 4 << 20, Order: OrderKey,
	}}
	want.Encryption = Encryption{Keys: []Password{NewPassword(encryptionKey)}, KeyFile: filepath.Join(dir, "rowhook.key")}
	want.HTTP.Socket, want.HTTP.Cert, want.HTTP.Key = "/run/rowhook.sock", filepath.Join(dir, "tls/http.pem"), filepath.Join(dir, "tls/http-key.pem")
	want.Subscriptions = []Subscription{{
		Name: "all-rentals", Endpoint: "billing", Types: []string{"rental.*"}, Subject: "rentals/*", From: FromNow,
	}}
	want.Egress = deliver.EgressPolicy{
		AllowCIDRs: []netip.Prefix{netip.MustParsePrefix("10.20.0.0/16")}, DenyCIDRs: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")},
	}
	if diff := cmp.Diff(want, got, same()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestExampleHasEveryKey holds Keys, what is read, and the example together.
func TestExampleHasEveryKey(t *testing.T) {
	t.Parallel()
	r := newReader("rowhook.yaml", []byte(Example()), environment)
	r.config([]byte(Example()))
	if err := r.errs.err(); err != nil {
		t.Fatal(err)
	}
	for _, key := range Keys() {
		if !r.read[key.Path] {
			t.Errorf("%s is in Keys and is not read", key.Path)
		}
		if !r.given[key.Path] {
			t.Errorf("%s is not in the example", key.Path)
		}
		delete(r.read, key.Path)
	}
	for path := range r.read {
		t.Errorf("%s is read and is not in Keys", path)
	}
}

func TestDocument(t *testing.T) {
	t.Parallel()
	for _, key := range Keys() {
		if key.Doc == "" || key.Value == "" {
			t.Errorf("%s has no Doc or no Value", key.Path)
		}
		if key.Default != "" && key.Reason == "" {
			t.Errorf("%s has a default without a reason", key.Path)
		}
		if key.Default != "" && (key.Required || key.secret) {
			t.Errorf("%s must not have a default", key.Path)
		}
	}
	golden(t, "../../docs/configuration.md", Document())
}

func TestCheckTypes(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "rowhook.yaml")
	src, err := os.ReadFile("testdata/good-minimal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	src = append(src, []byte(`endpoints:
  - {name: billing, url: https://example.com/, secrets: [`+testSecret+`]}
subscriptions:
  - name: some
    endpoint: billing
    types: [rental.*, "*", rental.craeted, payment.*]
`)...)
	if err := os.WriteFile(file, src, 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file, environment)
	if err != nil {
		t.Fatal(err)
	}
	match := func(pattern, name string) bool {
		ok, err := filepath.Match(pattern, name)
		return ok && err == nil
	}
	err = c.CheckTypes([]string{"rental.created", "rental.returned"}, match)
	all := Errors(nil)
	if !errors.As(err, &all) || len(all) != 2 {
		t.Fatalf("got %v, want two errors", err)
	}
	for i, want := range []Error{
		{File: file, Line: 10, Column: 28, Key: "subscriptions[0].types[2]", Message: "matches no declared event type: rental.craeted", Hint: "did you mean rental.created?"},
		{File: file, Line: 10, Column: 44, Key: "subscriptions[0].types[3]", Message: "matches no declared event type: payment.*", Hint: "valid here: rental.created, rental.returned"},
	} {
		if diff := cmp.Diff(want, *all[i], cmpopts.IgnoreUnexported(Error{})); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
	if err := c.CheckTypes([]string{"rental.created", "rental.craeted", "payment.made"}, match); err != nil {
		t.Errorf("with a type for each: %v", err)
	}
	c.Subscriptions = append(c.Subscriptions, Subscription{Name: "made-by-hand", Endpoint: "billing", Types: []string{"x"}})
	if err := c.CheckTypes(nil, match); err == nil || !strings.Contains(err.Error(), "made-by-hand") {
		t.Errorf("without declared types: got %v", err)
	}
}

func TestLoadFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, prepare := range map[string]func(path string) error{
		"is not there": func(string) error { return nil },
		"is a folder":  func(path string) error { return os.Mkdir(path, 0o755) },
		"is too large": func(path string) error { return os.WriteFile(path, make([]byte, maxFileBytes+1), 0o644) },
	} {
		path := filepath.Join(dir, name)
		if err := prepare(path); err != nil {
			t.Fatal(err)
		}
		_, err := Load(path, environment)
		all := Errors(nil)
		if !errors.As(err, &all) || len(all) != 1 || all[0].File != path {
			t.Errorf("a file that %s: got %v", name, err)
		}
	}
}

func TestDeepNesting(t *testing.T) {
	t.Parallel()
	for _, one := range []string{"[", "[a, ", "{a: ", "- ", "? ", "&a ", "!a ", "a: [", "- - ", `["]", `} {
		src := []byte("data_dir: " + strings.Repeat(one, 1000))
		r := newReader("rowhook.yaml", src, environment)
		r.config(src)
		// Without the limit the parser's time grows with the square of it.
		if len(r.errs) != 1 || !strings.Contains(r.errs[0].Message, "nested") {
			t.Errorf("%q nested 1000 times: %v", one, r.errs)
		}
	}
}

func TestPasswordIsNotPrinted(t *testing.T) {
	t.Parallel()
	s := Source{Name: "shop", Password: NewPassword("hunter2")}
	hidden := struct{ inner Password }{s.Password}
	var logged strings.Builder
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "source", s, "password", s.Password)
	texts := []string{logged.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		texts = append(texts, fmt.Sprintf(verb, s), fmt.Sprintf(verb, hidden), fmt.Sprintf(verb, &s))
	}
	for _, text := range texts {
		if strings.Contains(text, "hunter2") || strings.Contains(text, fmt.Sprintf("%x", "hunter2")) {
			t.Errorf("printed: %s", text)
		}
	}
	if s.Password.Reveal() != "hunter2" || (Password{}).Reveal() != "" {
		t.Error("Reveal does not")
	}
}

func TestSizeAndDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"0": 0, "65536": 65536, "64KiB": 64 << 10, "4 MiB": 4 << 20, "1GiB": 1 << 30, "7B": 7} {
		if got, ok := parseSize(text); !ok || got != want {
			t.Errorf("parseSize(%q) = %d, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "-1", "1.5MiB", "16MB", "MiB", "0x10", "1_000"} {
		if got, ok := parseSize(text); ok {
			t.Errorf("parseSize(%q) = %d", text, got)
		}
	}
	if got, ok := parseSize("99999999999999999999GiB"); !ok || got < 1<<62 {
		t.Errorf("a size beyond int64 is %d, %v", got, ok)
	}
	for n, want := range map[int64]string{0: "0", 65536: "64KiB", 16 << 20: "16MiB", 1000: "1000", 3 << 40: "3072GiB"} {
		if got := Size(n); got != want {
			t.Errorf("Size(%d) = %s, want %s", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		2 * time.Hour: "2h", 90 * time.Minute: "1h30m", 5 * time.Second: "5s", 0: "0s", 10 * time.Minute: "10m", time.Hour + time.Second: "1h0m1s", 20 * time.Hour: "20h",
	} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%v) = %s, want %s", d, got, want)
		}
	}
}

func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, "example.yaml") {
		src, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		// Not Load: what a fuzzer writes into types would be looked up on disk.
		r := newReader("rowhook.yaml", src, environment)
		c := r.config(src)
		err := r.errs.err()
		if err == nil {
			if len(c.Sources) == 0 || c.Log.Retention <= c.Delivery.longest() {
				t.Errorf("accepted %+v", c)
			}
			return
		}
		if strings.ContainsAny(strings.ReplaceAll(err.Error(), "\n", ""), "\r\x1b\x00") {
			t.Errorf("the error moves the cursor: %q", err)
		}
		all := Errors(nil)
		if !errors.As(err, &all) || slices.ContainsFunc(all, func(e *Error) bool { return e.Message == "" }) {
			t.Errorf("not Errors with messages: %v", err)
		}
	})
}

// TestSocket finds the process's socket in files that are otherwise wrong.
func TestSocket(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ content, want, problem string }{
		"of the folder":  {"data_dir: here\nsources: 7\nendpoints: ${UNSET}\n", "here/rowhook.sock", ""},
		"by default":     {"sources: []\n", "rowhook-data/rowhook.sock", ""},
		"empty":          {"", "rowhook-data/rowhook.sock", ""},
		"named":          {"http: {socket: /run/x.sock}\n", "/run/x.sock", ""},
		"too long":       {"http: {socket: /" + strings.Repeat("x", 120) + "}\n", "", "more than 100"},
		"not a text":     {"http: {socket: [a]}\n", "", "wants one value"},
		"not YAML":       {"http: {\n", "", "is not YAML"},
		"unset variable": {"data_dir: ${UNSET}\n", "", "UNSET"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "rowhook.yaml")
			if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := Socket(path, environment)
			if c.problem != "" {
				if err == nil || !strings.Contains(err.Error(), c.problem) {
					t.Fatalf("got %q and error %v, want one with %q", got, err, c.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := c.want
			if !filepath.IsAbs(want) {
				want = filepath.Join(dir, want)
			}
			if got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

// TestEndpointDefaults holds what the API gives to what the file gives.
func TestEndpointDefaults(t *testing.T) {
	t.Parallel()
	want := Endpoint{Concurrency: 16, Timeout: 20 * time.Second, QueueBytes: 4 << 20, Order: OrderKey}
	if diff := cmp.Diff(want, EndpointDefaults(), same()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestParseSource(t *testing.T) {
	t.Parallel()
	got, err := ParseSource("main", "mysql://row%40hook:a%3A$%7Bb%7D@[::1]:3307/", []string{"a.*"})
	if err != nil {
		t.Fatal(err)
	}
	if got.User != "row@hook" || got.Password.Reveal() != "a:${b}" || got.Address != "[::1]:3307" || got.Heartbeat != 5*time.Second {
		t.Errorf("got %+v", got)
	}
	for _, bad := range []string{"", "mysql://a:hunter2${x}@b/", "mysql://", "postgres://a:hunter2@b/", "mysql://a:hunter2@b/c", "mysql://a:hunter2@b:x/"} {
		if _, err := ParseSource("main", bad, []string{"a.*"}); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got error %v", bad, err)
		}
	}
	if _, err := ParseSource("A Name", "mysql://a@b/", []string{"a.*"}); err == nil {
		t.Error("a bad name is taken")
	}
}
