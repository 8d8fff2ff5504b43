package testnet

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// answer is one HTTP/1.x answer, read strictly: a server that ends a line with
// a bare LF, or announces its body twice, is wrong.
type answer struct {
	status string // "200 OK"
	header []field
	body   []byte
	raw    bytes.Buffer // all of it, for messages
	// last tells that the connection ends with this answer.
	last bool
}

type field struct{ name, value string }

// values returns the values of header name, in order.
func (a *answer) values(name string) (all []string) {
	for _, f := range a.header {
		if strings.EqualFold(f.name, name) {
			all = append(all, f.value)
		}
	}
	return all
}

// errNothing is the end of the connection before the first byte of an answer.
var errNothing = errors.New("the server closed the connection without an answer")

// readAnswer reads the answer to a request with the given method. What was
// read before an error is in the answer's raw bytes.
func readAnswer(r *bufio.Reader, method string) (*answer, error) {
	a := new(answer)
	if _, err := r.Peek(1); err != nil {
		if isEnd(err) {
			err = fmt.Errorf("%w (%w)", errNothing, err)
		}
		return a, err
	}
	line, err := a.line(r)
	if err != nil {
		return a, fmt.Errorf("read the status line: %w", err)
	}
	version, status, ok := strings.Cut(line, " ")
	if !ok || !strings.HasPrefix(version, "HTTP/1.") || !statusLine.MatchString(status) {
		return a, fmt.Errorf("%q is no status line", line)
	}
	a.status = status
	for {
		line, err := a.line(r)
		if err != nil {
			return a, fmt.Errorf("read the header: %w", err)
		}
		if line == "" {
			break
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !headerName.MatchString(name) {
			return a, fmt.Errorf("%q is no header line", line)
		}
		a.header = append(a.header, field{name, strings.Trim(value, " \t")})
	}
	options := strings.ToLower(strings.Join(a.values("Connection"), ","))
	a.last = strings.Contains(options, "close") ||
		version == "HTTP/1.0" && !strings.Contains(options, "keep-alive")
	return a, a.readBody(r, method)
}

func (a *answer) readBody(r *bufio.Reader, method string) error {
	if len(a.values("Transfer-Encoding")) > 0 {
		return errors.New("the answer has a transfer encoding, which this service never uses")
	}
	lengths := a.values("Content-Length")
	if method == "HEAD" || strings.HasPrefix(a.status, "204") || strings.HasPrefix(a.status, "304") {
		return nil
	}
	var err error
	switch len(lengths) {
	case 0:
		a.last = true
		a.body, err = io.ReadAll(r)
	case 1:
		n, e := strconv.ParseUint(lengths[0], 10, 31)
		if e != nil {
			return fmt.Errorf("%q is no content length", lengths[0])
		}
		a.body = make([]byte, n)
		var got int
		got, err = io.ReadFull(r, a.body)
		a.body = a.body[:got]
	default:
		return fmt.Errorf("%d content lengths", len(lengths))
	}
	a.raw.Write(a.body)
	if err != nil {
		return fmt.Errorf("read the body, of which %d bytes came: %w", len(a.body), err)
	}
	return nil
}

func (a *answer) line(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	a.raw.WriteString(line)
	if err != nil {
		return "", err
	}
	line, ok := strings.CutSuffix(line, "\r\n")
	if !ok {
		return "", fmt.Errorf("%q ends with a bare line feed", line)
	}
	return line, nil
}
