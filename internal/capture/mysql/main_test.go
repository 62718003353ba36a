package mysql

import (
	"testing"

	"github.com/rowhook/rowhook/internal/dbserver/dbservertest"
)

func TestMain(m *testing.M) { dbservertest.Main(m) }
