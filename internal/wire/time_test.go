package wire

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"openimds/internal/testnet"
)

// These tests run on a clock of their own: what they measure is exact.

// within asserts that a limit was kept: never exceeded, and undercut by an
// eighth of the shortest limit, which is 1 s here, at most.
func within(t *testing.T, what string, took, limit time.Duration) {
	t.Helper()
	if took > limit || took < limit-time.Second/8 {
		t.Errorf("%s took %v, want %v", what, took, limit)
	}
}

// untilClosed reads until the server closes, and returns what came and how
// long that took.
func untilClosed(t *testing.T, nc net.Conn) (string, time.Duration) {
	t.Helper()
	begin := time.Now()
	b, err := io.ReadAll(nc)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return string(b), time.Since(begin)
}

func expectAnswer(t *testing.T, nc net.Conn) {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	io.Copy(io.Discard, res.Body)
}

// drip sends byte after byte until nc is closed. The function that is returned
// waits for that.
func drip(nc net.Conn, pause time.Duration) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := io.WriteString(nc, "X"); err != nil {
				return
			}
			time.Sleep(pause)
		}
	}()
	return func() { <-done }
}

func TestTimeLimits(t *testing.T) {
	tests := []struct {
		name  string
		limit time.Duration
		do    func(t *testing.T, nc net.Conn) (got string, took time.Duration)
		want  string // prefix of what comes before the end
	}{
		{"SEC-28 silent", 5 * time.Second, untilClosed, ""},
		{"SEC-28 half a head", 5 * time.Second, func(t *testing.T, nc net.Conn) (string, time.Duration) {
			io.WriteString(nc, "GET / HT")
			return untilClosed(t, nc)
		}, ""},
		{"SEC-28 slow head", 5 * time.Second, func(t *testing.T, nc net.Conn) (string, time.Duration) {
			io.WriteString(nc, "GET /")
			defer drip(nc, 100*time.Millisecond)()
			return untilClosed(t, nc)
		}, ""},
		{"SEC-28 half a head after silence", 2 * time.Second, func(t *testing.T, nc net.Conn) (string, time.Duration) {
			time.Sleep(3 * time.Second)
			io.WriteString(nc, "GET / HT")
			return untilClosed(t, nc)
		}, ""},
		{"SEC-28 slow second head", 5 * time.Second, func(t *testing.T, nc net.Conn) (string, time.Duration) {
			io.WriteString(nc, get())
			expectAnswer(t, nc)
			time.Sleep(30 * time.Second)
			io.WriteString(nc, "GET / H")
			return untilClosed(t, nc)
		}, ""},
		{"SEC-28 slow head behind another", 5 * time.Second, func(t *testing.T, nc net.Conn) (string, time.Duration) {
			go io.WriteString(nc, get()+"GET /")
			expectAnswer(t, nc)
			return untilClosed(t, nc)
		}, ""},
		{"SEC-28 idle", time.Minute, func(t *testing.T, nc net.Conn) (string, time.Duration) {
			io.WriteString(nc, get())
			expectAnswer(t, nc)
			return untilClosed(t, nc)
		}, ""},
		{"SEC-23 body", time.Second, func(t *testing.T, nc net.Conn) (string, time.Duration) {
			io.WriteString(nc, token+"Content-Length: 5\r\n\r\nhell")
			return untilClosed(t, nc)
		}, "HTTP/1.1 400 "},
		{"SEC-23 slow body", time.Second, func(t *testing.T, nc net.Conn) (string, time.Duration) {
			io.WriteString(nc, token+"Content-Length: 500\r\n\r\n")
			defer drip(nc, 10*time.Millisecond)()
			return untilClosed(t, nc)
		}, "HTTP/1.1 400 "},
		{"answer that is not read", 10 * time.Second, func(t *testing.T, nc net.Conn) (string, time.Duration) {
			begin := time.Now()
			io.WriteString(nc, get())
			for { // the server closes while its answer waits; a pipe holds nothing
				time.Sleep(time.Millisecond)
				if _, err := nc.Write([]byte("X")); err != nil {
					return "", time.Since(begin)
				}
			}
		}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ln := newPipes()
				serveOn(t, ln, Config{Handler: &fake{}})
				time.Sleep(12345 * time.Microsecond) // out of step with any tick
				nc := ln.dial()
				defer nc.Close()
				got, took := tt.do(t, nc)
				within(t, tt.name, took, tt.limit)
				if !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// What a refused client goes on sending is read for a while, so that it gets
// the answer, and not for ever.
func TestLinger(t *testing.T) {
	begin := func(t *testing.T, message string) net.Conn {
		ln := newPipes()
		ln.half = true
		serveOn(t, ln, Config{Handler: &fake{}})
		nc := ln.dial()
		t.Cleanup(func() { nc.Close() })
		io.WriteString(nc, message)
		return nc
	}
	t.Run("bounded in time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			nc := begin(t, token+"Content-Length: 5000\r\n\r\n")
			expectAnswer(t, nc)
			defer drip(nc, 10*time.Millisecond)()
			_, took := untilClosed(t, nc)
			within(t, "lingering", took, lingerTimeout)
		})
	})
	t.Run("behind a body that did not come", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			nc := begin(t, token+"Content-Length: 500\r\n\r\n")
			expectAnswer(t, nc)
			defer drip(nc, 10*time.Millisecond)()
			_, took := untilClosed(t, nc)
			within(t, "lingering", took, lingerTimeout)
		})
	})
	t.Run("behind a request that nobody answers", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			nc := begin(t, get("Connection: close")+"GET ")
			expectAnswer(t, nc)
			defer drip(nc, 10*time.Millisecond)()
			_, took := untilClosed(t, nc)
			within(t, "lingering", took, lingerTimeout)
		})
	})
	t.Run("bounded in bytes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			nc := begin(t, token+"Content-Length: 5000\r\n\r\n")
			expectAnswer(t, nc)
			sent, chunk := 0, make([]byte, 1000)
			for {
				n, err := nc.Write(chunk)
				sent += n
				if err != nil {
					break
				}
			}
			if sent < lingerBytes || sent > lingerBytes+smallBuffer {
				t.Errorf("%d bytes were read, want %d", sent, lingerBytes)
			}
		})
	})
}

// A connection that is used lives on, however long that takes.
func TestBusyConnectionLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := newPipes()
		serveOn(t, ln, Config{Handler: &fake{}})
		nc := ln.dial()
		defer nc.Close()
		for _, pause := range []time.Duration{0, 50 * time.Second, 4 * time.Second, 59 * time.Second, 10 * time.Second} {
			time.Sleep(pause)
			io.WriteString(nc, "GET / HTTP/1.1\r\n")
			time.Sleep(4 * time.Second)
			io.WriteString(nc, "Host: a\r\n\r\n")
			expectAnswer(t, nc)
		}
	})
}

func TestLimitsFromConfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := newPipes()
		serveOn(t, ln, Config{Handler: &fake{}, HeaderTimeout: time.Hour, IdleTimeout: 2345 * time.Millisecond})
		nc := ln.dial()
		_, took := untilClosed(t, nc)
		within(t, "silence", took, maxHeaderTimeout) // SEC-28: at most
		nc = ln.dial()
		io.WriteString(nc, get())
		expectAnswer(t, nc)
		_, took = untilClosed(t, nc)
		within(t, "idleness", took, 2345*time.Millisecond)
	})
}

// While nobody is connected nothing runs; afterwards time limits hold as
// before.
func TestSweeperSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := newPipes()
		s := serveOn(t, ln, Config{Handler: &fake{}})
		for range 3 {
			nc := ln.dial()
			_, took := untilClosed(t, nc)
			within(t, "silence", took, maxHeaderTimeout)
			time.Sleep(time.Hour)
			s.roster.mu.Lock()
			if s.roster.sweeping {
				t.Error("the sweeper runs for nobody")
			}
			s.roster.mu.Unlock()
		}
	})
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := newPipes()
		serveOn(t, ln, Config{Handler: &fake{serve: func(x *Exchange) { echo(x); x.Delay = 3 * time.Minute }}})
		nc := ln.dial()
		defer nc.Close()
		for range 2 { // longer than any time limit, and none of them applies
			begin := time.Now()
			io.WriteString(nc, get())
			expectAnswer(t, nc)
			if took := time.Since(begin); took != 3*time.Minute {
				t.Errorf("took %v, want 3m", took)
			}
		}
	})
}

func TestShutdown(t *testing.T) {
	shut := func(t *testing.T, s *Server, limit time.Duration) (time.Duration, error) {
		t.Helper()
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		err := s.Shutdown(ctx)
		return time.Since(begin), err
	}
	t.Run("idle connections are closed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ln := newPipes()
			s := serveOn(t, ln, Config{Handler: &fake{}})
			kept := ln.dial()
			io.WriteString(kept, get())
			expectAnswer(t, kept)
			synctest.Wait()
			if took, err := shut(t, s, time.Minute); err != nil || took != 0 {
				t.Errorf("Shutdown: %v after %v", err, took)
			}
			if got, _ := untilClosed(t, kept); got != "" {
				t.Errorf("got %q", got)
			}
		})
	})
	t.Run("a fresh connection may still speak", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ln := newPipes()
			s := serveOn(t, ln, Config{Handler: &fake{}})
			silent, late := ln.dial(), ln.dial()
			synctest.Wait()
			answered := make(chan string)
			go func() {
				time.Sleep(freshGrace / 2)
				io.WriteString(late, get())
				got, _ := untilClosed(t, late)
				answered <- got
			}()
			if took, err := shut(t, s, time.Minute); err != nil || took != freshGrace {
				t.Errorf("Shutdown: %v after %v", err, took)
			}
			if got := <-answered; !strings.HasPrefix(got, "HTTP/1.1 200 ") {
				t.Errorf("got %q", got)
			}
			if got, _ := untilClosed(t, silent); got != "" {
				t.Errorf("got %q", got)
			}
		})
	})
	t.Run("a request that has begun is answered", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ln := newPipes()
			s := serveOn(t, ln, Config{Handler: &fake{serve: func(x *Exchange) {
				if !x.Request.Close {
					t.Error("the handler is not told that the connection closes")
				}
				echo(x)
			}}})
			nc := ln.dial()
			io.WriteString(nc, "GET / HTTP/1.1\r\nHost: ")
			synctest.Wait()
			go func() {
				time.Sleep(2 * time.Second)
				io.WriteString(nc, "a\r\n\r\n")
			}()
			answered := make(chan string)
			go func() {
				got, _ := untilClosed(t, nc)
				answered <- got
			}()
			if took, err := shut(t, s, time.Minute); err != nil || took != 2*time.Second {
				t.Errorf("Shutdown: %v after %v", err, took)
			}
			if got := <-answered; !strings.HasPrefix(got, "HTTP/1.1 200 ") {
				t.Errorf("got %q", got)
			}
		})
	})
	t.Run("a delay ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ln := newPipes()
			s := serveOn(t, ln, Config{Handler: &fake{serve: func(x *Exchange) { echo(x); x.Delay = time.Hour }}})
			nc := ln.dial()
			io.WriteString(nc, get())
			synctest.Wait()
			go func() { expectAnswer(t, nc) }()
			if took, err := shut(t, s, time.Minute); err != nil || took != 0 {
				t.Errorf("Shutdown: %v after %v", err, took)
			}
		})
	})
	t.Run("the rest is cut", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ln := newPipes()
			s := serveOn(t, ln, Config{Handler: &fake{}})
			unread, half := ln.dial(), ln.dial()
			io.WriteString(unread, get()) // and its answer is not read
			io.WriteString(half, "GET / HTTP/1.1\r\n")
			synctest.Wait()
			took, err := shut(t, s, time.Second)
			if !errors.Is(err, context.DeadlineExceeded) || took != time.Second {
				t.Errorf("Shutdown: %v after %v", err, took)
			}
			if got, _ := untilClosed(t, half); got != "" {
				t.Errorf("got %q", got)
			}
		})
	})
	t.Run("nothing is accepted afterwards", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := serveOn(t, newPipes(), Config{Handler: &fake{}})
			synctest.Wait()
			if _, err := shut(t, s, time.Second); err != nil {
				t.Error(err)
			}
			ln := newPipes()
			if err := s.Serve(ln, nil); err != nil {
				t.Errorf("Serve: %v", err)
			}
			if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the listener is open: %v", err)
			}
		})
	})
}

func TestAcceptErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out syncBuffer
		full := &net.OpError{Op: "accept", Err: syscall.EMFILE}
		var errs []error
		for range 20 {
			errs = append(errs, full)
		}
		ln := newPipes(errs...)
		serveOn(t, ln, Config{Handler: &fake{}, Logger: testnet.Logger(&out, nil)})
		nc := ln.dial()
		defer nc.Close()
		io.WriteString(nc, get())
		expectAnswer(t, nc)
		if n := strings.Count(out.take(), "\n"); n != 1 {
			t.Errorf("%d records of one burst, want 1", n)
		}
		time.Sleep(time.Minute)
		ln.mu.Lock()
		ln.errs = errs[:3]
		ln.mu.Unlock()
		ln.dial().Close() // ends the Accept that is under way
		ln.dial().Close()
		if n := strings.Count(out.take(), "\n"); n != 1 {
			t.Errorf("%d records of the second burst, want 1", n)
		}
	})
}

func TestServeReturnsWhenItsListenerIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(Config{Handler: &fake{}})
		ln := newPipes()
		served := make(chan error)
		go func() { served <- s.Serve(ln, nil) }()
		nc := ln.dial()
		ln.Close()
		if err := <-served; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Serve: %v, want net.ErrClosed", err)
		}
		io.WriteString(nc, get()) // its connections live on
		expectAnswer(t, nc)
		if err := s.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}
