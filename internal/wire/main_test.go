package wire

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
)

// portableOnly makes the servers of tests portable ones.
var portableOnly bool

// Every test runs with the system's own transport and with the portable one.
func TestMain(m *testing.M) {
	code := m.Run()
	if fuzz := flag.Lookup("test.fuzz"); runtime.GOOS == "linux" && code == 0 && fuzz.Value.String() == "" {
		fmt.Println("again, with the portable transport")
		portableOnly = true
		code = m.Run()
	}
	os.Exit(code)
}
