package wire

import "bytes"

// Statuses of messages that are not well formed.
const (
	statusBad         = 400
	statusTooLarge    = 413
	statusTargetLong  = 414
	statusHeaderLarge = 431
	statusNoCoding    = 501
	statusVersion     = 505
)

const (
	maxMethod   = 32 // bytes; no registered method is half as long
	versionForm = "HTTP/d.d\r\n"

	// maxMessage is the length of the longest message that is accepted.
	maxMessage = maxMethod + 1 + MaxTarget + 1 + len(versionForm) + MaxHead + MaxBody
)

// Parse parses the head of the message at the front of b into r. It returns
// the length of the head; 0 and the status that the message deserves when it
// is not well formed; 0 and 0 when b ends before the head does.
//
// Parse reads from left to right and stops at the first byte that no
// acceptable message can have there, so that a status depends on that byte and
// the ones before it, never on how the message was cut into packets. It keeps
// nothing between calls: when more bytes are there, the head is parsed anew,
// which for the longest head costs less than the packet that brought them.
//
// r's slices point into b, or into memory that the next call overwrites.
func (r *Request) Parse(b []byte) (n, status int) {
	r.reset()
	block, status := r.parseLine(b)
	if block == 0 {
		return 0, status
	}
	var f framing
	i, limit := block, block+MaxHead
	whole := b
	b = b[:min(len(b), limit)]
	for {
		if i+1 < len(b) && b[i] == '\r' && b[i+1] == '\n' {
			if status = r.finish(&f); status != 0 {
				return 0, status
			}
			return i + 2, 0
		}
		i, status = r.parseField(b, i)
		if status != 0 {
			return 0, status
		}
		if i == 0 {
			if len(whole) >= limit {
				return 0, statusHeaderLarge
			}
			return 0, 0
		}
		if status = r.interpret(&f); status != 0 {
			return 0, status
		}
	}
}

func (r *Request) reset() {
	*r = Request{Headers: r.Headers[:0], buf: r.buf[:0]}
}

// parseLine parses the request line (RFC 9112 §3) and returns its length, as
// Parse does.
func (r *Request) parseLine(b []byte) (n, status int) {
	i := 0
	for i < len(b) && tokenByte.has(b[i]) && i <= maxMethod {
		i++
	}
	switch {
	case i > maxMethod:
		return 0, statusBad
	case i == len(b):
		return 0, 0
	case b[i] != ' ' || i == 0:
		return 0, statusBad
	}
	method := b[:i]
	r.Method = methodOf(method)

	i++
	start := i
	for i < len(b) && visibleByte.has(b[i]) && i-start <= MaxTarget {
		i++
	}
	switch {
	case i-start > MaxTarget:
		return 0, statusTargetLong // SEC-26
	case i == len(b):
		return 0, 0
	case b[i] != ' ' || i == start:
		return 0, statusBad // SEC-27: a line that ends here is HTTP/0.9
	}
	target := b[start:i]

	i++
	v := b[i:min(len(b), i+len(versionForm))]
	for j, c := range v {
		if want := versionForm[j]; c != want && (want != 'd' || c < '0' || c > '9') {
			return 0, statusBad // SEC-24: a bare LF, too
		}
	}
	if len(v) < len(versionForm) {
		return 0, 0
	}
	switch {
	case string(v[5:8]) == "1.1":
	case string(v[5:8]) == "1.0":
		r.HTTP10 = true
	case string(method) == "PRI" && string(target) == "*":
		return 0, statusBad // SEC-27: the preface of HTTP/2
	default:
		return 0, statusVersion // SEC-27
	}
	if !r.setTarget(target) && r.Method != Other {
		return 0, statusBad
	}
	return i + len(versionForm), 0
}

func methodOf(b []byte) Method {
	switch string(b) {
	case "GET":
		return GET
	case "HEAD":
		return HEAD
	case "PUT":
		return PUT
	}
	return Other
}

// parseField parses the header line at b[i:], appends it to r.Headers and
// returns the index behind it; 0 when b ends before the line does.
func (r *Request) parseField(b []byte, i int) (next, status int) {
	if i == len(b) {
		return 0, 0
	}
	if b[i] != '\r' && len(r.Headers) == MaxHeaders {
		return 0, statusHeaderLarge // SEC-26
	}
	start := i
	for i < len(b) && tokenByte.has(b[i]) {
		i++
	}
	switch {
	case i == len(b) || b[i] == '\r' && i == start && i+1 == len(b):
		return 0, 0
	case b[i] != ':' || i == start:
		// SEC-06, SEC-24: white space before the colon, a folded line, and
		// whatever else is not a name.
		return 0, statusBad
	}
	name := b[start:i:i]
	start = i + 1
	i = skipField(b, start)
	switch {
	case i == len(b) || b[i] == '\r' && i+1 == len(b):
		return 0, 0
	case b[i] != '\r' || b[i+1] != '\n':
		return 0, statusBad // SEC-24
	}
	r.Headers = append(r.Headers, Header{name, trim(b[start:i:i])})
	return i + 2, 0
}

// trim removes optional white space (RFC 9110 §5.6.3) at both ends.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// framing is what the header fields say about the message's own form.
type framing struct{ host, length, coding bool }

// interpret looks at the header field that was parsed last, and returns the
// status that the message deserves for it, or 0.
func (r *Request) interpret(f *framing) (status int) {
	h := &r.Headers[len(r.Headers)-1]
	switch len(h.Name) {
	case len("Host"):
		if fold(h.Name, "host") {
			return r.interpretHost(f, h.Value)
		}
	case len("Expect"):
		// RFC 9110 §10.1.1: HTTP/1.0 knows no expectations.
		if fold(h.Name, "expect") && !r.HTTP10 {
			each(h.Value, func(option []byte) {
				r.Expect100 = r.Expect100 || fold(option, "100-continue")
			})
		}
	case len("Connection"):
		if fold(h.Name, "connection") {
			each(h.Value, func(option []byte) {
				r.KeepAlive = r.KeepAlive || fold(option, "keep-alive")
				r.Close = r.Close || fold(option, "close")
			})
		}
	case len("Content-Length"):
		if fold(h.Name, "content-length") {
			n, ok := contentLength(h.Value)
			if !ok || f.length {
				return statusBad // SEC-22
			}
			f.length, r.BodyLength = true, n
		}
	case len("Transfer-Encoding"):
		if fold(h.Name, "transfer-encoding") {
			f.coding = true
		}
	}
	return 0
}

func (r *Request) interpretHost(f *framing, value []byte) (status int) {
	host, ok := r.authority(value)
	if !ok || f.host {
		return statusBad // SEC-25
	}
	f.host, r.HostHeader = true, host
	if !r.Absolute {
		r.Host = host
	}
	return 0
}

// finish looks at a whole head and returns the status that the message
// deserves, or 0.
func (r *Request) finish(f *framing) (status int) {
	read := r.Method == GET || r.Method == HEAD
	switch {
	case !f.host && !r.HTTP10:
		return statusBad // SEC-25
	case f.coding && (f.length || read):
		return statusBad // SEC-20, SEC-23
	case f.coding:
		return statusNoCoding // SEC-21
	case r.BodyLength > 0 && read:
		return statusBad // SEC-23
	case r.BodyLength > MaxBody && r.Method == PUT:
		return statusTooLarge // SEC-13
	}
	return 0
}

// contentLength parses a Content-Length, which is a plain number of at most 18
// digits.
func contentLength(v []byte) (n int, ok bool) {
	if len(v) == 0 || len(v) > 18 {
		return 0, false
	}
	var sum int64
	for _, c := range v {
		if c < '0' || c > '9' {
			return 0, false
		}
		sum = sum*10 + int64(c-'0')
	}
	return int(min(sum, 1<<31-1)), true
}

// each calls f for every element of a comma-separated list.
func each(list []byte, f func(element []byte)) {
	for more := true; more; {
		var e []byte
		e, list, more = bytes.Cut(list, comma)
		f(trim(e))
	}
}

var comma = []byte{','}
