package policy_test

import (
	"fmt"
	"testing"

	"openimds/internal/policy"
)

// met reports whether the conditions of a statement are met.
func met(t *testing.T, conditions string, c policy.Context) bool {
	t.Helper()
	p := mustParse(t, iam(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":`+conditions+`}`))
	return decide("ec2:RunInstances", instance, c, p).Allowed
}

// Every operator with values that match or do not, with a key that is absent,
// with IfExists, and with the qualifiers: POL-COND-01, POL-COND-05,
// POL-COND-06, POL-COND-15, POL-COND-18.
func TestOperators(t *testing.T) {
	type row struct {
		operand string // the policy's values, in JSON
		value   string // the request's; "-" is none
		want    bool
	}
	for operator, rows := range map[string][]row{
		// POL-COND-13
		"StringEquals":              {{`"a"`, "a", true}, {`"a"`, "A", false}, {`"a*"`, "ab", false}, {`"a*"`, "a*", true}, {`""`, "", true}, {`"a"`, "-", false}, {`1.0`, "1.0", true}, {`1.0`, "1", false}, {`true`, "true", true}},
		"StringNotEquals":           {{`"a"`, "a", false}, {`"a"`, "A", true}, {`["a","b"]`, "b", false}, {`["a","b"]`, "c", true}, {`"a"`, "-", true}},
		"StringEqualsIgnoreCase":    {{`"Ab"`, "aB", true}, {`"Ä"`, "ä", true}, {`"a"`, "b", false}, {`"a"`, "-", false}},
		"StringNotEqualsIgnoreCase": {{`"Ab"`, "aB", false}, {`"a"`, "b", true}, {`"a"`, "-", true}},
		"StringLike":                {{`"a*"`, "abc", true}, {`"a?"`, "abc", false}, {`"A*"`, "abc", false}, {`["x","a*"]`, "abc", true}, {`"*"`, "-", false}, {`"*"`, "", true}},
		"StringNotLike":             {{`"a*"`, "abc", false}, {`["x","b*"]`, "abc", true}, {`"*"`, "-", true}},

		// POL-COND-08
		"NumericEquals":            {{`"2.0"`, "2", true}, {`2`, "2.00", true}, {`"-0"`, "0", true}, {`"007"`, "7", true}, {`"2"`, "3", false}, {`"2"`, "two", false}, {`"9007199254740993"`, "9007199254740992", false}, {`"2"`, "-", false}},
		"NumericNotEquals":         {{`"2.0"`, "2", false}, {`"2"`, "3", true}, {`["2","3"]`, "3", false}, {`"2"`, "two", true}, {`"2"`, "-", true}},
		"NumericLessThan":          {{`"2.0"`, "1.9", true}, {`"2.0"`, "2", false}, {`"10"`, "9", true}, {`"-1"`, "-2", true}, {`"-2"`, "-1", false}, {`"0"`, "-0.1", true}, {`"2"`, "-", false}},
		"NumericLessThanEquals":    {{`"2"`, "2", true}, {`"2"`, "2.1", false}, {`"2"`, "-", false}},
		"NumericGreaterThan":       {{`3`, "4", true}, {`3`, "3", false}, {`"0.05"`, "0.5", true}, {`3`, "-", false}, {`["9","3"]`, "4", true}},
		"NumericGreaterThanEquals": {{`"3"`, "3.0", true}, {`"3"`, "2", false}, {`"3"`, "-", false}},

		// POL-COND-09
		"DateEquals":            {{`"2026-03-01T10:00:00Z"`, "2026-03-01T11:00:00+01:00", true}, {`"2026-03-01"`, "2026-03-01T00:00Z", true}, {`"2026"`, "2026-01-01T00:00:00.000Z", true}, {`"2026-03"`, "2026-03-01", true}, {`"1772359200"`, "2026-03-01T10:00:00Z", true}, {`1772359200`, "1772359201", false}, {`"2026"`, "-", false}, {`"2026"`, "x", false}},
		"DateNotEquals":         {{`"2026"`, "2026-01-01", false}, {`"2026"`, "2027", true}, {`"2026"`, "-", true}, {`"2026"`, "x", true}},
		"DateLessThan":          {{`"2026-03-01T10:00:00Z"`, "2026-03-01T09:59:59Z", true}, {`"2026-03-01T10:00:00Z"`, "2026-03-01T10:00:00Z", false}, {`"2026"`, "-", false}},
		"DateLessThanEquals":    {{`"2026-03-01T10:00:00Z"`, "2026-03-01T10:00:00Z", true}, {`"2026"`, "2027", false}, {`"2026"`, "-", false}},
		"DateGreaterThan":       {{`"2026-03-01T10:00:00.5Z"`, "2026-03-01T10:00:00.6Z", true}, {`"2026"`, "2025", false}, {`"2026"`, "-", false}},
		"DateGreaterThanEquals": {{`"2026"`, "2026", true}, {`"2026"`, "2025-12-31", false}, {`"2026"`, "-", false}},

		// POL-COND-10
		"Bool": {{`"true"`, "true", true}, {`true`, "TRUE", true}, {`"False"`, "false", true}, {`false`, "true", false}, {`["true","false"]`, "false", true}, {`"true"`, "1", false}, {`"false"`, "-", false}},
		// POL-COND-11
		"BinaryEquals": {{`"QmluYXJ5"`, "QmluYXJ5", true}, {`"QmluYXJ5"`, "Binary", false}, {`"QmluYXJ5"`, "-", false}},
		// POL-COND-12
		"IpAddress":    {{`"203.0.113.0/24"`, "203.0.113.7", true}, {`"203.0.113.9/24"`, "203.0.113.7", true}, {`"203.0.113.7"`, "203.0.113.7", true}, {`"203.0.113.7"`, "203.0.113.8", false}, {`["10.0.0.0/8","2001:DB8:1234:5678::/64"]`, "2001:db8:1234:5678::1", true}, {`"10.0.0.0/8"`, "::ffff:10.1.2.3", true}, {`"2001:db8::1"`, "2001:db8::2", false}, {`"0.0.0.0/0"`, "::1", false}, {`"fe80::/10"`, "fe80::1%eth0", true}, {`"10.0.0.0/8"`, "localhost", false}, {`"0.0.0.0/0"`, "-", false}},
		"NotIpAddress": {{`"203.0.113.0/24"`, "203.0.113.7", false}, {`["203.0.113.0/24","10.0.0.0/8"]`, "10.1.1.1", false}, {`"203.0.113.0/24"`, "198.51.100.1", true}, {`"0.0.0.0/0"`, "-", true}},

		// POL-COND-14
		"ArnEquals":    {{`"arn:aws:iam::*:role/a*"`, "arn:aws:iam::1:role/abc", true}, {`"arn:aws:iam::*:role/a"`, "arn:aws:iam::1:role/A", false}, {`"arn:aws:iam::*:role/a"`, "a", false}, {`"*"`, "-", false}},
		"ArnLike":      {{`"arn:aws:iam::*:role/a?c"`, "arn:aws:iam::1:role/abc", true}, {`"arn:aws:iam:*:*:role/*"`, "-", false}},
		"ArnNotEquals": {{`"arn:aws:iam::*:role/a*"`, "arn:aws:iam::1:role/abc", false}, {`"arn:aws:iam::1:role/x"`, "arn:aws:iam::2:role/x", true}, {`"*"`, "-", true}},
		"ArnNotLike":   {{`"arn:aws:iam::*:role/a*"`, "arn:aws:iam::1:role/abc", false}, {`["arn:aws:iam::1:role/x","arn:aws:iam::2:role/x"]`, "arn:aws:iam::2:role/x", false}, {`"*"`, "-", true}},
	} {
		t.Run(operator, func(t *testing.T) {
			for _, r := range rows {
				c := context("x:y = " + r.value)
				if r.value == "-" {
					c = nil
				}
				for prefix, want := range map[string]bool{
					"":              r.want,
					"ForAllValues:": r.want || r.value == "-",
					"ForAnyValue:":  r.want && r.value != "-",
				} {
					for suffix, want := range map[string]bool{"": want, "IfExists": want || r.value == "-"} {
						condition := fmt.Sprintf(`{"%s%s%s":{"X:Y":%s}}`, prefix, operator, suffix, r.operand)
						if got := met(t, condition, c); got != want {
							t.Errorf("%s with %q: %v, want %v", condition, r.value, got, want)
						}
					}
				}
			}
		})
	}
}

// RAM has the operators of POL-COND-02, with the same rules (POL-COND-20).
func TestOperatorsOfRAM(t *testing.T) {
	for operator, c := range map[string]struct {
		operand, match, differ string
		negated                bool
	}{
		"StringEquals":              {`"a"`, "a", "A", false},
		"StringNotEquals":           {`["a","b"]`, "c", "b", true},
		"StringEqualsIgnoreCase":    {`"a"`, "A", "b", false},
		"StringNotEqualsIgnoreCase": {`"a"`, "b", "A", true},
		"StringLike":                {`"hangzhou/2015/*"`, "hangzhou/2015/", "hangzhou/2016/x", false},
		"StringNotLike":             {`"a*"`, "b", "a", true},
		"NumericEquals":             {`"1"`, "1.0", "2", false},
		"NumericNotEquals":          {`"1"`, "2", "1", true},
		"NumericLessThan":           {`"2"`, "1", "2", false},
		"NumericLessThanEquals":     {`"2"`, "2", "3", false},
		"NumericGreaterThan":        {`"2"`, "3", "2", false},
		"NumericGreaterThanEquals":  {`"2"`, "2", "1", false},
		"DateEquals":                {`"2019-08-12T17:00:00+08:00"`, "2019-08-12T09:00:00Z", "2019-08-12T17:00:00Z", false},
		"DateNotEquals":             {`"2019-08-12T17:00:00+08:00"`, "2019-08-12T17:00:00Z", "2019-08-12T09:00:00Z", true},
		"DateLessThan":              {`"2019-08-12T17:00:00+08:00"`, "2019-08-12T08:59:59Z", "2019-08-12T09:00:00Z", false},
		"DateLessThanEquals":        {`"2019-08-12T17:00:00+08:00"`, "2019-08-12T09:00:00Z", "2019-08-12T09:00:01Z", false},
		"DateGreaterThan":           {`"2019-08-12T17:00:00+08:00"`, "2019-08-12T09:00:01Z", "2019-08-12T09:00:00Z", false},
		"DateGreaterThanEquals":     {`"2019-08-12T17:00:00+08:00"`, "2019-08-12T09:00:00Z", "2019-08-12T08:59:59Z", false},
		"Bool":                      {`"true"`, "true", "false", false},
		"IpAddress":                 {`["42.120.88.10","42.120.66.0/24"]`, "42.120.66.1", "42.120.88.11", false},
		"NotIpAddress":              {`"42.120.66.0/24"`, "42.120.88.11", "42.120.66.1", true},
	} {
		p := mustParse(t, ram(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"`+operator+`":{"acs:X":`+c.operand+`}}}`))
		for value, want := range map[string]bool{c.match: true, c.differ: false} {
			if got := decide("ecs:RunInstances", "*", policy.Context{"acs:x": {value}}, p).Allowed; got != want {
				t.Errorf("%s %s with %q: %v", operator, c.operand, value, got)
			}
		}
		if got := decide("ecs:RunInstances", "*", nil, p).Allowed; got != c.negated {
			t.Errorf("%s without the key: %v", operator, got)
		}
	}
}

// POL-COND-07: Null asks whether a key is there.
func TestNull(t *testing.T) {
	for _, c := range []struct {
		condition string
		context   policy.Context
		want      bool
	}{
		{`{"Null":{"x:y":"true"}}`, nil, true},
		{`{"Null":{"x:y":true}}`, context("x:y = a"), false},
		{`{"Null":{"x:y":"false"}}`, nil, false},
		{`{"Null":{"x:y":false}}`, context("x:y = a"), true},
		{`{"Null":{"x:y":["true","false"]}}`, context("x:y = a"), true},
		{`{"Null":{"x:y":"true"}}`, policy.Context{"x:y": {}}, true},
		{`{"Null":{"x:y":"false"}}`, context("x:y ="), true}, // POL-COND-21
	} {
		if got := met(t, c.condition, c.context); got != c.want {
			t.Errorf("%s with %v: %v", c.condition, c.context, got)
		}
	}
}

// POL-COND-03, POL-COND-04, POL-COND-16: how operators, keys and values go
// together.
func TestLogic(t *testing.T) {
	const and = `{"StringEquals":{"aws:PrincipalTag/department":["finance","hr","legal"],"aws:PrincipalTag/role":["audit","security"]},
		"ArnLike":{"aws:PrincipalArn":["arn:aws:iam::222222222222:user/Ana","arn:aws:iam::222222222222:user/Mary"]}}`
	const nor = `{"StringEquals":{"aws:PrincipalTag/department":["finance","hr","legal"],"aws:PrincipalTag/role":["audit","security"]},
		"ArnNotLike":{"aws:PrincipalArn":["arn:aws:iam::222222222222:user/Ana","arn:aws:iam::222222222222:user/Mary"]}}`
	user := func(name string) string { return "AWS:principalARN = arn:aws:iam::222222222222:user/" + name }
	for _, c := range []struct {
		condition string
		context   policy.Context
		want      bool
	}{
		{and, context("aws:PrincipalTag/department = legal", "aws:PrincipalTag/role = audit", user("Mary")), true},
		{and, context("aws:PrincipalTag/department = hr", "aws:PrincipalTag/role = audit", user("Nikki")), false},
		{and, context("aws:PrincipalTag/department = hr", "aws:PrincipalTag/role = payroll", user("Mary")), false},
		{and, context("aws:PrincipalTag/department = hr", user("Mary")), false},
		{and, context(user("Mary")), false},
		{nor, context("aws:PrincipalTag/department = legal", "aws:PrincipalTag/role = audit", user("Nikki")), true},
		{nor, context("aws:PrincipalTag/department = hr", "aws:PrincipalTag/role = audit", user("Mary")), false},
		{nor, context("aws:PrincipalTag/department = hr", "aws:PrincipalTag/role = payroll", user("Nikki")), false},
		{nor, context("aws:PrincipalTag/department = hr", user("Nikki")), false},
		{nor, context(user("Nikki")), false},
		{nor, context("aws:PrincipalTag/department = hr", "aws:PrincipalTag/role = audit"), true},
	} {
		if got := met(t, c.condition, c.context); got != c.want {
			t.Errorf("%s with %v: %v", c.condition, c.context, got)
		}
	}
}

// POL-COND-15, POL-COND-17: keys with several values.
func TestSeveralValues(t *testing.T) {
	for _, c := range []struct {
		condition string
		keys      string // "-" is none
		want      bool
	}{
		{`{"ForAllValues:StringEquals":{"aws:TagKeys":["environment","cost-center"]}}`, "environment", true},
		{`{"ForAllValues:StringEquals":{"aws:TagKeys":["environment","cost-center"]}}`, "environment | cost-center", true},
		{`{"ForAllValues:StringEquals":{"aws:TagKeys":["environment","cost-center"]}}`, "environment | dept", false},
		{`{"ForAllValues:StringEquals":{"aws:TagKeys":["environment","cost-center"]}}`, "-", true},
		{`{"ForAllValues:StringEquals":{"aws:TagKeys":["environment","cost-center"]},"Null":{"aws:TagKeys":"false"}}`, "-", false},
		{`{"ForAnyValue:StringEquals":{"aws:TagKeys":["environment","cost-center"]}}`, "environment | dept", true},
		{`{"ForAnyValue:StringEquals":{"aws:TagKeys":["environment","cost-center"]}}`, "dept", false},
		{`{"ForAnyValue:StringEquals":{"aws:TagKeys":["environment","cost-center"]}}`, "-", false},
		{`{"ForAllValues:StringNotEquals":{"aws:TagKeys":["a","b"]}}`, "c | d", true},
		{`{"ForAllValues:StringNotEquals":{"aws:TagKeys":["a","b"]}}`, "c | b", false},
		{`{"ForAllValues:StringNotLike":{"aws:TagKeys":"key1*"}}`, "key1:legal", false},
		{`{"ForAllValues:StringNotLike":{"aws:TagKeys":"key1*"}}`, "-", true},
		{`{"ForAnyValue:StringNotEquals":{"aws:TagKeys":["a","b"]}}`, "a | c", true},
		{`{"ForAnyValue:StringNotEquals":{"aws:TagKeys":["a","b"]}}`, "a | b", false},
		{`{"ForAnyValue:StringNotEquals":{"aws:TagKeys":["a","b"]}}`, "-", false},
		{`{"ForAnyValue:StringLike":{"aws:TagKeys":"c*"}}`, "a | cc", true},
		{`{"StringEquals":{"aws:TagKeys":["a","b"]}}`, "c | b", true},
		{`{"StringEquals":{"aws:TagKeys":["a","b"]}}`, "c | d", false},
		{`{"StringNotEquals":{"aws:TagKeys":["a","b"]}}`, "c | b", false},
		{`{"StringNotEquals":{"aws:TagKeys":["a","b"]}}`, "c | d", true},
	} {
		ctx := context("aws:TagKeys = " + c.keys)
		if c.keys == "-" {
			ctx = nil
		}
		if got := met(t, c.condition, ctx); got != c.want {
			t.Errorf("%s with %s: %v", c.condition, c.keys, got)
		}
	}
}

// Variables in conditions: POL-VAR-02, POL-VAR-03, POL-VAR-04, POL-VAR-05,
// POL-VAR-06, POL-VAR-07.
func TestVariables(t *testing.T) {
	for _, c := range []struct {
		condition string
		context   policy.Context
		want      bool
	}{
		{`{"StringEquals":{"x:y":"${aws:username}"}}`, context("x:y = ann", "aws:username = ann"), true},
		{`{"StringEquals":{"x:y":"${AWS:UserName}"}}`, context("x:y = ann", "aws:username = ann"), true},
		{`{"StringEquals":{"x:y":"${aws:username}"}}`, context("x:y = ann", "aws:username = bob"), false},
		{`{"StringEquals":{"x:y":"a-${aws:username}-${x:z}"}}`, context("x:y = a-b-c", "aws:username = b", "x:z = c"), true},
		{`{"StringEquals":{"x:y":"${aws:username}"}}`, context("x:y = ann"), false},
		{`{"StringNotEquals":{"x:y":"${aws:username}"}}`, context("x:y = ann"), true},
		{`{"StringNotEquals":{"x:y":"${aws:username}"}}`, context("aws:username = ann"), true},
		{`{"StringNotEquals":{"x:y":["${aws:username}","ann"]}}`, context("x:y = ann"), false},
		{`{"StringEqualsIgnoreCase":{"x:y":"${aws:username}"}}`, context("x:y = Ann", "aws:username = aNN"), true},
		{`{"StringLike":{"s3:prefix":["","home/","home/${aws:username}/*"]}}`, context("s3:prefix = home/ann/a", "aws:username = ann"), true},
		{`{"StringLike":{"s3:prefix":["","home/","home/${aws:username}/*"]}}`, context("s3:prefix = home/ann/a", "aws:username = *"), false},
		{`{"StringLike":{"s3:prefix":["","home/","home/${aws:username}/*"]}}`, context("s3:prefix = home/"), true},
		{`{"StringLike":{"x:y":"${*}${?}${$}*"}}`, context("x:y = *?$x"), true},
		{`{"StringLike":{"x:y":"${*}"}}`, context("x:y = x"), false},
		{`{"StringEquals":{"x:y":"${$}{aws:username}"}}`, context("x:y = ${aws:username}", "aws:username = ann"), true},
		{`{"StringEquals":{"x:y":"a$b"}}`, context("x:y = a$b"), true},
		{`{"StringEquals":{"x:y":"${aws:PrincipalTag/team, 'company-wide'}"}}`, context("x:y = company-wide"), true},
		{`{"StringEquals":{"x:y":"${aws:PrincipalTag/team, 'company-wide'}"}}`, context("x:y = company-wide", "aws:principaltag/team = red"), false},
		{`{"StringEquals":{"x:y":"${aws:PrincipalTag/team,'a}b'}"}}`, context("x:y = a}b"), true},
		{`{"StringLike":{"x:y":"${aws:PrincipalTag/team, '*'}"}}`, context("x:y = z"), false},
		{`{"StringEquals":{"x:y":"${aws:PrincipalTag/team, ''}"}}`, context("x:y ="), true},
		{`{"StringEquals":{"x:y":"${aws:TagKeys}"}}`, context("x:y = a", "aws:tagkeys = a | b"), false},
		{`{"StringEquals":{"x:y":"${aws:TagKeys, 'a'}"}}`, context("x:y = a", "aws:tagkeys = a | b"), false},
		{`{"ArnEquals":{"aws:SourceArn":"${ec2:SourceInstanceARN}"}}`, context("aws:sourcearn = "+instance, "ec2:sourceinstancearn = "+instance), true},
		{`{"ArnNotEquals":{"aws:SourceArn":"${ec2:SourceInstanceARN}"}}`, context("aws:sourcearn = "+instance, "ec2:sourceinstancearn = "+instance), false},
		{`{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/${aws:username}"}}`, context("aws:principalarn = arn:aws:iam::1:user/ann", "aws:username = ann"), true},
		{`{"Bool":{"x:y":"${x:z}"}}`, context("x:y = true", "x:z = True"), true},
		{`{"Bool":{"x:y":"${x:z}"}}`, context("x:y = true", "x:z = yes"), false},
		{`{"Bool":{"x:y":"${x:z}"}}`, context("x:y = true"), false},
	} {
		if got := met(t, c.condition, c.context); got != c.want {
			t.Errorf("%s with %v: %v", c.condition, c.context, got)
		}
	}
}

// POL-VAR-03, POL-VAR-05: variables in the names of resources.
func TestVariablesInResources(t *testing.T) {
	const bucket = "arn:aws:s3:::b-"
	for _, c := range []struct {
		element, pattern, resource string
		context                    policy.Context
		want                       bool
	}{
		{"Resource", bucket + "${aws:username}", bucket + "ann", context("aws:username = ann"), true},
		{"Resource", bucket + "${aws:username}/*", bucket + "ann/x", context("aws:username = ann"), true},
		{"Resource", bucket + "${aws:username}/*", bucket + "bob/x", context("aws:username = ann"), false},
		{"Resource", bucket + "${aws:username}", bucket + "bob", context("aws:username = *"), false},
		{"Resource", bucket + "${aws:username}", bucket, nil, false},
		{"Resource", bucket + "${aws:username, 'all'}", bucket + "all", nil, true},
		{"Resource", bucket + "${*}", bucket + "*", nil, true},
		{"Resource", bucket + "${*}", bucket + "x", nil, false},
		{"NotResource", bucket + "${aws:username}", bucket + "ann", context("aws:username = ann"), false},
		{"NotResource", bucket + "${aws:username}", bucket + "ann", nil, true},
	} {
		p := mustParse(t, iam(`{"Effect":"Allow","Action":"*","`+c.element+`":"`+c.pattern+`"}`))
		if got := decide("s3:GetObject", c.resource, c.context, p).Allowed; got != c.want {
			t.Errorf("%s %s, %s with %v: %v", c.element, c.pattern, c.resource, c.context, got)
		}
	}
}
