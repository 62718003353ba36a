package webhook_test

import (
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/rowhook/rowhook/webhook"
)

// While a secret is being replaced the sender signs with both.
func ExampleSign() {
	current, err := webhook.ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		log.Fatal(err)
	}
	next, err := webhook.ParseSecret("whsec_Q0hBTkdFRC1LRVktRk9SLVJPVEFUSU9O")
	if err != nil {
		log.Fatal(err)
	}
	body := []byte(`{"test": 2432232314}`)

	header, err := webhook.Sign("msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), body, current, next)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(header.Get("webhook-id"))
	fmt.Println(header.Get("webhook-timestamp"))
	for signature := range strings.FieldsSeq(header.Get("webhook-signature")) {
		fmt.Println(signature)
	}
	fmt.Println(current)
	// Output:
	// msg_p5jXN8AQM9LWM0D4loKWxJek
	// 1614265330
	// v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=
	// v1,ABP257BKbOdNFLD1BAyVGrTkl/e+5pAQRjbLQeQfCLk=
	// whsec_…redacted
}

// A sender keeps a Signer for each endpoint and a buffer for each request.
func ExampleSigner_AppendSignature() {
	secret, err := webhook.ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		log.Fatal(err)
	}
	signer, err := webhook.NewSigner(secret)
	if err != nil {
		log.Fatal(err)
	}
	body := []byte(`{"test": 2432232314}`)
	buf := make([]byte, 0, 128)
	buf = signer.AppendSignature(buf, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
	fmt.Printf("%s\n", buf)
	// Output: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=
}

// A receiver verifies before it looks at the body, drops ids that it knows,
// and answers 2xx for those too.
func ExampleVerifier_VerifyRequest() {
	secret := webhook.NewSecret() // in earnest: webhook.ParseSecret of what the sender showed
	verifier, err := webhook.NewVerifier([]webhook.Secret{secret})
	if err != nil {
		log.Fatal(err)
	}
	seen := map[string]bool{} // in earnest: a unique key in the database
	receive := func(w http.ResponseWriter, r *http.Request) {
		msg, err := verifier.VerifyRequest(r, 1<<20)
		switch {
		case errors.Is(err, webhook.ErrBodyTooLarge):
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		case err != nil:
			w.WriteHeader(http.StatusUnauthorized)
			return
		case seen[msg.ID]:
			fmt.Println(msg.ID, "again")
		default:
			seen[msg.ID] = true
			fmt.Println(msg.ID, string(msg.Body))
		}
		w.WriteHeader(http.StatusNoContent)
	}

	for _, by := range []webhook.Secret{secret, secret, webhook.NewSecret()} {
		r := httptest.NewRequest(http.MethodPost, "/hooks", strings.NewReader(`{"row":7}`))
		r.Header, err = webhook.Sign("evt_1", time.Now(), []byte(`{"row":7}`), by)
		if err != nil {
			log.Fatal(err)
		}
		w := httptest.NewRecorder()
		receive(w, r)
		fmt.Println(w.Code)
	}
	// Output:
	// evt_1 {"row":7}
	// 204
	// evt_1 again
	// 204
	// 401
}

func ExampleVerify() {
	secret, err := webhook.ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		log.Fatal(err)
	}
	header := http.Header{}
	header.Set("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek")
	header.Set("webhook-timestamp", "1614265330")
	header.Set("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
	body := []byte(`{"test": 2432232314}`)

	_, err = webhook.Verify([]webhook.Secret{secret}, header, body)
	fmt.Println(errors.Is(err, webhook.ErrTooOld))

	// A recorded request is old; whoever looks into it asks for the signature alone.
	msg, err := webhook.Verify([]webhook.Secret{secret}, header, body, webhook.WithAnyTimestamp())
	fmt.Println(msg.ID, err)
	// Output:
	// true
	// msg_p5jXN8AQM9LWM0D4loKWxJek <nil>
}
