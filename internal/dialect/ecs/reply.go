package ecs

import (
	"fmt"
	"net/http"
	"strconv"

	"openimds/internal/dialect"
)

// Heads of a 200 up to the value of Content-Length. Neither Server nor
// Last-Modified is sent (ECS-FMT-04).
const (
	textHead   = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: "
	binaryHead = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: "
)

// emptyNotFound is the head of the answer to an unknown caller: it must not
// learn what answers here (ECS-ERR-06).
const emptyNotFound = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n"

// Refusals have statuses from firstError to lastError.
const (
	firstError = 400
	lastError  = 599
)

// page is a refusal whose bytes are known beforehand.
type page struct {
	head string // status line and constant headers, each with its line end
	body string
}

// writer holds what answers are put together from. It is immutable.
type writer struct {
	pages [lastError - firstError + 1]page
}

func newWriter() *writer {
	w := new(writer)
	for i := range w.pages {
		w.pages[i] = newPage(firstError + i)
	}
	return w
}

// newPage returns the refusal of a status: a page whose title is the status
// and its reason (ECS-ERR-01). The vendor calls 400 by a name of its own.
func newPage(status int) page {
	reason := http.StatusText(status)
	if reason == "" {
		return page{head: fmt.Sprintf("HTTP/1.1 %d Error\r\nContent-Length: 0\r\n", status)}
	}
	title := reason
	if status == http.StatusBadRequest {
		title = "Missing or Invalid Parameters" // ECS-ERR-02
	}
	body := fmt.Sprintf(`<?xml version="1.0" encoding="iso-8859-1"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">
<head><title>%[1]d - %[2]s</title></head>
<body><h1>%[1]d - %[2]s</h1></body>
</html>
`, status, title)
	head := fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: text/html\r\nContent-Length: %d\r\n", status, reason, len(body))
	return page{head, body}
}

// append appends the whole answer. It is the dialect's Append.
func (w *writer) append(dst []byte, r *dialect.Reply) []byte {
	if r.Outcome == dialect.UnknownCaller {
		return append(ending(append(dst, emptyNotFound...), r), "\r\n"...)
	}
	if r.Status < firstError || r.Status > lastError {
		return value(dst, r)
	}
	p := &w.pages[r.Status-firstError]
	dst = append(dst, p.head...)
	if r.Allow != "" {
		dst = append(append(append(dst, "Allow: "...), r.Allow...), "\r\n"...)
	}
	if r.Outcome == dialect.Throttled {
		dst = append(dst, "Retry-After: "...)
		dst = strconv.AppendInt(dst, int64(max(r.RetryAfter, 1)), 10)
		dst = append(dst, "\r\n"...)
	}
	dst = append(ending(dst, r), "\r\n"...)
	if r.Head {
		return dst
	}
	return append(dst, p.body...)
}

// value appends the answer to a request that is served.
func value(dst []byte, r *dialect.Reply) []byte {
	if r.Content == dialect.Binary {
		dst = append(dst, binaryHead...)
	} else {
		dst = append(dst, textHead...)
	}
	dst = strconv.AppendInt(dst, int64(len(r.Body)), 10)
	dst = append(dst, "\r\n"...)
	dst = append(ending(dst, r), "\r\n"...)
	if r.Head {
		return dst
	}
	return append(dst, r.Body...)
}

// ending appends the headers that every answer ends with.
func ending(dst []byte, r *dialect.Reply) []byte {
	if len(r.Date) > 0 {
		dst = append(append(append(dst, "Date: "...), r.Date...), "\r\n"...)
	}
	switch {
	case r.Close:
		dst = append(dst, "Connection: close\r\n"...)
	case r.KeepAlive:
		dst = append(dst, "Connection: keep-alive\r\n"...)
	}
	return dst
}
