package ec2

import (
	"fmt"
	"net/http"
	"strconv"

	"openimds/internal/dialect"
)

// Refusals have statuses from firstError to lastError.
const (
	firstError = 400
	lastError  = 599
)

// refusal is an answer whose bytes are known beforehand but for its date.
type refusal struct {
	line string // status line
	kind string // Content-Type, with its line end
	body string
}

// newRefusal returns the refusal of a status: a page where the vendor has one,
// or nothing (EC2-ERR-01 to EC2-ERR-06).
func newRefusal(status int) refusal {
	switch status {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound:
		reason := reasonOf(status)
		return refusal{
			line: statusLine(status, reason),
			kind: "Content-Type: text/html\r\n",
			body: page(status, reason),
		}
	}
	return emptyRefusal(status)
}

func emptyRefusal(status int) refusal {
	return refusal{line: statusLine(status, reasonOf(status)), kind: textType}
}

func statusLine(status int, reason string) string {
	return fmt.Sprintf("HTTP/1.1 %d %s\r\n", status, reason)
}

// reasonOf is the reason phrase of a status; 405 has one of its own
// (EC2-ERR-05).
func reasonOf(status int) string {
	if status == http.StatusMethodNotAllowed {
		return "Not Allowed"
	}
	if reason := http.StatusText(status); reason != "" {
		return reason
	}
	return "Error"
}

// page is the body of an error, byte for byte: two tabs and a blank begin its
// third line, a line end ends it (EC2-ERR-01).
func page(status int, reason string) string {
	return fmt.Sprintf(`<?xml version="1.0" encoding="iso-8859-1"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN"
`+"\t\t"+` "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">
 <head>
  <title>%[1]d - %[2]s</title>
 </head>
 <body>
  <h1>%[1]d - %[2]s</h1>
 </body>
</html>
`, status, reason)
}

// refuse appends a refusal.
func refuse(dst []byte, r *dialect.Reply, f *refusal) []byte {
	dst = append(dst, f.line...)
	if r.Outcome == dialect.Absent {
		dst = ttl(dst, r) // EC2-HDR-04
	}
	if r.Allow != "" {
		dst = append(append(append(dst, "Allow: "...), r.Allow...), "\r\n"...)
	}
	if r.Outcome == dialect.Throttled {
		dst = strconv.AppendInt(append(dst, "Retry-After: "...), int64(max(r.RetryAfter, 1)), 10)
		dst = append(dst, "\r\n"...)
	}
	// An empty answer has its type last, a page has it first.
	if f.body != "" {
		dst = append(dst, f.kind...)
	}
	dst = append(date(length(dst, len(f.body)), r), server...)
	dst = connection(dst, r)
	if f.body == "" {
		dst = append(dst, f.kind...)
	}
	dst = append(dst, "\r\n"...)
	if r.Head {
		return dst
	}
	return append(dst, f.body...)
}
