package wire

// A part is what a message still lacks.
type part uint8

const (
	nothing part = iota // it is whole, or malformed: it can be answered
	head
	body
)

// take takes the message at the front of b. It returns the message's length
// once nothing is missing. Of a malformed one the length is 0: where it ends
// cannot be told.
func (x *Exchange) take(b []byte) (n int, missing part) {
	x.Malformed, x.unread = 0, false
	r := &x.Request
	n, status := r.Parse(b)
	switch {
	case status != 0:
		x.refuse(status)
		return 0, nothing
	case n == 0:
		return 0, head
	case r.BodyLength == 0:
		return n, nothing
	}
	whole := n + r.BodyLength
	// A body that no method of ours has is not waited for, nor is one whose
	// client waits for us (SEC-29).
	if r.Method == Other || r.Expect100 && len(b) < whole {
		x.unread, r.Close = true, true
		return n, nothing
	}
	if len(b) < whole {
		return 0, body
	}
	return whole, nothing
}

// refuse makes the message a malformed one.
func (x *Exchange) refuse(status int) {
	x.Malformed, x.Request.Close = status, true
}

// answer lets h answer the message that was taken, and reports whether the
// connection may be kept.
func (x *Exchange) answer(h Handler) (keep bool) {
	x.Out = x.Out[:0]
	x.CloseAfter, x.HopLimit, x.Delay, x.Abort, x.Later = false, 0, 0, false, false
	h.Serve(x)
	r := &x.Request
	return !x.CloseAfter && !x.Abort && len(x.Out) > 0 &&
		!r.Close && (r.KeepAlive || !r.HTTP10)
}
