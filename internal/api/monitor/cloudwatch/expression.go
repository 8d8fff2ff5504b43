package cloudwatch

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"openimds/internal/metric"
)

// expression evaluates what is documented for these metrics: SEARCH, and SUM,
// AVG, MIN and MAX over SEARCH, METRICS() and lists of ids (EC2-CW-14).
func (e *evaluation) expression(q metricDataQuery) ([]line, error) {
	p := &parser{rest: q.Expression, id: q.Id}
	period := defaultPeriod
	if q.Period != nil {
		period = *q.Period
	}
	lines, err := e.term(p, period)
	if err == nil {
		if p.space(); p.rest != "" {
			err = p.wrong("%q was not expected", clip(p.rest))
		}
	}
	return lines, err
}

// parser reads an expression.
type parser struct {
	rest, id string
	depth    int
}

func (p *parser) wrong(format string, args ...any) error {
	return validation("Error in expression '"+p.id+"': "+format+".", args...)
}

func (p *parser) space() { p.rest = strings.TrimLeft(p.rest, " \t\r\n") }

func (p *parser) take(token string) bool {
	p.space()
	rest, ok := strings.CutPrefix(p.rest, token)
	p.rest = rest
	return ok
}

func (p *parser) expect(token string) error {
	if !p.take(token) {
		return p.wrong("expected %q before %q", token, clip(p.rest))
	}
	return nil
}

func (p *parser) word() string {
	p.space()
	n := 0
	for n < len(p.rest) && (p.rest[n] == '_' || p.rest[n] >= '0' && p.rest[n] <= '9' || p.rest[n] >= 'A' && p.rest[n] <= 'Z' || p.rest[n] >= 'a' && p.rest[n] <= 'z') {
		n++
	}
	w := p.rest[:n]
	p.rest = p.rest[n:]
	return w
}

// quoted reads a text in one of two kinds of quotes.
func (p *parser) quoted() (string, error) {
	p.space()
	if p.rest == "" || p.rest[0] != '\'' && p.rest[0] != '"' {
		return "", p.wrong("expected a text in quotes before %q", clip(p.rest))
	}
	text, rest, ok := strings.Cut(p.rest[1:], p.rest[:1])
	if !ok {
		return "", p.wrong("a text has no end")
	}
	p.rest = rest
	return text, nil
}

// term evaluates a function, an id, or a list.
func (e *evaluation) term(p *parser, period int) ([]line, error) {
	if p.depth++; p.depth > 20 {
		return nil, p.wrong("it is nested too deeply")
	}
	defer func() { p.depth-- }()
	if p.take("[") {
		return e.series(p, period)
	}
	name := p.word()
	switch {
	case name == "":
		return nil, p.wrong("expected a function or an id before %q", clip(p.rest))
	case !p.take("("):
		if !queryID.MatchString(name) {
			return nil, p.wrong("%q is no id", name)
		}
		return e.query(name)
	}
	switch name {
	case "SEARCH":
		return e.search(p, period)
	case "METRICS":
		return e.metrics(p)
	case "SUM", "AVG", "MIN", "MAX":
		lines, err := e.term(p, period)
		if err != nil {
			return nil, err
		}
		return []line{combine(p.id, name, lines)}, p.expect(")")
	}
	return nil, p.wrong("the function %s is not offered here: there are SEARCH, METRICS, SUM, AVG, MIN, MAX", clip(name))
}

func (e *evaluation) series(p *parser, period int) ([]line, error) {
	var all []line
	for {
		lines, err := e.term(p, period)
		if err != nil {
			return nil, err
		}
		all = append(all, lines...)
		if p.take("]") {
			return all, nil
		}
		if err := p.expect(","); err != nil {
			return nil, err
		}
	}
}

// metrics is METRICS(), or METRICS("m") for those whose id has the text.
func (e *evaluation) metrics(p *parser) ([]line, error) {
	part := ""
	if !p.take(")") {
		var err error
		if part, err = p.quoted(); err != nil {
			return nil, err
		}
		if err := p.expect(")"); err != nil {
			return nil, err
		}
	}
	var all []line
	for _, q := range e.in.MetricDataQueries {
		if q.MetricStat == nil || !strings.Contains(q.Id, part) {
			continue
		}
		lines, err := e.query(q.Id)
		if err != nil {
			return nil, err
		}
		all = append(all, lines...)
	}
	return all, nil
}

// combine makes one series of many, of every time at which one has a value.
func combine(label, how string, lines []line) line {
	values := map[time.Time][]float64{}
	for _, l := range lines {
		for at, v := range l.points {
			values[at] = append(values[at], v)
		}
	}
	out := line{label: label, points: map[time.Time]float64{}}
	for at, all := range values {
		switch how {
		case "MIN":
			out.points[at] = slices.Min(all)
		case "MAX":
			out.points[at] = slices.Max(all)
		default:
			var sum float64
			for _, v := range all {
				sum += v
			}
			if how == "AVG" {
				sum /= float64(len(all))
			}
			out.points[at] = sum
		}
	}
	return out
}

// maxFound is how many series a SEARCH returns (EC2-CW-14).
const maxFound = 500

// search is SEARCH('{AWS/EC2,InstanceId} MetricName="MetadataNoToken"', 'Sum',
// 300), whose last argument may be missing. A series is labelled by its
// instance.
func (e *evaluation) search(p *parser, period int) ([]line, error) {
	what, err := p.quoted()
	if err != nil {
		return nil, err
	}
	if err := p.expect(","); err != nil {
		return nil, err
	}
	stat, err := p.quoted()
	if err != nil {
		return nil, err
	}
	if _, ok := metric.ParseStatistic(stat); !ok {
		return nil, p.wrong("the statistic %q is not supported", clip(stat))
	}
	if p.take(",") {
		if period, err = strconv.Atoi(p.word()); err != nil {
			return nil, p.wrong("the period is not a number of seconds")
		}
		if err := checkPeriod(period); err != nil {
			return nil, asValidation(err)
		}
	}
	if err := p.expect(")"); err != nil {
		return nil, err
	}
	wants, err := parseSearch(p, what)
	if err != nil {
		return nil, err
	}
	if e.list == nil {
		if e.list, err = e.active(shown); err != nil {
			return nil, err
		}
	}
	all := []line{}
	for _, m := range e.list {
		id, _ := m.instance()
		if !wants(m) || len(all) == maxFound {
			continue
		}
		l, err := e.stat(m, stat, "", period, id)
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

// parseSearch reads what a SEARCH looks for: a schema in braces, and terms all
// of which must match: Name=value or a value alone. One in double quotes is the
// whole, any other a part; several in parentheses have OR between them.
func parseSearch(p *parser, text string) (func(Metric) bool, error) {
	var terms []func(Metric) bool
	s := &parser{rest: text, id: p.id}
	if s.take("{") {
		schema, rest, ok := strings.Cut(s.rest, "}")
		if !ok {
			return nil, p.wrong("the schema has no end")
		}
		s.rest = rest
		parts := strings.Split(strings.ReplaceAll(schema, " ", ""), ",")
		fits := len(parts) == 2 && strings.Trim(parts[0], `"`) == Namespace && strings.Trim(parts[1], `"`) == dimension ||
			len(parts) == 1 && strings.Trim(parts[0], `"`) == Namespace
		terms = append(terms, func(Metric) bool { return fits })
	}
	for s.space(); s.rest != ""; s.space() {
		t, err := parseTerm(s)
		if err != nil {
			return nil, err
		}
		if t != nil {
			terms = append(terms, t)
		}
	}
	if len(terms) == 0 {
		return nil, p.wrong("the search is empty")
	}
	return func(m Metric) bool {
		for _, t := range terms {
			if !t(m) {
				return false
			}
		}
		return true
	}, nil
}

// parseTerm reads one term; nil: an AND, which says nothing new.
func parseTerm(s *parser) (func(Metric) bool, error) {
	name := ""
	if n := strings.IndexAny(s.rest, "= \t()\""); n > 0 && s.rest[n] == '=' {
		name, s.rest = s.rest[:n], s.rest[n+1:]
	}
	var values []func(string) bool
	if s.take("(") {
		for !s.take(")") {
			v, word, err := parseText(s)
			if err != nil {
				return nil, err
			}
			if word != "OR" {
				values = append(values, v)
			}
		}
	} else {
		v, word, err := parseText(s)
		switch {
		case err != nil:
			return nil, err
		case word == "AND" && name == "":
			return nil, nil
		case word == "OR" || word == "NOT":
			return nil, s.wrong("%s is offered only as OR between parentheses", word)
		}
		values = append(values, v)
	}
	is := func(text string) bool {
		return slices.ContainsFunc(values, func(v func(string) bool) bool { return v(text) })
	}
	switch name {
	case "":
		return func(m Metric) bool {
			id, _ := m.instance()
			return is(m.MetricName) || is(id) || is(m.Namespace)
		}, nil
	case "MetricName":
		return func(m Metric) bool { return is(m.MetricName) }, nil
	case "Namespace":
		return func(m Metric) bool { return is(m.Namespace) }, nil
	case dimension:
		return func(m Metric) bool {
			id, _ := m.instance()
			return is(id)
		}, nil
	}
	return func(Metric) bool { return false }, nil // a dimension that no metric has
}

// parseText reads a value, and returns a bare word as it is, too.
func parseText(s *parser) (is func(string) bool, bare string, err error) {
	s.space()
	if s.take(`"`) {
		whole, rest, ok := strings.Cut(s.rest, `"`)
		if !ok {
			return nil, "", s.wrong("a text has no end")
		}
		s.rest = rest
		return func(text string) bool { return text == whole }, "", nil
	}
	n := strings.IndexAny(s.rest, " \t()\"")
	if n < 0 {
		n = len(s.rest)
	}
	if n == 0 {
		return nil, "", s.wrong("%q was not expected", clip(s.rest))
	}
	bare, s.rest = s.rest[:n], s.rest[n:]
	part := strings.ToLower(bare)
	return func(text string) bool { return strings.Contains(strings.ToLower(text), part) }, bare, nil
}
