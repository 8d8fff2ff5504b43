package node

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"openimds/internal/config"
	"openimds/internal/proxy"
	"openimds/internal/testnet"
	"openimds/internal/token"
)

// forward connects to a listener for forwarders and says for whom, with change
// applied to the header.
func forward(t *testing.T, to net.Addr, h proxy.Header, key []byte, change func([]byte) []byte) *client {
	t.Helper()
	c, err := net.DialTCP("tcp", nil, to.(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	var nonce [16]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		t.Fatal(err)
	}
	ends := proxy.Ends{Forwarder: c.LocalAddr().(*net.TCPAddr).AddrPort(), Server: c.RemoteAddr().(*net.TCPAddr).AddrPort()}
	header := proxy.Append(nil, h, key, ends, time.Now(), nonce)
	if change != nil {
		header = change(header)
	}
	half := len(header) / 2 // it need not come at once
	if _, err := c.Write(header[:half]); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Millisecond)
	if _, err := c.Write(header[half:]); err != nil {
		t.Fatal(err)
	}
	return newClient(c)
}

// SEC-O1, SEC-71: behind a listener for forwarders, the caller is who the forwarder
// says, and nobody without a header that proves itself.
func TestForwarders(t *testing.T) {
	s, err := token.NewSecrets(time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	n := New(Config{Ring: token.NewRing(s)})
	instances := config.Samples()
	blue := *instances[0]
	for _, in := range instances {
		if in.Dialect == "ec2" && !in.Metadata.TokensRequired() && !in.Metadata.EndpointDisabled() && len(in.Primary().IPv4) > 0 {
			blue = *in
			break
		}
	}
	red := blue
	red.ID, red.Network = "i-0000000000000000f", "red"
	if err := n.Set(append(instances, &red)); err != nil {
		t.Fatal(err)
	}
	key := bytes.Repeat([]byte{9}, 32)
	open := func(network string) net.Addr {
		e, err := n.Listen(t.Context(), Listener{Dialect: "ec2", Address: "127.0.0.1:0", ProxyKey: key, Network: network})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { _ = n.Serve(e); close(done) }()
		t.Cleanup(func() { _ = e.Close(); <-done })
		return e.Addr()
	}
	every, redOnly := open(""), open("red")
	header := func(network, from string) proxy.Header {
		return proxy.Header{Client: netip.AddrPortFrom(netip.MustParseAddr(from), 1234), Destination: netip.MustParseAddrPort("169.254.169.254:80"), Network: network}
	}
	for range 2 {
		forward(t, every, header("", "127.0.0.1"), key, nil).want(t, 200, blue.ID, whoAmI)
		forward(t, every, header("red", "127.0.0.1"), key, nil).want(t, 200, red.ID, whoAmI)
		forward(t, redOnly, header("", "127.0.0.1"), key, nil).want(t, 200, red.ID, whoAmI)
	}
	forward(t, every, header("", "203.0.113.9"), key, nil).want(t, 404, "", whoAmI)
	forward(t, every, header("green", "127.0.0.1"), key, nil).want(t, 404, "", whoAmI)
	var used []byte
	forward(t, every, header("", "127.0.0.1"), key, func(b []byte) []byte { used = bytes.Clone(b); return b }).want(t, 200, blue.ID, whoAmI)
	refused := 0
	for name, c := range map[string]*client{
		"another key":     forward(t, every, header("", "127.0.0.1"), bytes.Repeat([]byte{8}, 32), nil),
		"another client":  forward(t, every, header("", "127.0.0.2"), key, func(b []byte) []byte { b[19] = 1; return b }),
		"a used one":      forward(t, every, header("", "127.0.0.1"), key, func([]byte) []byte { return used }),
		"another network": forward(t, redOnly, header("default", "127.0.0.1"), key, nil),
		"none":            forward(t, every, header("", "127.0.0.1"), key, func([]byte) []byte { return []byte("GET /latest/meta-data/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n") }),
	} {
		refused++
		if _, err := io.WriteString(c, whoAmI+" HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n"); err != nil {
			continue
		}
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		if b, _ := io.ReadAll(c); len(b) > 0 {
			t.Errorf("%s: answered %q", name, b)
		}
	}
	if got := n.Stats().ForwardersRefused; got != uint64(refused) {
		t.Errorf("counted %d, want %d", got, refused)
	}
	for _, l := range []Listener{
		{Dialect: "ec2", Address: "127.0.0.1:0", ProxyKey: key[1:]}, {Dialect: "ec2", Address: "127.0.0.1:0", ProxyKey: key, Interface: "lo"},
	} {
		if e, err := n.Listen(t.Context(), l); err == nil {
			_ = e.Close()
			t.Errorf("%+v is opened", l.Address)
		}
	}
}

// The forwarder of docs/operate/network.md is understood.
func TestForwarderInPython(t *testing.T) {
	page, err := os.ReadFile("../../docs/operate/network.md")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(page), "```python\n")
	code, _, ok := strings.Cut(code, "```")
	if !ok {
		t.Fatal("the page has no Python")
	}
	python, err := exec.LookPath("python3")
	testnet.Need(t, "python3", err == nil)
	key := bytes.Repeat([]byte{9}, 32)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	code += "import socket, sys\ns = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n" +
		"s.sendall(header(s, ('10.0.0.5', 1234), ('169.254.169.254', 80), bytes([9]) * 32, b'blue'))\n"
	cmd := exec.Command(python, "-c", code, strconv.Itoa(ln.Addr().(*net.TCPAddr).Port))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	v, err := proxy.NewVerifier(key, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	ends := proxy.Ends{Forwarder: c.RemoteAddr().(*net.TCPAddr).AddrPort(), Server: c.LocalAddr().(*net.TCPAddr).AddrPort()}
	h, n, err := v.Read(b, ends)
	want := proxy.Header{Client: netip.MustParseAddrPort("10.0.0.5:1234"), Destination: netip.MustParseAddrPort("169.254.169.254:80"), Network: "blue"}
	if err != nil || n != len(b) || h != want {
		t.Errorf("read %+v, %d of %d, %v", h, n, len(b), err)
	}
}
