package policy

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// decimal is a number as it is written: compared exactly, whatever its length,
// since account identifiers do not fit into a float (POL-COND-08).
type decimal struct {
	negative    bool
	whole, frac string // without leading and trailing zeros
}

// parseDecimal reads an optional minus, digits, and optionally a point and
// more digits.
func parseDecimal(s string) (d decimal, ok bool) {
	s, d.negative = strings.CutPrefix(s, "-")
	whole, frac, point := strings.Cut(s, ".")
	if !digits(whole) || point && !digits(frac) {
		return decimal{}, false
	}
	d.whole, d.frac = strings.TrimLeft(whole, "0"), strings.TrimRight(frac, "0")
	if d.whole == "" && d.frac == "" {
		d.negative = false
	}
	return d, true
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func (d decimal) compare(o decimal) int {
	if d.negative != o.negative {
		if d.negative {
			return -1
		}
		return 1
	}
	c := cmp.Or(cmp.Compare(len(d.whole), len(o.whole)), strings.Compare(d.whole, o.whole), strings.Compare(d.frac, o.frac))
	if d.negative {
		return -c
	}
	return c
}

// parseTime reads a time in one of the forms of W3C's profile of ISO 8601, or
// in Unix seconds. Four digits are a year (POL-COND-09).
func parseTime(s string) (time.Time, bool) {
	var layout string
	switch {
	case len(s) == len("2006"):
		layout = "2006"
	case digits(s):
		return parseUnix(s)
	case len(s) == len("2006-01"):
		layout = "2006-01"
	case len(s) == len("2006-01-02"):
		layout = "2006-01-02"
	case len(s) < len("2006-01-02T15:04Z") || s[10] != 'T' || s[13] != ':':
		return time.Time{}, false
	case s[16] == ':':
		layout = time.RFC3339
	default:
		layout = "2006-01-02T15:04Z07:00"
	}
	if strings.IndexByte(s, ',') >= 0 { // which package time takes for a decimal point
		return time.Time{}, false
	}
	t, err := time.Parse(layout, s)
	return t, err == nil
}

func parseUnix(s string) (time.Time, bool) {
	const most = 12 // digits: the year 33658
	if len(s) > most {
		return time.Time{}, false
	}
	var n int64
	for i := range len(s) {
		n = n*10 + int64(s[i]-'0')
	}
	return time.Unix(n, 0), true
}

// parseTruth reads true or false, in any case of letters (POL-COND-10).
func parseTruth(s string) (truth, ok bool) {
	switch {
	case strings.EqualFold(s, "true"):
		return true, true
	case strings.EqualFold(s, "false"):
		return false, true
	}
	return false, false
}

// parseAddr reads one address of a request.
func parseAddr(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	return a.Unmap().WithZone(""), err == nil
}

// parseBlock reads an address or a block of addresses of a policy. Bits after
// the prefix are ignored, and an address stands for itself (POL-COND-12).
func parseBlock(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("is %s: want an address or a block such as 203.0.113.0/24", quote(s))
	case p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("is %s: write the IPv4 block itself", quote(s))
	}
	return p, nil
}

// parseBinary returns base64 text in its one canonical spelling.
func parseBinary(s string) (string, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return "", errors.New("is no base64: want binary data in base64 with padding")
	}
	return base64.StdEncoding.EncodeToString(b), nil
}
