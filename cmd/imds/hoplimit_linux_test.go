package main

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"openimds/internal/testnet"
)

// listenPackets sees every packet on loopback, which needs a namespace of
// one's own.
func listenPackets(t *testing.T) int {
	t.Helper()
	testnet.RequireIsolated(t)
	all := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(all))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
		t.Fatal(err)
	}
	return fd
}

// hopsOf waits for the packet that a server sends with the given text in it,
// and returns its IP TTL or IPv6 hop limit.
func hopsOf(t *testing.T, fd int, server netip.AddrPort, text string) int {
	t.Helper()
	b := make([]byte, 64<<10)
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		n, _, err := unix.Recvfrom(fd, b, 0)
		if err != nil {
			t.Fatalf("no packet with %q: %v", text, err)
		}
		p := b[:n]
		switch {
		case len(p) > 40 && p[0]>>4 == 4:
			tcp := p[int(p[0]&15)*4:]
			if binary.BigEndian.Uint16(tcp) == server.Port() && strings.Contains(string(tcp), text) {
				return int(p[8])
			}
		case len(p) > 60 && p[0]>>4 == 6:
			if tcp := p[40:]; binary.BigEndian.Uint16(tcp) == server.Port() && strings.Contains(string(tcp), text) {
				return int(p[7])
			}
		}
	}
	t.Fatalf("no packet with %q", text)
	return 0
}

// EC2-HOP-01, EC2-HOP-02, SEC-60: the packets that carry a token have the
// instance's hop limit, on a reused connection too; others are not limited.
func TestHopLimit(t *testing.T) {
	dir := t.TempDir()
	text := strings.NewReplacer("sources: [127.0.0.1]", "sources: [127.0.0.1, '::1']", "type: NAME", "type: m7g.large\n    metadata: {httpPutResponseHopLimit: 7}").Replace(oneInstance)
	writeFile(t, dir+"/i.yaml", text)
	for _, listen := range []string{"127.0.0.1:0", "[::1]:0"} {
		fd := listenPackets(t)
		p := startDev(t, "--instances", dir+"/i.yaml", "--ec2", listen)
		server := netip.MustParseAddrPort(p.addr["ec2"])
		c, err := net.Dial("tcp", server.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		r := bufio.NewReader(c)
		ask := func(request string) string {
			t.Helper()
			if _, err := io.WriteString(c, request+" HTTP/1.1\r\nHost: "+server.String()+"\r\nConnection: keep-alive\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			res, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != 200 {
				t.Fatalf("%s: %s, %v", request, res.Status, err)
			}
			return string(body)
		}
		for round := range 3 {
			if got := hopsOf(t, fd, server, ask("GET /latest/meta-data/instance-id")); got != 64 {
				t.Errorf("%s, round %d: a read has hop limit %d, want 64", listen, round, got)
			}
			if got := hopsOf(t, fd, server, ask("PUT /latest/api/token")); got != 7 {
				t.Errorf("%s, round %d: a token has hop limit %d, want 7", listen, round, got)
			}
		}
	}
}
