package systemd

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestSend(t *testing.T) {
	abstract := fmt.Sprintf("@openimds-test-%d-%d", os.Getpid(), time.Now().UnixNano())
	for _, name := range []string{filepath.Join(t.TempDir(), "notify"), abstract} {
		l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if err := (Notifier{name}).Send(Ready, MainPID(7), Status("two\nlines")); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 100)
		n, err := l.Read(b)
		if got := string(b[:n]); err != nil || got != "READY=1\nMAINPID=7\nSTATUS=two lines" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if err := (Notifier{}).Send(Ready); err != nil {
		t.Errorf("nobody asked: %v", err)
	}
	if err := (Notifier{filepath.Join(t.TempDir(), "none")}).Send(Ready); err == nil {
		t.Error("told a socket that is not there")
	}
}
