package dbserver

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain lets a test run this binary again as a process that owns a server, see
// TestServerDiesWithItsOwner.
func TestMain(m *testing.M) {
	if kind := os.Getenv("ROWHOOK_TEST_OWNER"); kind != "" {
		own(Options{Kind: Kind(kind), Dir: os.Getenv("ROWHOOK_TEST_OWNER_DIR")})
	}
	goleak.VerifyTestMain(m)
}

// own starts a server, prints where it is and waits to be killed.
func own(o Options) {
	s, err := Start(context.Background(), o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(s.Addr(), s.Dir())
	select {}
}
