// Package stream finds the HTTP requests in the segments of a connection,
// however they are cut, repeated, reordered or pipelined, and what of them may
// be told: never the value of a header that can carry a token.
package stream

import (
	"bytes"
	"slices"
)

// maxHead is how long a request's line and headers may be.
const maxHead = 16 << 10

// Request is what is known of one request.
type Request struct {
	Method string
	Path   string // without query, scheme and host; cut at MaxText
	// Host and UserAgent are the values of these headers, cut at MaxText. They
	// are a stranger's bytes.
	Host, UserAgent string
	// TokenHeader is the name of the header that carried a session token, in
	// lower case; "" if there was none.
	TokenHeader string
	// EmptyToken: such a header was there, with nothing in it.
	EmptyToken bool
	// Unreadable: not HTTP, or its headers are not complete. What was read is
	// set.
	Unreadable bool
	// Truncated: a part of it was not seen.
	Truncated bool
	// Segments is over how many segments the head was spread.
	Segments int
	// Time is that of the first byte, as given to Add.
	Time uint64
	// End is the TCP sequence number after the head; an answer acknowledges at
	// least that.
	End uint32
}

// MaxText is where texts from requests are cut, in bytes.
const MaxText = 256

// Conn is one connection's bytes towards the service. The zero value is a
// connection that is seen from its beginning.
type Conn struct {
	// Joined: the connection was open before it was seen, so the first bytes
	// may be from the middle of a request.
	Joined bool

	order order
	state state
	head  []byte
	cur   Request // while in stateHead, stateOverlong
	body  uint64  // bytes left in stateBody, or of a chunk
	line  []byte  // of the chunked framing
	seq   uint32  // of the piece that is being read, at its end
	time  uint64
	out   []Request
	begun bool
}

type state uint8

const (
	stateHead     state = iota
	stateBody           // body has how many bytes to skip
	stateChunk          // the line with the size of a chunk
	stateChunkEnd       // the line after a chunk
	stateTrailer        // lines after the last chunk
	stateOverlong       // the rest of a head that was too long
	stateLost           // not HTTP, or out of step: wait for the begin of a request
)

// Add takes a piece of a segment: offset bytes after sequence number seq. The
// time is any clock. It returns the requests that are complete now, in order.
// It keeps data.
func (c *Conn) Add(seq, offset uint32, data []byte, time uint64) []Request {
	if !c.begun {
		c.begun = true
		if c.Joined {
			c.state = stateLost
		}
	}
	c.time, c.out = time, nil
	if c.state == stateLost && !c.order.started && !looksLikeRequest(data) {
		return nil // nor is it where the order begins
	}
	c.order.add(seq+offset, data, c.take, c.gap)
	return c.out
}

// Close tells what is left when no more will come: a request that began and
// did not end.
func (c *Conn) Close() (Request, bool) {
	c.out = nil
	for len(c.order.early) > 0 {
		c.order.skip(c.gap)
		c.order.drain(c.take)
	}
	if c.state == stateHead && len(bytes.Trim(c.head, "\r\n")) > 0 {
		c.unreadable(true)
	}
	c.state = stateLost
	if len(c.out) == 0 {
		return Request{}, false
	}
	return c.out[0], true
}

// Idle reports whether no request is under way.
func (c *Conn) Idle() bool {
	return len(c.head) == 0 && len(c.order.early) == 0 && (c.state == stateHead || c.state == stateLost)
}

// Held is how many bytes of unfinished requests are kept.
func (c *Conn) Held() int { return cap(c.head) + c.order.held }

// take reads bytes that are in order.
func (c *Conn) take(seq uint32, data []byte) {
	if c.state == stateHead && len(c.head) > 0 {
		c.cur.Segments++
	}
	if c.state == stateLost {
		// A segment that begins like a request ends the trouble.
		if !looksLikeRequest(data) {
			return
		}
		c.state = stateHead
	}
	c.seq = seq + uint32(len(data))
	for len(data) > 0 {
		data = c.step(data)
	}
}

// gap is told of n bytes that will not come.
func (c *Conn) gap(n uint32) {
	switch {
	case c.state == stateBody && uint64(n) <= c.body:
		c.skipBody(uint64(n))
	case c.state == stateHead && len(c.head) > 0:
		c.cur.Truncated = true
		c.unreadable(true)
	default:
		c.state = stateLost
	}
}

// step reads some of data and returns the rest.
func (c *Conn) step(data []byte) []byte {
	switch c.state {
	case stateHead:
		return c.readHead(data)
	case stateBody:
		n := min(uint64(len(data)), c.body)
		c.skipBody(n)
		return data[n:]
	case stateOverlong:
		return c.skipHead(data)
	case stateChunk, stateChunkEnd, stateTrailer:
		return c.readChunkLine(data)
	default:
		return nil
	}
}

// readHead collects a head up to its empty line.
func (c *Conn) readHead(data []byte) []byte {
	if len(c.head) == 0 {
		// Empty lines before a request are allowed.
		data = bytes.TrimLeft(data, "\r\n")
		if len(data) == 0 {
			return nil
		}
		c.cur = Request{Time: c.time, Segments: 1}
	}
	had := len(c.head)
	c.head = append(c.head, data...)
	if had < maxMethod && !plausible(c.head) {
		c.unreadable(false)
		return nil
	}
	end := endOfHead(c.head, had)
	if end > maxHead || end < 0 && len(c.head) > maxHead {
		return c.tooLong(data)
	}
	if end < 0 {
		return nil
	}
	rest := data[end-had:]
	c.cur.End = c.seq - uint32(len(rest))
	framing := parse(c.head[:end], &c.cur)
	c.emit()
	c.frame(framing)
	return rest
}

// frame prepares for what follows the head.
func (c *Conn) frame(f framing) {
	switch {
	case f.broken:
		c.state = stateLost
	case f.chunked:
		c.state = stateChunk
	case f.length > 0:
		c.state, c.body = stateBody, f.length
	default:
		c.state = stateHead
	}
}

// emit hands the request out and forgets its bytes.
func (c *Conn) emit() {
	c.out = append(c.out, c.cur)
	c.forget()
}

func (c *Conn) forget() {
	clear(c.head) // a token's value may be in it
	c.head, c.cur = nil, Request{}
}

// unreadable hands out what there is; partial: a part of it may be parsed.
func (c *Conn) unreadable(partial bool) {
	if partial {
		parse(c.head, &c.cur)
	}
	c.cur.Unreadable, c.cur.End = true, c.seq
	c.emit()
	c.state = stateLost
}

// tooLong reads what there is of a head that is too long. If a token is in it
// the mode is known nevertheless; it begins again with what was just added, so
// that skipHead finds the end.
func (c *Conn) tooLong(data []byte) []byte {
	c.cur.Truncated = true
	parse(c.head[:maxHead], &c.cur)
	c.cur.Unreadable, c.cur.End = c.cur.TokenHeader == "", c.seq
	before := len(c.head) - len(data)
	tail := bytes.Clone(c.head[max(0, before-3):before])
	c.emit()
	c.state, c.line = stateOverlong, tail
	return data
}

// skipHead drops bytes up to the end of a head. c.line has the last bytes
// before data.
func (c *Conn) skipHead(data []byte) []byte {
	had := len(c.line)
	joined := slices.Concat(c.line, data)
	end := endOfHead(joined, had)
	if end < 0 {
		c.line = bytes.Clone(joined[max(0, len(joined)-3):])
		return nil
	}
	c.line = nil
	c.state = stateHead
	return data[end-had:]
}
