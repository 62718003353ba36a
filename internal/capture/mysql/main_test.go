package mysql

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

func TestMain(m *testing.M) {
	code := dbservertest.Run(m)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}
