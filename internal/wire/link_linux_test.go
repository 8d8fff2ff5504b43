package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// hops answers a PUT with a hop limit of 3.
func hops(x *Exchange) {
	echo(x)
	if x.Request.Method == PUT {
		x.HopLimit = 3
	}
}

// recorder is a listener that shows what it accepted.
type recorder struct {
	net.Listener
	accepted chan syscall.Conn
}

func (r *recorder) Accept() (net.Conn, error) {
	nc, err := r.Listener.Accept()
	if err == nil {
		r.accepted <- nc.(syscall.Conn)
	}
	return nc, err
}

// SEC-60: an answer's hop limit is set on the socket when it is sent, stays
// for what is sent again, and is gone when the next answer is sent.
func TestHopLimit(t *testing.T) {
	for _, tt := range []struct {
		name          string
		listen        func(t *testing.T) net.Listener
		dial          string
		level, option int
	}{
		{"IPv4", listen, "127.0.0.1", syscall.IPPROTO_IP, syscall.IP_TTL},
		{"IPv6", listen6, "::1", syscall.IPPROTO_IPV6, syscall.IPV6_UNICAST_HOPS},
		{"IPv4 on a socket of IPv6", listenMapped, "127.0.0.1", syscall.IPPROTO_IP, syscall.IP_TTL},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ln := tt.listen(t)
			r := &recorder{ln, make(chan syscall.Conn, 1)}
			serveOn(t, r, Config{Handler: &fake{serve: hops}})
			_, port, _ := net.SplitHostPort(ln.Addr().String())
			c := dial(t, net.JoinHostPort(tt.dial, port))
			var server syscall.Conn
			limit := func() int { return sockopt(t, server, tt.level, tt.option) }
			c.send(get())
			c.want("200 latest/meta-data")
			server = <-r.accepted
			system := limit()
			if system == 3 {
				t.Fatal("3 is the system's own limit; the test shows nothing")
			}
			for range 2 {
				for range 2 {
					c.send(token + "\r\n")
					c.want("200 latest/api/token")
					if got := limit(); got != 3 {
						t.Errorf("hop limit %d behind the token, want 3", got)
					}
				}
				for range 2 {
					c.send(get())
					c.want("200 latest/meta-data")
					if got := limit(); got != system {
						t.Errorf("hop limit %d behind data, want %d", got, system)
					}
				}
			}
		})
	}
}

// A token that may not travel as far as the packets would is not sent.
func TestHopLimitThatCannotBeSet(t *testing.T) {
	_, addr := start(t, Config{Handler: &fake{serve: func(x *Exchange) { echo(x); x.HopLimit = 256 }}})
	c := dial(t, addr)
	c.send(get())
	c.wantClosed()
}

// packet is a packet of IPv4 and TCP.
type packet struct {
	ttl     byte
	payload int
	fin     bool
}

// capture returns a function that reads the next packet that port sends over
// loopback and that is more than an acknowledgement.
func capture(t *testing.T, port int) func() packet {
	t.Helper()
	const ipv4 = 0x0008 // ETH_P_IP in network order, on little-endian machines
	fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, ipv4)
	if errors.Is(err, syscall.EPERM) {
		t.Skip("packets can be seen by root only")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Sec: 1}); err != nil {
		t.Fatal(err)
	}
	return func() packet {
		t.Helper()
		b := make([]byte, 64<<10)
		for end := time.Now().Add(patience); time.Now().Before(end); {
			n, from, err := syscall.Recvfrom(fd, b, 0)
			if err != nil {
				continue
			}
			// Over loopback every packet is seen twice, sent and received.
			if link, ok := from.(*syscall.SockaddrLinklayer); !ok || link.Pkttype == syscall.PACKET_OUTGOING || n < 40 || b[9] != syscall.IPPROTO_TCP {
				continue
			}
			tcp := b[int(b[0]&15)*4 : n]
			const fin, syn = 1, 2
			p := packet{ttl: b[8], payload: len(tcp) - int(tcp[12]>>4)*4, fin: tcp[13]&fin != 0}
			if int(binary.BigEndian.Uint16(tcp)) == port && tcp[13]&syn == 0 && (p.payload > 0 || p.fin) {
				return p
			}
		}
		t.Fatal("no packet")
		return packet{}
	}
}

// SEC-60, on the wire; and an answer that closes the connection is one packet.
func TestPackets(t *testing.T) {
	ln := listen(t)
	port := ln.Addr().(*net.TCPAddr).Port
	next := capture(t, port)
	serveOn(t, ln, Config{Handler: &fake{serve: hops}})
	c := dial(t, ln.Addr().String())
	want := func(message string, limited, fin bool) {
		t.Helper()
		c.send(message)
		c.answer()
		if p := next(); (p.ttl == 3) != limited || p.fin != fin || p.payload == 0 {
			t.Errorf("the answer to %.20q came in %+v", message, p)
		}
	}
	want(token+"\r\n", true, false)
	want(get(), false, false)
	for range 3 { // memory of one connection is used for the next
		want(token+"Connection: close\r\n\r\n", true, true)
		c.Close()
		c = dial(t, ln.Addr().String())
	}
	want(get("Connection: close"), false, true)
	c.Close()
	c = dial(t, ln.Addr().String())
	want("GET /\r\n", false, true) // and the connection lingers
}

func TestListenOptions(t *testing.T) {
	ln := listen(t)
	r := &recorder{ln, make(chan syscall.Conn, 1)}
	serveOn(t, r, Config{Handler: &fake{}})
	c := dial(t, ln.Addr().String())
	c.send(get())
	c.want("200 latest/meta-data")
	accepted := <-r.accepted
	for _, tt := range []struct {
		name          string
		socket        syscall.Conn
		level, option int
		ok            func(v int) bool
	}{
		{"deferred accept", ln.(syscall.Conn), syscall.IPPROTO_TCP, syscall.TCP_DEFER_ACCEPT, func(v int) bool { return v > 0 }},
		{"plain TCP", ln.(syscall.Conn), syscall.SOL_SOCKET, syscall.SO_PROTOCOL, func(v int) bool { return v == syscall.IPPROTO_TCP }},
		{"no delay", accepted, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, func(v int) bool { return v != 0 }},
		{"no keep-alive probes", accepted, syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, func(v int) bool { return v == 0 }},
	} {
		if v := sockopt(t, tt.socket, tt.level, tt.option); !tt.ok(v) {
			t.Errorf("%s: the option is %d", tt.name, v)
		}
	}
}

// SEC-66: one caller, whatever the family of the listener.
func TestMappedPeer(t *testing.T) { checkEnds(t, listenMapped(t)) }

func listen6(t *testing.T) net.Listener {
	t.Helper()
	ln, err := Listen(context.Background(), "tcp6", "[::1]:0")
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	return ln
}

func sockopt(t *testing.T, s syscall.Conn, level, option int) (v int) {
	t.Helper()
	raw, err := s.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if e := raw.Control(func(fd uintptr) { v, err = syscall.GetsockoptInt(int(fd), level, option) }); e != nil {
		t.Fatal(e)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// listenMapped opens a listener of IPv6 that IPv4 connects to. Unlike one for
// all addresses it can be reached over loopback alone.
func listenMapped(t *testing.T) net.Listener {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET6, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, syscall.IPV6_V6ONLY, 0); err != nil {
		t.Fatal(err)
	}
	a := &syscall.SockaddrInet6{}
	copy(a.Addr[:], net.IPv4(127, 0, 0, 1).To16())
	if err := syscall.Bind(fd, a); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 8); err != nil {
		t.Fatal(err)
	}
	ln, err := net.FileListener(f)
	if err != nil {
		t.Fatal(err)
	}
	return ln
}
