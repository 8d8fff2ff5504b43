package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"openimds/internal/instance"
)

type level int

func (l *level) UnmarshalText(text []byte) error {
	if string(text) != "high" {
		return errors.New("expected high")
	}
	*l = 3
	return nil
}

type everything struct {
	Text     string            `json:"text"`
	Flag     bool              `json:"flag,omitempty"`
	Int      int               `json:"int"`
	Small    int8              `json:"small"`
	Port     uint16            `json:"port"`
	Large    uint64            `json:"large"`
	Optional *int              `json:"optional"`
	Addr     netip.Addr        `json:"addr"`
	Prefix   netip.Prefix      `json:"prefix"`
	Time     time.Time         `json:"time"`
	Duration time.Duration     `json:"duration"`
	Bytes    []byte            `json:"bytes"`
	Level    level             `json:"level"`
	List     []string          `json:"list"`
	Map      map[string]string `json:"map"`
	Child    *everything       `json:"child"`
	Children []everything      `json:"children"`
	Inner    struct {
		A int `json:"a"`
	} `json:"inner"`
	Skipped string `json:"-"`
	Bare    string
}

func TestDecode(t *testing.T) {
	five := 5
	tests := []struct {
		yaml string
		want everything
	}{
		{"text: web", everything{Text: "web"}},
		{"text: 123456789012", everything{Text: "123456789012"}},
		{"text: 012", everything{Text: "012"}},
		{"text: 1.0", everything{Text: "1.0"}},
		{"text: yes", everything{Text: "yes"}},
		{"text: true", everything{Text: "true"}},
		{"text: 2026-01-15", everything{Text: "2026-01-15"}},
		{"text: <<", everything{Text: "<<"}},
		{"text: 'null'", everything{Text: "null"}},
		{"text: \"a\\nb\"", everything{Text: "a\nb"}},
		{"text: |\n  a\n  b\n", everything{Text: "a\nb\n"}},
		{"text: !!str 5", everything{Text: "5"}},
		{"text:", everything{}},
		{"\ufefftext: a", everything{Text: "a"}},
		{"text: a\r\nint: 1\r\n", everything{Text: "a", Int: 1}},
		{"---\ntext: a\n...\n", everything{Text: "a"}},
		{`{"text": "a", "int": 1}`, everything{Text: "a", Int: 1}},
		{"flag: true", everything{Flag: true}},
		{"flag: False", everything{}},
		{"int: -7", everything{Int: -7}},
		{"int: 0", everything{}},
		{"small: -128", everything{Small: -128}},
		{"port: 65535", everything{Port: 65535}},
		{"large: 18446744073709551615", everything{Large: 1<<64 - 1}},
		{"optional: 5", everything{Optional: &five}},
		{"optional:", everything{}},
		{"addr: 2001:db8::1", everything{Addr: netip.MustParseAddr("2001:db8::1")}},
		{"addr: '10.0.0.5'", everything{Addr: netip.MustParseAddr("10.0.0.5")}},
		{"prefix: 10.0.0.0/8", everything{Prefix: netip.MustParsePrefix("10.0.0.0/8")}},
		{"time: 2026-01-15T08:00:00Z", everything{Time: time.Date(2026, 1, 15, 8, 0, 0, 0, time.UTC)}},
		{"time: '2026-01-15T10:00:00.5+02:00'", everything{Time: time.Date(2026, 1, 15, 8, 0, 0, 5e8, time.UTC)}},
		{"time: 2026-01-15 08:00:00", everything{Time: time.Date(2026, 1, 15, 8, 0, 0, 0, time.UTC)}},
		{"time: 2026-01-15", everything{Time: time.Date(2026, 1, 15, 0, 0, 0, 0, time.UTC)}},
		{"duration: 1m30s", everything{Duration: 90 * time.Second}},
		{"bytes: text", everything{Bytes: []byte("text")}},
		{"bytes: !!binary |\n  aGVs\n  bG8=\n", everything{Bytes: []byte("hello")}},
		{"level: high", everything{Level: 3}},
		{"list: [a, 1, '']", everything{List: []string{"a", "1", ""}}},
		{"list: []", everything{List: []string{}}},
		{"list:", everything{}},
		{"map: {a: b, 1: 2, true: false, '': ''}", everything{Map: map[string]string{"a": "b", "1": "2", "true": "false", "": ""}}},
		{"child: {child: {int: 1}}", everything{Child: &everything{Child: &everything{Int: 1}}}},
		{"children: [{int: 1}, {int: 2}]", everything{Children: []everything{{Int: 1}, {Int: 2}}}},
		{"children: [&a {int: 1, map: {x: y}}, *a]", everything{Children: []everything{
			{Int: 1, Map: map[string]string{"x": "y"}}, {Int: 1, Map: map[string]string{"x": "y"}}}}},
		{"children: [&a {int: 1, text: a}, {<<: *a, text: b}]", everything{Children: []everything{{Int: 1, Text: "a"}, {Int: 1, Text: "b"}}}},
		{"children: [&a {int: 1}, &b {int: 2, text: b}, {<<: [*a, *b]}]", everything{Children: []everything{
			{Int: 1}, {Int: 2, Text: "b"}, {Int: 1, Text: "b"}}}},
		{"inner:\n  a: 1", everything{Inner: struct {
			A int `json:"a"`
		}{1}}},
	}
	for _, tt := range tests {
		t.Run(tt.yaml, func(t *testing.T) {
			var got everything
			if err := Decode("f", []byte(tt.yaml), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	tests := []struct{ yaml, want string }{
		{"flag: on", `f:1:7: flag: found "on", expected true or false`},
		{"flag: 'true'", `f:1:7: flag: found "true", expected true or false`},
		{"flag: !!bool x", `f:1:7: flag: found "x", expected true or false`},
		{"small: 128", `f:1:8: small: found "128", expected a whole number from -128 to 127`},
		{"port: 65536", `f:1:7: port: found "65536", expected a whole number from 0 to 65535`},
		{"port: -1", `f:1:7: port: found "-1", expected a whole number from 0 to 65535`},
		{"int: 1_000", `f:1:6: int: found "1_000", expected a whole number in decimal digits`},
		{"int: 1.0", `f:1:6: int: found "1.0", expected a whole number in decimal digits`},
		{"int: ", `f:1:5: int: found nothing, expected a whole number in decimal digits; leave the key out if there is none`},
		{"int: --1", `f:1:6: int: found "--1", expected a whole number in decimal digits`},
		{"duration: 5", `f:1:11: duration: found "5", expected a duration such as 250ms, 5s or 1m30s`},
		{"addr: ''", `f:1:7: addr: found "", expected an IP address such as 10.0.0.5 or 2001:db8::5`},
		{"level: low", `f:1:8: level: expected high`},
		{"bytes: !!int 5", ""},
		{"bytes: !mine 5", `f:1:8: bytes: found a YAML tag, expected text, or !!binary and base64 without one; put text that begins with ! in quotes`},
		{"text: !!binary aGk=", `f:1:7: text: found a YAML tag, expected text without one; put text that begins with ! in quotes`},
		{"Skipped: a", `f:1:1: Skipped: unknown key`},
		{"Bare: a", `f:1:1: Bare: unknown key`},
		{"child: &c {child: *c}", `f:1:19: child.child.child: the alias *c stands within its own anchor`},
		{"map: {'a b': [1]}", `f:1:14: map["a b"]: found a list, expected text`},
		{"text: " + strings.Repeat("a", 60) + ": b", `f:1:1: not YAML: mapping values are not allowed in this context; is the line indented too far, or does text hold a colon and want quotes?`},
		{"int: " + strings.Repeat("é", 50), `f:1:6: int: found "` + strings.Repeat("é", 40) + `"…, expected a whole number in decimal digits`},
	}
	for _, tt := range tests {
		t.Run(tt.yaml, func(t *testing.T) {
			var got everything
			err := Decode("f", []byte(tt.yaml), &got)
			if tt.want == "" {
				if err != nil {
					t.Errorf("got %v, want no error", err)
				}
				return
			}
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// A secret that wants quotes in YAML is in no problem, whatever its first
// character makes of it.
func TestDecodeKeepsSecrets(t *testing.T) {
	firsts := []string{"", "!", "!!", "&", "*", "[", "{", "|", ">", "%", "@", "`", "#", "'", "\"", "? ", "- ", ": ", "a: ", "<<: ", "\t", "\x00", "\xff"}
	for _, first := range firsts {
		for _, key := range []string{"text", "bytes", "list", "child"} {
			var got everything
			text := key + ": " + first + "hush\n"
			if err := Decode("f", []byte(text), &got); err != nil && strings.Contains(err.Error(), "hush") {
				t.Errorf("%q: %v", text, err)
			}
		}
	}
}

func TestDecodeTooLarge(t *testing.T) {
	var got everything
	err := Decode("f", make([]byte, MaxSize+1), &got)
	if want := "f: the file has 16777217 bytes, expected at most 16777216"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// What a few lines of aliases would grow to is bounded.
func TestDecodeAliasBomb(t *testing.T) {
	type tree struct {
		Next []tree `json:"next"`
		Text string `json:"text"`
		Data []byte `json:"data"`
	}
	var bomb strings.Builder
	fmt.Fprintf(&bomb, "next:\n- &a0 {data: %s}\n", strings.Repeat("x", 1000))
	for i := 1; i < 12; i++ {
		alias := fmt.Sprintf("*a%d", i-1)
		fmt.Fprintf(&bomb, "- &a%d {next: [%s]}\n", i, strings.Join([]string{alias, alias, alias, alias, alias, alias, alias, alias, alias, alias}, ", "))
	}
	var into tree
	err := Decode("f", []byte(bomb.String()), &into)
	if err == nil || !strings.Contains(err.Error(), "the file grows to more than 64 times its size here; do aliases (*) repeat too much?") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %.300v", err)
	}
}

// Long lists of merges cost no more than their file allows.
func TestDecodeMergeBomb(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("map: &a {")
	for i := range 20000 {
		fmt.Fprintf(&bomb, "k%d: v, ", i)
	}
	bomb.WriteString("}\nchildren:\n")
	for range 20000 {
		bomb.WriteString("- map: {<<: [*a, *a, *a, *a]}\n")
	}
	var into everything
	if err := Decode("f", []byte(bomb.String()), &into); err == nil || !strings.Contains(err.Error(), "grows to more than") {
		t.Errorf("got %.300v", err)
	}
}

func TestDecodeIntoNoStruct(t *testing.T) {
	for _, into := range []any{nil, 5, everything{}, (*everything)(nil), new(int)} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%T: no panic", into)
				}
			}()
			_ = Decode("f", []byte("a: b"), into)
		}()
	}
}

// A key keeps what the struct holds when the file leaves it out: defaults.
func TestDecodeKeepsDefaults(t *testing.T) {
	got := everything{Int: 5, Text: "kept"}
	if err := Decode("f", []byte("int: 6\ninner:\n"), &got); err != nil || got.Int != 6 || got.Text != "kept" {
		t.Errorf("got %+v, %v", got, err)
	}
}

// JSON is YAML, and the tags are JSON's: what encoding/json writes is read
// back as it was.
func TestJSONRoundTrip(t *testing.T) {
	want := Instances{Samples()}
	for _, in := range want.Instances {
		in.UserData, in.VendorData = nil, nil // base64 in JSON, text here
	}
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseInstances("samples.json", data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Instances, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestProblemPosition(t *testing.T) {
	doc, err := Parse("f", []byte(strings.TrimLeft(`
instances:
  - &a
    id: i-1
    tags: {Name: a, k8s.io/role: b}
    sources:
      - 127.0.0.1
      - &addr 127.0.0.2
    name:
  - *a
  - <<: *a
    id: i-3
    sources: [*addr]
`, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]string{
		``:                                     "f:1:1",
		`instances`:                            "f:2:3",
		`instances[0]`:                         "f:2:5",
		`instances[0].id`:                      "f:3:9",
		`instances[0].tags["k8s.io/role"]`:     "f:4:34",
		`instances[0].tags.Owner`:              "f:4:11",
		`instances[0].sources[1]`:              "f:7:9",
		`instances[0].sources[9]`:              "f:6:7",
		`instances[0].name`:                    "f:8:5",
		`instances[0].interfaces[0].subnet.id`: "f:2:5",
		`instances[1]`:                         "f:9:5",
		`instances[1].tags.Name`:               "f:4:18",
		`instances[2].id`:                      "f:11:9",
		`instances[2].tags.Name`:               "f:4:18",
		`instances[2].sources[0]`:              "f:12:15",
		`instances[3].id`:                      "f:2:3",
		`instances..`:                          "f:1:1",
	} {
		p := doc.Problem(instance.Path(at), "x")
		if got := fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column); got != want {
			t.Errorf("%s: got %s, want %s", at, got, want)
		}
	}
}

func TestSuggest(t *testing.T) {
	known := []string{"accessKeyId", "accessKeySecret", "ipv4", "ipv6", "mac", "httpTokens"}
	for key, want := range map[string]string{
		"accessKeyID": "accessKeyId", "accesskeysecret": "accessKeySecret", "ipv5": "ipv4", "amc": "mac",
		"http_tokens": "httpTokens", "tokens": "", "x": "", "": "", strings.Repeat("mac", 1000): "",
	} {
		got := suggest(key, known)
		if want == "" && strings.Contains(got, "mean") || want != "" && got != "; did you mean "+want+"?" {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
}
