package alisign_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"openimds/internal/api/alisign"
)

const form = "application/x-www-form-urlencoded"

// signed returns a request as a server reads it, signed at noon.
func signed(t testing.TB, version int, creds alisign.Credentials, body string) (*http.Request, []byte) {
	t.Helper()
	var req *http.Request
	var err error
	switch version {
	case 1:
		req = build(t, "POST", "http://127.0.0.1:8180/?Action=DescribeRegions&Version=2014-05-26&Format=JSON")
	case 3:
		req = build(t, "POST", "http://127.0.0.1:8180/?RegionId=cn-hangzhou", "x-acs-action: DescribeRegions", "x-acs-version: 2014-05-26")
	}
	if body != "" {
		req.Header.Set("Content-Type", form)
	}
	switch version {
	case 1:
		err = alisign.SignV1(req, []byte(body), creds, "nonce", noon)
	case 3:
		err = alisign.SignV3(req, []byte(body), creds, "nonce", noon)
	}
	if err != nil {
		t.Fatal(err)
	}
	return received(t, wire(t, req, []byte(body)))
}

func query(from, to string) func(*http.Request) {
	return func(r *http.Request) { r.URL.RawQuery = strings.Replace(r.URL.RawQuery, from, to, 1) }
}

func header(name, from, to string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, strings.Replace(r.Header.Get(name), from, to, 1)) }
}

func drop(name string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Del(name) }
}

// TestRefusals: each kind of bad signature has the vendor's code, and its text
// where the vendor gives one.
func TestRefusals(t *testing.T) {
	tokenless := alisign.Credentials{AccessKeyID: session.AccessKeyID, AccessKeySecret: session.AccessKeySecret}
	otherToken := tokenless
	otherToken.SecurityToken = "x"
	const mandatory = `" that is mandatory for processing this request is not supplied.`
	const standards = "The request signature does not conform to Aliyun standards. "
	for _, tc := range []struct {
		name    string
		version int
		creds   alisign.Credentials
		body    string
		edit    func(*http.Request)
		code    string
		message string // its start
	}{
		{"nothing", 1, forever, "", func(r *http.Request) { r.URL.RawQuery = "" }, "MissingParameter", `The input parameter "Action` + mandatory},
		{"no key", 1, forever, "", query("AccessKeyId", "x"), "MissingParameter", `The input parameter "AccessKeyId` + mandatory},
		{"no signature", 1, forever, "", query("Signature=", "x="), "MissingParameter", `The input parameter "Signature` + mandatory},
		{"no timestamp", 1, forever, "", query("Timestamp", "TimeStamp"), "MissingParameter", `The input parameter "Timestamp` + mandatory},
		{"no version", 1, forever, "", query("&Version", "&x"), "MissingParameter", `The input parameter "Version` + mandatory},
		{"empty version", 1, forever, "", query("Version=2014-05-26", "Version="), "MissingParameter", `The input parameter "Version` + mandatory},
		{"no nonce", 1, forever, "", query("SignatureNonce", "x"), "MissingParameter", `The input parameter "SignatureNonce` + mandatory},
		{"method", 1, forever, "", query("HMAC-SHA1", "HMAC-MD5"), "InvalidParamater", `The specified parameter "SignatureMethod" is not valid.`},
		{"signature version", 1, forever, "", query("SignatureVersion=1.0", "SignatureVersion=2.0"), "InvalidParamater", `The specified parameter "SignatureVersion" is not valid.`},
		{"bearer", 1, forever, "", query("Format", "SignatureType=BEARERTOKEN&Format"), "InvalidParamater", `The specified parameter "SignatureType" is not valid.`},
		{"timestamp", 1, forever, "", query("12%3A00%3A00Z", "noon"), "IllegalTimestamp", `The input parameter "Timestamp` + mandatory},
		{"local time", 1, forever, "", query("Z&Version", "%2B08:00&Version"), "IllegalTimestamp", ""},
		{"fraction of a second", 1, forever, "", query("00Z", "00.5Z"), "IllegalTimestamp", ""},
		{"old", 1, forever, "", query("T12%3A00%3A00", "T11%3A44%3A59"), "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired."},
		{"early", 1, forever, "", query("T12%3A00%3A00", "T12%3A15%3A01"), "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired."},
		{"unknown key", 1, forever, "", query("testid", "other"), "InvalidAccessKeyId.NotFound", "The specified Access Key ID does not exist."},
		{"signature", 1, forever, "", query("Signature=", "Signature=x"), "IncompleteSignature", standards},
		{"another signature", 1, forever, "", func(r *http.Request) {
			r.URL.RawQuery, _, _ = strings.Cut(r.URL.RawQuery, "&Signature=")
			r.URL.RawQuery += "&Signature=AAAAAAAAAAAAAAAAAAAAAAAAAAA="
		}, "SignatureDoesNotMatch", "Specified signature is not matched with our calculation. server string to sign is:POST&%2F&AccessKeyId%3Dtestid%26Action%3DDescribeRegions%26"},
		{"http method", 1, forever, "", func(r *http.Request) { r.Method = "PUT" }, "UnsupportedHTTPMethod", "This http method is not supported."},
		{"no token", 1, tokenless, "", func(*http.Request) {}, "MissingSecurityToken", ""},
		{"other token", 1, otherToken, "", func(*http.Request) {}, "InvalidSecurityToken.MismatchWithAccessKey", ""},
		{"token of nobody", 1, alisign.Credentials{AccessKeyID: "testid", AccessKeySecret: "testsecret", SecurityToken: "x"}, "", func(*http.Request) {},
			"InvalidSecurityToken.MismatchWithAccessKey", ""},
		{"repeated", 1, forever, "", query("Format=JSON", "Format=JSON&Format=JSON"), "InvalidParameter", `The specified parameter "Format" is not valid. It has more than one value.`},
		{"two values", 1, forever, "RegionId=x", query("Format", "RegionId=y&Format"), "InvalidParameter", `The specified parameter "RegionId" is not valid. It has more than one value.`},
		{"escape", 1, forever, "", query("Format", "a=%zz&Format"), "InvalidParameter", "The query string contains a syntax error."},
		{"no UTF-8", 1, forever, "", query("Format", "a=%ff&Format"), "InvalidParameter", "The query string contains a syntax error."},
		{"body of no type", 1, forever, "RegionId=x", drop("Content-Type"), "InvalidParameter", "The request body must be " + form + "."},
		{"body of another type", 1, forever, "RegionId=x", header("Content-Type", form, "application/json"), "InvalidParameter", "The request body must be " + form + "."},
		{"many parameters", 1, forever, strings.Repeat("&", 5000), func(*http.Request) {}, "InvalidParameter", "The request has too many parameters."},
		{"long query", 1, forever, "", query("Format", "a="+strings.Repeat("b", 1<<20)+"&Format"), "InvalidParameter", "The request has too many parameters."},

		{"other scheme", 3, forever, "", header("Authorization", "ACS3-", "Bearer "), "MissingParameter", `The input parameter "Action` + mandatory},
		{"algorithm", 3, forever, "", header("Authorization", "HMAC-SHA256", "RSA-SHA256"), "InvalidParamater", `The specified parameter "SignatureMethod" is not valid.`},
		{"two authorizations", 3, forever, "", func(r *http.Request) { r.Header.Add("Authorization", "x") }, "IncompleteSignature", standards},
		{"no credential", 3, forever, "", header("Authorization", "Credential=testid,", ""), "IncompleteSignature", standards + "Authorization must have Credential."},
		{"empty credential", 3, forever, "", header("Authorization", "testid", ""), "IncompleteSignature", standards + "Authorization must have Credential."},
		{"no signature", 3, forever, "", func(r *http.Request) {
			a, _, _ := strings.Cut(r.Header.Get("Authorization"), ",Signature=")
			r.Header.Set("Authorization", a)
		}, "IncompleteSignature", standards + "Authorization must have Signature."},
		{"unknown part", 3, forever, "", header("Authorization", "Credential", "x=y,Credential"), "IncompleteSignature", standards + "Authorization must have Credential, SignedHeaders and Signature, each once."},
		{"repeated part", 3, forever, "", header("Authorization", "Credential", "Credential=y,Credential"), "IncompleteSignature", standards + "Authorization must have Credential, SignedHeaders and Signature, each once."},
		{"unsigned host", 3, forever, "", header("Authorization", "host;", ""), "IncompleteSignature", standards + "SignedHeaders must have host."},
		{"unsigned action", 3, forever, "", header("Authorization", "x-acs-action;", ""), "IncompleteSignature", standards + "SignedHeaders must have x-acs-action."},
		{"unsigned header", 3, forever, "", func(r *http.Request) { r.Header.Set("x-acs-more", "") }, "IncompleteSignature", standards + "SignedHeaders must have x-acs-more."},
		{"unsigned type", 3, forever, "a=b", header("Authorization", "content-type;", ""), "IncompleteSignature", standards + "SignedHeaders must have content-type."},
		{"absent header", 3, forever, "a=b", header("Authorization", "host", "expires;host"), "IncompleteSignature", standards + "The request has no header expires, which SignedHeaders has."},
		{"unsorted", 3, forever, "", header("Authorization", "host;x-acs-action", "x-acs-action;host"), "IncompleteSignature", standards + "SignedHeaders must be lower-case"},
		{"twice", 3, forever, "", header("Authorization", "host", "host;host"), "IncompleteSignature", standards + "SignedHeaders must be lower-case"},
		{"too many", 3, forever, "", header("Authorization", "host", "host"+strings.Repeat(";z", 100)), "IncompleteSignature", standards + "SignedHeaders has too many names."},
		{"no action", 3, forever, "", func(r *http.Request) {
			drop("x-acs-action")(r)
			header("Authorization", "x-acs-action;", "")(r)
		}, "MissingParameter", `The input parameter "x-acs-action` + mandatory},
		{"two actions", 3, forever, "", func(r *http.Request) { r.Header.Add("x-acs-action", "x") }, "InvalidParameter", `The specified parameter "x-acs-action" is not valid.`},
		{"date", 3, forever, "", header("x-acs-date", "T", " "), "IllegalTimestamp", `The input parameter "x-acs-date` + mandatory},
		{"old", 3, forever, "", header("x-acs-date", "T12:00:00", "T11:44:59"), "InvalidTimeStamp.Expired", ""},
		{"unknown key", 3, forever, "", header("Authorization", "testid", "other"), "InvalidAccessKeyId.NotFound", ""},
		{"another hash", 3, forever, "", header("x-acs-content-sha256", "e", "f"), "SignatureDoesNotMatch",
			"Specified signature is not matched with our calculation. server string to sign is:ACS3-HMAC-SHA256\n"},
		{"http method", 3, forever, "", func(r *http.Request) { r.Method = "DELETE" }, "UnsupportedHTTPMethod", ""},
		{"no token", 3, tokenless, "", func(*http.Request) {}, "MissingSecurityToken", ""},
		{"other token", 3, otherToken, "", func(*http.Request) {}, "InvalidSecurityToken.MismatchWithAccessKey", ""},
		{"repeated", 3, forever, "", query("RegionId=cn-hangzhou", "RegionId=x&RegionId=x"), "InvalidParameter", ""},
		{"body of another type", 3, forever, "a=b", header("Content-Type", form, "text/plain"), "InvalidParameter", "The request body must be " + form + "."},
	} {
		t.Run(strings.Join([]string{"V" + string(rune('0'+tc.version)), tc.name}, " "), func(t *testing.T) {
			// The signer would refuse to sign what has too many parameters.
			sign := tc.body
			if len(sign) > 1000 {
				sign = ""
			}
			req, body := signed(t, tc.version, tc.creds, sign)
			if sign != tc.body {
				req.Header.Set("Content-Type", form)
				body = []byte(tc.body)
			}
			tc.edit(req)
			_, err := alisign.Verify(req, body, at(noon))
			var e *alisign.Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v", err)
			}
			if e.Code != tc.code || !strings.HasPrefix(e.Message, tc.message) {
				t.Errorf("%s: %s\nwant %s: %s", e.Code, e.Message, tc.code, tc.message)
			}
		})
	}
}

// TestDates: a quarter of an hour off is still on time, either way.
func TestDates(t *testing.T) {
	for _, version := range []int{1, 3} {
		for _, skew := range []time.Duration{0, 15 * time.Minute, -15 * time.Minute} {
			req, body := signed(t, version, forever, "")
			if _, err := alisign.Verify(req, body, at(noon.Add(skew))); err != nil {
				t.Errorf("V%d, %v off: %s", version, skew, detail(err))
			}
		}
	}
}

// TestReplay: a nonce serves its key once, for as long as its request could be
// accepted, and only a genuine request uses it.
func TestReplay(t *testing.T) {
	for _, version := range []int{1, 3} {
		req, body := signed(t, version, forever, "")
		cfg := at(noon)
		cfg.Nonces = alisign.NewNonces(alisign.NonceWindow, 10)

		forged := req.Clone(t.Context())
		forged.URL.RawQuery += "&x=1"
		if _, err := alisign.Verify(forged, body, cfg); err == nil {
			t.Fatalf("V%d: accepted with a parameter more", version)
		}
		cfg.Now = noon.Add(-15 * time.Minute)
		if _, err := alisign.Verify(req, body, cfg); err != nil {
			t.Fatalf("V%d: %s", version, detail(err))
		}
		cfg.Now = noon.Add(15 * time.Minute)
		_, err := alisign.Verify(req, body, cfg)
		if want := "SignatureNonceUsed: The request signature nonce has been used."; detail(err) != want {
			t.Errorf("V%d again: %s, want %s", version, detail(err), want)
		}
		other, body := signed(t, version, session, "")
		if _, err := alisign.Verify(other, body, cfg); err != nil {
			t.Errorf("V%d: the nonce of another key: %s", version, detail(err))
		}
	}
}

// TestReplayWithoutNonce: version 3 does not ask for a nonce, and its requests
// come once all the same.
func TestReplayWithoutNonce(t *testing.T) {
	req := build(t, "GET", "http://127.0.0.1:8180/", "x-acs-action: DescribeRegions", "x-acs-version: 2014-05-26")
	if err := alisign.SignV3(req, nil, forever, "", noon); err != nil {
		t.Fatal(err)
	}
	cfg := at(noon)
	cfg.Nonces = alisign.NewNonces(alisign.NonceWindow, 10)
	if got, err := alisign.Verify(req, nil, cfg); err != nil || got.Nonce != "" {
		t.Fatalf("%v, %s", got, detail(err))
	}
	if _, err := alisign.Verify(req, nil, cfg); !strings.HasPrefix(detail(err), "SignatureNonceUsed") {
		t.Errorf("again: %s", detail(err))
	}
}

// TestNoRoomForNonces: what cannot be remembered is refused.
func TestNoRoomForNonces(t *testing.T) {
	req, body := signed(t, 1, forever, "")
	cfg := at(noon)
	cfg.Nonces = alisign.NewNonces(alisign.NonceWindow, 0)
	if _, err := alisign.Verify(req, body, cfg); !strings.HasPrefix(detail(err), "Throttling: ") {
		t.Errorf("%s", detail(err))
	}
}

// TestSpellings: version 3 signs what headers and the path mean, not how they
// are written.
func TestSpellings(t *testing.T) {
	req := build(t, "GET", "http://127.0.0.1:8180/~a/b%2Fc", "x-acs-action: DescribeRegions", "x-acs-version: 2014-05-26", "x-acs-more: a", "x-acs-more: b  c")
	if err := alisign.SignV3(req, nil, forever, "1", noon); err != nil {
		t.Fatal(err)
	}
	req.Header["X-Acs-More"] = []string{" b  c\t", "a "}
	req.URL.Path, req.URL.RawPath = "/~a/b/c", "/%7Ea/%62%2fc"
	if _, err := alisign.Verify(req, nil, at(noon)); err != nil {
		t.Error(detail(err))
	}
	req.URL.Path, req.URL.RawPath = "/~a/b/c", ""
	if _, err := alisign.Verify(req, nil, at(noon)); err == nil {
		t.Error("accepted with a slash that was encoded")
	}
}
