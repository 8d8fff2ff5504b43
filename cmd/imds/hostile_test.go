package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// dial connects as the instance with the given loopback address.
func dial(t *testing.T, from, to string) (net.Conn, error) {
	t.Helper()
	d := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	return d.DialContext(t.Context(), "tcp", to)
}

// SEC-28: ten thousand connections of one instance, none of which finishes its
// request, end by themselves and are nothing to its neighbour.
func TestConnectionFlood(t *testing.T) {
	p := startDev(t)
	var open []net.Conn
	defer func() {
		for _, c := range open {
			_ = c.Close()
		}
	}()
	neighbour := func() {
		t.Helper()
		if status, _ := get(t, "127.0.0.2", "PUT", "http://"+p.addr["ec2"]+"/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", "60"); status != 200 {
			t.Fatalf("the neighbour gets %d", status)
		}
	}
	for i := range 10_000 {
		c, err := dial(t, "127.0.0.1", p.addr["ec2"])
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		if _, err := io.WriteString(c, "GET /latest/meta-data/ HTTP/1.1\r\nHost:"); err != nil {
			_ = c.Close()
			continue
		}
		if open = append(open, c); len(open) > 600 {
			_ = open[0].Close() // the flood goes on, the test's own files are limited
			open = open[1:]
		}
		if i%1000 == 0 {
			neighbour()
		}
	}
	neighbour()
	_, metrics := get(t, "127.0.0.2", "GET", "http://"+p.addr["control"]+"/metrics")
	if !strings.Contains(metrics, `openimds_connections_refused_total{reason="instance"} `) || strings.Contains(metrics, `openimds_connections_refused_total{reason="instance"} 0`) {
		t.Error("no connection was refused over the instance's share")
	}
	for _, c := range open {
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("a request that never ends is still open (%d bytes, %v)", n, err)
		}
	}
	if status, _ := get(t, "127.0.0.1", "GET", "http://"+p.addr["ec2"]+"/"); status != 200 {
		t.Errorf("afterwards the instance itself gets %d", status)
	}
}

// SEC-64: a flood of token requests leaves nothing behind.
func TestTokenFlood(t *testing.T) {
	p := startDev(t)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	flood := func(n int) {
		c, err := dial(t, "127.0.0.1", p.addr["ec2"])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		r := bufio.NewReader(c)
		for range n {
			if _, err := io.WriteString(c, "PUT /latest/api/token HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: keep-alive\r\nX-aws-ec2-metadata-token-ttl-seconds: 21600\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(r, nil)
			if err != nil || res.StatusCode != 200 {
				t.Fatalf("%v, %v", res, err)
			}
			if _, err := io.Copy(io.Discard, res.Body); err != nil {
				t.Fatal(err)
			}
		}
	}
	flood(100)
	before := heap()
	flood(20_000)
	if after := heap(); after > before+1<<20 {
		t.Errorf("20,000 tokens left %d bytes", after-before)
	}
}

// SEC-67: unless they are named, listeners are on loopback.
func TestDefaultAddresses(t *testing.T) {
	f := newDev().Flags()
	for _, name := range []string{"ecs", "ec2", "control"} {
		at, err := netip.ParseAddrPort(f.Lookup(name).DefValue)
		if err != nil || !at.Addr().IsLoopback() {
			t.Errorf("--%s is %q by default", name, f.Lookup(name).DefValue)
		}
	}
}

// EC2-TOK-17: a token outlives the switch to required (see also
// TestTokensSurviveRestart). EC2-TOK-18: and is good over both families.
func TestTokenOverBothFamilies(t *testing.T) {
	dir := t.TempDir()
	text := strings.Replace(oneInstance, "sources: [127.0.0.1]", "sources: [127.0.0.1, '::1']", 1)
	writeFile(t, dir+"/i.yaml", strings.Replace(text, "NAME", "m7g.large", 1))
	v4 := startDev(t, "--instances", dir+"/i.yaml", "--state", dir+"/state")
	_, tok := get(t, "127.0.0.1", "PUT", "http://"+v4.addr["ec2"]+"/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", "60")
	writeFile(t, dir+"/i.yaml", strings.Replace(text, "type: NAME", "type: m7g.large\n    metadata: {httpTokens: required}", 1))
	url := "http://" + v4.addr["ec2"] + "/latest/meta-data/"
	waitFor(t, "tokens were required", func() bool {
		status, _ := get(t, "127.0.0.1", "GET", url)
		return status == 401
	})
	if status, _ := get(t, "127.0.0.1", "GET", url, "X-aws-ec2-metadata-token", tok); status != 200 {
		t.Errorf("after the switch the token gets %d", status)
	}
	if code := v4.end(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	v6 := startDev(t, "--instances", dir+"/i.yaml", "--state", dir+"/state", "--ec2", "[::1]:0")
	if status, _ := get(t, "::1", "GET", "http://"+v6.addr["ec2"]+"/latest/meta-data/", "X-aws-ec2-metadata-token", tok); status != 200 {
		t.Errorf("over IPv6 the token gets %d", status)
	}
	if status, _ := get(t, "::1", "GET", "http://"+v6.addr["ec2"]+"/latest/meta-data/"); status != 401 { // SEC-66
		t.Errorf("over IPv6 without a token: %d", status)
	}
}
