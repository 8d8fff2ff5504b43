package alisign_test

import (
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"openimds/internal/api/alisign"
)

// call is a request before it is signed.
type call struct {
	method      string
	action      string
	query, form map[string]string
	creds       alisign.Credentials
	nonce       string
	now         time.Time
}

var (
	// text is what people put into tags: spaces, reserved characters, UTF-8.
	text = rapid.OneOf(
		rapid.StringMatching(`[a-zA-Z0-9_.~ -]{0,12}`),
		rapid.StringOfN(rapid.SampledFrom([]rune(" +*~%&=/?#;:@!$'(),[]\"<>\\^`{|}-_.aZ09é漢😀\n\x00")), 0, 12, -1),
	)
	// names are apart from each other and from those of the signature.
	queryNames = rapid.Map(text, func(s string) string { return "q." + s })
	formNames  = rapid.Map(text, func(s string) string { return "f." + s })
)

func calls() *rapid.Generator[call] {
	return rapid.Custom(func(t *rapid.T) call {
		c := call{
			method: rapid.SampledFrom([]string{"GET", "POST"}).Draw(t, "method"),
			action: rapid.StringMatching(`[A-Z][A-Za-z]{0,20}`).Draw(t, "action"),
			query:  rapid.MapOfN(queryNames, text, 0, 4).Draw(t, "query"),
			creds:  rapid.SampledFrom([]alisign.Credentials{forever, session}).Draw(t, "credentials"),
			nonce:  rapid.StringMatching(`[0-9a-f-]{1,40}`).Draw(t, "nonce"),
			now:    time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "now"), 0).UTC(),
		}
		if c.method == "POST" {
			c.form = rapid.MapOfN(formNames, text, 0, 4).Draw(t, "form")
		}
		return c
	})
}

// encode writes parameters as browsers do, or with %20 for a space.
func encode(r *rapid.T, params map[string]string) string {
	v := url.Values{}
	for name, value := range params {
		v.Set(name, value)
	}
	if rapid.Bool().Draw(r, "%20") {
		return strings.ReplaceAll(v.Encode(), "+", "%20")
	}
	return v.Encode()
}

// signers return the bytes on the wire.
var signers = map[string]func(*rapid.T, testing.TB, call) []byte{
	"V1": func(r *rapid.T, t testing.TB, c call) []byte {
		query, form := maps.Clone(c.query), maps.Clone(c.form)
		if form != nil && rapid.Bool().Draw(r, "action in the form") {
			form["Action"], form["Version"] = c.action, "2014-05-26"
		} else {
			query["Action"], query["Version"] = c.action, "2014-05-26"
		}
		req := build(t, c.method, "http://127.0.0.1:18999/?"+encode(r, query))
		body := []byte(encode(r, form))
		if len(body) > 0 {
			req.Header.Set("Content-Type", form1)
		}
		if err := alisign.SignV1(req, body, c.creds, c.nonce, c.now); err != nil {
			r.Fatal(err)
		}
		return wire(t, req, body)
	},
	"V3": func(r *rapid.T, t testing.TB, c call) []byte {
		req := build(t, c.method, "http://127.0.0.1:18999/?"+encode(r, c.query), "x-acs-action: "+c.action, "x-acs-version: 2014-05-26")
		body := []byte(encode(r, c.form))
		if len(body) > 0 {
			req.Header.Set("Content-Type", form1)
		}
		if err := alisign.SignV3(req, body, c.creds, c.nonce, c.now); err != nil {
			r.Fatal(err)
		}
		return wire(t, req, body)
	},
}

// form1 has a parameter of its own, as some clients write it.
const form1 = form + "; charset=UTF-8"

func TestSignaturesAreAccepted(t *testing.T) {
	for name, sign := range signers {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) {
				c := calls().Draw(r, "call")
				raw := sign(r, t, c)
				req, body := received(t, raw)
				got, err := alisign.Verify(req, body, at(c.now))
				if err != nil {
					r.Fatalf("%s\n%s", detail(err), raw)
				}
				want := maps.Clone(c.query)
				maps.Copy(want, c.form)
				if got.AccessKeyID != c.creds.AccessKeyID || got.SecurityToken != c.creds.SecurityToken || got.Action != c.action ||
					got.Version != "2014-05-26" || got.Nonce != c.nonce || !got.Timestamp.Equal(c.now) || !maps.Equal(got.Params, want) {
					r.Errorf("%+v with %v of %+v", got, got.Params, c)
				}
			})
		})
	}
}

// TestChangesAreRefused: no part of a signed request can be another.
func TestChangesAreRefused(t *testing.T) {
	for name, sign := range signers {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) {
				c := calls().Draw(r, "call")
				raw := sign(r, t, c)
				for what, change := range changes {
					req, body := received(t, raw)
					changed, applies := change(req, body)
					if !applies {
						continue
					}
					if got, err := alisign.Verify(req, changed, at(c.now)); err == nil {
						r.Errorf("accepted with %s: %v\n%s", what, got, raw)
					}
				}
			})
		})
	}
}

// changes alter one thing each, and tell whether there was such a thing.
var changes = map[string]func(*http.Request, []byte) ([]byte, bool){
	"another method": func(r *http.Request, b []byte) ([]byte, bool) {
		r.Method = map[string]string{"GET": "POST", "POST": "GET"}[r.Method]
		return b, true
	},
	"another path":       func(r *http.Request, b []byte) ([]byte, bool) { r.URL.Path = "/x"; return b, true },
	"no path at all":     func(r *http.Request, b []byte) ([]byte, bool) { r.URL.Opaque = "x"; return b, true },
	"two slashes":        func(r *http.Request, b []byte) ([]byte, bool) { r.URL.Path = "//"; return b, true },
	"one parameter more": func(r *http.Request, b []byte) ([]byte, bool) { r.URL.RawQuery += "&x=1"; return b, true },
	"an empty one more":  func(r *http.Request, b []byte) ([]byte, bool) { r.URL.RawQuery += "&x"; return b, true },
	"a parameter twice": func(r *http.Request, b []byte) ([]byte, bool) {
		r.URL.RawQuery += "&" + r.URL.RawQuery
		return b, r.URL.RawQuery != "&"
	},
	"no query": func(r *http.Request, b []byte) ([]byte, bool) {
		had := r.URL.RawQuery
		r.URL.RawQuery = ""
		return b, had != ""
	},
	"a form field more": func(r *http.Request, b []byte) ([]byte, bool) {
		r.Header.Set("Content-Type", form)
		return append(b, "&x=1"...), true
	},
	"no body":           func(_ *http.Request, b []byte) ([]byte, bool) { return nil, len(b) > 0 },
	"another body":      func(_ *http.Request, b []byte) ([]byte, bool) { return append([]byte("x"), b...), len(b) > 0 },
	"a body of no type": func(r *http.Request, b []byte) ([]byte, bool) { r.Header.Del("Content-Type"); return b, len(b) > 0 },
	"a body of two types": func(r *http.Request, b []byte) ([]byte, bool) {
		r.Header.Add("Content-Type", form)
		return b, len(b) > 0
	},
	"no first parameter": func(r *http.Request, b []byte) ([]byte, bool) {
		first, rest, _ := strings.Cut(r.URL.RawQuery, "&")
		r.URL.RawQuery = rest
		return b, first != ""
	},
	"another value": func(r *http.Request, b []byte) ([]byte, bool) {
		name, value, found := strings.Cut(r.URL.RawQuery, "=")
		r.URL.RawQuery = name + "=x" + value
		return b, found
	},
	"another name": func(r *http.Request, b []byte) ([]byte, bool) {
		r.URL.RawQuery = "x" + r.URL.RawQuery
		return b, r.URL.RawQuery != "x"
	},
	"the query in the body": func(r *http.Request, b []byte) ([]byte, bool) {
		query := r.URL.RawQuery
		r.Header.Set("Content-Type", form)
		r.URL.RawQuery = ""
		// In version 1 a parameter means the same in either place.
		return []byte(query), query != "" && len(b) == 0 && r.Header.Get("Authorization") != ""
	},

	"another time":      inQuery("%3A", "%3A0"),
	"another key":       inQuery("AccessKeyId=testid", "AccessKeyId=STS.testid"),
	"no token":          inQuery("&SecurityToken=CAIS%2Btoken%2F%3D%3D", ""),
	"another token":     inQuery("CAIS", "CAIT"),
	"another nonce":     inQuery("SignatureNonce=", "SignatureNonce=x"),
	"another signature": otherSignature,

	"another host":          inV3(func(r *http.Request, b []byte) ([]byte, bool) { r.Host = "127.0.0.1"; return b, true }),
	"another x-acs-action":  inHeader("X-Acs-Action", "x"),
	"another x-acs-version": inHeader("X-Acs-Version", "x"),
	"another x-acs-nonce":   inHeader("X-Acs-Signature-Nonce", "x"),
	"another x-acs-token":   inHeader("X-Acs-Security-Token", "x"),
	"another hash":          inHeader("X-Acs-Content-Sha256", "x"),
	"another authorization": inHeader("Authorization", "0"),
	"another type of a form": inV3(func(r *http.Request, b []byte) ([]byte, bool) {
		r.Header.Set("Content-Type", form)
		return b, len(b) > 0
	}),
	"another x-acs-date": inV3(func(r *http.Request, b []byte) ([]byte, bool) {
		date := r.Header.Get("X-Acs-Date")
		last := date[len(date)-2]
		r.Header.Set("X-Acs-Date", date[:len(date)-2]+string('0'+(last-'0'+1)%10)+"Z")
		return b, true
	}),
	"no x-acs-nonce": inV3(func(r *http.Request, b []byte) ([]byte, bool) {
		r.Header.Del("X-Acs-Signature-Nonce")
		r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), ";x-acs-signature-nonce", "", 1))
		return b, true
	}),
	"one x-acs- header more": inV3(func(r *http.Request, b []byte) ([]byte, bool) { r.Header.Set("X-Acs-More", ""); return b, true }),
	"upper case hex": inV3(func(r *http.Request, b []byte) ([]byte, bool) {
		before, signature, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
		upper := strings.ToUpper(signature)
		r.Header.Set("Authorization", before+"Signature="+upper)
		return b, upper != signature
	}),
}

// inQuery replaces text of the query, unless the replacement is what was there.
func inQuery(from, to string) func(*http.Request, []byte) ([]byte, bool) {
	return func(r *http.Request, b []byte) ([]byte, bool) {
		before := r.URL.RawQuery
		r.URL.RawQuery = strings.Replace(before, from, to, 1)
		return b, r.URL.RawQuery != before
	}
}

// inHeader appends to a header of version 3.
func inHeader(name, more string) func(*http.Request, []byte) ([]byte, bool) {
	return inV3(func(r *http.Request, b []byte) ([]byte, bool) {
		v, ok := r.Header[name]
		if ok {
			v[0] += more
		}
		return b, ok
	})
}

func inV3(change func(*http.Request, []byte) ([]byte, bool)) func(*http.Request, []byte) ([]byte, bool) {
	return func(r *http.Request, b []byte) ([]byte, bool) {
		if r.Header.Get("Authorization") == "" {
			return b, false
		}
		return change(r, b)
	}
}

// otherSignature changes one bit of the signature of version 1.
func otherSignature(r *http.Request, b []byte) ([]byte, bool) {
	q := r.URL.Query()
	sum, err := base64.StdEncoding.DecodeString(q.Get("Signature"))
	if err != nil || len(sum) == 0 {
		return b, false
	}
	sum[0] ^= 1
	q.Set("Signature", base64.StdEncoding.EncodeToString(sum))
	r.URL.RawQuery = q.Encode()
	return b, true
}
