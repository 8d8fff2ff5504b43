package testnet

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// serve answers on a loopback port. The target of a request is the answer: it
// names one of the canned ones.
func serve(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go converse(c)
		}
	}()
	return l.Addr().String()
}

func converse(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for n := 1; ; n++ {
		var head []string
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if line = strings.TrimSpace(line); line == "" {
				break
			}
			head = append(head, line)
		}
		if len(head) == 0 {
			return
		}
		host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		say := func(status, header, body string) {
			fmt.Fprintf(c, "HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s", status, header, len(body), body)
		}
		switch target := strings.Fields(head[0])[1]; target {
		case "/head":
			say("200 OK", "", strings.Join(head, "\n"))
		case "/from":
			say("200 OK", "", host)
		case "/count":
			say("200 OK", "X-N: a\r\nx-n: b\r\n", fmt.Sprint(n))
		case "/last":
			say("200 OK", "Connection: close\r\n", "bye")
			return
		case "/quietly-last":
			say("200 OK", "", "bye")
			return
		case "/to-end":
			io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\nall of it")
			return
		case "/silence":
			return
		case "/bare":
			io.WriteString(c, "HTTP/1.1 200 OK\n\n")
			return
		case "/short":
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
			return
		case "/no-body":
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
		}
	}
}

// script makes one section; "G path" stands for a whole GET.
func script(t *testing.T, lines ...string) Section {
	t.Helper()
	for i, line := range lines {
		if path, ok := strings.CutPrefix(line, "G "); ok {
			lines[i] = "> GET " + path + " HTTP/1.1\n>"
		}
	}
	s, err := ParseScript("x.http", []byte("# SEC-1: x\n"+strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return s[0]
}

func TestRunPasses(t *testing.T) {
	e := Endpoints{"any": serve(t)}
	for name, lines := range map[string][]string{
		"all of an answer": {"> GET /head HTTP/1.1", "> A: b", ">", "< 200 OK", "< Content-Length: 23", "< content-length ~ ^2[0-9]$",
			"<! Server", "<! Content-Length: 3", "<| GET /head HTTP/1.1", "<| A: b", "<~ (?s)GET.*b$", `<= "GET /head HTTP/1.1\nA: b"`, "<open"},
		"repeated headers":      {"G /count", "< 200 OK", "< X-N: a", "< X-N: b"},
		"a source":              {"from 127.0.0.3", "G /from", "< 200 OK", "<| 127.0.0.3"},
		"another source later":  {"G /from", "< 200 OK", "<| 127.0.0.1", "from 127.0.0.4", "G /from", "< 200 OK", "<| 127.0.0.4"},
		"one connection":        {"G /count", "< 200 OK", "<| 1", "<open", "G /count", "< 200 OK", "<| 2"},
		"a new connection":      {"G /count", "< 200 OK", "<| 1", "new", "G /count", "< 200 OK", "<| 1"},
		"pipelined":             {"G /count", "G /count", "< 200 OK", "<| 1", "<open", "< 200 OK", "<| 2"},
		"closed and said so":    {"G /last", "< 200 OK", "<| bye", "<closed", "G /count", "< 200 OK", "<| 1"},
		"said so, not asked":    {"G /last", "< 200 OK", "G /count", "< 200 OK", "<| 1"},
		"closed without a word": {"G /quietly-last", "< 200 OK", "G /count", "< 200 OK", "<| 1"},
		"body to the end":       {"G /to-end", "< 200 OK", "<| all of it", "<closed"},
		"no answer":             {"G /silence", "<closed"},
		"no body for HEAD":      {"> HEAD /no-body HTTP/1.1", ">", "< 200 OK", "< Content-Length: 9", "<empty", "<open"},
		"a variable":            {"G /count", "< 200 OK", "set N", "> GET /head HTTP/1.1", "> V: $N $NO", ">", "< 200 OK", "<~ V: 1 1O"},
		"sent in two parts":     {`>> "GET /count "`, "sleep 1ms", `>> "HTTP/1.1\r\n\r\n"`, "< 200 OK"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			Run(t, script(t, lines...), e)
		})
	}
}

func TestRunFails(t *testing.T) {
	e := Endpoints{"any": serve(t), "other": "127.0.0.1:1"}
	for name, c := range map[string]struct {
		lines []string
		want  []string
	}{
		"status": {[]string{"G /count", "< 404 Not Found"},
			[]string{`x.http:4: want status "404 Not Found", got "200 OK"`, "from 127.0.0.1", `    GET /count HTTP/1.1\r\n`, `    HTTP/1.1 200 OK\r\n`}},
		"everything at once": {[]string{"G /count", "< 201 Created", "< X-N: c", "<| 2"},
			[]string{"x.http:4: want status", `x.http:5: want header X-N: c, got ["a" "b"]`, `x.http:6: want body "2", got "1"`}},
		"header pattern":    {[]string{"G /count", "< 200 OK", "< X-N ~ c"}, []string{"x.http:5: want a header X-N that matches c"}},
		"header absent":     {[]string{"G /count", "< 200 OK", "<! X-N"}, []string{"x.http:5: want no header X-N"}},
		"header not so":     {[]string{"G /count", "< 200 OK", "<! X-N: b"}, []string{"x.http:5: want no header X-N: b"}},
		"body pattern":      {[]string{"G /count", "< 200 OK", "<~ 7"}, []string{"x.http:5: want a body that matches 7"}},
		"not closed":        {[]string{"G /count", "< 200 OK", "<closed"}, []string{"x.http:5: want the connection closed, it is open after"}},
		"not open":          {[]string{"G /last", "< 200 OK", "<open"}, []string{"x.http:5: want the connection open"}},
		"kept, but closed":  {[]string{"G /count", "< 200 OK", "<open", "G /silence", "< 200 OK"}, []string{"x.http:8: the server closed the connection without an answer"}},
		"no answer":         {[]string{"G /silence", "< 200 OK"}, []string{"x.http:4: the server closed"}},
		"bare line feed":    {[]string{"G /bare", "< 200 OK"}, []string{"x.http:4: read the status line", "bare line feed"}},
		"short body":        {[]string{"G /short", "< 200 OK"}, []string{"x.http:4: read the body, of which 4 bytes came"}},
		"no such dialect":   {[]string{"dialect gce", "G /", "< 200 OK"}, []string{"x.http:5: there is no endpoint of dialect"}},
		"nobody listens":    {[]string{"dialect other", "G /", "< 200 OK"}, []string{"x.http:5: dial tcp"}},
		"more than a close": {[]string{"G /count", "G /count", "< 200 OK", "<closed"}, []string{"x.http:7: want the connection closed, got"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := script(t, c.lines...)
			if s.Dialect == "" {
				s.Dialect = "any"
			}
			err := s.play(e)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\nlacks %q", err, want)
				}
			}
		})
	}
}

func TestSleepWaits(t *testing.T) {
	start := time.Now()
	Run(t, script(t, "sleep 30ms", "G /count", "< 200 OK"), Endpoints{"any": serve(t)})
	if took := time.Since(start); took < 30*time.Millisecond {
		t.Errorf("took %v, want at least 30ms", took)
	}
}

func FuzzParseScript(f *testing.F) {
	f.Add("# SEC-1: x\n>\n< 200 OK\n<| a\nset A\nsleep 1ms\n")
	f.Add("# SEC-O1 ECS-TOK-1: x\ndialect ecs\nfrom ::1\n>> \"${repeat 3 x}\"\n<closed\n")
	f.Fuzz(func(t *testing.T, text string) {
		sections, err := ParseScript("x.http", []byte(text))
		if err != nil {
			return
		}
		for _, s := range sections {
			if len(s.Facts) == 0 || s.Title == "" || len(s.steps) == 0 {
				t.Errorf("section %+v", s)
			}
		}
	})
}
