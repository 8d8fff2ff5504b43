package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"
	"time"
)

var (
	key  = bytes.Repeat([]byte{7}, KeySize)
	ends = Ends{netip.MustParseAddrPort("192.0.2.9:40000"), netip.MustParseAddrPort("192.0.2.1:8169")}
	now  = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	four = Header{Client: netip.MustParseAddrPort("10.0.0.5:1234"), Destination: netip.MustParseAddrPort("169.254.169.254:80"), Network: "blue"}
	six  = Header{Client: netip.MustParseAddrPort("[2001:db8::5]:1234"), Destination: netip.MustParseAddrPort("[fd00:ec2::254]:80")}
)

func nonce(n byte) (b [nonceSize]byte) {
	b[0] = n
	return b
}

func verifier(t testing.TB) *Verifier {
	t.Helper()
	v, err := NewVerifier(key, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestRead(t *testing.T) {
	v := verifier(t)
	for i, h := range []Header{four, six} {
		whole := Append(nil, h, key, ends, now, nonce(byte(i)))
		for n := range whole {
			if got, length, err := v.Read(whole[:n], ends); length != 0 || err != nil {
				t.Fatalf("of %d bytes: %+v, %d, %v", n, got, length, err)
			}
		}
		got, n, err := v.Read(append(whole, "GET / HTTP/1.1"...), ends)
		if err != nil || n != len(whole) || got != h {
			t.Errorf("got %+v, %d, %v; want %+v, %d", got, n, err, h, len(whole))
		}
	}
}

func TestReadRefuses(t *testing.T) {
	good := func(n byte) []byte { return Append(nil, four, key, ends, now, nonce(n)) }
	change := func(b []byte, at int, to byte) []byte {
		if at < 0 {
			at += len(b)
		}
		b[at] = to
		return b
	}
	other := ends
	other.Forwarder = netip.MustParseAddrPort("192.0.2.9:40001")
	unsigned := good(1)
	unsigned = unsigned[:len(unsigned)-authSize-tlvHead]
	binary.BigEndian.PutUint16(unsigned[14:], uint16(len(unsigned)-fixed))
	trailing := append(good(1), 4, 0, 0)
	binary.BigEndian.PutUint16(trailing[14:], uint16(len(trailing)-fixed))
	long := good(1)
	binary.BigEndian.PutUint16(long[14:], MaxHeader)
	for _, tt := range []struct {
		name   string
		header []byte
		is     error
	}{
		{"a request", []byte("GET / HTTP/1.1\r\n\r\n"), ErrMalformed},
		{"version 1", []byte("PROXY TCP4 10.0.0.5 169.254.169.254 1 80\r\n"), ErrMalformed},
		{"LOCAL", change(good(1), 12, 0x20), ErrMalformed},
		{"UDP", change(good(1), 13, 0x12), ErrMalformed},
		{"Unix", change(good(1), 13, 0x31), ErrMalformed},
		{"too long", long, ErrMalformed},
		{"unsigned", unsigned, ErrUnsigned},
		{"a field behind", trailing, ErrUnsigned},
		{"another client", change(good(1), 19, 6), ErrForged},
		{"another network", change(good(1), 31, 'X'), ErrForged},
		{"another time", change(good(1), -macSize-nonceSize-1, 9), ErrForged},
		{"another nonce", change(good(1), -macSize-1, 9), ErrForged},
		{"another authenticator", change(good(1), -1, 0), ErrForged},
		{"another key", Append(nil, four, bytes.Repeat([]byte{8}, KeySize), ends, now, nonce(1)), ErrForged},
		{"another connection", Append(nil, four, key, other, now, nonce(1)), ErrForged},
		{"too old", Append(nil, four, key, ends, now.Add(-Window-time.Second), nonce(1)), ErrTime},
		{"too new", Append(nil, four, key, ends, now.Add(Window+time.Second), nonce(1)), ErrTime},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if h, n, err := verifier(t).Read(tt.header, ends); !errors.Is(err, tt.is) || n != 0 {
				t.Errorf("got %+v, %d, %v; want %v", h, n, err, tt.is)
			}
		})
	}
	if _, err := NewVerifier(key[1:], time.Now); err == nil {
		t.Error("a short key is accepted")
	}
}

// A header is good once, however late within its time it comes again.
func TestReplay(t *testing.T) {
	at := now
	v, err := NewVerifier(key, func() time.Time { return at })
	if err != nil {
		t.Fatal(err)
	}
	header := Append(nil, four, key, ends, now.Add(Window), nonce(1)) // of the future: good for a minute
	if _, _, err := v.Read(header, ends); err != nil {
		t.Fatal(err)
	}
	for i := range 60 {
		at = now.Add(time.Duration(i) * time.Second)
		if _, _, err := v.Read(header, ends); !errors.Is(err, ErrReplayed) {
			t.Fatalf("after %d s: %v", i, err)
		}
		if _, _, err := v.Read(Append(nil, four, key, ends, at, nonce(byte(i+2))), ends); err != nil {
			t.Fatalf("another one after %d s: %v", i, err)
		}
	}
}

// Whatever comes, nothing is read beyond it, and nothing is believed that was
// not signed.
func FuzzRead(f *testing.F) {
	f.Add(Append(nil, four, key, ends, now, nonce(1)))
	f.Add(Append(nil, six, key, ends, now, nonce(1)))
	f.Add([]byte("PROXY TCP4"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := verifier(t).Read(b, ends)
		p, whole, _ := parse(b)
		switch {
		case n > len(b) || whole > len(b):
			t.Fatalf("read %d and %d of %d bytes", n, whole, len(b))
		case n > 0 && err == nil:
			if again := authenticator(key, b[:n-macSize], ends); !bytes.Equal(again, b[n-macSize:n]) || h != p.Header {
				t.Fatalf("believed %+v", h)
			}
		}
	})
}
