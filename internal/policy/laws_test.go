package policy_test

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"openimds/internal/policy"
)

// document is a policy as a test makes it up.
type document struct {
	Version   string
	Statement []map[string]any
}

func (d document) parse(t *rapid.T) *policy.Policy {
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	lang := policy.IAM
	if d.Version == "1" {
		lang = policy.RAM
	}
	p, err := policy.Parse(text, lang)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return p
}

func (d document) with(statements ...map[string]any) document {
	d.Statement = slices.Concat(d.Statement, statements)
	return d
}

var (
	someActions   = []string{"ec2:RunInstances", "ec2:ModifyInstanceMetadataOptions", "ec2:DescribeInstances", "iam:PassRole"}
	someResources = []string{instance, image, "arn:aws:s3:::b/ann", "*"}
	someKeys      = []string{"aws:username", "ec2:MetadataHttpTokens", "ec2:RoleDelivery", "aws:SourceIp", "aws:TagKeys", "aws:CurrentTime"}
	someValues    = []string{"", "ann", "Ann", "required", "1.0", "2", "true", "10.0.0.1", "2026-03-01T10:00:00Z", instance}
	operands      = map[string][]any{
		"StringEquals":                      {"ann", "required", "${aws:username}", "${aws:username, 'x'}", ""},
		"StringNotEquals":                   {"ann", "required", "${ec2:MetadataHttpTokens}"},
		"StringEqualsIfExists":              {"ann", "required"},
		"StringLike":                        {"*", "a?n", "A*", "${*}", "${aws:username}*"},
		"StringNotLike":                     {"*", "re*"},
		"NumericLessThan":                   {"2.0", 1, "-1"},
		"NumericNotEquals":                  {"2.0", 1},
		"DateLessThan":                      {"2026", "2026-03-01T10:00:01Z", 0},
		"Bool":                              {true, "false"},
		"IpAddress":                         {"10.0.0.0/8", "::/0"},
		"NotIpAddress":                      {"10.0.0.0/8"},
		"ArnNotLike":                        {"arn:aws:ec2:*:*:instance/*", "*"},
		"Null":                              {true, "false"},
		"ForAllValues:StringEquals":         {"ann", "required"},
		"ForAnyValue:StringNotLike":         {"a*"},
		"ForAnyValue:NumericEqualsIfExists": {2},
	}
	someOperators = slices.Sorted(func(yield func(string) bool) {
		for name := range operands {
			if !yield(name) {
				return
			}
		}
	})
)

// some draws a part of what there is, as one or as a list.
func some[T any](rt *rapid.T, label string, from []T) any {
	if rapid.Bool().Draw(rt, label+" alone") {
		return rapid.SampledFrom(from).Draw(rt, label)
	}
	return rapid.SliceOfN(rapid.SampledFrom(from), 1, 3).Draw(rt, label)
}

func drawStatement(rt *rapid.T, effect string) map[string]any {
	not := func(name string) string {
		if rapid.IntRange(0, 4).Draw(rt, "not") == 0 {
			return "Not" + name
		}
		return name
	}
	s := map[string]any{"Effect": effect}
	s[not("Action")] = some(rt, "actions", append([]string{"*", "ec2:*", "ec2:*Instances", "EC2:modify*"}, someActions...))
	s[not("Resource")] = some(rt, "resources", []string{"*", "arn:aws:ec2", "arn:aws:ec2:*:*:instance/*", "arn:aws:s3:::b/${aws:username}", "arn:aws:s3:::b/${aws:username, 'ann'}", image})
	condition := map[string]any{}
	for _, operator := range rapid.SliceOfNDistinct(rapid.SampledFrom(someOperators), 0, 2, rapid.ID).Draw(rt, "operators") {
		keys := map[string]any{}
		for _, key := range rapid.SliceOfNDistinct(rapid.SampledFrom(someKeys), 1, 2, rapid.ID).Draw(rt, "keys") {
			keys[key] = some(rt, "operands", operands[operator])
		}
		condition[operator] = keys
	}
	if len(condition) > 0 {
		s["Condition"] = condition
	}
	return s
}

func drawDocument(rt *rapid.T) document {
	d := document{Version: rapid.SampledFrom([]string{"2012-10-17", "2012-10-17", "2008-10-17"}).Draw(rt, "version")}
	for range rapid.IntRange(1, 4).Draw(rt, "statements") {
		// More Allow than Deny, or hardly anything would be allowed.
		effect := rapid.SampledFrom([]string{"Allow", "Allow", "Allow", "Deny"}).Draw(rt, "effect")
		d.Statement = append(d.Statement, drawStatement(rt, effect))
	}
	return d
}

func drawContext(rt *rapid.T) policy.Context {
	c := policy.Context{}
	for _, key := range someKeys {
		c.Set(key, rapid.SliceOfN(rapid.SampledFrom(someValues), 0, 2).Draw(rt, key)...)
	}
	return c
}

func drawRequest(rt *rapid.T) policy.Request {
	r := policy.Request{
		Action:    rapid.SampledFrom(someActions).Draw(rt, "action"),
		Resources: rapid.SliceOfN(rapid.SampledFrom(someResources), 0, 2).Draw(rt, "resources"),
		Context:   drawContext(rt),
	}
	if rapid.Bool().Draw(rt, "own keys") {
		r.ResourceContext = []policy.Context{drawContext(rt)}
	}
	return r
}

// layers are documents by layer: guards, identity, session.
type layers [3][]document

func drawLayers(rt *rapid.T) (l layers) {
	for i := range l {
		l[i] = rapid.SliceOfN(rapid.Custom(drawDocument), min(1, i%2), 2).Draw(rt, "layer")
	}
	if rapid.Bool().Draw(rt, "no session") {
		l[2] = nil
	}
	return l
}

func (l layers) evaluate(rt *rapid.T, r policy.Request) policy.Decision {
	var out [3][]*policy.Policy
	for i, documents := range l {
		for _, d := range documents {
			out[i] = append(out[i], d.parse(rt))
		}
	}
	return policy.Evaluate(policy.Layers{Guards: out[0], Identity: out[1], Session: out[2]}, r)
}

// pick draws one of the documents there are, as layer and index.
func (l layers) pick(rt *rapid.T) (int, int) {
	layer := rapid.SampledFrom([]int{0, 1, 2}).Filter(func(i int) bool { return len(l[i]) > 0 }).Draw(rt, "layer")
	return layer, rapid.IntRange(0, len(l[layer])-1).Draw(rt, "policy")
}

func (l layers) replace(layer, i int, d document) layers {
	l[layer] = slices.Clone(l[layer])
	l[layer][i] = d
	return l
}

// POL-EVAL-02: whatever else the policies say, a Deny that matches refuses.
func TestDenyAlwaysWins(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l, r := drawLayers(rt), drawRequest(rt)
		layer, i := l.pick(rt)
		deny := map[string]any{"Effect": "Deny", "Action": r.Action, "Resource": "*"}
		if d := l.replace(layer, i, l[layer][i].with(deny)).evaluate(rt, r); d.Allowed || d.Reason != policy.ExplicitDeny {
			rt.Fatal(d)
		}
	})
}

// A statement more: a Deny never permits what was refused, an Allow never
// refuses what was permitted, and neither turns a refusal of the other kind
// around.
func TestStatementMore(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l, r := drawLayers(rt), drawRequest(rt)
		before := l.evaluate(rt, r)
		layer, i := l.pick(rt)
		denied := l.replace(layer, i, l[layer][i].with(drawStatement(rt, "Deny"))).evaluate(rt, r)
		if denied.Allowed && !before.Allowed || before.Reason == policy.ExplicitDeny && denied.Reason != policy.ExplicitDeny {
			rt.Fatalf("%s; with a Deny more: %s", before, denied)
		}
		allowed := l.replace(layer, i, l[layer][i].with(drawStatement(rt, "Allow"))).evaluate(rt, r)
		if before.Allowed && !allowed.Allowed || (before.Reason == policy.ExplicitDeny) != (allowed.Reason == policy.ExplicitDeny) {
			rt.Fatalf("%s; with an Allow more: %s", before, allowed)
		}
	})
}

// A policy more of the caller's that allows never refuses, one that denies
// never permits.
func TestPolicyMore(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l, r := drawLayers(rt), drawRequest(rt)
		before := l.evaluate(rt, r)
		for effect, wrong := range map[string]func(policy.Decision) bool{
			"Allow": func(d policy.Decision) bool { return before.Allowed && !d.Allowed },
			"Deny":  func(d policy.Decision) bool { return !before.Allowed && d.Allowed },
		} {
			more := l
			more[1] = append(slices.Clone(l[1]), document{"2012-10-17", []map[string]any{drawStatement(rt, effect)}})
			if d := more.evaluate(rt, r); wrong(d) {
				rt.Fatalf("%s; with a policy of %s more: %s", before, effect, d)
			}
		}
	})
}

// POL-EVAL-06: order means nothing.
func TestOrderMeansNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l, r := drawLayers(rt), drawRequest(rt)
		before := l.evaluate(rt, r)
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		for i := range l {
			l[i] = slices.Clone(l[i])
			random.Shuffle(len(l[i]), func(a, b int) { l[i][a], l[i][b] = l[i][b], l[i][a] })
			for j := range l[i] {
				s := slices.Clone(l[i][j].Statement)
				random.Shuffle(len(s), func(a, b int) { s[a], s[b] = s[b], s[a] })
				l[i][j].Statement = s
			}
		}
		r.Resources, r.ResourceContext = slices.Clone(r.Resources), slices.Clone(r.ResourceContext)
		if len(r.Resources) == 2 && len(r.ResourceContext) == 0 {
			slices.Reverse(r.Resources)
		}
		if after := l.evaluate(rt, r); after.Allowed != before.Allowed || after.Reason != before.Reason {
			rt.Fatalf("%s; in another order: %s", before, after)
		}
	})
}

// What Marshal writes, Parse reads, and it decides alike.
func TestMarshalKeepsMeaning(t *testing.T) {
	var allowed, refused int
	rapid.Check(t, func(rt *rapid.T) {
		p, r := drawDocument(rt).parse(rt), drawRequest(rt)
		q, err := policy.Parse([]byte(p.String()), p.Language())
		if err != nil {
			rt.Fatalf("%v\n%s", err, p)
		}
		d, e := decideAll(p, r), decideAll(q, r)
		if d != e {
			rt.Fatalf("%s; read back: %s\n%s", d, e, p)
		}
		if d.Allowed {
			allowed++
		} else {
			refused++
		}
	})
	if allowed < 5 || refused < 5 {
		t.Errorf("%d requests allowed and %d refused: the drawn policies prove nothing", allowed, refused)
	}
}

func decideAll(p *policy.Policy, r policy.Request) policy.Decision {
	return policy.Evaluate(policy.Layers{Identity: []*policy.Policy{p}}, r)
}

// Whatever a document holds: reading it ends; a refusal is one line that names
// a place in it; and what is taken can be written, no longer than it was, and
// read again as the same.
func FuzzParse(f *testing.F) {
	f.Add([]byte(iam(allowAll)), false)
	f.Add([]byte(ram(allowAll)), true)
	f.Add([]byte(`{"Statement":{"Effect":"Deny","NotAction":["a:b"],"NotResource":["arn:aws"],"Condition":{"ForAllValues:NumericLessThanIfExists":{"a:b":[1,"2"]}}}}`), false)
	f.Add([]byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"arn:aws:s3:::a${aws:x, 'y'}${*}","Condition":{"Null":{"a:b":true}}}]}`), false)
	f.Fuzz(func(t *testing.T, data []byte, asRAM bool) {
		lang := policy.IAM
		if asRAM {
			lang = policy.RAM
		}
		p, err := policy.Parse(data, lang)
		if err != nil {
			checkProblems(t, data, err)
			return
		}
		text := p.String()
		if len(text) > len(data) {
			t.Fatalf("%d bytes become %d: %s", len(data), len(text), text)
		}
		q, err := policy.Parse([]byte(text), lang)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if again := q.String(); again != text {
			t.Fatalf("%s\nbecomes\n%s", text, again)
		}
		r := policy.Request{Action: "ec2:RunInstances", Resources: []string{instance}, Context: context("aws:username = ann", "a:b = 1 | x")}
		if d, e := decideAll(p, r), decideAll(q, r); d != e {
			t.Fatalf("%s, and read back %s: %s", d, e, text)
		}
	})
}
