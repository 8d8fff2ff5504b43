package trace

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"openimds/internal/trace/finding"
	"openimds/internal/trace/procs"
	"openimds/internal/trace/record"
)

var (
	service = netip.MustParseAddrPort("169.254.169.254:80")
	client  = netip.MustParseAddrPort("10.0.0.1:40000")
)

// bed is a joiner with a process table that the test writes.
type bed struct {
	Joiner
	t   *testing.T
	now time.Time
	got []finding.Finding
}

func newBed(t *testing.T, answers bool) *bed {
	b := &bed{t: t, now: start}
	b.Joiner = Joiner{Answers: answers, Engine: "cgrich", Describe: func(w *record.Who, _ uint64, _ procs.Clocks) finding.Process {
		return finding.Process{PID: w.PID, TID: w.TID, Comm: w.Comm, Cmdline: strings.Join(w.Args, " ")}
	}}
	return b
}

func (b *bed) handle(r record.Record) {
	b.got = append(b.got, b.Handle(r, procs.Clocks{Now: b.now, Monotonic: time.Hour})...)
}

func (b *bed) connect(conn uint64, pid int, args ...string) {
	b.handle(record.Record{Kind: record.Connect, Conn: conn, Dst: service, Who: &record.Who{PID: pid, TID: pid, Comm: "curl", Start: 5, Args: args}})
}

func (b *bed) send(conn uint64, seq uint32, text string) {
	b.handle(record.Record{Kind: record.Request, Conn: conn, Src: client, Dst: service, Seq: seq, Size: uint32(len(text)), Data: []byte(text), Time: uint64(time.Hour)})
}

func (b *bed) reply(conn uint64, ack uint32, status int) {
	b.handle(record.Record{Kind: record.Answer, Conn: conn, Src: service, Dst: client, Ack: ack, Data: fmt.Appendf(nil, "HTTP/1.1 %d X\r\n", status)})
}

func (b *bed) wait(d time.Duration) {
	b.now = b.now.Add(d)
	b.got = append(b.got, b.Tick(b.now)...)
}

// want compares what was found so far, and forgets it.
func (b *bed) want(all ...string) {
	b.t.Helper()
	var got []string
	for _, f := range b.got {
		got = append(got, fmt.Sprintf("%d %s %s %d", f.Process.PID, f.Mode, f.Path, f.Status))
	}
	if strings.Join(got, "\n") != strings.Join(all, "\n") {
		b.t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(all, "\n"))
	}
	b.got = nil
}

const getA = "GET /a HTTP/1.1\r\n\r\n" // 19 bytes

func TestJoin(t *testing.T) {
	b := newBed(t, false)
	b.connect(1, 100)
	b.connect(2, 200)
	b.send(2, 10, "GET /b HTTP/1.1\r\nX-aws-ec2-meta")
	b.send(1, 10, getA)
	b.send(2, 41, "data-token: t\r\n\r\n")
	b.send(1, 29, "PUT /latest/api/token HTTP/1.1\r\n\r\n")
	b.want("100 IMDSv1 /a 0", "200 IMDSv2 /b 0", "100 token-request /latest/api/token 0")
}

func TestAnswersByAcknowledgement(t *testing.T) {
	b := newBed(t, true)
	b.connect(1, 100)
	b.send(1, 0, getA)
	b.want()
	b.reply(1, 19, 100) // an interim answer is none
	b.reply(1, 19, 401)
	if len(b.got) != 1 || !b.got[0].Refused {
		t.Errorf("%+v", b.got)
	}
	b.want("100 IMDSv1 /a 401")
	b.send(1, 19, getA)
	b.reply(1, 19, 200) // to the first; the second is not acknowledged
	b.want()
	b.wait(1500 * time.Millisecond)
	b.want("100 IMDSv1 /a 0")
	// Pipelined, answered in one segment: the second's status is not known.
	b.send(1, 38, "GET /b HTTP/1.1\r\n\r\nGET /c HTTP/1.1\r\n\r\n")
	b.reply(1, 76, 404)
	b.want("100 IMDSv1 /b 404", "100 IMDSv1 /c 0")
}

func TestAttempt(t *testing.T) {
	b := newBed(t, false)
	b.connect(1, 100)
	b.connect(2, 200)
	b.send(2, 0, getA)
	b.wait(6 * time.Second)
	b.wait(6 * time.Second)
	b.want("200 IMDSv1 /a 0", "100 attempt  0")
}

func TestUnreadable(t *testing.T) {
	b := newBed(t, false)
	b.connect(1, 100)
	b.send(1, 0, "\x16\x03\x01")
	b.send(1, 3, "more")
	b.connect(2, 200)
	b.send(2, 0, "GET /half HTTP/1.1\r\nHost: x\r\n")
	b.wait(2 * time.Minute)
	b.want("100 unreadable  0", "200 unreadable /half 0")
}

func TestConnectWasLost(t *testing.T) {
	b := newBed(t, false)
	b.handle(record.Record{Kind: record.Request, Conn: 9, Dst: service, Seq: 100, Data: []byte(getA), Who: &record.Who{PID: 300, Start: 7, FromTable: true}})
	b.handle(record.Record{Kind: record.Request, Conn: 8, Dst: service, Seq: 100, Data: []byte(getA)})
	b.want("300 IMDSv1 /a 0", "0 IMDSv1 /a 0")
	if b.Unnamed != 1 {
		t.Errorf("%d unnamed", b.Unnamed)
	}
}

// An engine that learns of the connection's name only later tells who connects
// without one.
func TestConnectWithoutConnection(t *testing.T) {
	b := newBed(t, false)
	b.handle(record.Record{Kind: record.Connect, Dst: service, Who: &record.Who{PID: 300, Comm: "curl", Args: []string{"curl", "x"}}})
	b.handle(record.Record{Kind: record.Request, Conn: 5, Dst: service, Data: []byte(getA), Who: &record.Who{PID: 300, Comm: "curl", FromTable: true}})
	if len(b.got) != 1 || b.got[0].Process.Cmdline != "curl x" {
		t.Errorf("%+v", b.got)
	}
}

func TestCookieOfAnotherConnection(t *testing.T) {
	b := newBed(t, false)
	b.connect(1, 100)
	b.send(1, 0, "GET /half")
	b.connect(1, 200) // the socket connects again
	b.send(1, 500, getA)
	b.want("200 IMDSv1 /a 0")
}

func TestSeeded(t *testing.T) {
	b := newBed(t, false)
	b.handle(record.Record{Kind: record.Connect, Conn: 1, Dst: service, Seeded: true, Who: &record.Who{PID: 100}})
	b.wait(time.Minute)
	b.send(1, 900, "rest of a header\r\n\r\n")
	b.send(1, 920, getA)
	b.want("100 IMDSv1 /a 0")
}

func TestExecMakesAnotherProcess(t *testing.T) {
	b := newBed(t, false)
	b.connect(1, 100, "sh", "-c", "x")
	b.connect(2, 100, "curl", "x") // the same process, another program
	b.send(1, 0, getA)
	b.send(2, 0, getA)
	if len(b.got) != 2 || b.got[0].Process.Cmdline != "sh -c x" || b.got[1].Process.Cmdline != "curl x" {
		t.Errorf("%+v", b.got)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	b := newBed(t, false)
	for i := range uint64(maxConns + 10) {
		b.connect(i+1, 100)
	}
	if b.Conns() != maxConns || b.Evicted != 10 {
		t.Errorf("%d connections, %d forgotten", b.Conns(), b.Evicted)
	}
	b.wait(idleAfter + time.Second)
	if b.Conns() != 0 {
		t.Errorf("%d connections are kept for ever", b.Conns())
	}
}

// Requests that do not end cannot fill the memory.
func TestUnfinishedRequestsAreBounded(t *testing.T) {
	b := newBed(t, false)
	for i := range uint64(2000) {
		b.connect(i+1, 100)
		b.send(i+1, 0, "GET /a HTTP/1.1\r\nHost: "+strings.Repeat("h", 16000))
		if b.held > maxHeld {
			t.Fatalf("%d bytes are held", b.held)
		}
	}
	if b.Evicted == 0 || len(b.got) == 0 || b.got[0].Mode != finding.Unreadable {
		t.Errorf("%d given up, %d told", b.Evicted, len(b.got))
	}
	b.Flush()
	if b.held != 0 {
		t.Errorf("%d bytes are counted when none is held", b.held)
	}
}

func TestAllowed(t *testing.T) {
	b := newBed(t, false)
	b.Allowed, _ = allow([]string{"cur?"})
	b.connect(1, 100)
	b.send(1, 0, getA)
	if b.got[0].Level != finding.Info || b.got[0].Mode != finding.TokenFree {
		t.Errorf("%+v", b.got[0])
	}
	if _, err := allow([]string{"["}); err == nil {
		t.Error("a wrong pattern is taken")
	}
}

func TestClassifyTokenPaths(t *testing.T) {
	for path, want := range map[string]bool{"/latest/api/token": true, "/2016-01-01/api/token": true, "/api/token": false, "/a/b/api/token": false, "/latest/api/tokens": false} {
		if isTokenPath(path) != want {
			t.Errorf("%s: %v", path, !want)
		}
	}
}

func TestStatusOf(t *testing.T) {
	for line, want := range map[string]int{"HTTP/1.1 200 OK\r\n": 200, "HTTP/1.0 404": 404, "HTTP/1.1 20": 0, "HTTP/1.1 2x0 ": 0, "HTTP/2 200": 0, "": 0} {
		if got := statusOf([]byte(line)); got != want {
			t.Errorf("%q: %d", line, got)
		}
	}
}

// With a test of namespaces, only what is known to be in one of them is told.
func TestHere(t *testing.T) {
	b := newBed(t, false)
	b.Here = func(netns uint32) bool { return netns == 7 }
	b.Describe = func(w *record.Who, _ uint64, _ procs.Clocks) finding.Process {
		return finding.Process{PID: w.PID, NetNS: w.NetNS}
	}
	for conn, netns := range map[uint64]uint32{1: 7, 2: 8, 3: 0} {
		b.handle(record.Record{Kind: record.Connect, Conn: conn, Dst: service, Who: &record.Who{PID: int(conn) * 100, NetNS: netns}})
		b.send(conn, 10, getA)
	}
	b.want("100 IMDSv1 /a 0")
	// An engine that sees packets knows where, though perhaps not whose.
	for conn, netns := range map[uint64]uint32{4: 7, 5: 8} {
		b.handle(record.Record{Kind: record.Connect, Conn: conn, Dst: service, NetNS: netns})
		b.send(conn, 10, getA)
	}
	b.handle(record.Record{Kind: record.Request, Conn: 6, Src: client, Dst: service, NetNS: 7, Seq: 10, Size: 19, Data: []byte(getA), Time: uint64(time.Hour)})
	b.want("0 IMDSv1 /a 0", "0 IMDSv1 /a 0")
	if b.Unplaced != 1 || b.Unnamed != 2 {
		t.Errorf("%d without a namespace, %d without a name", b.Unplaced, b.Unnamed)
	}
}
