//go:build linux

package main

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// load is traffic of which one operation is timed.
type load struct {
	name string
	make func() (operation func() error, done func(), err error)
}

var loads = []load{
	{"64 bytes there and back", func() (func() error, func(), error) { return pingPong(64, true) }},
	{"32 KiB one way", func() (func() error, func(), error) { return pingPong(32<<10, false) }},
	{"connect, accept, reset", connects},
}

// slices runs the load for a time, and returns how long an operation took, in
// ns, in each slice during which the state did not change.
func (l load) slices(each time.Duration, state *atomic.Int32) (times [3][]float64, err error) {
	pin()
	defer runtime.UnlockOSThread()
	operation, done, err := l.make()
	if err != nil {
		return times, fmt.Errorf("%s: %w", l.name, err)
	}
	defer done()
	for end := time.Now().Add(each); time.Now().Before(end); {
		before, began, n := state.Load(), time.Now(), 0
		var took time.Duration
		for took < slice {
			for range 16 {
				if err := operation(); err != nil {
					return times, fmt.Errorf("%s: %w", l.name, err)
				}
			}
			n += 16
			took = time.Since(began)
		}
		if state.Load() == before {
			times[before] = append(times[before], float64(took.Nanoseconds())/float64(n))
		}
	}
	return times, nil
}

// listen returns a listener on the loopback interface and its address.
func listen() (fd int, to *unix.SockaddrInet4, err error) {
	if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); err != nil {
		return -1, nil, err
	}
	if err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err == nil {
		err = unix.Listen(fd, 16)
	}
	if err != nil {
		unix.Close(fd)
		return -1, nil, err
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		unix.Close(fd)
		return -1, nil, err
	}
	return fd, name.(*unix.SockaddrInet4), nil
}

func connect(to *unix.SockaddrInet4) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.Connect(fd, to); err != nil {
		unix.Close(fd)
		return -1, err
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	return fd, nil
}

// pingPong sends so many bytes from one end to the other, and back if asked.
func pingPong(size int, back bool) (func() error, func(), error) {
	l, to, err := listen()
	if err != nil {
		return nil, nil, err
	}
	defer unix.Close(l)
	a, err := connect(to)
	if err != nil {
		return nil, nil, err
	}
	b, _, err := unix.Accept(l)
	if err != nil {
		unix.Close(a)
		return nil, nil, err
	}
	_ = unix.SetsockoptInt(b, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	buf := make([]byte, size)
	move := func(from, to int) error {
		if n, err := unix.Write(from, buf); err != nil || n != size {
			return fmt.Errorf("wrote %d of %d: %w", n, size, err)
		}
		for got := 0; got < size; {
			n, err := unix.Read(to, buf[got:])
			if err != nil {
				return err
			}
			got += n
		}
		return nil
	}
	operation := func() error {
		if err := move(a, b); err != nil || !back {
			return err
		}
		return move(b, a)
	}
	return operation, func() { unix.Close(a); unix.Close(b) }, nil
}

// connects makes a connection and resets it.
func connects() (func() error, func(), error) {
	l, to, err := listen()
	if err != nil {
		return nil, nil, err
	}
	operation := func() error {
		a, err := connect(to)
		if err != nil {
			return err
		}
		defer unix.Close(a)
		b, _, err := unix.Accept(l)
		if err != nil {
			return err
		}
		// A reset leaves no connection behind that waits.
		_ = unix.SetsockoptLinger(b, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		return unix.Close(b)
	}
	return operation, func() { unix.Close(l) }, nil
}
