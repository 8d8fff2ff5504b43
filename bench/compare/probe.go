//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"time"
)

// head returns the headers of the test's requests to s.
func (t test) head(s *server) []string {
	h := append([]string{"Host: " + t.dialect.host, "User-Agent: bench", "Accept: */*"}, t.headers...)
	if t.token {
		h = append(h, t.dialect.token+s.tokens[t.dialect])
	}
	return h
}

// text returns the test's request to s as it is sent.
func (t test) text(s *server) string {
	return t.method + " " + t.path + " HTTP/1.1\r\n" + strings.Join(t.head(s), "\r\n") + "\r\n\r\n"
}

// reply is an answer.
type reply struct {
	status int
	body   string
	size   int
	closed bool // the server has closed the connection after it
}

// ask sends a request on a connection of its own.
func ask(address, text string) (reply, error) {
	c, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return reply{}, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return reply{}, err
	}
	if _, err := io.WriteString(c, text); err != nil {
		return reply{}, err
	}
	count := &counter{r: c}
	r := bufio.NewReader(count)
	answer, err := http.ReadResponse(r, nil)
	if err != nil {
		return reply{}, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return reply{}, err
	}
	p := reply{status: answer.StatusCode, body: string(body), size: count.n}
	if err := c.SetReadDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
		return reply{}, err
	}
	_, err = r.ReadByte()
	p.closed = errors.Is(err, io.EOF)
	return p, nil
}

type counter struct {
	r io.Reader
	n int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// from makes 127.0.0.1 be called from the address source. Only connections
// made after it are concerned.
func from(source string) error {
	if source == "" {
		source = "127.0.0.1"
	}
	out, err := exec.Command("ip", "route", "replace", "local", "127.0.0.1", "dev", "lo", "src", source, "table", "local").CombinedOutput()
	if err != nil {
		return fmt.Errorf("set the source address: %w: %s", err, out)
	}
	return nil
}

// probe sees that s answers t as it should, and returns the answer's size.
func (b *bench) probe(t test, s *server) (int, error) {
	if err := from(t.source); err != nil {
		return 0, err
	}
	var p reply
	for range 3 { // the throttle lets the first one or two through
		var err error
		if p, err = ask(s.address(t.dialect, t.fresh), t.text(s)); err != nil {
			return 0, err
		}
		if p.status == t.status {
			break
		}
	}
	switch {
	case p.status != t.status:
		return 0, fmt.Errorf("the answer has the status %d, want %d: %s", p.status, t.status, p.body)
	case t.body != "" && p.body != t.body:
		return 0, fmt.Errorf("the answer is %q, want %q", p.body, t.body)
	case p.closed != t.fresh:
		return 0, fmt.Errorf("the connection was closed: %t, want %t", p.closed, t.fresh)
	}
	return p.size, nil
}

// fetchToken gives openimds a token of its own.
func (s *server) fetchToken(d *dialect) error {
	put := test{dialect: d, method: "PUT", path: tokenPath, headers: []string{"Connection: close", d.ttl + tokenTTL}}
	p, err := ask(s.address(d, true), put.text(s))
	if err != nil {
		return fmt.Errorf("fetch a token of %s: %w", s.name, err)
	}
	if p.status != http.StatusOK {
		return fmt.Errorf("fetch a token of %s: the answer has the status %d", s.name, p.status)
	}
	s.tokens[d] = p.body
	return nil
}

// fetchTokens gives every server a token of each dialect: openimds its own,
// others one that is as long.
func (b *bench) fetchTokens() error {
	if err := from(""); err != nil {
		return err
	}
	for _, d := range dialects {
		for _, name := range []string{openimds, throttled} {
			if err := b.servers[name].fetchToken(d); err != nil {
				return err
			}
		}
		for _, s := range b.servers {
			if s.tokens[d] == "" {
				s.tokens[d] = b.servers[openimds].tokens[d]
			}
		}
	}
	return nil
}
