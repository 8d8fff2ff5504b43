package stream

import (
	"bytes"
	"strconv"
)

// maxLine is how long a line of the chunked framing may be.
const maxLine = 256

// skipBody counts bytes of a body, or of a chunk.
func (c *Conn) skipBody(n uint64) {
	c.body -= n
	if c.body > 0 {
		return
	}
	c.state = stateHead
	if c.line != nil {
		c.line, c.state = c.line[:0], stateChunkEnd
	}
}

// readChunkLine reads a line of the chunked framing: a size, the empty line
// after a chunk, or a trailer.
func (c *Conn) readChunkLine(data []byte) []byte {
	if c.line == nil {
		c.line = []byte{}
	}
	end := bytes.IndexByte(data, '\n')
	if end < 0 {
		end = len(data) - 1
		c.line = append(c.line, data...)
		if len(c.line) > maxLine {
			c.line, c.state = nil, stateLost
		}
		return data[end+1:]
	}
	line := bytes.TrimSuffix(append(c.line, data[:end]...), []byte("\r"))
	c.line = []byte{}
	rest := data[end+1:]
	switch c.state {
	case stateChunk:
		size, _, _ := bytes.Cut(line, []byte(";"))
		n, err := strconv.ParseUint(string(bytes.TrimSpace(size)), 16, 62)
		switch {
		case err != nil:
			c.line, c.state = nil, stateLost
		case n == 0:
			c.state = stateTrailer
		default:
			c.body, c.state = n, stateBody
		}
	case stateChunkEnd:
		c.state = stateChunk
		if len(line) > 0 {
			c.line, c.state = nil, stateLost
		}
	default: // a trailer
		if len(line) == 0 {
			c.line, c.state = nil, stateHead
		}
	}
	return rest
}
