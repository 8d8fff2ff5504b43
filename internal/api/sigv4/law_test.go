package sigv4_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"pgregory.net/rapid"

	"openimds/internal/api/sigv4"
)

// call is a request before it is signed.
type call struct {
	method, url  string
	headers      http.Header
	body         []byte
	creds        sigv4.Credentials
	region, name string
	now          time.Time
}

var (
	// text is what people put into tags: spaces, reserved characters, UTF-8.
	text = rapid.OneOf(
		rapid.StringMatching(`[a-zA-Z0-9_.~ -]{0,12}`),
		rapid.StringOfN(rapid.SampledFrom([]rune(" +*~%&=/?#;:@!$'(),[]\"<>\\^`{|}-_.aZ09é漢😀")), 0, 12, -1),
	)
	// value is a header's: inner runs of spaces, no other white space.
	value  = rapid.StringMatching(`([!-~]{1,6} {0,3}){0,3}[!-~]`)
	names  = rapid.SampledFrom([]string{"Content-Type", "X-Amz-Target", "X-Amz-User-Agent", "Amz-Sdk-Request", "Accept", "My-Header"})
	noBody = rapid.Just([]byte(nil))
)

func calls() *rapid.Generator[call] {
	return rapid.Custom(func(t *rapid.T) call {
		u := url.URL{
			Scheme: "http",
			Host:   rapid.SampledFrom([]string{"127.0.0.1:18999", "127.0.0.1", "127.0.0.1:80", "[::1]:8180", "ec2.us-east-1.amazonaws.com"}).Draw(t, "host"),
			Path:   "/",
		}
		for _, segment := range rapid.SliceOfN(text, 0, 3).Draw(t, "path") {
			u.Path += "/" + segment
		}
		query := url.Values{}
		for range rapid.IntRange(0, 4).Draw(t, "parameters") {
			query.Add(text.Draw(t, "name"), text.Draw(t, "value"))
		}
		u.RawQuery = query.Encode() // spaces as +
		if rapid.Bool().Draw(t, "%20") {
			u.RawQuery = strings.ReplaceAll(u.RawQuery, "+", "%20")
		}
		headers := http.Header{}
		for range rapid.IntRange(0, 4).Draw(t, "headers") {
			headers.Add(names.Draw(t, "header"), value.Draw(t, "value"))
		}
		return call{
			method:  rapid.SampledFrom([]string{"GET", "POST", "PUT", "DELETE"}).Draw(t, "method"),
			url:     u.String(),
			headers: headers,
			body:    rapid.OneOf(noBody, rapid.SliceOfN(rapid.Byte(), 1, 64)).Draw(t, "body"),
			creds:   rapid.SampledFrom([]sigv4.Credentials{forever, session}).Draw(t, "credentials"),
			region:  rapid.SampledFrom([]string{"us-east-1", "eu-central-1"}).Draw(t, "region"),
			name:    rapid.SampledFrom([]string{"ec2", "sts", "monitoring"}).Draw(t, "service"),
			now:     time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "now"), 0).UTC(),
		}
	})
}

func (c call) request(t rapid.TB) *http.Request {
	req, err := http.NewRequest(c.method, c.url, bytes.NewReader(c.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = c.headers.Clone()
	return req
}

func (c call) hash() string {
	sum := sha256.Sum256(c.body)
	return hex.EncodeToString(sum[:])
}

func (c call) aws() aws.Credentials {
	return aws.Credentials{AccessKeyID: c.creds.AccessKeyID, SecretAccessKey: c.creds.SecretKey, SessionToken: c.creds.SessionToken}
}

// signers are the ways to sign a call. Each returns the bytes on the wire.
var signers = map[string]func(*rapid.T, testing.TB, call) []byte{
	"ours": func(r *rapid.T, t testing.TB, c call) []byte {
		req := c.request(r)
		if err := sigv4.Sign(req, c.body, c.creds, c.region, c.name, c.now); err != nil {
			r.Fatal(err)
		}
		return wire(t, req, c.body)
	},
	"theirs": func(r *rapid.T, t testing.TB, c call) []byte {
		req := c.request(r)
		if rapid.Bool().Draw(r, "hash in a header") {
			req.Header.Set("X-Amz-Content-Sha256", c.hash())
		}
		if err := v4.NewSigner().SignHTTP(context.Background(), c.aws(), req, c.hash(), c.name, c.region, c.now); err != nil {
			r.Fatal(err)
		}
		return wire(t, req, c.body)
	},
	"theirs, presigned": func(r *rapid.T, t testing.TB, c call) []byte {
		req := c.request(r)
		if life := rapid.IntRange(0, 604800).Draw(r, "life"); life > 0 {
			q := req.URL.Query()
			q.Set("X-Amz-Expires", strconv.Itoa(life))
			req.URL.RawQuery = q.Encode()
		}
		uri, headers, err := v4.NewSigner().PresignHTTP(context.Background(), c.aws(), req, c.hash(), c.name, c.region, c.now)
		if err != nil {
			r.Fatal(err)
		}
		again, err := http.NewRequest(c.method, uri, nil)
		if err != nil {
			r.Fatal(err)
		}
		again.Host = headers.Get("Host")
		headers.Del("Host")
		again.Header = headers
		return wire(t, again, c.body)
	},
}

// TestSignaturesAreAccepted: what the vendor's signer signs, and what ours
// does, is accepted as what it is.
func TestSignaturesAreAccepted(t *testing.T) {
	for name, sign := range signers {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(r *rapid.T) {
				c := calls().Draw(r, "call")
				raw := sign(r, t, c)
				req, body := received(t, raw)
				id, err := sigv4.Verify(req, body, at(c.now))
				if err != nil {
					r.Fatalf("%s\n%s", detail(err), raw)
				}
				if id.AccessKeyID != c.creds.AccessKeyID || id.SessionToken != c.creds.SessionToken ||
					id.Region != c.region || id.Service != c.name || !id.Date.Equal(c.now) {
					r.Errorf("identity %v of %+v", id, c)
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
					before := len(body)
					changed, applies := change(req, body)
					if !applies {
						continue
					}
					cfg := at(c.now)
					if id, err := sigv4.Verify(req, changed, cfg); err == nil {
						r.Errorf("accepted with %s: %v (body %d -> %d)\n%s", what, id, before, len(changed), raw)
					}
				}
			})
		})
	}
}

// changes alter one thing each, and tell whether there was such a thing.
var changes = map[string]func(*http.Request, []byte) ([]byte, bool){
	"another method": func(r *http.Request, b []byte) ([]byte, bool) { r.Method = "PATCH"; return b, true },
	"another host":   func(r *http.Request, b []byte) ([]byte, bool) { r.Host += "0"; return b, true },
	"no port": func(r *http.Request, b []byte) ([]byte, bool) {
		host, _, found := strings.Cut(r.Host, ":")
		r.Host = host
		return b, found
	},
	"no path at all": func(r *http.Request, b []byte) ([]byte, bool) { r.URL.Opaque = "x"; return b, true },
	"a longer path": func(r *http.Request, b []byte) ([]byte, bool) {
		r.URL.Path += "/x"
		r.URL.RawPath = ""
		return b, true
	},
	"a path encoded otherwise": func(r *http.Request, b []byte) ([]byte, bool) {
		i := strings.LastIndexByte(r.URL.Path, '/')
		r.URL.RawPath = (&url.URL{Path: r.URL.Path[:i]}).EscapedPath() + "%2F" + (&url.URL{Path: r.URL.Path[i+1:]}).EscapedPath()
		return b, r.URL.EscapedPath() == r.URL.RawPath
	},
	"one parameter more": func(r *http.Request, b []byte) ([]byte, bool) { r.URL.RawQuery += "&x=1"; return b, true },
	"the first parameter twice": func(r *http.Request, b []byte) ([]byte, bool) {
		first, _, _ := strings.Cut(r.URL.RawQuery, "&")
		r.URL.RawQuery += "&" + first
		return b, first != ""
	},
	"no first parameter": func(r *http.Request, b []byte) ([]byte, bool) {
		first, rest, _ := strings.Cut(r.URL.RawQuery, "&")
		r.URL.RawQuery = rest
		return b, first != ""
	},
	"another value": func(r *http.Request, b []byte) ([]byte, bool) {
		name, rest, found := strings.Cut(r.URL.RawQuery, "=")
		r.URL.RawQuery = name + "=x" + rest
		return b, found
	},
	"no query": func(r *http.Request, b []byte) ([]byte, bool) {
		had := r.URL.RawQuery != ""
		r.URL.RawQuery = ""
		return b, had
	},
	"a longer body": func(r *http.Request, b []byte) ([]byte, bool) { return append(b, 0), true },
	"another body": func(r *http.Request, b []byte) ([]byte, bool) {
		return append([]byte("x"), b[min(1, len(b)):]...), len(b) == 0 || b[0] != 'x'
	},
	"no body":        func(r *http.Request, b []byte) ([]byte, bool) { return nil, len(b) > 0 },
	"another date":   edited("X-Amz-Date", func(s string) string { return s[:len(s)-2] + string('0'+(s[len(s)-2]-'0'+1)%10) + "Z" }),
	"another token":  edited("X-Amz-Security-Token", func(s string) string { return s + "x" }),
	"no token":       without("X-Amz-Security-Token"),
	"another action": edited("X-Amz-Target", func(s string) string { return s + "x" }),
	"no action":      without("X-Amz-Target"),
	"another type":   edited("Content-Type", func(s string) string { return s + "x" }),
	"no type":        without("Content-Type"),
	"one x-amz- header more": func(r *http.Request, b []byte) ([]byte, bool) {
		r.Header.Set("X-Amz-More", "")
		return b, true
	},
	"a second type": func(r *http.Request, b []byte) ([]byte, bool) {
		has := len(r.Header.Values("Content-Type")) > 0
		r.Header.Add("Content-Type", "text/plain")
		return b, has
	},
	"types in another order": func(r *http.Request, b []byte) ([]byte, bool) {
		v := r.Header.Values("Content-Type")
		if len(v) < 2 || strings.Join(strings.Fields(v[0]), " ") == strings.Join(strings.Fields(v[len(v)-1]), " ") {
			return b, false
		}
		v[0], v[len(v)-1] = v[len(v)-1], v[0]
		return b, true
	},
	"another key":       authorization("Credential=", "Credential=x"),
	"another region":    authorization("/us-east-1/", "/us-west-1/"),
	"another service":   authorization("/ec2/", "/sts/"),
	"another end":       authorization("/aws4_request", "/aws4_reques"),
	"another signature": authorization("Signature=", "Signature=0"),
	"upper case hex": func(r *http.Request, b []byte) ([]byte, bool) {
		before, signature, ok := strings.Cut(r.Header.Get("Authorization"), "Signature=")
		upper := strings.ToUpper(signature)
		r.Header.Set("Authorization", before+"Signature="+upper)
		return b, ok && upper != signature
	},
	"fewer signed headers": authorization(";x-amz-date", ""),
	"another session's key": func(r *http.Request, b []byte) ([]byte, bool) {
		a := r.Header.Get("Authorization")
		r.Header.Set("Authorization", strings.Replace(a, "=AKID", "=ASID", 1))
		return b, strings.Contains(a, "=AKID")
	},
}

func edited(header string, f func(string) string) func(*http.Request, []byte) ([]byte, bool) {
	return func(r *http.Request, b []byte) ([]byte, bool) {
		v, ok := r.Header[header]
		if ok {
			v[0] = f(v[0])
		}
		return b, ok
	}
}

func without(header string) func(*http.Request, []byte) ([]byte, bool) {
	return func(r *http.Request, b []byte) ([]byte, bool) {
		_, ok := r.Header[header]
		r.Header.Del(header)
		return b, ok
	}
}

func authorization(from, to string) func(*http.Request, []byte) ([]byte, bool) {
	return func(r *http.Request, b []byte) ([]byte, bool) {
		a := r.Header.Get("Authorization")
		r.Header.Set("Authorization", strings.Replace(a, from, to, 1))
		return b, strings.Contains(a, from)
	}
}

// TestSignsAsTheVendorDoes: with the same headers to sign, the signatures are
// the same.
func TestSignsAsTheVendorDoes(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		c := calls().Draw(r, "call")
		for name := range c.headers {
			if name != "Content-Type" && !strings.HasPrefix(name, "X-Amz-") {
				delete(c.headers, name)
			}
		}
		ours, theirs := c.request(r), c.request(r)
		// Theirs signs Content-Length too, if it is known by then, and takes
		// the port away that is the scheme's own.
		theirs.ContentLength = -1
		if err := v4.NewSigner().SignHTTP(context.Background(), c.aws(), theirs, c.hash(), c.name, c.region, c.now); err != nil {
			r.Fatal(err)
		}
		ours.Host = theirs.Host
		if err := sigv4.Sign(ours, c.body, c.creds, c.region, c.name, c.now); err != nil {
			r.Fatal(err)
		}
		for _, name := range []string{"Authorization", "X-Amz-Date", "X-Amz-Security-Token"} {
			if got, want := ours.Header.Get(name), theirs.Header.Get(name); got != want {
				r.Errorf("%s: %s\nwant %s", name, got, want)
			}
		}
	})
}

// TestUnsignedPayloadOfTheVendor: where a body may go unsigned, it may be any,
// and nothing else may.
func TestUnsignedPayloadOfTheVendor(t *testing.T) {
	c := call{"POST", "http://127.0.0.1:8180/", http.Header{"X-Amz-Content-Sha256": {"UNSIGNED-PAYLOAD"}}, []byte("x"), forever, "us-east-1", "ec2", noon}
	req := c.request(t)
	if err := v4.NewSigner().SignHTTP(t.Context(), c.aws(), req, "UNSIGNED-PAYLOAD", c.name, c.region, c.now); err != nil {
		t.Fatal(err)
	}
	got, body := received(t, wire(t, req, c.body))
	if _, err := sigv4.Verify(got, body, at(noon)); err == nil {
		t.Error("accepted where bodies must be signed")
	}
	cfg := at(noon)
	cfg.UnsignedPayload = true
	if _, err := sigv4.Verify(got, []byte("y"), cfg); err != nil {
		t.Errorf("refused: %s", detail(err))
	}
	got.URL.RawQuery = "a=b"
	if _, err := sigv4.Verify(got, body, cfg); err == nil {
		t.Error("accepted with another query")
	}
}
