package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// kind is the type of value that an operator compares.
type kind uint8

const (
	kindString kind = iota
	kindFold
	kindLike
	kindNumeric
	kindDate
	kindBool
	kindBinary
	kindIP
	kindARN
	kindNull
)

// order is a set of the ways two values can stand to each other.
type order uint8

const (
	less order = 1 << iota
	equal
	greater
)

// holds reports whether the result of a comparison is in the set.
func (o order) holds(c int) bool {
	switch {
	case c < 0:
		return o&less != 0
	case c > 0:
		return o&greater != 0
	}
	return o&equal != 0
}

// operator is a condition operator without qualifier and suffix.
type operator struct {
	name    string
	kind    kind
	order   order // of numbers and times
	negated bool
	ram     bool // RAM has it too
}

// operators are all there are (POL-COND-01, POL-COND-02).
var operators = []operator{
	{name: "StringEquals", kind: kindString, ram: true},
	{name: "StringNotEquals", kind: kindString, negated: true, ram: true},
	{name: "StringEqualsIgnoreCase", kind: kindFold, ram: true},
	{name: "StringNotEqualsIgnoreCase", kind: kindFold, negated: true, ram: true},
	{name: "StringLike", kind: kindLike, ram: true},
	{name: "StringNotLike", kind: kindLike, negated: true, ram: true},
	{name: "NumericEquals", kind: kindNumeric, order: equal, ram: true},
	{name: "NumericNotEquals", kind: kindNumeric, order: equal, negated: true, ram: true},
	{name: "NumericLessThan", kind: kindNumeric, order: less, ram: true},
	{name: "NumericLessThanEquals", kind: kindNumeric, order: less | equal, ram: true},
	{name: "NumericGreaterThan", kind: kindNumeric, order: greater, ram: true},
	{name: "NumericGreaterThanEquals", kind: kindNumeric, order: greater | equal, ram: true},
	{name: "DateEquals", kind: kindDate, order: equal, ram: true},
	{name: "DateNotEquals", kind: kindDate, order: equal, negated: true, ram: true},
	{name: "DateLessThan", kind: kindDate, order: less, ram: true},
	{name: "DateLessThanEquals", kind: kindDate, order: less | equal, ram: true},
	{name: "DateGreaterThan", kind: kindDate, order: greater, ram: true},
	{name: "DateGreaterThanEquals", kind: kindDate, order: greater | equal, ram: true},
	{name: "Bool", kind: kindBool, ram: true},
	{name: "IpAddress", kind: kindIP, ram: true},
	{name: "NotIpAddress", kind: kindIP, negated: true, ram: true},
	{name: "BinaryEquals", kind: kindBinary},
	{name: "ArnEquals", kind: kindARN},
	{name: "ArnLike", kind: kindARN},
	{name: "ArnNotEquals", kind: kindARN, negated: true},
	{name: "ArnNotLike", kind: kindARN, negated: true},
	{name: "Null", kind: kindNull},
}

// qualifier says what is asked of a key with several values.
type qualifier uint8

const (
	plain qualifier = iota
	forAllValues
	forAnyValue
)

// test is an operator as a policy names it.
type test struct {
	operator
	written   string
	qualifier qualifier
	ifExists  bool
}

// parseTest reads the name of an operator with its qualifier and suffix.
func parseTest(written string, l Language) (test, error) {
	t := test{written: written}
	name := written
	if l == IAM {
		if rest, ok := strings.CutPrefix(name, "ForAllValues:"); ok {
			t.qualifier, name = forAllValues, rest
		} else if rest, ok := strings.CutPrefix(name, "ForAnyValue:"); ok {
			t.qualifier, name = forAnyValue, rest
		}
		name, t.ifExists = strings.CutSuffix(name, "IfExists")
	}
	at := slices.IndexFunc(operators, func(o operator) bool { return o.name == name && (l == IAM || o.ram) })
	if at < 0 {
		return test{}, unknownOperator(written, name, l)
	}
	t.operator = operators[at]
	if t.kind == kindNull && (t.qualifier != plain || t.ifExists) {
		return test{}, errors.New("is no operator: Null asks whether a key is there, and stands alone")
	}
	return t, nil
}

func unknownOperator(written, name string, l Language) error {
	for _, o := range operators {
		if (l == IAM || o.ram) && strings.EqualFold(o.name, name) {
			return fmt.Errorf("is no operator: want %s, in this case of letters", o.name)
		}
	}
	if l == RAM {
		if _, err := parseTest(written, IAM); err == nil {
			return errors.New("is an operator of IAM that RAM does not have")
		}
	}
	return fmt.Errorf("is no operator of %s: want one such as StringEquals, StringLike, NumericLessThan, DateLessThan, Bool or IpAddress", l)
}
