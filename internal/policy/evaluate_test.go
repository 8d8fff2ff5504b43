package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"openimds/internal/policy"
)

// POL-EVAL-01, POL-EVAL-02, POL-EVAL-03, POL-EVAL-04: what layers do to each
// other.
func TestLayers(t *testing.T) {
	all := policy.FullAccess(policy.IAM)
	run := mustParse(t, iam(`{"Effect":"Allow","Action":"ec2:Run*","Resource":"*"}`))
	stop := mustParse(t, iam(`{"Effect":"Allow","Action":"ec2:Stop*","Resource":"*"}`))
	never := mustParse(t, iam(`{"Effect":"Deny","Action":"ec2:Run*","Resource":"*"}`))
	type list = []*policy.Policy
	for name, c := range map[string]struct {
		layers policy.Layers
		want   policy.Reason
		layer  policy.Layer
	}{
		"nothing at all":                {policy.Layers{}, policy.ImplicitDeny, policy.Identity},
		"identity":                      {policy.Layers{Identity: list{stop, run}}, policy.Allow, policy.Identity},
		"identity, another action":      {policy.Layers{Identity: list{stop}}, policy.ImplicitDeny, policy.Identity},
		"identity denies":               {policy.Layers{Identity: list{all, never}}, policy.ExplicitDeny, policy.Identity},
		"guards, none":                  {policy.Layers{Guards: list{}, Identity: list{all}}, policy.Allow, policy.Identity},
		"guards allow all":              {policy.Layers{Guards: list{all}, Identity: list{run}}, policy.Allow, policy.Identity},
		"guards alone":                  {policy.Layers{Guards: list{all}}, policy.ImplicitDeny, policy.Identity},
		"guards allow something else":   {policy.Layers{Guards: list{stop}, Identity: list{all}}, policy.ImplicitDeny, policy.Guards},
		"guards deny":                   {policy.Layers{Guards: list{all, never}, Identity: list{all}}, policy.ExplicitDeny, policy.Guards},
		"guards only deny, others":      {policy.Layers{Guards: list{mustParse(t, iam(`{"Effect":"Deny","Action":"ec2:Stop*","Resource":"*"}`))}, Identity: list{all}}, policy.ImplicitDeny, policy.Guards},
		"guards deny who may not":       {policy.Layers{Guards: list{all, never}}, policy.ExplicitDeny, policy.Guards},
		"session":                       {policy.Layers{Identity: list{all}, Session: list{run}}, policy.Allow, policy.Identity},
		"session narrows":               {policy.Layers{Identity: list{all}, Session: list{stop}}, policy.ImplicitDeny, policy.Session},
		"session adds nothing":          {policy.Layers{Identity: list{stop}, Session: list{all}}, policy.ImplicitDeny, policy.Identity},
		"session denies":                {policy.Layers{Identity: list{all}, Session: list{all, never}}, policy.ExplicitDeny, policy.Session},
		"session of nothing":            {policy.Layers{Identity: list{all}, Session: list{}}, policy.ImplicitDeny, policy.Session},
		"all three":                     {policy.Layers{Guards: list{all}, Identity: list{run}, Session: list{run, stop}}, policy.Allow, policy.Identity},
		"a Deny in the last of them":    {policy.Layers{Guards: list{stop}, Identity: list{stop}, Session: list{never}}, policy.ExplicitDeny, policy.Session},
		"a Deny in the identity's, too": {policy.Layers{Guards: list{stop}, Identity: list{never}, Session: list{}}, policy.ExplicitDeny, policy.Identity},
	} {
		t.Run(name, func(t *testing.T) {
			d := policy.Evaluate(c.layers, policy.Request{Action: "ec2:RunInstances", Resources: []string{instance}})
			if d.Reason != c.want || d.Layer != c.layer || d.Allowed != (c.want == policy.Allow) {
				t.Errorf("%s: want %s by the %s layer", d, c.want, c.layer)
			}
		})
	}
}

// POL-EVAL-05, POL-EVAL-08: each resource must be allowed, with keys of its
// own; a call without resources means any.
func TestResources(t *testing.T) {
	onlyImages := mustParse(t, iam(`{"Effect":"Allow","Action":"*","Resource":"arn:aws:ec2:*::image/*"}`))
	both := mustParse(t, iam(`{"Effect":"Allow","Action":"*","Resource":["arn:aws:ec2:*::image/*","arn:aws:ec2:*:*:instance/*"]}`))
	hardened := mustParse(t, iam(allowAll+`,{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringNotEquals":{"ec2:MetadataHttpTokens":"required"}}}`))
	required := context("ec2:MetadataHttpTokens = required")
	for name, c := range map[string]struct {
		policy    *policy.Policy
		resources []string
		own       []policy.Context
		want      policy.Reason
		resource  string
	}{
		"one of two":                   {onlyImages, []string{image, instance}, nil, policy.ImplicitDeny, instance},
		"both":                         {both, []string{image, instance}, nil, policy.Allow, image},
		"none, by name":                {both, nil, nil, policy.ImplicitDeny, "*"},
		"none":                         {policy.FullAccess(policy.IAM), nil, nil, policy.Allow, "*"},
		"a key of the second":          {hardened, []string{image, instance}, []policy.Context{nil, required}, policy.ExplicitDeny, image},
		"a key of the first":           {hardened, []string{instance, image}, []policy.Context{required}, policy.ExplicitDeny, image},
		"a key of both":                {hardened, []string{instance, image}, []policy.Context{required, required}, policy.Allow, instance},
		"a Deny after a missing Allow": {mustParse(t, iam(`{"Effect":"Deny","Action":"*","Resource":"arn:aws:ec2:*::image/*"}`)), []string{instance, image}, nil, policy.ExplicitDeny, image},
	} {
		t.Run(name, func(t *testing.T) {
			d := policy.Evaluate(policy.Layers{Identity: []*policy.Policy{c.policy}},
				policy.Request{Action: "ec2:RunInstances", Resources: c.resources, ResourceContext: c.own})
			if d.Reason != c.want || d.Resource != c.resource {
				t.Errorf("%s: want %s on %s", d, c.want, c.resource)
			}
		})
	}
	for _, own := range []policy.Context{{"ec2:metadatahttptokens": {}}, {}, nil} {
		r := policy.Request{Action: "ec2:StartInstances", Resources: []string{instance}, Context: required, ResourceContext: []policy.Context{own}}
		if d := policy.Evaluate(policy.Layers{Identity: []*policy.Policy{hardened}}, r); !d.Allowed {
			t.Errorf("%s: a key without values hides one of the call", d)
		}
	}
	own := policy.Request{Action: "ec2:StartInstances", Resources: []string{instance}, Context: context("ec2:MetadataHttpTokens = optional"), ResourceContext: []policy.Context{required}}
	if d := policy.Evaluate(policy.Layers{Identity: []*policy.Policy{hardened}}, own); !d.Allowed {
		t.Errorf("%s: a key of the resource comes before one of the call", d)
	}
}

// POL-DOC-06, POL-DOC-07, POL-DOC-08, POL-DOC-09, POL-EVAL-07: what a statement
// is about.
func TestStatementMatches(t *testing.T) {
	for _, c := range []struct {
		statement, action, resource string
		want                        bool
	}{
		{`"Action":"ec2:RunInstances","Resource":"*"`, "ec2:RunInstances", instance, true},
		{`"Action":"EC2:runinstances","Resource":"*"`, "ec2:RunInstances", instance, true},
		{`"Action":"ec2:*Instance?","Resource":"*"`, "ec2:RunInstances", instance, true},
		{`"Action":["ec2:Start*","ec2:Stop*"],"Resource":"*"`, "ec2:RunInstances", instance, false},
		{`"Action":"*:Run*","Resource":"*"`, "ec2:RunInstances", instance, true},
		{`"NotAction":"iam:*","Resource":"*"`, "ec2:RunInstances", instance, true},
		{`"NotAction":["iam:*","ec2:*"],"Resource":"*"`, "ec2:RunInstances", instance, false},
		{`"Action":"*","Resource":"arn:aws:ec2:*:*:instance/*"`, "ec2:RunInstances", instance, true},
		{`"Action":"*","Resource":"arn:aws:ec2:*:*:instance/*"`, "ec2:RunInstances", image, false},
		{`"Action":"*","Resource":"arn:aws:ec2:*:*:instance/*"`, "ec2:DescribeInstances", "*", false},
		{`"Action":"*","Resource":"arn:aws:ec2:*:*:Instance/*"`, "ec2:RunInstances", instance, false},
		{`"Action":"*","Resource":"arn:aws:ec2"`, "ec2:RunInstances", image, true},
		{`"Action":"*","Resource":"arn:aws:ec2:eu-west-1"`, "ec2:RunInstances", instance, false},
		{`"Action":"*","Resource":"arn:aws:ec2:*"`, "ec2:RunInstances", instance, true},
		{`"Action":"*","Resource":["arn:aws:s3:::*","*"]`, "ec2:DescribeInstances", "*", true},
		{`"Action":"*","NotResource":"arn:aws:ec2:*:*:volume/*"`, "ec2:RunInstances", instance, true},
		{`"Action":"*","NotResource":["arn:aws:ec2:*:*:volume/*","arn:aws:ec2:*:*:instance/*"]`, "ec2:RunInstances", instance, false},
	} {
		p := mustParse(t, iam(`{"Effect":"Allow",`+c.statement+`}`))
		if got := decide(c.action, c.resource, nil, p).Allowed; got != c.want {
			t.Errorf("%s: %s on %s: %v", c.statement, c.action, c.resource, got)
		}
	}
	for _, c := range []struct {
		statement, action, resource string
		want                        bool
	}{
		{`"Action":"ecs:Describe*","Resource":"acs:ecs:cn-hangzhou:*:*"`, "ecs:DescribeInstances", "acs:ecs:cn-hangzhou:1:instance/*", true},
		{`"Action":"ecs:describe*","Resource":"acs:ecs:cn-hangzhou:*:*"`, "ecs:DescribeInstances", "acs:ecs:cn-beijing:1:instance/*", false},
		{`"Action":["ecs:*","rds:*"],"Resource":["acs:*:*cn-beijing*:*:*","acs:*:*cn-shanghai*:*:*"]`, "ecs:RunInstances", "acs:ecs:cn-shanghai:1:instance/*", true},
		{`"NotAction":"ram:*","Resource":"*"`, "ecs:RunInstances", "*", true},
	} {
		p := mustParse(t, ram(`{"Effect":"Allow",`+c.statement+`}`))
		if got := decide(c.action, c.resource, nil, p).Allowed; got != c.want {
			t.Errorf("%s: %s on %s: %v", c.statement, c.action, c.resource, got)
		}
	}
}

// A decision tells what decided, for the audit log.
func TestDecision(t *testing.T) {
	p := mustParse(t, iam(allowAll+`,{"Sid":"RequireImdsV2","Effect":"Deny","Action":"ec2:RunInstances","Resource":"arn:aws:ec2:*:*:instance/*",
		"Condition":{"StringNotEquals":{"ec2:MetadataHttpTokens":"required"},"Null":{"ec2:RoleDelivery":"true","aws:SourceIp":"false"}}}`))
	p.Name = "harden"
	d := decide("ec2:RunInstances", instance, context("aws:SourceIp = 10.0.0.1"), p)
	want := policy.Decision{
		Reason: policy.ExplicitDeny, Layer: policy.Identity, Resource: instance, Policy: "harden", Statement: 1, Sid: "RequireImdsV2",
		Condition: "StringNotEquals ec2:MetadataHttpTokens, Null ec2:RoleDelivery, Null aws:SourceIp",
	}
	if d != want {
		t.Errorf("%+v\nwant %+v", d, want)
	}
	for d, want := range map[policy.Decision]string{
		d: `explicit deny by identity policy "harden", statement 1 (RequireImdsV2), if ` + want.Condition + `, on "` + instance + `"`,
		decide("ec2:RunInstances", image, nil, p): `allow by identity policy "harden", statement 0, on "` + image + `"`,
		decide("ec2:RunInstances", image, nil):    `implicit deny: no identity policy allows it on "` + image + `"`,
	} {
		if got := d.String(); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
	if (policy.Decision{}).Allowed || (policy.Decision{}).Reason == policy.Allow {
		t.Error("the zero decision allows")
	}
	for got, want := range map[string]string{
		policy.Session.String(): "session", policy.Layer(9).String(): "layer 9", policy.Reason(9).String(): "reason 9",
		policy.IAM.String(): "IAM", policy.RAM.String(): "RAM",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestContextSet(t *testing.T) {
	c := context("AWS:UserName = ann")
	if fmt.Sprint(c) != "map[aws:username:[ann]]" {
		t.Error(c)
	}
	c.Set("aws:USERNAME")
	if len(c) != 0 {
		t.Error(c)
	}
}

// costly is a large policy, none of whose statements but the last one matches.
func costly(t testing.TB) (policy.Layers, policy.Request) {
	var b strings.Builder
	for i := range 79 {
		fmt.Fprintf(&b, `{"Effect":"Deny","Action":"ec2:*Instances","Resource":"arn:aws:ec2:*:*:instance/i-%d*",
			"Condition":{"StringNotEquals":{"aws:PrincipalTag/team":["red","${aws:username}"]},"NumericLessThan":{"ec2:RoleDelivery":2}}},`, i)
	}
	p := mustParse(t, iam(b.String()+`{"Effect":"Allow","Action":"*","Resource":"arn:aws:ec2:*:*:instance/*${aws:username, 'x'}*",
		"Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"},"DateGreaterThan":{"aws:CurrentTime":"2026-03-01T10:00:00Z"},"Bool":{"aws:SecureTransport":true}}}`))
	return policy.Layers{Guards: []*policy.Policy{policy.FullAccess(policy.IAM)}, Identity: []*policy.Policy{p}}, policy.Request{
		Action: "ec2:RunInstances", Resources: []string{instance},
		Context: context("aws:username = i-", "aws:SourceIp = 10.1.2.3", "aws:CurrentTime = 2026-03-01T10:00:01Z", "aws:SecureTransport = true", "ec2:RoleDelivery = 2.0"),
	}
}

func TestEvaluateAllocatesNothing(t *testing.T) {
	l, r := costly(t)
	if d := policy.Evaluate(l, r); !d.Allowed {
		t.Fatal(d)
	}
	if n := testing.AllocsPerRun(100, func() { policy.Evaluate(l, r) }); n != 0 {
		t.Errorf("Evaluate allocates %v times", n)
	}
}

func BenchmarkEvaluate(b *testing.B) {
	l, r := costly(b)
	b.ReportAllocs()
	for b.Loop() {
		policy.Evaluate(l, r)
	}
}

func BenchmarkParse(b *testing.B) {
	l, _ := costly(b)
	text := []byte(l.Identity[0].String())
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := policy.Parse(text, policy.IAM); err != nil {
			b.Fatal(err)
		}
	}
}
