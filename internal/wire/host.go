package wire

import "bytes"

const maxName = 255 // bytes of a host name (RFC 1035 §2.3.4)

// authority checks the authority of a target or the value of a Host header,
// and returns its host in lower case, without the port and without the
// brackets of an IPv6 literal. User information, lists and escapes are refused
// (SEC-25, SEC-45).
func (r *Request) authority(a []byte) (host []byte, ok bool) {
	if len(a) > 0 && a[0] == '[' {
		end := bytes.IndexByte(a, ']')
		if end < 0 || !isIPv6(a[1:end]) {
			return nil, false
		}
		host, a = a[1:end], a[end+1:]
	} else {
		end := 0
		for end < len(a) && nameByte.has(a[end]) {
			end++
		}
		if end == 0 || end > maxName {
			return nil, false
		}
		host, a = a[:end], a[end:]
	}
	if len(a) > 0 && !isPort(a) {
		return nil, false
	}
	return r.lower(host), true
}

// isPort reports whether b is a colon and a port number.
func isPort(b []byte) bool {
	if b[0] != ':' || len(b) < 2 || len(b) > 6 {
		return false
	}
	n := 0
	for _, c := range b[1:] {
		if c < '0' || c > '9' {
			return false
		}
		n = n*10 + int(c-'0')
	}
	return n <= 65535
}

// lower returns b in lower case: b itself where it is so already.
func (r *Request) lower(b []byte) []byte {
	for _, c := range b {
		if lower(c) != c {
			start := len(r.buf)
			for _, c := range b {
				r.buf = append(r.buf, lower(c))
			}
			return r.buf[start:]
		}
	}
	return b
}

// isIPv6 reports whether s is an IPv6 address without a zone (RFC 4291 §2.2).
// netip.ParseAddr would do if it took bytes.
func isIPv6(s []byte) bool {
	groups, gap, i := 0, false, 0
	if bytes.HasPrefix(s, []byte("::")) {
		if len(s) == 2 {
			return true
		}
		gap, i = true, 2
	}
	for {
		start := i
		for i < len(s) && hexByte.has(s[i]) {
			i++
		}
		if i < len(s) && s[i] == '.' {
			groups += 2
			if !isIPv4(s[start:]) {
				return false
			}
			break
		}
		groups++
		if i == start || i > start+4 {
			return false
		}
		if i == len(s) {
			break
		}
		if s[i] != ':' || i+1 == len(s) {
			return false
		}
		i++
		if s[i] == ':' {
			if gap {
				return false
			}
			gap = true
			if i++; i == len(s) {
				break
			}
		}
	}
	return groups == 8 && !gap || groups < 8 && gap
}

// isIPv4 reports whether s is four decimal numbers without leading zeros.
func isIPv4(s []byte) bool {
	for octets := 1; ; octets++ {
		i, n := 0, 0
		for i < len(s) && i < 3 && s[i] >= '0' && s[i] <= '9' {
			n = n*10 + int(s[i]-'0')
			i++
		}
		if i == 0 || n > 255 || i > 1 && s[0] == '0' {
			return false
		}
		s = s[i:]
		if octets == 4 {
			return len(s) == 0
		}
		if len(s) == 0 || s[0] != '.' {
			return false
		}
		s = s[1:]
	}
}
