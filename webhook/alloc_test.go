//go:build !race

package webhook_test

import "testing"

// TestAppendSignatureDoesNotAllocate holds the sender's hot path to nothing
// allocated. Under the race detector pools drop values at random, so it is
// not built there.
func TestAppendSignatureDoesNotAllocate(t *testing.T) {
	// Not parallel: the count is of the whole process.
	signer := mustSigner(t, mustParse(t, vectorSecret), mustParse(t, "whsec_Q0hBTkdFRC1LRVktRk9SLVJPVEFUSU9O"))
	body, dst := make([]byte, 4096), make([]byte, 0, 128)
	allocs := testing.AllocsPerRun(1000, func() {
		dst = signer.AppendSignature(dst[:0], vectorID, vectorTime, body)
	})
	if allocs != 0 {
		t.Errorf("%v allocations for each signature header, want none", allocs)
	}
}
