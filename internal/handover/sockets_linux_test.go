package handover

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"reflect"
	"testing"
	"testing/synctest"
	"time"
)

func open() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") }

func never(t *testing.T) func() (net.Listener, error) {
	return func() (net.Listener, error) {
		t.Error("a socket is opened that there is already")
		return open()
	}
}

func adopt(f *os.File) (net.Listener, error) {
	ln, err := net.FileListener(f)
	return ln, errors.Join(err, f.Close())
}

func must(t *testing.T, ln net.Listener, err error) net.Listener {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// What waits in a socket is there when another has taken it over, and nothing
// is handed on that was closed.
func TestAgain(t *testing.T) {
	var s Sockets
	ln, err := s.Listen("a", adopt, open)
	first := must(t, ln, err)
	ln, err = s.Listen("b", adopt, open)
	closed := must(t, ln, err)
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	kept, err := os.Create(t.TempDir() + "/kept")
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	s.Keep("lock", kept)
	client, err := net.Dial("tcp", first.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()

	next, err := s.Again()
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	// Who is called before has asked is handed on like the rest.
	last, err := next.Again()
	if err != nil {
		t.Fatal(err)
	}
	next.Settle(t.Context(), time.Millisecond)
	if last.File("lock") == nil || last.File("other") != nil {
		t.Error("the file is not handed on, or one that there is not")
	}
	ln, err = last.Listen("a", adopt, never(t))
	third := must(t, ln, err)
	if third.Addr().String() != first.Addr().String() {
		t.Errorf("it listens on %v, and did on %v", third.Addr(), first.Addr())
	}
	c, err := third.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(c, "here")
	_ = c.Close()
	if got, err := io.ReadAll(client); err != nil || string(got) != "here" {
		t.Errorf("the client, which came before, reads %q, %v", got, err)
	}
	asked := false
	ln, err = last.Listen("b", adopt, func() (net.Listener, error) { asked = true; return open() })
	if must(t, ln, err); !asked {
		t.Error("a socket that was closed is handed on")
	}
}

// A socket that is of no use is opened anew, and two of one key are two.
func TestListen(t *testing.T) {
	var s Sockets
	ln, err := s.Listen("a", adopt, open)
	one := must(t, ln, err)
	ln, err = s.Listen("a", adopt, open)
	two := must(t, ln, err)
	next, err := s.Again()
	if err != nil {
		t.Fatal(err)
	}
	refused := errors.New("it is elsewhere")
	ln, err = next.Listen("a", func(f *os.File) (net.Listener, error) { return nil, errors.Join(refused, f.Close()) }, open)
	if other := must(t, ln, err); other.Addr().String() == one.Addr().String() {
		t.Error("what adopt refuses is used")
	}
	ln, err = next.Listen("a", adopt, never(t))
	if same := must(t, ln, err); same.Addr().String() != two.Addr().String() {
		t.Error("the second of a key is not the second")
	}
	if _, err := next.Listen("c", adopt, func() (net.Listener, error) { return nil, refused }); !errors.Is(err, refused) {
		t.Errorf("the error of open is %v", err)
	}
}

// What nobody asks for is closed, but not while others of its kind still are
// asked for.
func TestSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipe := func() *os.File {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			_ = w.Close()
			return r
		}
		s := table{Sockets: []string{"a", "b", "c"}}.sockets([]*os.File{pipe(), pipe(), pipe()})
		found := func(f *os.File) (net.Listener, error) { return nopListener{}, f.Close() }
		began := time.Now()
		go func() {
			time.Sleep(1500 * time.Millisecond)
			_, _ = s.Listen("b", found, nil)
		}()
		if got := s.Settle(t.Context(), time.Second); !reflect.DeepEqual(got, []string{"a", "c"}) || time.Since(began) != 3*time.Second {
			t.Errorf("given up after %v: %q", time.Since(began), got)
		}
		if got := s.Settle(t.Context(), time.Second); got != nil {
			t.Errorf("given up again: %q", got)
		}
		s = table{Sockets: []string{"a"}}.sockets([]*os.File{pipe()})
		over, end := context.WithCancel(t.Context())
		end()
		if got := s.Settle(over, time.Hour); got != nil {
			t.Errorf("given up by one that has ended: %q", got)
		}
		s.closeUnused()
	})
}

type nopListener struct{ net.Listener }
