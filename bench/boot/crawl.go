//go:build linux

package main

import (
	"bufio"
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// crawlText is what cloud-init 22.4.2 (Debian 12) asked for when its data
// source Ec2 read the instance that all guests here are like, in its order: a
// method and a path in each line.
//
//go:embed crawl.txt
var crawlText string

// ask is one request of a crawl, and the answer that all servers give.
type ask struct {
	method, path string
	status       int
	body         []byte
}

func crawl() []ask {
	var all []ask
	for line := range strings.Lines(crawlText) {
		method, path, _ := strings.Cut(strings.TrimSpace(line), " ")
		all = append(all, ask{method: method, path: path, status: http.StatusOK})
	}
	return all
}

// text is a request as cloud-init's HTTP library sends it: on a connection of
// its own, which it would keep, and then closes.
func (a *ask) text(token string) []byte {
	header := "X-aws-ec2-metadata-token: " + token
	if a.method == http.MethodPut {
		header = "X-aws-ec2-metadata-token-ttl-seconds: 21600"
	}
	return []byte(a.method + " " + a.path + " HTTP/1.1\r\nHost: 169.254.169.254\r\nUser-Agent: Cloud-Init/22.4.2\r\n" +
		"Accept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\n" + header + "\r\n\r\n")
}

// boot is one guest's crawl. Its first answer is the token of the others.
func boot(from netip.Addr, to string, asks []ask, keep bool) error {
	d := net.Dialer{Timeout: 30 * time.Second, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	token := ""
	var buf bytes.Buffer
	r := bufio.NewReader(nil)
	for i := range asks {
		a := &asks[i]
		buf.Reset()
		status, err := exchange(&d, to, a.text(token), r, &buf)
		if err != nil {
			return fmt.Errorf("%s %s: %w", a.method, a.path, err)
		}
		if status != a.status {
			return fmt.Errorf("%s %s: the answer has the status %d, want %d", a.method, a.path, status, a.status)
		}
		if a.method == http.MethodPut {
			token = buf.String()
		}
		if keep {
			a.body = bytes.Clone(buf.Bytes())
		}
	}
	return nil
}

// exchange sends a request on a new connection and reads the answer's body.
func exchange(d *net.Dialer, to string, request []byte, r *bufio.Reader, body *bytes.Buffer) (status int, err error) {
	c, err := d.Dial("tcp", to)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return 0, err
	}
	if _, err := c.Write(request); err != nil {
		return 0, err
	}
	r.Reset(c)
	length := int64(-1)
	for n := 0; ; n++ {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if n == 0 {
			_, err = fmt.Sscanf(string(line), "HTTP/1.1 %d", &status)
		} else if value, ok := cutHeader(line, "Content-Length:"); ok {
			_, err = fmt.Sscanf(value, "%d", &length)
		}
		if err != nil {
			return 0, fmt.Errorf("%q is no answer: %w", line, err)
		}
		if len(bytes.TrimSpace(line)) == 0 {
			break
		}
	}
	if length < 0 {
		return 0, errors.New("the answer does not tell its length")
	}
	_, err = io.CopyN(body, r, length)
	return status, err
}

func cutHeader(line []byte, name string) (string, bool) {
	if len(line) < len(name) || !strings.EqualFold(string(line[:len(name)]), name) {
		return "", false
	}
	return strings.TrimSpace(string(line[len(name):])), true
}
