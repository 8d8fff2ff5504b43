//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestScheduleKeepsTheRate(t *testing.T) {
	due := schedule(10000, time.Second, 1)
	if math.Abs(float64(len(due))-10000) > 500 { // five deviations
		t.Errorf("%d requests in a second at 10000 a second", len(due))
	}
	for i := 1; i < len(due); i++ {
		if due[i] < due[i-1] || due[i] >= time.Second {
			t.Fatalf("request %d is due at %v, after %v", i, due[i], due[i-1])
		}
	}
	again := schedule(10000, time.Second, 1)
	if len(again) != len(due) || again[len(due)-1] != due[len(due)-1] {
		t.Error("one seed gives two schedules")
	}
}

func TestWhole(t *testing.T) {
	g := &generator{status: []byte("HTTP/1.1 200 ")}
	for _, c := range []struct {
		name, text string
		whole, ok  bool
	}{
		{"nothing", "", false, true},
		{"part of a head", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", false, true},
		{"part of a body", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", false, true},
		{"all", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nA: b\r\n\r\nab", true, true},
		{"more than all", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc", false, false},
		{"another status", "HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nab", false, false},
		{"no length", "HTTP/1.1 200 OK\r\n\r\nab", false, false},
		{"a bad length", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nab", false, false},
	} {
		if whole, ok := g.whole([]byte(c.text)); ok != c.ok || ok && whole != c.whole {
			t.Errorf("%s: whole %t, ok %t", c.name, whole, ok)
		}
	}
}

// Against a real server: every request is answered, kept alive and not.
func TestRun(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })}
	go func() { _ = server.Serve(ln) }()
	defer server.Close()
	for _, fresh := range []string{"-new=false", "-new=true"} {
		request := "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
		if fresh == "-new=true" {
			request = strings.Replace(request, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1)
		}
		var out bytes.Buffer
		args := []string{"-address", ln.Addr().String(), "-rate", "200", "-duration", "300ms", "-connections", "8", fresh}
		if err := run(args, strings.NewReader(request), &out); err != nil {
			t.Fatal(err)
		}
		var r result
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		if r.Answer != len(schedule(200, 300*time.Millisecond, 1)) || r.Failed != 0 || r.Unsent != 0 {
			t.Errorf("%s: %+v", fresh, r)
		}
	}
}
