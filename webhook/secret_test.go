package webhook_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/rowhook/rowhook/webhook"
)

func TestParseSecret(t *testing.T) {
	t.Parallel()
	sized := func(prefix string, n int) string {
		return prefix + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, n))
	}
	otherHalf := "whsk_" + base64.StdEncoding.EncodeToString(append(bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)...))
	for _, tc := range []struct {
		name, text string
		ok         bool
	}{
		{"vector v1", vectorSecret, true},
		{"vector v1a signing", vectorSigning, true},
		{"vector v1a public", vectorPublic, true},
		{"shortest", sized("whsec_", 24), true},
		{"longest", sized("whsec_", 64), true},
		{"too short", sized("whsec_", 23), false},
		{"too long", sized("whsec_", 65), false},
		{"empty", "", false},
		{"only prefix", "whsec_", false},
		{"no prefix", strings.TrimPrefix(vectorSecret, "whsec_"), false},
		{"unknown prefix", sized("whxyz_", 32), false},
		{"upper case prefix", sized("WHSEC_", 32), false},
		{"no padding", strings.TrimRight(sized("whsec_", 32), "="), false},
		{"URL alphabet", "whsec_" + strings.Repeat("-_", 16), false},
		{"line break at end", vectorSecret + "\n", false},
		{"line break inside", "whsec_MfKQ9r8GKYqrTwjU\nPD8ILPZIo2LaLaSw", false},
		{"space before", " " + vectorSecret, false},
		{"signing key too short", sized("whsk_", 32), false},
		{"signing key of two halves", otherHalf, false},
		{"public key too long", sized("whpk_", 33), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			secret, err := webhook.ParseSecret(tc.text)
			if tc.ok {
				if err != nil || secret.Reveal() != tc.text {
					t.Fatalf("ParseSecret = %q, %v; want the text back", secret.Reveal(), err)
				}
				return
			}
			wantIs(t, err, webhook.ErrInvalidSecret)
			if !secret.IsZero() {
				t.Error("a refused secret is not zero")
			}
			if key := strings.TrimSpace(tc.text[min(len(tc.text), 6):]); key != "" && strings.Contains(err.Error(), key) {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
}

func TestNewSecretsAreNewAndParse(t *testing.T) {
	t.Parallel()
	signing, public := webhook.NewKeyPair()
	secrets := []webhook.Secret{webhook.NewSecret(), webhook.NewSecret(), signing, public}
	for i, a := range secrets {
		back, err := webhook.ParseSecret(a.Reveal())
		if err != nil || !back.Equal(a) {
			t.Errorf("%v parses as %v, %v", a, back, err)
		}
		for j, b := range secrets {
			if a.Equal(b) != (i == j) {
				t.Errorf("Equal(%d, %d) = %v", i, j, a.Equal(b))
			}
		}
	}
	if (webhook.Secret{}).Equal(secrets[0]) || !(webhook.Secret{}).Equal(webhook.Secret{}) {
		t.Error("the zero Secret equals only itself")
	}
}

func TestPublic(t *testing.T) {
	t.Parallel()
	for _, text := range []string{vectorSigning, vectorPublic} {
		if public, err := mustParse(t, text).Public(); err != nil || public.Reveal() != vectorPublic {
			t.Errorf("Public = %q, %v; want %q", public.Reveal(), err, vectorPublic)
		}
	}
	for _, secret := range []webhook.Secret{{}, webhook.NewSecret()} {
		_, err := secret.Public()
		wantIs(t, err, webhook.ErrInvalidSecret)
	}
}

// TestSecretStaysSecret prints secrets, and what holds them, in every way
// that a careless log line might.
func TestSecretStaysSecret(t *testing.T) {
	t.Parallel()
	for _, text := range []string{vectorSecret, vectorSigning} {
		secret := mustParse(t, text)
		prefix, encoded, _ := strings.Cut(text, "_")
		if want := prefix + "_…redacted"; secret.String() != want {
			t.Errorf("String = %q, want %q", secret.String(), want)
		}
		raw, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			t.Fatal(err)
		}
		leaks := []string{encoded[:8], fmt.Sprintf("%x", raw[:4]), fmt.Sprintf("%X", raw[:4]),
			strings.Trim(fmt.Sprint(raw[:4]), "[]"), strings.Trim(fmt.Sprintf("%#v", raw[:4]), "[]byte{}")}
		for how, out := range printed(t, secret) {
			for _, leak := range leaks {
				if strings.Contains(out, leak) {
					t.Errorf("%s of a %s_ secret shows %q: %s", how, prefix, leak, out)
				}
			}
		}
	}
	if got := fmt.Sprint(webhook.Secret{}); got != "(no secret)" {
		t.Errorf("the zero Secret prints %q", got)
	}
}

// printed returns secret, and values that hold it, written in many ways.
func printed(t *testing.T, secret webhook.Secret) map[string]string {
	t.Helper()
	type hidden struct{ s webhook.Secret }
	type shown struct{ S *webhook.Secret }
	verifier, err := webhook.NewVerifier([]webhook.Secret{secret})
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{
		"Secret": secret, "*Secret": &secret, "slice": []webhook.Secret{secret},
		"unexported field": hidden{secret}, "pointer to it": &hidden{secret}, "exported field": shown{&secret},
		"map": map[string]webhook.Secret{"k": secret}, "Verifier": verifier,
	}
	if signer, err := webhook.NewSigner(secret); err == nil {
		values["Signer"] = signer
	}
	out := map[string]string{}
	for name, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%c", "%t", "%o", "%08b", "%U", "%e"} {
			out[verb+" of "+name] = fmt.Sprintf(verb, v)
		}
		var text, js bytes.Buffer
		slog.New(slog.NewTextHandler(&text, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&js, nil)).Info("m", "v", v)
		out["slog text of "+name], out["slog JSON of "+name] = text.String(), js.String()
		if b, err := json.Marshal(v); err == nil {
			out["JSON of "+name] = string(b)
		}
	}
	return out
}
