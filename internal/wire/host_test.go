package wire

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var literals = []string{
	"", ":", "::", ":::", "::1", "1::", "1:", ":1", "1::2::3", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9",
	"1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3:4::5:6:7:8", "12345::", "g::", "fd00:ec2::254", "FD00:EC2::254",
	"::ffff:1.2.3.4", "1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:7:1.2.3.4", "::1.2.3", "::1.2.3.4.5", "::1.2.3.256", "::01.2.3.4",
	"::1.2.3.4:5", "1.2.3.4", "1.2.3.4::", "::1.2..4", "fe80::1%eth0", "::1 ", "0000::0000", "00000::", "::1.2.3.0", "::.1.2.3",
}

func TestIPv6(t *testing.T) {
	for _, s := range literals {
		checkIPv6(t, s)
	}
}

func TestIPv6Law(t *testing.T) {
	part := rapid.SampledFrom([]string{":", "::", "0", "1", "f00", "abcd", "12345", ".", "1.2.3.4", "255", "256", "g", "%"})
	rapid.Check(t, func(t *rapid.T) {
		checkIPv6(t, strings.Join(rapid.SliceOfN(part, 0, 16).Draw(t, "parts"), ""))
	})
}

func checkIPv6(t failer, s string) {
	t.Helper()
	a, err := netip.ParseAddr(s)
	if want := err == nil && a.Is6() && a.Zone() == ""; isIPv6([]byte(s)) != want {
		t.Fatalf("isIPv6(%q) = %v, want %v", s, !want, want)
	}
}
