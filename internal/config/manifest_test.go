package config

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestReadManifests(t *testing.T) {
	all, err := ReadManifests("f", []byte(`# two, and one that is empty
kind: instances
account: 123456789012
on: yes
half: 0.5
octal: 010
none: ~
userData: !!binary |
  AAH/
text: |
  a
  b
---
---
{"kind": "images", "list": [1, true, "x"]}
---
{"items": [{"kind": "keys", "id": "a"}, {"kind": "keys", "id": "b"}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		`{"kind":"instances","account":123456789012,"on":"yes","half":"0.5","octal":"010","none":null,"userData":"data:;base64,AAH/","text":"a\nb\n"}`,
		`{"kind":"images","list":[1,true,"x"]}`,
		`{"kind":"keys","id":"a"}`,
		`{"kind":"keys","id":"b"}`,
	} {
		if i >= len(all) || string(all[i].JSON) != want {
			t.Errorf("document %d of %d is %s, want %s", i, len(all), all[min(i, len(all)-1)].JSON, want)
		}
	}
	if all[1].Line != 15 || all[1].Kind != "images" {
		t.Errorf("the second is %+v", all[1])
	}
	bomb := "kind: x\na: &a [1,1,1,1,1,1,1,1,1,1]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+string(c-1)+",", 10) + "]\n"
	}
	for name, tc := range map[string]struct{ in, want string }{
		"empty":         {"# nothing\n", "no documents"},
		"no kind":       {"id: x\n", "f:1:1: the document has no kind"},
		"list":          {"- kind: x\n", "expected keys with values"},
		"alias in list": {"items: [&a {kind: x}, {kind: x, y: *a}]\n", "the document has no kind"},
		"in list":       {"items: [{kind: x}, {id: x}]\n", "f:1:20: the document has no kind"},
		"syntax":        {"kind: x\n---\nkind: [\n", "not YAML"},
		"twice":         {"kind: x\nid: a\nid: b\n", "f:3:1: "},
		"tag":           {"kind: x\nid: !new a\n", "YAML tag"},
		"itself":        {"kind: x\na: &a [*a]\n", "anchor"},
		"bytes":         {"kind: \xff\n", "UTF-8"},
		"aliases":       {bomb, "do aliases (*) repeat too much?"},
	} {
		if _, err := ReadManifests("f", []byte(tc.in)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

// What YAML writes, ReadManifests reads.
func TestYAML(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := map[string]any{
			"kind": "x", "text": rapid.String().Draw(t, "text"), "list": rapid.SliceOfN(rapid.String(), 0, 3).Draw(t, "list"),
			"n": rapid.Int().Draw(t, "n"), "b": rapid.Bool().Draw(t, "b"), "none": nil, "empty": map[string]any{},
			"data": Bytes(rapid.SliceOf(rapid.Byte()).Draw(t, "data")),
		}
		data, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		text, err := YAML(data)
		if err != nil {
			t.Fatal(err)
		}
		all, err := ReadManifests("f", []byte(text))
		if err != nil {
			t.Fatalf("%v of\n%s", err, text)
		}
		if string(all[0].JSON) != string(data) {
			t.Fatalf("%s became\n%s, and then %s", data, text, all[0].JSON)
		}
	})
}

func FuzzReadManifests(f *testing.F) {
	f.Add([]byte("kind: x\na: &a [1, *b]\n---\nkind: !!binary eA==\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, _ := ReadManifests("f", data)
		for _, m := range all {
			if !json.Valid(m.JSON) {
				t.Errorf("%q became %s", data, m.JSON)
			}
		}
	})
}
