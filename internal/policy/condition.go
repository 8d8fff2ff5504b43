package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// condition is one operator with one key and its values.
type condition struct {
	test
	key      string // in lower case
	keyText  string // as written
	operands []operand
}

// operand is one value of a condition, in the form its operator compares.
type operand struct {
	template      // of strings, resource names and booleans
	bare     bool // written without quotes
	number   decimal
	date     time.Time
	block    netip.Prefix
	binary   string
	truth    bool
}

// checkKey tells what is wrong with a condition key.
func checkKey(key string) error {
	prefix, name, ok := strings.Cut(key, ":")
	switch {
	case !ok || prefix == "" || name == "":
		return errors.New("is no condition key: want service:Name, such as aws:SourceIp")
	case strings.ContainsAny(key, "${}'\"") || strings.TrimSpace(key) != key:
		return errors.New("is no condition key: it has braces, quotes, a dollar sign, or blanks around it")
	}
	return nil
}

// parseOperand reads a value for an operator.
func parseOperand(t test, text string, vars form) (o operand, err error) {
	ok := true
	switch t.kind {
	case kindString, kindFold:
		o.template, err = compile(text, vars)
	case kindLike:
		o.template, err = compile(text, vars|wildcards)
	case kindARN:
		o.template, err = compile(text, vars|wildcards)
		if err == nil && o.pieces == nil {
			err = checkARNOperand(text)
		}
	case kindBool:
		if o.template, err = compile(text, vars); err == nil && o.pieces == nil {
			o.truth, ok = parseTruth(text)
		}
	case kindNull:
		o.truth, ok = parseTruth(text)
	case kindNumeric:
		o.number, ok = parseDecimal(text)
	case kindDate:
		o.date, ok = parseTime(text)
	case kindIP:
		o.block, err = parseBlock(text)
	case kindBinary:
		o.binary, err = parseBinary(text)
	}
	switch {
	case err != nil:
		return operand{}, err
	case !ok:
		return operand{}, fmt.Errorf("is %s: want %s", quote(text), wants[t.kind])
	}
	o.source = text
	return o, nil
}

var wants = map[kind]string{
	kindBool:    "true or false",
	kindNull:    "true (the key is absent) or false (it is there)",
	kindNumeric: "a number such as 3 or 2.0, without exponent",
	kindDate:    "a time such as 2026-03-01T10:00:00Z, a date, or Unix seconds",
}

func checkARNOperand(text string) error {
	if text == "*" || strings.HasPrefix(text, "arn:") && strings.Count(text, ":") >= arnParts-1 {
		return nil
	}
	return fmt.Errorf("is %s: want arn:partition:service:region:account:resource, with wildcards within the parts", quote(text))
}

// holds reports whether a condition is met (POL-COND-03 to POL-COND-07).
func (e *env) holds(c *condition) bool {
	values := e.values(c.key)
	if c.kind == kindNull {
		for i := range c.operands {
			if c.operands[i].truth == (len(values) == 0) {
				return true
			}
		}
		return false
	}
	if len(values) == 0 {
		switch {
		case c.ifExists || c.qualifier == forAllValues:
			return true
		case c.qualifier == forAnyValue:
			return false
		}
		return c.negated
	}
	for _, v := range values {
		equal := e.equalsAny(c, v)
		switch {
		case c.qualifier == forAllValues && equal == c.negated:
			return false
		case c.qualifier == forAnyValue && equal != c.negated:
			return true
		case c.qualifier == plain && equal:
			return !c.negated
		}
	}
	return c.qualifier == forAllValues || c.qualifier == plain && c.negated
}

// equalsAny reports whether a value of the request stands to one of the
// condition's as the operator says, its negation left aside. A value that is
// not of the operator's type does not.
func (e *env) equalsAny(c *condition, value string) bool {
	switch c.kind {
	case kindNumeric:
		n, ok := parseDecimal(value)
		return ok && some(c, func(o *operand) bool { return c.order.holds(n.compare(o.number)) })
	case kindDate:
		t, ok := parseTime(value)
		return ok && some(c, func(o *operand) bool { return c.order.holds(t.Compare(o.date)) })
	case kindIP:
		a, ok := parseAddr(value)
		return ok && some(c, func(o *operand) bool { return o.block.Contains(a) })
	case kindBinary:
		return some(c, func(o *operand) bool { return o.binary == value })
	case kindBool:
		b, ok := parseTruth(value)
		return ok && some(c, func(o *operand) bool { return e.truth(o, b) })
	}
	return some(c, func(o *operand) bool {
		text, ok := e.expand(&o.template)
		switch {
		case !ok: // POL-VAR-03
			return false
		case c.kind == kindString:
			return string(text) == value
		case c.kind == kindFold:
			return strings.EqualFold(string(text), value)
		case c.kind == kindLike:
			return match(text, value, false)
		}
		return matchARN(text, value)
	})
}

func some(c *condition, f func(*operand) bool) bool {
	for i := range c.operands {
		if f(&c.operands[i]) {
			return true
		}
	}
	return false
}

func (e *env) truth(o *operand, b bool) bool {
	if o.pieces == nil {
		return o.truth == b
	}
	text, ok := e.expand(&o.template)
	if !ok {
		return false
	}
	want, ok := parseTruth(string(text))
	return ok && want == b
}
