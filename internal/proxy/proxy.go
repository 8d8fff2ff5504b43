// Package proxy reads and writes the header by which a forwarder tells for
// whom it connects, and proves that it may: version 2 of the PROXY protocol
// with an authentication of its own. It is for hosts where the data plane
// cannot stand on the instances' network itself.
//
// The header is that of the protocol's specification (HAProxy, The PROXY
// protocol, section 2.2) for TCP over IPv4 or IPv6, with the command PROXY, and
// two fields (TLVs) of the range that is left to applications:
//
//	type  length  value
//	0xE1  1–255   name of the instance's network; may be left out
//	0xE0  57      version (1), time (8), nonce (16), authenticator (32); the last field
//
// Time is in milliseconds since 1970, big endian. The authenticator is
// HMAC-SHA-256, with a key that both sides hold, over the text "openimds proxy
// 1" and a zero byte, the two ends of the forwarder's own connection (each 16
// bytes of address, IPv4 as mapped, and 2 of port; the forwarder's first), and
// all bytes of the header before the authenticator. So a header is good once,
// for half a minute, on one connection; and no field of it can be changed,
// added or left out.
package proxy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"net/netip"
	"sync"
	"time"
)

// Sizes in bytes.
const (
	// MaxHeader is the longest header that is read.
	MaxHeader = 1024
	// KeySize is the least that a key may have.
	KeySize = 32

	fixed     = 16 // before the addresses
	tlvHead   = 3
	nonceSize = 16
	macSize   = sha256.Size
	authSize  = 1 + 8 + nonceSize + macSize
)

const (
	typeAuth    = 0xE0
	typeNetwork = 0xE1
	version     = 1
	label       = "openimds proxy 1\x00"
	signature   = "\r\n\r\n\x00\r\nQUIT\n"
)

// Window is how far the forwarder's clock may be off, and how long a nonce is
// remembered.
const Window = 30 * time.Second

// Ends are the two ends of the forwarder's connection.
type Ends struct{ Forwarder, Server netip.AddrPort }

// Header is what a forwarder says.
type Header struct {
	// Client and Destination are the ends of the connection that is forwarded.
	Client, Destination netip.AddrPort
	// Network is the one of the client; empty: that of the listener.
	Network string
}

// Errors of Read.
var (
	// ErrMalformed: it is not such a header.
	ErrMalformed = errors.New("not a header of the PROXY protocol, version 2, for a TCP connection")
	// ErrUnsigned: it carries no authentication, or one that is not its last field.
	ErrUnsigned = errors.New("the header's last field is not its authentication")
	// ErrForged: it was not made with the key, or for another connection.
	ErrForged = errors.New("the header was made with another key, or for another connection")
	// ErrTime: its time is too far from ours.
	ErrTime = errors.New("the header's time is more than half a minute off")
	// ErrReplayed: it was used before.
	ErrReplayed = errors.New("the header was used before")
	// ErrBusy: more came in half a minute than can be remembered.
	ErrBusy = errors.New("too many headers in half a minute")
)

// parsed is a header whose authentication was not verified.
type parsed struct {
	Header
	signed []byte // what the authenticator is over
	time   time.Time
	nonce  [nonceSize]byte
	mac    []byte
}

// parse reads the header at the front of b and returns its length; 0 without
// an error: more is needed.
func parse(b []byte) (p parsed, n int, err error) {
	if len(b) < len(signature) {
		if signature[:len(b)] != string(b) {
			return p, 0, ErrMalformed
		}
		return p, 0, nil
	}
	if string(b[:len(signature)]) != signature {
		return p, 0, ErrMalformed
	}
	if len(b) < fixed {
		return p, 0, nil
	}
	const proxyCommand, tcp4, tcp6 = 0x21, 0x11, 0x21
	n = fixed + int(binary.BigEndian.Uint16(b[14:]))
	if b[12] != proxyCommand || b[13] != tcp4 && b[13] != tcp6 || n > MaxHeader {
		return p, 0, ErrMalformed
	}
	if len(b) < n {
		return p, 0, nil
	}
	size := 4
	if b[13] == tcp6 {
		size = 16
	}
	rest := b[fixed:n]
	if len(rest) < 2*size+4 {
		return p, 0, ErrMalformed
	}
	p.Client, p.Destination = end(rest[:size], rest[2*size:]), end(rest[size:2*size], rest[2*size+2:])
	return p, n, p.fields(b[:n], rest[2*size+4:])
}

// end is an address and the port at the front of what follows it.
func end(address, port []byte) netip.AddrPort {
	a, _ := netip.AddrFromSlice(address)
	return netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(port))
}

// fields reads the fields behind the addresses. Those of other types are
// passed over; they are authenticated with the rest.
func (p *parsed) fields(header, rest []byte) error {
	for len(rest) > 0 {
		if len(rest) < tlvHead {
			return ErrMalformed
		}
		kind, size := rest[0], int(binary.BigEndian.Uint16(rest[1:]))
		if len(rest) < tlvHead+size {
			return ErrMalformed
		}
		value := rest[tlvHead : tlvHead+size]
		rest = rest[tlvHead+size:]
		switch kind {
		case typeNetwork:
			if size == 0 || size > 255 || p.Network != "" {
				return ErrMalformed
			}
			p.Network = string(value)
		case typeAuth:
			if size != authSize || value[0] != version || len(rest) > 0 {
				return ErrUnsigned
			}
			p.time = time.UnixMilli(int64(binary.BigEndian.Uint64(value[1:])))
			copy(p.nonce[:], value[9:])
			p.mac = value[authSize-macSize:]
			p.signed = header[:len(header)-macSize]
			return nil
		}
	}
	return ErrUnsigned
}

// authenticator is that of a header, given all bytes before it.
func authenticator(key, header []byte, e Ends) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(label))
	for _, end := range []netip.AddrPort{e.Forwarder, e.Server} {
		a := end.Addr().As16()
		h.Write(a[:])
		h.Write(binary.BigEndian.AppendUint16(nil, end.Port()))
	}
	h.Write(header)
	return h.Sum(nil)
}

// Append appends the header of a connection.
func Append(dst []byte, h Header, key []byte, e Ends, now time.Time, nonce [nonceSize]byte) []byte {
	start := len(dst)
	dst = append(dst, signature...)
	client, destination := h.Client.Addr().Unmap(), h.Destination.Addr().Unmap()
	family := byte(0x11)
	if !client.Is4() || !destination.Is4() {
		family = 0x21
	}
	dst = append(dst, 0x21, family, 0, 0)
	for _, a := range []netip.Addr{client, destination} {
		if family == 0x11 {
			dst = append(dst, a.AsSlice()...)
		} else {
			whole := a.As16()
			dst = append(dst, whole[:]...)
		}
	}
	dst = binary.BigEndian.AppendUint16(dst, h.Client.Port())
	dst = binary.BigEndian.AppendUint16(dst, h.Destination.Port())
	if h.Network != "" {
		dst = append(dst, typeNetwork, 0, byte(len(h.Network)))
		dst = append(dst, h.Network...)
	}
	dst = append(dst, typeAuth, 0, authSize, version)
	dst = binary.BigEndian.AppendUint64(dst, uint64(now.UnixMilli()))
	dst = append(dst, nonce[:]...)
	binary.BigEndian.PutUint16(dst[start+14:], uint16(len(dst)+macSize-start-fixed))
	return append(dst, authenticator(key, dst[start:], e)...)
}

// most is how many nonces are remembered.
const most = 1 << 17

// Verifier holds a key, and knows the headers that were used. Its methods are
// safe for concurrent use.
type Verifier struct {
	key []byte
	now func() time.Time

	mu     sync.Mutex // guards the rest
	recent map[[nonceSize]byte]struct{}
	older  map[[nonceSize]byte]struct{}
	turned time.Time // when recent was begun
}

// NewVerifier returns a Verifier of a key of KeySize bytes or more.
func NewVerifier(key []byte, now func() time.Time) (*Verifier, error) {
	if len(key) < KeySize {
		return nil, errors.New("the key of a forwarder must have 32 bytes or more: make one with openssl rand -hex 32")
	}
	return &Verifier{key: key, now: now, recent: map[[nonceSize]byte]struct{}{}}, nil
}

// Read reads the header at the front of b and returns its length; 0 without an
// error: more is needed. No header is read twice.
func (v *Verifier) Read(b []byte, e Ends) (Header, int, error) {
	p, n, err := parse(b)
	if err != nil || n == 0 {
		return Header{}, 0, err
	}
	if !hmac.Equal(p.mac, authenticator(v.key, p.signed, e)) {
		return Header{}, 0, ErrForged
	}
	now := v.now()
	if off := now.Sub(p.time); off > Window || off < -Window {
		return Header{}, 0, ErrTime
	}
	if err := v.remember(p.nonce, now); err != nil {
		return Header{}, 0, err
	}
	return p.Header, n, nil
}

// remember notes a nonce, for twice the window at least: a header of the
// future is good for that long.
func (v *Verifier) remember(nonce [nonceSize]byte, now time.Time) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if now.Sub(v.turned) > 2*Window {
		v.older, v.recent, v.turned = v.recent, map[[nonceSize]byte]struct{}{}, now
	}
	_, before := v.recent[nonce]
	_, long := v.older[nonce]
	switch {
	case before || long:
		return ErrReplayed
	case len(v.recent) >= most:
		return ErrBusy
	}
	v.recent[nonce] = struct{}{}
	return nil
}
