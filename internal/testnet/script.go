package testnet

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Section is one HTTP script: what is sent to a server, and what it answers.
// It proves the facts it names. A file holds many:
//
//	# EC2-TOK-03 EC2-TOK-04: a bad token is refused in optional mode too
//	dialect ec2
//	from 127.0.0.1
//	> GET /latest/meta-data/instance-id HTTP/1.1
//	> Host: 169.254.169.254
//	> X-aws-ec2-metadata-token: bad
//	>
//	< 401 Unauthorized
//	< Content-Type: text/plain
//	<! Connection: keep-alive
//	<empty
//
// Of the request:
//
//	> LINE         sent as it stands, with CR LF; ">" alone ends the head
//	>> "TEXT"      a Go string, sent raw; ${repeat N TEXT} in it is expanded
//	dialect NAME   which endpoint; as a first line, or later for a new connection
//	from ADDRESS   source address, default 127.0.0.1; the same
//	new            a new connection, even if the present one is open
//	sleep 1100ms   what is pending is sent, then the script waits
//	set NAME       the last body replaces $NAME in later lines of the request
//
// What was collected is sent in one write when an expectation follows, over
// the connection of the request before it unless the server closed that one.
// Of the answer:
//
//	< 200 OK       status line without the version; the answer is read here
//	< Name: value  a header with exactly this value
//	< Name ~ RE    a header whose value matches
//	<! Name        no such header
//	<! Name: value no such header with this value
//	<| LINE        the body: such lines joined with LF
//	<= "TEXT"      the body, as a Go string
//	<~ RE          the body matches
//	<empty         the body is empty
//	<closed        the server closes the connection within two seconds
//	<open          it does not, and the next request goes over it
//
// Lines that start with "#" and no fact id, and empty lines, are comments.
type Section struct {
	// File and Line are where the section starts.
	File string
	Line int
	// Facts are the ids of the facts it proves.
	Facts []string
	// Title says in words what it proves.
	Title string
	// Dialect names the endpoint; empty: the only one.
	Dialect string
	// From is the source address.
	From netip.Addr

	steps []step
}

// Name is the section's facts and title, for t.Run.
func (s Section) Name() string { return strings.Join(s.Facts, "+") + " " + s.Title }

// step is one line of a script, lines of a body excepted.
type step struct {
	line int
	op   op
	name string // of a header, variable or endpoint
	text string // what is sent or expected
	re   *regexp.Regexp
	from netip.Addr
	wait time.Duration
}

type op uint8

const (
	opSend op = iota
	opNew
	opDialect
	opFrom
	opSleep
	opSet
	opStatus
	opHeader
	opHeaderMatch
	opNoHeader
	opNoHeaderValue
	opBody
	opBodyMatch
	opClosed
	opOpen
)

var (
	factID     = regexp.MustCompile(`^(?:(?:ECS|EC2)-[A-Z][A-Z0-9]*-[0-9]+[a-z]?|SEC-O?[0-9]+)$`)
	factLike   = regexp.MustCompile(`^(?:ECS|EC2|SEC)-`)
	statusLine = regexp.MustCompile(`^[0-9]{3}(?: |$)`)
	headerName = regexp.MustCompile(`^[!#$%&'*+.^_\x60|~0-9A-Za-z-]+$`)
	variable   = regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)
	repetition = regexp.MustCompile(`(?s)\$\{repeat ([0-9]+) (.+?)\}`)
)

// maxRepeated bounds what ${repeat …} expands to.
const maxRepeated = 1 << 20

// ParseScript reads the sections of a file. Errors name the line. A section
// that expects nothing is an error: it could not fail.
func ParseScript(file string, data []byte) ([]Section, error) {
	p := parser{file: file}
	for i, line := range strings.Split(string(data), "\n") {
		if err := p.parse(i+1, strings.TrimSuffix(line, "\r")); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, i+1, err)
		}
	}
	if err := p.finish(); err != nil {
		return nil, err
	}
	if len(p.done) == 0 {
		return nil, fmt.Errorf("%s: no section; one starts with a line such as \"# EC2-TOK-03: what it proves\"", file)
	}
	return p.done, nil
}

type parser struct {
	file string
	done []Section
	cur  *Section

	inBody   bool // the last line was one of "<|"
	answered bool // a status line was read since the last line of the request
	pending  bool // there are request lines without an expectation
}

func (p *parser) parse(n int, line string) error {
	wasBody := p.inBody
	p.inBody = false
	switch {
	case strings.HasPrefix(line, "#"):
		return p.header(n, strings.TrimSpace(line[1:]))
	case strings.TrimSpace(line) == "":
		return nil
	case p.cur == nil:
		return fmt.Errorf("%q stands before the first section", line)
	}
	s := step{line: n}
	var err error
	switch {
	case strings.HasPrefix(line, ">"):
		err = s.request(line)
		p.pending, p.answered = true, false
	case strings.HasPrefix(line, "<|"):
		s.op, s.text = opBody, strings.TrimPrefix(line[2:], " ")
		p.inBody = true
		if wasBody {
			last := &p.cur.steps[len(p.cur.steps)-1]
			last.text += "\n" + s.text
			return nil
		}
	case strings.HasPrefix(line, "<"):
		err = s.expectation(line)
	default:
		err = s.command(strings.Fields(line))
	}
	if err != nil {
		return err
	}
	switch s.op {
	case opStatus:
		p.answered, p.pending = true, false
	case opClosed, opOpen:
		p.pending = false
	case opHeader, opHeaderMatch, opNoHeader, opNoHeaderValue, opBody, opBodyMatch, opSet:
		if !p.answered {
			return fmt.Errorf("%q has no status line before it", line)
		}
	case opDialect, opFrom, opNew:
		if p.pending {
			return fmt.Errorf("%q stands between a request and its answer", line)
		}
		if len(p.cur.steps) == 0 && s.op == opDialect {
			p.cur.Dialect = s.name
			return nil
		}
		if len(p.cur.steps) == 0 && s.op == opFrom {
			p.cur.From = s.from
			return nil
		}
	}
	p.cur.steps = append(p.cur.steps, s)
	return nil
}

// header reads a line that starts with "#": a section's, or a comment.
func (p *parser) header(n int, text string) error {
	if !factLike.MatchString(text) {
		return nil
	}
	if err := p.finish(); err != nil {
		return err
	}
	ids, title, ok := strings.Cut(text, ":")
	if !ok || strings.TrimSpace(title) == "" {
		return fmt.Errorf("a section is %q, not %q", "# FACT-ID …: title", "# "+text)
	}
	facts := strings.FieldsFunc(ids, func(r rune) bool { return r == ' ' || r == ',' })
	for _, id := range facts {
		if !factID.MatchString(id) {
			return fmt.Errorf("%q is no fact id", id)
		}
	}
	p.cur = &Section{
		File: p.file, Line: n, Facts: facts, Title: strings.TrimSpace(title),
		From: netip.AddrFrom4([4]byte{127, 0, 0, 1}),
	}
	return nil
}

func (p *parser) finish() error {
	s := p.cur
	if s == nil {
		return nil
	}
	if p.pending {
		return fmt.Errorf("%s:%d: the section's last request has no expectation", s.File, s.Line)
	}
	if len(s.steps) == 0 {
		return fmt.Errorf("%s:%d: the section is empty", s.File, s.Line)
	}
	p.done = append(p.done, *s)
	p.cur, p.answered = nil, false
	return nil
}

func (s *step) request(line string) error {
	s.op = opSend
	if rest, ok := strings.CutPrefix(line, ">>"); ok {
		text, err := strconv.Unquote(strings.TrimSpace(rest))
		if err != nil {
			return fmt.Errorf("%q wants one Go string", ">>")
		}
		s.text, err = repeat(text)
		return err
	}
	s.text = strings.TrimPrefix(line[1:], " ") + "\r\n"
	return nil
}

// repeat expands ${repeat N TEXT}.
func repeat(text string) (string, error) {
	var err error
	text = repetition.ReplaceAllStringFunc(text, func(match string) string {
		m := repetition.FindStringSubmatch(match)
		n, e := strconv.Atoi(m[1])
		if e != nil || n*len(m[2]) > maxRepeated {
			err = fmt.Errorf("%s is longer than %d bytes", match, maxRepeated)
			return ""
		}
		return strings.Repeat(m[2], n)
	})
	return text, err
}

func (s *step) expectation(line string) (err error) {
	kind, rest, _ := strings.Cut(line, " ")
	switch kind {
	case "<":
		return s.head(rest)
	case "<!":
		name, value, hasValue := strings.Cut(rest, ":")
		s.op, s.name, s.text = opNoHeader, name, strings.TrimSpace(value)
		if hasValue {
			s.op = opNoHeaderValue
		}
		if !headerName.MatchString(name) {
			return fmt.Errorf("%q is no header name", name)
		}
	case "<=":
		s.op = opBody
		if s.text, err = strconv.Unquote(strings.TrimSpace(rest)); err != nil {
			return fmt.Errorf("%q wants one Go string", kind)
		}
	case "<~":
		s.op = opBodyMatch
		s.re, err = regexp.Compile(rest)
	case "<empty":
		s.op = opBody
	case "<closed":
		s.op = opClosed
	case "<open":
		s.op = opOpen
	default:
		return fmt.Errorf("%q is no expectation", line)
	}
	if rest != "" && (kind == "<empty" || kind == "<closed" || kind == "<open") {
		return fmt.Errorf("%q takes nothing after it", kind)
	}
	return err
}

// head reads what follows "< ": a status line or a header.
func (s *step) head(rest string) (err error) {
	if statusLine.MatchString(rest) {
		s.op, s.text = opStatus, rest
		return nil
	}
	if name, expr, ok := strings.Cut(rest, " ~ "); ok && headerName.MatchString(name) {
		s.op, s.name = opHeaderMatch, name
		s.re, err = regexp.Compile(expr)
		return err
	}
	name, value, ok := strings.Cut(rest, ":")
	if !ok || !headerName.MatchString(name) {
		return fmt.Errorf("%q is neither a status line nor a header", rest)
	}
	s.op, s.name, s.text = opHeader, name, strings.TrimSpace(value)
	return nil
}

func (s *step) command(words []string) (err error) {
	if words[0] == "new" && len(words) == 1 {
		s.op = opNew
		return nil
	}
	if len(words) != 2 {
		return fmt.Errorf("%q is no line of a script", strings.Join(words, " "))
	}
	s.name = words[1]
	switch words[0] {
	case "dialect":
		s.op = opDialect
	case "from":
		s.op = opFrom
		s.from, err = netip.ParseAddr(s.name)
	case "sleep":
		s.op = opSleep
		s.wait, err = time.ParseDuration(s.name)
	case "set":
		s.op = opSet
		if !variable.MatchString(s.name) {
			err = fmt.Errorf("%q is no variable: capital letters, digits and underscores", s.name)
		}
	default:
		err = fmt.Errorf("%q is no command", words[0])
	}
	return err
}
