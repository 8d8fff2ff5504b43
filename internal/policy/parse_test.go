package policy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"openimds/internal/policy"
)

// What is refused, where, and why: POL-DOC-01, POL-DOC-13.
func TestParseRefuses(t *testing.T) {
	condition := func(c string) string {
		return iam(`{"Effect":"Deny","Action":"*","Resource":"*","Condition":` + c + `}`)
	}
	const rest = `,"Action":"*","Resource":"*"}`
	for name, c := range map[string]struct {
		text string
		want string
	}{
		"nothing":             {``, `1:1: is not JSON: unexpected end`},
		"no JSON":             {"{\n  \"Version\" \"2012-10-17\"}", `2:13: is not JSON`},
		"cut off":             {`{"Version":"2012-10-17","Statement":[`, `1:38: is not JSON: unexpected end`},
		"cut off in a string": {`{"Version":"2012`, `1:17: is not JSON: unexpected end`},
		"two documents":       {iam(allowAll) + "\n{}", `2:1: is not JSON`},
		"comma after the end": {iam(allowAll) + ",", `is not JSON: invalid character ',' after`},
		"not UTF-8":           {"{\"é\xff\":1}", `1:4: is not valid UTF-8`},
		"half a surrogate":    {`{"Version":"\ud800"}`, `1:12: has half of a surrogate pair`},
		"too deep":            {strings.Repeat("[", 1000) + strings.Repeat("]", 1000), `1:11: lies too deep`},
		// POL-DOC-10
		"too large": {strings.Repeat(" ", policy.MaxSize+1), `1:1: has 20481 bytes: want at most 20480`},
		"a list":    {`[]`, `1:1: is a list: want an object with Version and Statement`},
		// POL-DOC-04
		"a member twice": {`{"Version":"2012-10-17","Version":"2012-10-17"}`, `1:25: "Version" is given twice`},
		"twice, escaped": {`{"Version":"1","\u0056ersion":"1"}`, `1:16: "Version" is given twice`},
		"unknown member": {`{"Statements":[]}`, `1:2: Statements: is not expected here: want Version, Statement`},
		"member in lower case": {`{"version":"2012-10-17","Statement":` + allowAll + `}`,
			`1:2: version: is not expected here: want Version, in this case`},
		// POL-DOC-05
		"id": {`{"Id":"x","Statement":` + allowAll + `}`, `Id: is not expected here: only policies of resources have one`},
		// POL-DOC-02
		"other version":    {`{"Version":"2020-01-01","Statement":` + allowAll + `}`, `1:12: Version: is "2020-01-01": want "2012-10-17" or "2008-10-17"`},
		"version of RAM":   {`{"Version": 1,"Statement":` + allowAll + `}`, `Version: is 1: want "2012-10-17"`},
		"no statement":     {`{"Version":"2012-10-17"}`, `1:1: has no Statement`},
		"no statements":    {iam(""), `Statement: is empty`},
		"statement a text": {iam(`"x"`), `1:38: Statement[0]: is a string: want an object`},
		"too many":         {iam(strings.Repeat(allowAll+",", 100) + allowAll), `Statement: has 101 statements: want at most 100`},
		"empty statement":  {iam(`{}`), `Statement[0]: has no Effect: want "Allow" or "Deny"; 1:38: Statement[0]: has no Action: want one, or NotAction; 1:38: Statement[0]: has no Resource`},
		"effect":           {"{\"Statement\":\n {\"Effect\":\"allow\"" + rest + "}", `2:12: Statement.Effect: is "allow": want "Allow" or "Deny"`},
		"effect a list":    {iam(`{"Effect":["Allow"]` + rest), `Statement[0].Effect: is a list`},
		// POL-DOC-05
		"principal":     {iam(`{"Principal":"*","Effect":"Allow"` + rest), `Statement[0].Principal: is not expected here: a policy is attached to whom it is about`},
		"not principal": {iam(`{"NotPrincipal":"*","Effect":"Allow"` + rest), `Statement[0].NotPrincipal: is not expected here`},
		// POL-DOC-12
		"sid":             {iam(`{"Sid":"a b","Effect":"Allow"` + rest), `Statement[0].Sid: is "a b": want at most 128 letters`},
		"sid twice":       {iam(`{"Sid":"a","Effect":"Allow"` + rest + `,{"Sid":"a","Effect":"Deny"` + rest), `Statement[1].Sid: is "a", as that of Statement[0]`},
		"both actions":    {iam(`{"Effect":"Allow","NotAction":"*"` + rest), `Statement[0].NotAction: stands beside Action`},
		"both resources":  {iam(`{"Effect":"Allow","NotResource":"*"` + rest), `Statement[0].NotResource: stands beside Resource`},
		"no action":       {iam(`{"Effect":"Allow","Action":[],"Resource":"*"}`), `Statement[0].Action: is empty`},
		"empty action":    {iam(`{"Effect":"Allow","Action":["ec2:*",""],"Resource":"*"}`), `Statement[0].Action[1]: is "": want service:Name`},
		"action a number": {iam(`{"Effect":"Allow","Action":1,"Resource":"*"}`), `Statement[0].Action: is a number: want a string`},
		"action null":     {iam(`{"Effect":"Allow","Action":[null],"Resource":"*"}`), `Statement[0].Action[0]: is null: want a string`},
		// POL-DOC-06
		"action, no name":  {iam(`{"Effect":"Allow","Action":"RunInstances","Resource":"*"}`), `Statement[0].Action: is "RunInstances": want service:Name, such as ec2:RunInstances`},
		"action, variable": {iam(`{"Effect":"Allow","Action":"ec2:${aws:username}","Resource":"*"}`), `Statement[0].Action: is "ec2:${aws:username}"`},
		// POL-DOC-10
		"long text": {iam(`{"Effect":"Allow","Action":"ec2:` + strings.Repeat("a", 2045) + `","Resource":"*"}`), `has 2049 bytes: want at most 2048`},
		// POL-DOC-07
		"resource":          {iam(`{"Effect":"Allow","Action":"*","Resource":"instance/*"}`), `Statement[0].Resource: is "instance/*": want arn:partition`},
		"resource of RAM":   {iam(`{"Effect":"Allow","Action":"*","Resource":"acs:ecs:*:*:*"}`), `want arn:partition`},
		"resource, no part": {iam(`{"Effect":"Allow","Action":"*","Resource":"arn:aws::us-east-1:1:x"}`), `want arn:partition`},
		"resource, account": {iam(`{"Effect":"Allow","Action":"*","Resource":"arn:aws:ec2:us-east-1:a/b:x"}`), `"a/b" is no partition, service, region or account`},
		// POL-VAR-05
		"resource, early variable": {iam(`{"Effect":"Allow","Action":"*","Resource":"arn:aws:ec2:*:${aws:PrincipalAccount}:instance/*"}`),
			`a variable can stand only after the fifth colon`},
		// POL-VAR-01
		"variable, open":      {iam(`{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::a/${aws:username"}`), `a variable lacks its }`},
		"variable, no key":    {iam(`{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::a/${}"}`), `the variable ${}: is no condition key`},
		"variable, default":   {iam(`{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::a/${aws:username, x}"}`), `a default stands in single quotes`},
		"variable, quotes":    {iam(`{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::a/${aws:username, 'x'y'z'}"}`), `a default stands in single quotes`},
		"conditions a list":   {condition(`[]`), `Statement[0].Condition: is a list: want an object of operators`},
		"operator":            {condition(`{"StringMatches":{"a:b":"c"}}`), `Statement[0].Condition.StringMatches: is no operator of IAM`},
		"operator, case":      {condition(`{"stringEquals":{"a:b":"c"}}`), `Statement[0].Condition.stringEquals: is no operator: want StringEquals, in this case`},
		"operator, qualifier": {condition(`{"forAllValues:StringEquals":{"a:b":"c"}}`), `is no operator`},
		"operator, Null":      {condition(`{"NullIfExists":{"a:b":"true"}}`), `Null asks whether a key is there`},
		"operator, any Null":  {condition(`{"ForAnyValue:Null":{"a:b":"true"}}`), `Null asks whether a key is there`},
		"operator, a text":    {condition(`{"Bool":"true"}`), `Statement[0].Condition.Bool: is a string: want an object of condition keys`},
		"operator, empty":     {condition(`{"Bool":{}}`), `Statement[0].Condition.Bool: is empty: want at least one condition key`},
		"key":                 {condition(`{"Bool":{"SecureTransport":true}}`), `Statement[0].Condition.Bool.SecureTransport: is no condition key`},
		"key, blanks":         {condition(`{"Bool":{"aws:SecureTransport ":true}}`), `blanks around it`},
		"key twice":           {condition(`{"Bool":{"aws:SecureTransport":true,"AWS:securetransport":true}}`), `AWS:securetransport: is given twice`},
		"no value":            {condition(`{"Bool":{"aws:SecureTransport":[]}}`), `Condition.Bool.aws:SecureTransport: is empty`},
		"value null":          {condition(`{"Bool":{"aws:SecureTransport":null}}`), `is null: want a string`},
		"value an object":     {condition(`{"Bool":{"aws:SecureTransport":[true,{}]}}`), `aws:SecureTransport[1]: is an object`},
		"bool":                {condition(`{"Bool":{"aws:SecureTransport":"yes"}}`), `is "yes": want true or false`},
		"null":                {condition(`{"Null":{"aws:SecureTransport":"yes"}}`), `is "yes": want true (the key is absent)`},
		"number":              {condition(`{"NumericLessThan":{"ec2:RoleDelivery":"two"}}`), `is "two": want a number`},
		"number, exponent":    {condition(`{"NumericLessThan":{"ec2:RoleDelivery":1e3}}`), `is "1e3": want a number`},
		"date":                {condition(`{"DateLessThan":{"aws:CurrentTime":"tomorrow"}}`), `is "tomorrow": want a time`},
		"date, no zone":       {condition(`{"DateLessThan":{"aws:CurrentTime":"2026-03-01T10:00:00"}}`), `want a time`},
		"address":             {condition(`{"IpAddress":{"aws:SourceIp":"10.0.0.0/33"}}`), `is "10.0.0.0/33": want an address or a block`},
		"address, mapped":     {condition(`{"IpAddress":{"aws:SourceIp":"::ffff:10.0.0.0/104"}}`), `write the IPv4 block itself`},
		"address, variable":   {condition(`{"IpAddress":{"aws:SourceIp":"${aws:VpcSourceIp}"}}`), `want an address or a block`},
		"binary":              {condition(`{"BinaryEquals":{"a:b":"QQ"}}`), `is no base64`},
		"arn":                 {condition(`{"ArnLike":{"aws:PrincipalARN":"role/*"}}`), `want arn:partition`},
		"arn, a lone prefix":  {condition(`{"ArnLike":{"aws:PrincipalARN":"arn:aws:iam::*"}}`), `want arn:partition`},
		"value, variable":     {condition(`{"StringEquals":{"aws:SourceVpc":"${aws:x"}}`), `a variable lacks its }`},

		// POL-DOC-03
		"RAM, no version": {`{"Statement":` + allowAll + `}`, `1:1: has no Version: want "1"`},
		"wrong word":      {`{"Version": "2012-10-17", "Statement": tru}`, `1:43: is not JSON`},
		"comma too many":  {`{"Version":"2012-10-17",}`, `1:25: is not JSON`},
		// POL-DOC-08
		"RAM, resource":       {ram(`{"Effect":"Allow","Action":"*","Resource":"acs:ecs:*:*"}`), `want acs:service:region:account:resource`},
		"RAM, IAM's resource": {ram(`{"Effect":"Allow","Action":"*","Resource":"arn:aws:ec2:*:*:*"}`), `want acs:service`},
		"RAM, action":         {ram(`{"Effect":"Allow","Action":"RunInstances","Resource":"*"}`), `such as ecs:RunInstances`},
		// POL-COND-02
		"RAM, IAM's operator": {ram(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ArnLike":{"acs:PrincipalARN":"acs:ram:*:*:role/x"}}}`),
			`ArnLike: is an operator of IAM that RAM does not have`},
		"RAM, suffix": {ram(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"BoolIfExists":{"acs:MFAPresent":"true"}}}`),
			`BoolIfExists: is an operator of IAM that RAM does not have`},
		"RAM, nonsense": {ram(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"Like":{"acs:MFAPresent":"true"}}}`), `is no operator of RAM`},
		// POL-VAR-08
		"RAM, variable": {ram(`{"Effect":"Allow","Action":"*","Resource":"acs:oss:*:*:${acs:username}"}`), `has a variable, which policies of RAM do not have`},
		"RAM, variable in a value": {ram(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"a:b":"${a:b}"}}}`),
			`has a variable, which policies of RAM do not have`},
	} {
		t.Run(name, func(t *testing.T) {
			lang := policy.IAM
			if strings.HasPrefix(name, "RAM") {
				lang = policy.RAM
			}
			p, err := policy.Parse([]byte(c.text), lang)
			var problems policy.Problems
			if p != nil || !errors.As(err, &problems) {
				t.Fatalf("%v, %v: want a refusal", p, err)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v\nwant %s", err, c.want)
			}
			if strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("more than a line: %q", err)
			}
		})
	}
}

func TestParseOtherLanguage(t *testing.T) {
	for _, c := range []struct {
		text string
		lang policy.Language
	}{
		{ram(allowAll), policy.IAM}, {iam(allowAll), policy.RAM}, {`{"Statement":` + allowAll + `}`, policy.RAM}, {iam(allowAll), 7},
	} {
		if p, err := policy.Parse([]byte(c.text), c.lang); err == nil {
			t.Errorf("%s in language %d: %s", c.text, c.lang, p)
		}
	}
}

// Problems come in the order of the document, ten at most.
func TestParseReportsAll(t *testing.T) {
	_, err := policy.Parse([]byte("{\"Version\":\"2012-10-17\",\n\"Statement\":[\n"+strings.Repeat("{\"Effect\":\"x\",\"Action\":\"y\",\"Resource\":\"z\"},\n", 20)+"{}]}"), policy.IAM)
	var problems policy.Problems
	if !errors.As(err, &problems) || len(problems) != 10 {
		t.Fatalf("%d problems: %v", len(problems), err)
	}
	for i, p := range problems {
		part := []string{"Effect", "Action", "Resource"}[i%3]
		if p.Line != 3+i/3 || p.Path != fmt.Sprintf("Statement[%d].%s", i/3, part) {
			t.Errorf("problem %d: %s", i, p)
		}
	}
}

// POL-DOC-01, POL-DOC-02, POL-DOC-12, POL-DOC-14, POL-COND-19: what is taken
// besides the common form, and what is made of it.
func TestParseTakes(t *testing.T) {
	for text, want := range map[string]string{
		`{"Statement":` + allowAll + `}`:                          ``,
		`{"Version":"2008-10-17","Statement":[` + allowAll + `]}`: `{"Statement":` + allowAll + `}`,
		iam(allowAll): `{"Version":"2012-10-17","Statement":` + allowAll + `}`,
		iam(`{"Sid":"","Resource":["arn:aws:ec2"],"NotAction":["ec2:Run?nstances","*"],"Effect":"Deny","Condition":{}}`):                                                  `{"Version":"2012-10-17","Statement":{"Effect":"Deny","NotAction":["ec2:Run?nstances","*"],"Resource":"arn:aws:ec2"}}`,
		iam(`{"Effect":"Deny","Action":"*","NotResource":"*","Condition":{"Null":{"a:B":[true,"false"]},"ForAnyValue:NumericLessThanIfExists":{"x:y":1.50,"z:w":[-2]}}}`): `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","NotResource":"*","Condition":{"Null":{"a:B":[true,"false"]},"ForAnyValue:NumericLessThanIfExists":{"x:y":1.50,"z:w":-2}}}}`,
		iam(`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringEquals":{"a:b":"\u2028<\u0001\n\ud83d\ude00\"\\\/"}}}`):                                     "{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Deny\",\"Action\":\"*\",\"Resource\":\"*\",\"Condition\":{\"StringEquals\":{\"a:b\":\"\u2028<\\u0001\\n\U0001f600\\\"\\\\/\"}}}}",
		ram(`{"Sid":"允许所有","Effect":"Allow","Action":"*","NotResource":"acs:ecs::1:*"},{"Sid":"允许所有","Effect":"Allow","Action":"*","Resource":"*"}`):                      `{"Version":"1","Statement":[{"Sid":"允许所有","Effect":"Allow","Action":"*","NotResource":"acs:ecs::1:*"},{"Sid":"允许所有","Effect":"Allow","Action":"*","Resource":"*"}]}`,
	} {
		p := mustParse(t, text)
		if want == "" {
			want = text
		}
		if got := p.String(); got != want {
			t.Errorf("%s\nbecomes %s\nwant    %s", text, got, want)
		}
	}
}

// POL-VAR-01: before 2012-10-17 a variable is plain text.
func TestOldVersionHasNoVariables(t *testing.T) {
	const statement = `{"Effect":"Allow","Action":"*","Resource":"arn:aws:s3:::b/${aws:username"}`
	old := mustParse(t, `{"Version":"2008-10-17","Statement":`+statement+`}`)
	if d := decide("s3:GetObject", "arn:aws:s3:::b/${aws:username", context("aws:username = x"), old); !d.Allowed {
		t.Error(d)
	}
	if d := decide("s3:GetObject", "arn:aws:s3:::b/x", context("aws:username = x"), old); d.Allowed {
		t.Error(d)
	}
}

func TestFullAccess(t *testing.T) {
	for lang, resource := range map[policy.Language]string{policy.IAM: instance, policy.RAM: "acs:ecs:cn-hangzhou:1:instance/i-1"} {
		p := policy.FullAccess(lang)
		if d := decide("x:y", resource, nil, p); !d.Allowed || p.Language() != lang || d.Policy != "FullAccess" {
			t.Errorf("%s: %s", lang, d)
		}
	}
}

// checkProblems checks the form of a refusal.
func checkProblems(t *testing.T, data []byte, err error) {
	t.Helper()
	var problems policy.Problems
	if !errors.As(err, &problems) || len(problems) == 0 || len(problems) > 10 {
		t.Fatalf("%T of %d: %v", err, len(problems), err)
	}
	lines := strings.Count(string(data), "\n") + 1
	for _, p := range problems {
		text := p.String()
		if p.Line < 1 || p.Line > lines || p.Column < 1 || p.Column > len(data)+1 || p.Msg == "" || len(text) > 1000 || strings.ContainsAny(text, "\r\n") {
			t.Errorf("%q in a document of %d lines", text, lines)
		}
	}
}
