package node

import (
	"sync/atomic"
	"time"
)

// httpDate is the form of dates in headers (RFC 9110 §5.6.7).
const httpDate = "Mon, 02 Jan 2006 15:04:05 GMT"

// clock keeps the current second as a header shows it.
type clock struct{ current atomic.Pointer[second] }

type second struct {
	unix int64
	text [len(httpDate)]byte
}

// date returns now as a header shows it. The result is never changed.
func (c *clock) date(now time.Time) []byte {
	unix := now.Unix()
	s := c.current.Load()
	if s == nil || s.unix != unix {
		s = &second{unix: unix}
		now.UTC().AppendFormat(s.text[:0], httpDate)
		c.current.Store(s)
	}
	return s.text[:]
}
