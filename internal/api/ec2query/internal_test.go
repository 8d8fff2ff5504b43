package ec2query

import (
	"net/url"
	"slices"
	"testing"

	"openimds/internal/control"

	"pgregory.net/rapid"
)

// Wordings lets the tests of the API see the table of reasons.
var Wordings = wordings

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true}, {"*", "", true}, {"a", "a", true}, {"a", "A", false}, {"a*c", "abbc", true}, {"a*c", "abbd", false},
		{"*b*", "abc", true}, {"?", "é", true}, {"??", "é", false}, {`\*`, "*", true}, {`\*`, "x", false}, {"a?c*", "abcd", true},
		{"**a", "bba", true}, {`a\`, `a\`, true},
	} {
		if got := glob(c.pattern, c.text); got != c.want {
			t.Errorf("glob(%q, %q) = %t", c.pattern, c.text, got)
		}
	}
}

// TestPages: whatever the size of pages, they show everything once, in order.
func TestPages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfDistinct(rapid.StringN(1, 8, 8), func(s string) string { return s }).Draw(t, "all")
		most := rapid.IntRange(1, 5).Draw(t, "size")
		var shown []string
		l := listing{MaxResults: &most}
		for {
			some, next, err := page(slices.Clone(all), l, 1, func(s string) string { return s })
			if err != nil || len(some) > most {
				t.Fatalf("%q, %v", some, err)
			}
			shown = append(shown, some...)
			if next == "" {
				break
			}
			l.NextToken = next
		}
		slices.Sort(all)
		if !slices.Equal(shown, all) {
			t.Fatalf("%q, want %q", shown, all)
		}
	})
}

func TestDecode(t *testing.T) {
	var p struct {
		Name  string     `q:"Name"`
		On    *bool      `q:"On"`
		Data  []byte     `q:"Data"`
		Tags  []tagIn    `q:"Tag"`
		Inner textValue  `q:"Inner"`
		Lists [][]string `q:"L"`
		Any   anything   `q:"Any"`
	}
	tree, err := parseTree(url.Values{
		"Name": {"x"}, "On": {"TRUE"}, "Data": {"aGk="}, "Tag.10.Key": {"b"}, "Tag.2.Key": {"a"}, "Tag.2.Value": {""},
		"Inner.Value": {"v"}, "L.1.1": {"p"}, "L.1.2": {"q"}, "Any.7.x": {""}, "Old.1": {""},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := decode(tree, &p, []string{"Old"}); err != nil {
		t.Fatal(err)
	}
	if p.Name != "x" || !*p.On || string(p.Data) != "hi" || len(p.Tags) != 2 || p.Tags[0].Key != "a" || p.Tags[0].Value == nil ||
		p.Tags[1].Value != nil || *p.Inner.Value != "v" || p.Lists[0][1] != "q" {
		t.Errorf("%+v", p)
	}
}

// FuzzDecode: no parameters whatever end in anything but a value or an error.
func FuzzDecode(f *testing.F) {
	f.Add("InstanceId.1=i-1&Filter.1.Name=a&Filter.1.Value.1=b")
	f.Add("NetworkInterface.1.SecurityGroupId.1=sg-1&NetworkInterface.1.PrivateIpAddresses.1.Primary=true&MinCount=1")
	f.Add("A.=1&.=2&A..B=3&=")
	f.Fuzz(func(t *testing.T, query string) {
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		tree, err := parseTree(values)
		if err != nil {
			return
		}
		_ = decode(tree, &runIn{}, launchWithoutEffect)
		_ = decode(tree, &describeInstancesIn{}, nil)
	})
}

// FuzzPublicKey: what is taken for a key is written the same way again.
func FuzzPublicKey(f *testing.F) {
	f.Add("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGtKNPj7QwqaX5g2DyRqFAY5oZCN9kkHhLDpXdjoY5xY me")
	f.Add("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ")
	f.Fuzz(func(t *testing.T, line string) {
		k, err := parsePublicKey(line)
		if err != nil {
			return
		}
		again, err := parsePublicKey(k.line())
		if err != nil || again.line() != k.line() {
			t.Fatalf("%q: %v", k.line(), err)
		}
	})
}

// TestWording: what a policy refused has a message for its owner to look up.
func TestWording(t *testing.T) {
	f := word(&control.Error{Reason: "of tomorrow"}, "")
	if f.status != 500 || f.code != "InternalError" {
		t.Errorf("%+v", f)
	}
}
