package policy_test

import (
	"strings"
	"testing"

	"openimds/internal/policy"
)

// mustParse parses a document of a test, in the language its Version says.
func mustParse(t testing.TB, text string) *policy.Policy {
	t.Helper()
	lang := policy.IAM
	if strings.Contains(text, `"Version":"1"`) || strings.Contains(text, `"Version": "1"`) {
		lang = policy.RAM
	}
	p, err := policy.Parse([]byte(text), lang)
	if err != nil {
		t.Fatalf("%v\n%.1000s", err, text)
	}
	return p
}

// iam makes a document of the current version of IAM from its statements.
func iam(statements string) string {
	return `{"Version":"2012-10-17","Statement":[` + statements + `]}`
}

// ram makes a document of RAM from its statements.
func ram(statements string) string { return `{"Version":"1","Statement":[` + statements + `]}` }

// context makes a Context of lines "key = value", values separated by " | ";
// a key may be in any case of letters. "key =" has one empty value.
func context(lines ...string) policy.Context {
	c := policy.Context{}
	for _, l := range lines {
		key, value, _ := strings.Cut(l, " =")
		c.Set(key, strings.Split(strings.TrimPrefix(value, " "), " | ")...)
	}
	return c
}

// decide evaluates a request against identity policies alone.
func decide(action, resource string, c policy.Context, identity ...*policy.Policy) policy.Decision {
	return policy.Evaluate(policy.Layers{Identity: identity}, policy.Request{Action: action, Resources: []string{resource}, Context: c})
}

const (
	allowAll = `{"Effect":"Allow","Action":"*","Resource":"*"}`
	instance = "arn:aws:ec2:us-east-1:123456789012:instance/i-0123456789abcdef0"
	image    = "arn:aws:ec2:us-east-1::image/ami-0123456789abcdef0"
)
