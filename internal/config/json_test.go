package config

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

type body struct {
	Text  string            `json:"text"`
	Data  []byte            `json:"data"`
	Span  time.Duration     `json:"span"`
	Addr  netip.Addr        `json:"addr"`
	Whole int               `json:"whole"`
	List  []string          `json:"list"`
	Map   map[string]string `json:"map"`
	Doc   string            `json:"doc"`
	Deep  *body             `json:"deep"`
}

var sampleOptions = JSONOptions{Drop: []string{"kind", "status"}, Bytes: []string{"data"}, Verbatim: []string{"doc"}}

func TestDecodeJSON(t *testing.T) {
	for name, tc := range map[string]struct {
		in   string
		want body
		err  string // a part of it
	}{
		"all":               {in: `{"text":"a","span":"1m30s","addr":"10.0.0.1","whole":3,"list":["x"],"map":{"k":"v"}}`, want: body{Text: "a", Span: 90 * time.Second, Addr: netip.MustParseAddr("10.0.0.1"), Whole: 3, List: []string{"x"}, Map: map[string]string{"k": "v"}}},
		"dropped":           {in: `{"kind":"x","status":{"a":[1,2]},"text":"b"}`, want: body{Text: "b"}},
		"dropped on top":    {in: `{"deep":{"kind":"x"}}`, err: `deep.kind: unknown key`},
		"bytes as text":     {in: `{"data":"a\nb"}`, want: body{Data: []byte("a\nb")}},
		"bytes as base64":   {in: `{"data":"data:;base64,AAH/"}`, want: body{Data: []byte{0, 1, 255}}},
		"not base64":        {in: `{"data":"data:;base64,!"}`, err: "base64"},
		"text stays":        {in: `{"text":"data:;base64,AAH/"}`, want: body{Text: "data:;base64,AAH/"}},
		"verbatim":          {in: `{"doc": {"b": 1, "a": [ ]}}`, want: body{Doc: `{"b": 1, "a": [ ]}`}},
		"verbatim text":     {in: `{"doc": "{}"}`, want: body{Doc: "{}"}},
		"escapes":           {in: `{"text":"\ud83d\ude00 \u2028 \u0085 \u007f \t \\ \" \/ #: - {["}`, want: body{Text: "😀 \u2028 \u0085 \u007f \t \\ \" / #: - {["}},
		"yaml words":        {in: `{"text":"yes","list":["null","~","0x10","1e3","- a","!!str b","*c","&d","<<"]}`, want: body{Text: "yes", List: []string{"null", "~", "0x10", "1e3", "- a", "!!str b", "*c", "&d", "<<"}}},
		"tabs":              {in: "{\t\"text\"\t:\t\"x\"\n\t}", want: body{Text: "x"}},
		"unknown":           {in: `{"txet":"x"}`, err: "txet: unknown key; did you mean text?"},
		"twice":             {in: `{"text":"x","text":"y"}`, err: "text"},
		"number for text":   {in: `{"text":123456789012}`, want: body{Text: "123456789012"}},
		"text for number":   {in: `{"whole":"3"}`, err: "without quotes"},
		"float":             {in: `{"whole":3.5}`, err: "whole number"},
		"list":              {in: `[]`, err: "expected keys with values"},
		"empty":             {in: ` `, err: "is empty"},
		"cut off":           {in: `{"text":"x"`, err: "too early"},
		"not JSON":          {in: `text: x`, err: "is not JSON"},
		"more":              {in: `{} {}`, err: "follows"},
		"deep":              {in: strings.Repeat(`{"deep":`, 70) + `{}` + strings.Repeat(`}`, 70), err: "deep"},
		"unclosed verbatim": {in: `{"doc":{`, err: "is not JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			var got body
			err := DecodeJSON([]byte(tc.in), &got, sampleOptions)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("%+v, %v; want an error with %q", got, err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Whatever text JSON can hold comes through, and bytes do, too.
func TestTextsComeThrough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := body{Text: rapid.String().Draw(t, "text"), List: rapid.SliceOfN(rapid.String(), 1, 3).Draw(t, "list")}
		data := rapid.SliceOf(rapid.Byte()).Draw(t, "data")
		text, err := json.Marshal(map[string]any{"text": in.Text, "list": in.List, "data": Bytes(data)})
		if err != nil {
			t.Fatal(err)
		}
		var got body
		if err := DecodeJSON(text, &got, sampleOptions); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got.Text != in.Text || !cmp.Equal(got.List, in.List) || string(got.Data) != string(data) {
			t.Fatalf("%s came through as %+v", text, got)
		}
	})
}

func FuzzDecodeJSON(f *testing.F) {
	f.Add([]byte(`{"text":"a","data":"data:;base64,AAH/","doc":{"a":1},"kind":"x"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var got body
		if DecodeJSON(data, &got, sampleOptions) == nil && !json.Valid(data) {
			t.Errorf("%q is no JSON, and was taken", data)
		}
	})
}
