package ec2

import (
	"net/http"
	"strconv"

	"openimds/internal/dialect"
)

// Constant parts of answers. The order of headers is the vendor's, and differs
// between values (EC2-HDR-02), error pages (EC2-ERR-01) and what the token
// service says (EC2-HDR-03).
const (
	okLine        = "HTTP/1.1 200 OK\r\n"
	ttlHeader     = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds: "
	textHeaders   = "Content-Type: text/plain\r\nAccept-Ranges: none\r\n"
	binaryHeaders = "Content-Type: application/octet-stream\r\nAccept-Ranges: none\r\n"
	textType      = "Content-Type: text/plain\r\n"
	server        = "Server: EC2ws\r\n"

	// The answer to an unknown caller, who must not learn what answers here
	// (EC2-ERR-07).
	emptyNotFound = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n"
)

// writer holds what answers are put together from. It is immutable.
type writer struct {
	refusals [lastError - firstError + 1]refusal
	// inexact is the refusal of an inexact token path.
	inexact refusal
}

func newWriter() *writer {
	w := &writer{inexact: emptyRefusal(http.StatusForbidden)}
	for i := range w.refusals {
		w.refusals[i] = newRefusal(firstError + i)
	}
	return w
}

// append appends the whole answer. It is the dialect's Append.
func (w *writer) append(dst []byte, r *dialect.Reply) []byte {
	switch {
	case r.Outcome == dialect.UnknownCaller:
		dst = append(dst, emptyNotFound...)
		return append(connection(date(dst, r), r), "\r\n"...)
	case r.Outcome == dialect.Minted:
		return minted(dst, r)
	case r.Outcome == dialect.TokenPathRefused:
		return refuse(dst, r, &w.inexact)
	case r.Status >= firstError && r.Status <= lastError:
		return refuse(dst, r, &w.refusals[r.Status-firstError])
	}
	return value(dst, r)
}

// value appends the answer to a request that is served.
func value(dst []byte, r *dialect.Reply) []byte {
	dst = ttl(append(dst, okLine...), r)
	if r.Content == dialect.Binary {
		dst = append(dst, binaryHeaders...)
	} else {
		dst = append(dst, textHeaders...)
	}
	if len(r.Modified) > 0 {
		dst = append(append(append(dst, "Last-Modified: "...), r.Modified...), "\r\n"...)
	}
	dst = append(date(length(dst, len(r.Body)), r), server...)
	dst = append(connection(dst, r), "\r\n"...)
	if r.Head {
		return dst
	}
	return append(dst, r.Body...)
}

// minted appends the answer that carries a new token.
func minted(dst []byte, r *dialect.Reply) []byte {
	dst = ttl(append(dst, okLine...), r)
	dst = append(date(length(dst, len(r.Body)), r), server...)
	dst = append(connection(dst, r), textType...)
	return append(append(dst, "\r\n"...), r.Body...)
}

// ttl tells the remaining life of a token, if there is one.
func ttl(dst []byte, r *dialect.Reply) []byte {
	if r.TokenTTL < 0 {
		return dst
	}
	dst = strconv.AppendInt(append(dst, ttlHeader...), int64(r.TokenTTL), 10)
	return append(dst, "\r\n"...)
}

func length(dst []byte, n int) []byte {
	dst = strconv.AppendInt(append(dst, "Content-Length: "...), int64(n), 10)
	return append(dst, "\r\n"...)
}

func date(dst []byte, r *dialect.Reply) []byte {
	if len(r.Date) == 0 {
		return dst
	}
	return append(append(append(dst, "Date: "...), r.Date...), "\r\n"...)
}

// connection says that the connection is about to be closed, and nothing when
// it stays open (EC2-HDR-05).
func connection(dst []byte, r *dialect.Reply) []byte {
	if !r.Close {
		return dst
	}
	return append(dst, "Connection: close\r\n"...)
}
