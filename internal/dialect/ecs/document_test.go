package ecs

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

const documentPath = "latest/dynamic/instance-identity/document"

// The bytes matter: a signature covers them (ECS-IDENT-01).
const wantDocument = `{"zone-id":"cn-hangzhou-i","serial-number":"4acd2b47-b328-4762-852f-998000000001",` +
	`"instance-id":"i-bp13znx0m0me8cquu001","region-id":"cn-hangzhou","private-ipv4":"192.168.1.10",` +
	`"owner-account-id":"1609000000000001","mac":"00:16:3e:0f:00:01",` +
	`"image-id":"aliyun_3_x64_20G_alibase_20240819.vhd","instance-type":"ecs.g7.large"}`

func TestIdentityDocument(t *testing.T) {
	with := func(audience string) string {
		return strings.TrimSuffix(wantDocument, "}") + `,"audience":` + audience + "}"
	}
	for _, test := range []struct{ name, query, want string }{
		{"plain", "", wantDocument},
		{"audience", "audience=abc", with(`"abc"`)},
		{"among others", "x=1&audience=abc&y", with(`"abc"`)},
		{"the first counts", "audience=a&audience=b", with(`"a"`)},
		{"decoded", "audience=a+b%20c%2Bd%26e", with(`"a b c+d&e"`)},
		{"escaped", `audience=%22%5c%0a</x>`, with(`"\"\\\n</x>"`)},
		{"beyond ASCII", "audience=%E4%BD%A0", with(`"你"`)},
		{"empty is none", "audience=", wantDocument},
		{"no value is none", "audience", wantDocument},
		{"another parameter", "Audience=abc&audiences=x", wantDocument},
		{"512 bytes", "audience=" + strings.Repeat("%41", MaxAudience), with(`"` + strings.Repeat("A", MaxAudience) + `"`)},
		{"513 bytes", "audience=" + strings.Repeat("a", MaxAudience+1), absent},
		{"broken escape", "audience=a%2", absent},
		{"no hexadecimal", "audience=%zz", absent},
		{"not UTF-8", "audience=%ff", absent},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, path := range []string{documentPath, "latest/meta-data/instance-identity/document"} {
				got, ok := lookup(t, guest(), path, test.query)
				if !ok {
					got = absent
				}
				if got != test.want {
					t.Errorf("%s: want %s, got %s", path, test.want, got)
				}
			}
		})
	}
}

func TestIdentityDocumentWithoutIPv4(t *testing.T) {
	got, _ := lookup(t, guest(v6only), documentPath, "")
	if want := strings.Replace(wantDocument, "192.168.1.10", "", 1); got != want { // ECS-IDENT-02
		t.Errorf("want %s, got %s", want, got)
	}
}

// TestAudienceRoundTrip: any text that fits comes back, whichever way a client
// escapes it (ECS-IDENT-05).
func TestAudienceRoundTrip(t *testing.T) {
	in := guest()
	rapid.Check(t, func(r *rapid.T) {
		want := rapid.StringN(-1, -1, MaxAudience).Draw(r, "audience")
		for _, escaped := range []string{url.QueryEscape(want), strings.ReplaceAll(url.QueryEscape(want), "+", "%20")} {
			got, _ := lookup(t, in, documentPath, "audience="+escaped)
			if audience, err := audienceIn(got); err != nil || audience != want {
				r.Errorf("%q: want %q, got %q, %v", escaped, want, audience, err)
			}
		}
	})
}

// FuzzAudience: whatever the query string, the document is JSON, and its
// audience is bounded.
func FuzzAudience(f *testing.F) {
	for _, seed := range []string{"", "audience=abc", "audience=%22+%5C&audience=b", "audience=%", "&&audience=%e4%bd%a0", "a=b;audience=c"} {
		f.Add(seed)
	}
	in := guest()
	f.Fuzz(func(t *testing.T, query string) {
		got, ok := lookup(t, in, documentPath, query)
		if !ok {
			return
		}
		if audience, err := audienceIn(got); err != nil || len(audience) > MaxAudience {
			t.Errorf("audience %q, %v in %s", audience, err, got)
		}
	})
}

func audienceIn(document string) (string, error) {
	var d struct {
		Audience string `json:"audience"`
	}
	if !utf8.ValidString(document) {
		return "", errors.New("not UTF-8")
	}
	err := json.Unmarshal([]byte(document), &d)
	return d.Audience, err
}
