package redact

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

const (
	ec2Token = "AQAEAAbcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLM=="
	key      = "wJalrXUtnFEMI7MDENGbPxRfiCYEXAMPLEKEY1234"
)

func TestArgs(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"curl", "-s", "http://169.254.169.254/latest/meta-data/"}, "curl -s http://169.254.169.254/latest/meta-data/"},
		{[]string{"curl", "-H", "X-aws-ec2-metadata-token: abc", "u"}, "curl -H X-aws-ec2-metadata-token: [redacted] u"},
		{[]string{"curl", "--header=x-aliyun-ecs-metadata-token:abc"}, "curl --header=x-aliyun-ecs-metadata-token: [redacted]"},
		{[]string{"curl", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 21600"}, "curl -H X-aws-ec2-metadata-token-ttl-seconds: 21600"},
		{[]string{"curl", "-H", "X-aws-ec2-metadata-token:", "abc"}, "curl -H X-aws-ec2-metadata-token: [redacted] [redacted]"},
		{[]string{"python3", "-c", `get(u, {"X-aws-ec2-metadata-token": "abc"})`}, `python3 -c get(u, {"X-aws-ec2-metadata-token: [redacted]`},
		{[]string{"sh", "-c", "T=x\ncurl -H 'X-aws-ec2-metadata-token: abc'\ncurl b"}, "sh -c T=x\ncurl -H 'X-aws-ec2-metadata-token: [redacted]\ncurl b"},
		{[]string{"mysql", "--password=hunter2", "db"}, "mysql --password=[redacted] db"},
		{[]string{"tool", "--api-key", "hunter2", "--secret-file", "f", "-v"}, "tool --api-key [redacted] --secret-file [redacted] -v"},
		{[]string{"tool", "--token", "-v"}, "tool --token -v"},
		{[]string{"env", "AWS_SECRET_ACCESS_KEY=hunter2", "x"}, "env AWS_SECRET_ACCESS_KEY=[redacted] x"},
		{[]string{"x", `{"password": "hunter 2", "a": "b"}`}, `x {"password": [redacted], "a": "b"}`},
		{[]string{"git", "clone", "https://me:hunter2@host/a"}, "git clone https://me:[redacted]@host/a"},
		{[]string{"x", "Authorization: Bearer hunter2"}, "x Authorization: [redacted]"},
		{[]string{"x", key}, "x [redacted]"},
		{[]string{"x", "http://h/a?t=" + ec2Token}, "x http://h/a?t=[redacted]"},
		// What is no secret stays readable.
		{[]string{"docker", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}, "docker 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},
		{[]string{"java", "com.example.tokenizer.Main"}, "java com.example.tokenizer.Main"},
		{nil, ""},
	} {
		if got := Args(c.args, 1000); got != c.want {
			t.Errorf("%q\ngot  %s\nwant %s", c.args, got, c.want)
		}
	}
}

// However a token is given to a program, it is not told.
func TestNoTokenInArgs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		token := "AQA" + rapid.StringMatching(`[A-Za-z0-9_-]{50}`).Draw(t, "token") + "=="
		form := rapid.SampledFrom([]string{"-H X-aws-ec2-metadata-token: %", "%", "--header=x-aliyun-ecs-metadata-token:%", "TOKEN=%", "http://h/?token=%", `{"token":"%"}`, "x%", "'%'", "a/%"}).Draw(t, "form")
		if got := Args([]string{"cmd", strings.ReplaceAll(form, "%", token)}, 4096); strings.Contains(got, token[5:40]) {
			t.Fatalf("%s", got)
		}
	})
}

func TestText(t *testing.T) {
	if got := Text("/latest/" + ec2Token + "/x"); strings.Contains(got, "bcdefgh") {
		t.Error(got)
	}
	const role = "/latest/meta-data/iam/security-credentials/eksctl-prod-nodegroup-NodeInstanceRole-1A2B3C4D5E6F7G8H9"
	if got := Text(role); got != role {
		t.Error(got)
	}
}

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                  "plain",
		"a\nb\r\tc":              `a\nb\r\tc`,
		"\x1b[31mred":            `\x1b[31mred`,
		`back\slash`:             `back\\slash`,
		"grün 日本":                "grün 日本",
		"bad\xff\xfe":            `bad\xff\xfe`,
		"right\u202eleft":        `right\u202eleft`,
		"\u2028line\U000e0001 x": `\u2028line\U000e0001 x`,
		"nul\x00":                `nul\x00`,
	} {
		if got := Escape(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		in    string
		limit int
		want  string
	}{{"abc", 3, "abc"}, {"abcd", 3, "..."}, {"abcdefgh", 6, "abc..."}, {"aü日本x", 6, "aü..."}, {"aaü日本", 6, "aa..."}} {
		if got := Cut(c.in, c.limit); got != c.want {
			t.Errorf("%q to %d: got %q, want %q", c.in, c.limit, got, c.want)
		}
	}
}

func FuzzEscape(f *testing.F) {
	f.Add("a\nb\xff\u202e")
	f.Fuzz(func(t *testing.T, s string) {
		got := Escape(s)
		for _, r := range got {
			if r < ' ' || r == 0x7f || r == utf8.RuneError && !strings.ContainsRune(s, utf8.RuneError) || r == '\u202e' || r == '\u2028' {
				t.Errorf("%q has %q", got, r)
			}
		}
		if len(Cut(got, 10)) > 10 {
			t.Errorf("%q is longer than 10", Cut(got, 10))
		}
	})
}

func FuzzArgs(f *testing.F) {
	f.Add("curl\x00-H\x00X-aws-ec2-metadata-token: x")
	f.Fuzz(func(t *testing.T, s string) {
		args := strings.Split(s, "\x00")
		if got := Args(args, 100); len(got) > 100 {
			t.Errorf("%d bytes", len(got))
		}
		if got := Args(append(args, "X-aws-ec2-metadata-token: "+ec2Token), 1<<20); strings.Contains(got, ec2Token) {
			t.Errorf("%s", got)
		}
	})
}
