package netenv_test

import (
	"testing"

	"openimds/internal/testnet"
)

func TestMain(m *testing.M) { testnet.Isolate(m) }
