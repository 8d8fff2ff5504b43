// Package wire is the tenant-facing HTTP/1.1 server: strict, small and fast.
// It serves GET, HEAD and PUT without bodies and accepts exactly what
// docs/spec/security.md allows.
//
// The core is pure: the bytes of a request and a caller go in, the bytes of an
// answer come out. Transports own sockets, buffers, deadlines and goroutines.
// The package knows no dialect: a Handler makes every answer, those to
// malformed messages included.
package wire

import (
	"net/netip"
	"time"
)

// Limits of a message (SEC-26, SEC-13).
const (
	MaxTarget  = 2 << 10 // bytes of the request target
	MaxHead    = 8 << 10 // bytes of the header block
	MaxHeaders = 64
	MaxBody    = 4 << 10 // bytes of a PUT's body, which is dropped
)

// Method is a request method.
type Method uint8

// Methods. Whatever else is a well-formed method is Other.
const (
	Other Method = iota
	GET
	HEAD
	PUT
)

// Header is one header field. Name is as it was sent, Value without the white
// space around it.
type Header struct{ Name, Value []byte }

// Request is one parsed request. Its slices point into the connection's buffer
// and are valid until the Handler returns.
type Request struct {
	Method Method
	// RawPath is the path as it was sent, before decoding, without the query
	// and without the authority of an absolute-form target.
	RawPath []byte
	// Path is the canonical path: percent-decoded once, runs of slashes
	// collapsed, no slash at either end; empty for the root.
	Path []byte
	// PathOK is false for a path that can exist nowhere: dot segments,
	// backslashes, semicolons, encoded slashes, control characters (SEC-42,
	// SEC-43, SEC-47). Path is empty then.
	PathOK bool
	// Query is what follows the question mark, undecoded.
	Query []byte
	// Host is the host without its port: of the absolute-form target where
	// there is one, of the Host header otherwise. It is in lower case, and the
	// brackets of an IPv6 literal are removed. Empty only for HTTP/1.0 without
	// the header.
	Host []byte
	// HostHeader is the host of the Host header, without its port; it differs
	// from Host only for absolute-form targets.
	HostHeader []byte
	// Absolute tells that the target was in absolute form.
	Absolute bool
	// HTTP10 tells that the message's version is 1.0.
	HTTP10 bool
	// KeepAlive and Close are the options of the Connection header. The
	// transport sets Close, too, where it cannot keep the connection: a body
	// is left unread, or the server shuts down.
	KeepAlive, Close bool
	// Expect100 tells that the client waits for 100 Continue.
	Expect100 bool
	// BodyLength is the length of the body, which is dropped. Above MaxBody
	// only for Method Other, where the body is not read at all.
	BodyLength int
	// Headers are all header fields in their order.
	Headers []Header

	// buf holds what differs from the bytes as they were sent: a decoded path,
	// a host in lower case.
	buf []byte
}

// Conn is what a Handler knows about a connection. It lives as long as the
// connection does.
type Conn struct {
	// Peer and Local are the two ends, with IPv4-mapped addresses unmapped.
	Peer, Local netip.AddrPort
	// Listener is what the listener was opened with.
	Listener any
	// Caller is the Handler's own, set in Open.
	Caller any
	// Origin is what a Preface has found out, for the Handler.
	Origin any
}

// Exchange is one request and its answer. A transport reuses it for the next
// request of the connection.
type Exchange struct {
	Conn *Conn
	// Request holds what could be parsed.
	Request Request
	// Malformed is 0, or the status that the message deserves: 400, 413, 414,
	// 431, 501 or 505. The connection is closed after the answer.
	Malformed int

	// Out is the answer; the Handler appends to it.
	Out []byte
	// CloseAfter closes the connection once Out is written.
	CloseAfter bool
	// HopLimit, if not 0, is the IP TTL or IPv6 hop limit of the packets that
	// carry Out, and of no later answer. When it cannot be set, the connection
	// is closed unanswered. It is heeded on Linux alone (SEC-60).
	HopLimit int
	// Delay holds the answer, or its Abort, back; a shutdown ends it early. For
	// fault injection.
	Delay time.Duration
	// Abort resets the connection instead of answering. For fault injection.
	Abort bool

	// Inline tells that the answer is made on the goroutine that accepts
	// connections. A Handler that has to wait, or to compute for long, sets
	// Later instead of answering, and is called again where it may.
	Inline, Later bool

	// Scratch is the Handler's own memory for this connection; the transport
	// keeps it from one request to the next, and may hand it on to another
	// connection of the same Handler.
	Scratch any

	// unread tells that the body is not read, so that nothing behind the
	// message can be either.
	unread bool
}

// Handler answers. Its methods are called from many goroutines at once, but
// for one connection one after the other: Open, any number of Serve, Closed.
type Handler interface {
	// Open is called when a connection was accepted. When it returns false,
	// the connection is closed unanswered and Closed is not called.
	Open(c *Conn) bool
	// Serve appends the answer to x.Out. It must not keep x or any of its
	// slices, and must not block where x.Inline is set.
	Serve(x *Exchange)
	// Closed is called when the connection has ended.
	Closed(c *Conn)
}

// Watcher is what a Handler may be, too.
type Watcher interface {
	// Unacknowledged is called when a connection has ended, or is about to,
	// whose last answer had a HopLimit and was not acknowledged: nobody got
	// it. It may be called after Closed, with a copy of the Conn, and must not
	// block.
	Unacknowledged(c *Conn)
}

// MaxPreface is how long a preface may be, in bytes.
const MaxPreface = 1 << 10

// Prefaced is what a listener's tag may be, the value given to Server.Serve:
// its connections may begin with something that is no message, such as the
// header of a forwarder.
type Prefaced interface {
	// Preface is called with what a connection has sent so far, until it
	// returns the length of the preface, which may be 0; it returns -1 when
	// more is needed. It may set c.Peer and c.Origin. On an error the
	// connection is closed unanswered.
	Preface(c *Conn, b []byte) (n int, err error)
}
