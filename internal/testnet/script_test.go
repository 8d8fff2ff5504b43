package testnet

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParseScript(t *testing.T) {
	got, err := ParseScript("x.http", []byte(`# A comment, before anything.

# EC2-TOK-03 EC2-TOK-04: refused
dialect ec2
from 127.0.0.2
> GET / HTTP/1.1
>> "X: ${repeat 3 ab}\r\n\r\n"
< 401 Unauthorized
<| one
<|
# and a comment in between
<closed
# SEC-O1, SEC-23: another
>
< 200
<empty
`))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 {
		t.Fatalf("%d sections, want 2", len(got))
	}
	first, second := got[0], got[1]
	if name := first.Name(); name != "EC2-TOK-03+EC2-TOK-04 refused" {
		t.Errorf("name %q", name)
	}
	if first.Line != 3 || first.Dialect != "ec2" || first.From != netip.MustParseAddr("127.0.0.2") {
		t.Errorf("section %+v", first)
	}
	if sent := first.steps[0].text + first.steps[1].text; sent != "GET / HTTP/1.1\r\nX: ababab\r\n\r\n" {
		t.Errorf("sends %q", sent)
	}
	if body := first.steps[3]; body.op != opBody || body.text != "one\n" || body.line != 9 {
		t.Errorf("body %+v", body)
	}
	if strings.Join(second.Facts, " ") != "SEC-O1 SEC-23" || second.From != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("section %+v", second)
	}
}

func TestParseScriptErrors(t *testing.T) {
	const head = "# SEC-1: x\n"
	for name, c := range map[string]struct{ script, want string }{
		"no section":              {"# nothing\n", "x.http: no section"},
		"before the first":        {"> GET\n", "x.http:1: "},
		"no title":                {"# SEC-1\n", `x.http:1: a section is`},
		"bad id":                  {"# EC2-TOK3: x\n", `x.http:1: "EC2-TOK3" is no fact id`},
		"empty section":           {head, "x.http:1: the section is empty"},
		"nothing expected":        {head + ">\n", "x.http:1: the section's last request has no expectation"},
		"nothing expected at end": {head + ">\n< 200 OK\n>\n", "x.http:1: the section's last request has no expectation"},
		"header without status":   {head + ">\n< Server: x\n", "x.http:3: "},
		"body without status":     {head + ">\n<empty\n", "x.http:3: "},
		"moved between":           {head + ">\nfrom 127.0.0.2\n< 200 OK\n", "x.http:3: "},
		"unknown expectation":     {head + ">\n<body x\n", `x.http:3: "<body x" is no expectation`},
		"words after empty":       {head + ">\n< 200 OK\n<empty x\n", "x.http:4: "},
		"unknown command":         {head + "wait 1s\n", `x.http:2: "wait" is no command`},
		"a loose line":            {head + "GET / HTTP/1.1 \n", "x.http:2: "},
		"bad address":             {head + "from here\n", "x.http:2: "},
		"bad time":                {head + "sleep 5\n", "x.http:2: "},
		"bad variable":            {head + ">\n< 200 OK\nset token\n", "x.http:4: "},
		"bad string":              {head + ">> GET\n", "x.http:2: "},
		"bad regexp":              {head + ">\n< 200 OK\n<~ (\n", "x.http:4: "},
		"bad header":              {head + ">\n< 200 OK\n< no colon\n", "x.http:4: "},
		"too much":                {head + `>> "${repeat 2000000 x}"` + "\n", "x.http:2: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseScript("x.http", []byte(c.script))
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("error %v, want %s…", err, c.want)
			}
		})
	}
}
