package testnet

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Endpoints are the addresses, host:port, of the servers by dialect.
type Endpoints map[string]string

// Patience of the runner. An answer comes at once or is missing; whoever has
// not closed a connection in closeTime will not; openTime is how long a
// connection that is to stay open is watched.
const (
	answerTime = 10 * time.Second
	closeTime  = 2 * time.Second
	openTime   = 50 * time.Millisecond
)

// Run plays a section against the servers at e. A test that fails says what
// line of the script was not met, what was sent and what came.
func Run(t testing.TB, s Section, e Endpoints) {
	t.Helper()
	if err := s.play(e); err != nil {
		t.Fatal(err)
	}
}

// RunFiles plays every section of the files that match pattern, each as a
// subtest. Sections that name no dialect are for the given one.
func RunFiles(t *testing.T, pattern, dialect string, e Endpoints) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no file matches %s (%v)", pattern, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sections, err := ParseScript(file, data)
		if err != nil {
			t.Error(err)
			continue
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".http"), func(t *testing.T) {
			for _, s := range sections {
				if s.Dialect == "" {
					s.Dialect = dialect
				}
				t.Run(s.Name(), func(t *testing.T) { Run(t, s, e) })
			}
		})
	}
}

// player is a section while it is played.
type player struct {
	file      string
	endpoints Endpoints
	dialect   string
	from      netip.Addr
	variables map[string]string

	conn   net.Conn
	reader *bufio.Reader
	// reused: the connection has carried an answer. kept: the script says
	// that it is still open. ended: the server said that it is not.
	reused, kept, ended bool
	pending             []byte // of the request, not sent yet
	sent                []byte // the last request
	got                 *answer
	problems            []error // with the present answer
}

func (s Section) play(e Endpoints) error {
	p := &player{file: s.File, endpoints: e, dialect: s.Dialect, from: s.From, variables: map[string]string{}}
	defer p.drop()
	if p.dialect == "" && len(e) == 1 {
		p.dialect = slices.Collect(maps.Keys(e))[0]
	}
	for _, step := range s.steps {
		if step.op <= opStatus {
			if err := p.verdict(); err != nil {
				return err
			}
		}
		if err := p.step(step); err != nil {
			p.problem(step, err)
			return p.verdict()
		}
	}
	return p.verdict()
}

func (p *player) step(s step) error {
	switch s.op {
	case opSend:
		p.pending = append(p.pending, p.expand(s.text)...)
	case opNew:
		p.drop()
	case opDialect:
		p.dialect = s.name
		p.drop()
	case opFrom:
		p.from = s.from
		p.drop()
	case opSleep:
		if err := p.flush(); err != nil {
			return err
		}
		time.Sleep(s.wait)
	case opSet:
		if p.got == nil {
			return errors.New("there is no body to set it from")
		}
		p.variables[s.name] = string(p.got.body)
	case opStatus:
		return p.answer(s)
	case opClosed:
		return p.expectClosed()
	case opOpen:
		return p.expectOpen()
	default:
		p.check(s)
	}
	return nil
}

// expand replaces variables in a line of the request, the longest names first.
func (p *player) expand(text string) string {
	names := slices.Sorted(maps.Keys(p.variables))
	slices.Reverse(names)
	for _, name := range names {
		text = strings.ReplaceAll(text, "$"+name, p.variables[name])
	}
	return text
}

func (p *player) dial() error {
	address, ok := p.endpoints[p.dialect]
	if !ok {
		return fmt.Errorf("there is no endpoint of dialect %q", p.dialect)
	}
	d := net.Dialer{Timeout: answerTime, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(p.from, 0))}
	conn, err := d.Dial("tcp", address)
	if err != nil {
		return err
	}
	p.conn, p.reader = conn, bufio.NewReader(conn)
	p.reused, p.kept, p.ended = false, false, false
	return nil
}

func (p *player) drop() {
	if p.conn != nil {
		p.conn.Close()
	}
	p.conn, p.reader, p.ended = nil, nil, false
}

// flush sends what is pending.
func (p *player) flush() error {
	if len(p.pending) == 0 {
		return nil
	}
	p.sent, p.pending = p.pending, nil
	if p.ended {
		p.drop()
	}
	return p.send()
}

func (p *player) send() error {
	if p.conn == nil {
		if err := p.dial(); err != nil {
			return err
		}
	}
	// A server may answer and close before it has read everything, so what
	// counts is the answer and not whether the write went through.
	if _, err := p.conn.Write(p.sent); err != nil && !isEnd(err) {
		return err
	}
	return nil
}

// answer reads an answer and compares its status line.
func (p *player) answer(s step) error {
	if err := p.flush(); err != nil {
		return err
	}
	if p.conn == nil {
		return errors.New("nothing was sent over a connection that is still open")
	}
	method, _, _ := strings.Cut(string(p.sent), " ")
	err := p.read(method)
	if errors.Is(err, errNothing) && p.reused && !p.kept {
		// The server closed the kept-alive connection meanwhile, as it may.
		p.drop()
		if err = p.send(); err == nil {
			err = p.read(method)
		}
	}
	if err != nil {
		return err
	}
	p.reused, p.kept, p.ended = true, false, p.got.last
	if p.got.status != s.text {
		p.problem(s, fmt.Errorf("want status %q, got %q", s.text, p.got.status))
	}
	return nil
}

func (p *player) read(method string) (err error) {
	if err := p.conn.SetReadDeadline(time.Now().Add(answerTime)); err != nil {
		return err
	}
	p.got, err = readAnswer(p.reader, method)
	return err
}

func (p *player) check(s step) {
	if err := p.got.check(s); err != nil {
		p.problem(s, err)
	}
}

// check compares one line of the script with the answer.
func (a *answer) check(s step) error {
	values := a.values(s.name)
	switch s.op {
	case opHeader:
		if !slices.Contains(values, s.text) {
			return fmt.Errorf("want header %s: %s, got %q", s.name, s.text, values)
		}
	case opHeaderMatch:
		if !slices.ContainsFunc(values, s.re.MatchString) {
			return fmt.Errorf("want a header %s that matches %s, got %q", s.name, s.re, values)
		}
	case opNoHeader:
		if len(values) > 0 {
			return fmt.Errorf("want no header %s, got %q", s.name, values)
		}
	case opNoHeaderValue:
		if slices.Contains(values, s.text) {
			return fmt.Errorf("want no header %s: %s, got it", s.name, s.text)
		}
	case opBody:
		if string(a.body) != s.text {
			return fmt.Errorf("want body %q, got %q", s.text, a.body)
		}
	case opBodyMatch:
		if !s.re.Match(a.body) {
			return fmt.Errorf("want a body that matches %s, got %q", s.re, a.body)
		}
	}
	return nil
}

func (p *player) expectClosed() error {
	if err := p.flush(); err != nil {
		return err
	}
	if p.conn == nil {
		return errors.New("there is no connection")
	}
	defer p.drop()
	if err := p.conn.SetReadDeadline(time.Now().Add(closeTime)); err != nil {
		return err
	}
	rest, err := io.ReadAll(p.reader)
	switch {
	case len(rest) > 0:
		return fmt.Errorf("want the connection closed, got %q", rest)
	case err == nil, isEnd(err):
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("want the connection closed, it is open after %v", closeTime)
	default:
		return err
	}
}

func (p *player) expectOpen() error {
	if err := p.flush(); err != nil {
		return err
	}
	if p.conn == nil {
		return errors.New("there is no connection")
	}
	p.kept = true
	if err := p.conn.SetReadDeadline(time.Now().Add(openTime)); err != nil {
		return err
	}
	if _, err := p.reader.Peek(1); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("want the connection open, got %w", err)
	}
	return nil
}

// problem notes that a line of the script was not met.
func (p *player) problem(s step, err error) {
	p.problems = append(p.problems, fmt.Errorf("%s:%d: %w", p.file, s.line, err))
}

// verdict is what was wrong with the answer just handled.
func (p *player) verdict() error {
	if len(p.problems) == 0 {
		return nil
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%v\nsent to %s (%s) from %s:\n%s", errors.Join(p.problems...),
		p.dialect, p.endpoints[p.dialect], p.from, quoteLines(p.sent))
	if p.got != nil {
		fmt.Fprintf(&b, "got:\n%s", quoteLines(p.got.raw.Bytes()))
	}
	return errors.New(b.String())
}

// quoteLines shows bytes line by line, with what cannot be seen quoted.
func quoteLines(text []byte) string {
	const most = 4 << 10
	var b strings.Builder
	for line := range bytes.Lines(text[:min(len(text), most)]) {
		fmt.Fprintf(&b, "    %s\n", strings.Trim(fmt.Sprintf("%q", line), `"`))
	}
	if len(text) > most {
		fmt.Fprintf(&b, "    … %d bytes in all\n", len(text))
	}
	return b.String()
}

// isEnd reports whether err is the other side's end of a connection.
func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
