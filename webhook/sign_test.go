package webhook_test

import (
	"bytes"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/rowhook/rowhook/webhook"
)

// The vectors of the specification and of its reference server.
const (
	vectorID      = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	vectorTime    = 1614265330
	vectorBody    = `{"test": 2432232314}`
	vectorSecret  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	vectorV1      = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	vectorSigning = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
	vectorPublic  = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
	vectorV1a     = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
)

func mustParse(tb testing.TB, text string) webhook.Secret {
	tb.Helper()
	secret, err := webhook.ParseSecret(text)
	if err != nil {
		tb.Fatal(err)
	}
	return secret
}

func mustSigner(tb testing.TB, secrets ...webhook.Secret) *webhook.Signer {
	tb.Helper()
	signer, err := webhook.NewSigner(secrets...)
	if err != nil {
		tb.Fatal(err)
	}
	return signer
}

func wantIs(tb testing.TB, err, want error) {
	tb.Helper()
	if !errors.Is(err, want) {
		tb.Fatalf("error is %v; want %v", err, want)
	}
}

func TestSignVectors(t *testing.T) {
	t.Parallel()
	v1, v1a := mustParse(t, vectorSecret), mustParse(t, vectorSigning)
	for _, tc := range []struct {
		name    string
		secrets []webhook.Secret
		want    string
	}{
		{"v1", []webhook.Secret{v1}, vectorV1},
		{"v1a", []webhook.Secret{v1a}, vectorV1a},
		{"both, in order", []webhook.Secret{v1a, v1}, vectorV1a + " " + vectorV1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			header, err := webhook.Sign(vectorID, time.Unix(vectorTime, 999), []byte(vectorBody), tc.secrets...)
			if err != nil {
				t.Fatal(err)
			}
			got := [3]string{header.Get("webhook-id"), header.Get("webhook-timestamp"), header.Get("webhook-signature")}
			if want := [3]string{vectorID, "1614265330", tc.want}; got != want {
				t.Errorf("headers are %q, want %q", got, want)
			}
			appended := mustSigner(t, tc.secrets...).AppendSignature([]byte("kept "), vectorID, vectorTime, []byte(vectorBody))
			if string(appended) != "kept "+tc.want {
				t.Errorf("AppendSignature = %q", appended)
			}
		})
	}
}

func TestSignRefuses(t *testing.T) {
	t.Parallel()
	good, now := mustParse(t, vectorSecret), time.Unix(vectorTime, 0)
	_, err := webhook.Sign(vectorID, now, nil)
	wantIs(t, err, webhook.ErrInvalidSecret)
	_, err = webhook.Sign(vectorID, now, nil, good, webhook.Secret{})
	wantIs(t, err, webhook.ErrInvalidSecret)
	_, err = webhook.Sign(vectorID, now, nil, mustParse(t, vectorPublic))
	wantIs(t, err, webhook.ErrInvalidSecret)
	_, err = webhook.Sign("a.b", now, nil, good)
	wantIs(t, err, webhook.ErrInvalidID)
	_, err = webhook.Sign(vectorID, time.Unix(-1, 0), nil, good)
	wantIs(t, err, webhook.ErrInvalidTimestamp)
	_, err = webhook.Sign(vectorID, time.Unix(253402300800, 0), nil, good)
	wantIs(t, err, webhook.ErrInvalidTimestamp)
}

func TestCheckID(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"a", vectorID, "evt_0123456789ABCDEFGHIJKLMNOPQRSTUV", "~!#,", strings.Repeat("x", 256)} {
		if err := webhook.CheckID(id); err != nil {
			t.Errorf("CheckID(%q) = %v", id, err)
		}
	}
	for _, id := range []string{"", ".", "a.b", "a b", "a\n", "a\r\nX-Evil: 1", "a\x00", "a\x7f", "é", "a\t", strings.Repeat("x", 257)} {
		if err := webhook.CheckID(id); !errors.Is(err, webhook.ErrInvalidID) {
			t.Errorf("CheckID(%q) = %v", id, err)
		}
	}
}

// TestSignerIsConcurrent signs different messages with one Signer at once.
func TestSignerIsConcurrent(t *testing.T) {
	t.Parallel()
	secrets := []webhook.Secret{mustParse(t, vectorSecret), mustParse(t, vectorSigning)}
	signer, now := mustSigner(t, secrets...), time.Unix(vectorTime, 0)
	verifier, err := webhook.NewVerifier(secrets[:1], webhook.WithClock(func() time.Time { return now }))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			body := bytes.Repeat([]byte{byte('a' + i)}, i*20_000)
			for range 20 {
				header, err := signer.Sign(vectorID, now, body)
				if err == nil {
					_, err = verifier.Verify(header, body)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// TestOfficialVerifierAccepts and TestOfficialSignerIsAccepted hold this
// package against the verifier that the specification's authors publish.
func TestOfficialVerifierAccepts(t *testing.T) {
	t.Parallel()
	ours := webhook.NewSecret()
	official, err := standardwebhooks.NewWebhook(ours.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	signing, _ := webhook.NewKeyPair()
	for _, body := range []string{"", vectorBody, "\x00.\xff", strings.Repeat("x", 100_000)} {
		header, err := webhook.Sign("evt_1", time.Now(), []byte(body), webhook.NewSecret(), signing, ours)
		if err != nil {
			t.Fatal(err)
		}
		if err := official.Verify([]byte(body), header); err != nil {
			t.Errorf("body of %d bytes: %v", len(body), err)
		}
		if err := official.Verify([]byte(body+"x"), header); err == nil {
			t.Errorf("body of %d bytes and one more is accepted", len(body))
		}
	}
}

func TestOfficialSignerIsAccepted(t *testing.T) {
	t.Parallel()
	secret, now := webhook.NewSecret(), time.Unix(vectorTime, 0)
	official, err := standardwebhooks.NewWebhook(secret.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	signature, err := official.Sign("msg_1", now, []byte(vectorBody))
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{}
	header.Set(standardwebhooks.HeaderWebhookID, "msg_1")
	header.Set(standardwebhooks.HeaderWebhookTimestamp, "1614265330")
	header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	clock := webhook.WithClock(func() time.Time { return now })
	msg, err := webhook.Verify([]webhook.Secret{secret}, header, []byte(vectorBody), clock)
	if err != nil || msg.ID != "msg_1" || !msg.Timestamp.Equal(now) || string(msg.Body) != vectorBody {
		t.Errorf("Verify = %+v, %v", msg, err)
	}
}

func BenchmarkAppendSignature(b *testing.B) {
	for _, bm := range []struct{ name, secret string }{{"v1", vectorSecret}, {"v1a", vectorSigning}} {
		b.Run(bm.name, func(b *testing.B) {
			signer, body, dst := mustSigner(b, mustParse(b, bm.secret)), make([]byte, 512), make([]byte, 0, 256)
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				dst = signer.AppendSignature(dst[:0], vectorID, vectorTime, body)
			}
		})
	}
}
