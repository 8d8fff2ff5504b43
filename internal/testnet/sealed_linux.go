package testnet

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Sealed returns an error if the process is in the namespace that the tests
// were started in, or in one that has a way to everywhere. It is the guard of a
// client that runs in a namespace which a program under test has made: the
// addresses that are built into it must lead there and nowhere else.
func Sealed() error {
	from := os.Getenv(origin)
	here, err := namespace()
	switch {
	case err != nil:
		return err
	case from == "":
		return errors.New("the namespace that the tests were started in is not known")
	case here == from:
		return errors.New("this is the namespace that the tests were started in")
	}
	// The fields that are 0 in a route to everywhere.
	for file, zero := range map[string][2]int{"/proc/net/route": {1, 7}, "/proc/net/ipv6_route": {0, 1}} {
		routes, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(routes)) {
			f := strings.Fields(line)
			if len(f) > 9 && strings.Trim(f[zero[0]]+f[zero[1]], "0") == "" && f[len(f)-1] != "lo" {
				return fmt.Errorf("this namespace has a way to everywhere: %s", line)
			}
		}
	}
	return nil
}
