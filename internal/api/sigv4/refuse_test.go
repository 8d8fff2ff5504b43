package sigv4_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"openimds/internal/api/sigv4"
)

// signed returns a request as a server reads it, signed at noon.
func signed(t testing.TB, creds sigv4.Credentials) *http.Request {
	t.Helper()
	req := build(t, "POST", "http://127.0.0.1:8180/", "", "Content-Type: application/x-www-form-urlencoded")
	if err := sigv4.Sign(req, nil, creds, "us-east-1", "ec2", noon); err != nil {
		t.Fatal(err)
	}
	got, _ := received(t, wire(t, req, nil))
	return got
}

// presigned returns the same in the query form, with a signature that no key
// has made: what is refused is refused before it is looked at.
func presigned(t testing.TB, more string) *http.Request {
	t.Helper()
	return build(t, "GET", "http://127.0.0.1:8180/?Action=DescribeInstances&X-Amz-Algorithm=AWS4-HMAC-SHA256"+
		"&X-Amz-Credential=AKIDEXAMPLE%2F20260301%2Fus-east-1%2Fec2%2Faws4_request&X-Amz-Date=20260301T120000Z"+
		"&X-Amz-SignedHeaders=host&X-Amz-Signature="+strings.Repeat("0", 64)+more, "")
}

func edit(header, from, to string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(header, strings.Replace(r.Header.Get(header), from, to, 1)) }
}

func query(from, to string) func(*http.Request) {
	return func(r *http.Request) { r.URL.RawQuery = strings.Replace(r.URL.RawQuery, from, to, 1) }
}

// TestRefusals: each kind of bad signature has the vendor's code and text.
// Where an Authorization header is named, its hash is.
func TestRefusals(t *testing.T) {
	const expiredToken = "The security token included in the request is invalid."
	for _, tc := range []struct {
		name  string
		query bool
		creds sigv4.Credentials
		edit  func(*http.Request)
		code  string
		line  string // start of the message
	}{
		{"none", false, forever, func(r *http.Request) { r.Header.Del("Authorization") },
			sigv4.MissingAuthenticationToken, "Request is missing Authentication Token"},
		{"basic", false, forever, func(r *http.Request) { r.Header.Set("Authorization", "Basic Zm9vOmJhcg==") },
			sigv4.MissingAuthenticationToken, "Request is missing Authentication Token"},
		{"two", false, forever, func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) },
			sigv4.IncompleteSignature, "Authorization header must not be repeated."},
		{"both forms", false, forever, func(r *http.Request) { r.URL.RawQuery = "X-Amz-Algorithm=AWS4-HMAC-SHA256" },
			sigv4.SignatureDoesNotMatch, "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header."},
		{"algorithm", false, forever, edit("Authorization", "SHA256", "SHA512"),
			sigv4.IncompleteSignature, "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA512' (only AWS4-HMAC-SHA256 for now). "},
		{"asymmetric", false, forever, edit("Authorization", "HMAC", "ECDSA-P256"),
			sigv4.IncompleteSignature, "Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256' (only AWS4-HMAC-SHA256 for now). "},
		{"empty", false, forever, func(r *http.Request) {
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256")
			r.Header.Del("X-Amz-Date")
		}, sigv4.IncompleteSignature, "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. " +
			"Authorization header requires 'SignedHeaders' parameter. Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. " +
			"(Hashed with SHA-256 and encoded with Base64) Authorization=YI2YWea8FSxnksZL2ETHbs5elHm9HQufxTLK0W0ffV0="},
		{"no equal sign", false, forever, func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential") },
			sigv4.IncompleteSignature, "Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and encoded with Base64): 'KfSoC26UaBDGXxo5AUFS45c1cmAbyLKDOxOTKcZYWt4='."},
		{"unknown part", false, forever, edit("Authorization", "Signature=", "Nonce=1, Signature="),
			sigv4.IncompleteSignature, "Authorization header has an unknown or repeated parameter 'Nonce'."},
		{"repeated part", false, forever, edit("Authorization", "Signature=", "Signature=00, Signature="),
			sigv4.IncompleteSignature, "Authorization header has an unknown or repeated parameter 'Signature'."},
		{"date format", false, forever, edit("X-Amz-Date", "20260301T120000Z", "2026-03-01T12:00:00Z"),
			sigv4.IncompleteSignature, "Date must be in ISO-8601 'basic format'. Got '2026-03-01T12:00:00Z'. See http://en.wikipedia.org/wiki/ISO_8601"},
		{"fraction of a second", false, forever, edit("X-Amz-Date", "00Z", "00.5Z"),
			sigv4.IncompleteSignature, "Date must be in ISO-8601 'basic format'. Got '20260301T120000.5Z'."},
		{"two dates", false, forever, func(r *http.Request) { r.Header.Add("X-Amz-Date", "20260301T120000Z") },
			sigv4.IncompleteSignature, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."},
		{"old", false, forever, edit("X-Amz-Date", "T120000Z", "T114459Z"),
			sigv4.RequestExpired, "Signature expired: 20260301T114459Z is now earlier than 20260301T114500Z (20260301T120000Z - 15 min.)"},
		{"early", false, forever, edit("X-Amz-Date", "T120000Z", "T121501Z"),
			sigv4.RequestExpired, "Signature not yet current: 20260301T121501Z is still later than 20260301T121500Z (20260301T120000Z + 15 min.)"},
		{"credential", false, forever, edit("Authorization", "/aws4_request", ""),
			sigv4.IncompleteSignature, "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'AKIDEXAMPLE/20260301/us-east-1/ec2'"},
		{"credential of six", false, forever, edit("Authorization", "aws4_request", "aws4_request/x"),
			sigv4.IncompleteSignature, "Credential must have exactly 5 slash-delimited elements"},
		{"no key", false, forever, edit("Authorization", "AKIDEXAMPLE", ""),
			sigv4.IncompleteSignature, "Credential must have exactly 5 slash-delimited elements"},
		{"long credential", false, forever, edit("Authorization", "AKIDEXAMPLE", strings.Repeat("A", 1000)),
			sigv4.IncompleteSignature, "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '" + strings.Repeat("A", 64) + "...'"},
		{"unsorted", false, forever, edit("Authorization", "content-type;host", "host;content-type"),
			sigv4.IncompleteSignature, "SignedHeaders must be at most 100 lower-case names in alphabetical order, separated by semicolons."},
		{"upper case", false, forever, edit("Authorization", ";host", ";Host"),
			sigv4.IncompleteSignature, "SignedHeaders must be"},
		{"twice", false, forever, edit("Authorization", ";host", ";host;host"),
			sigv4.IncompleteSignature, "SignedHeaders must be"},
		{"too many", false, forever, edit("Authorization", "x-amz-date", "x-amz-date"+strings.Repeat(";z", 100)),
			sigv4.IncompleteSignature, "SignedHeaders must be"},
		{"host", false, forever, edit("Authorization", ";host", ""),
			sigv4.SignatureDoesNotMatch, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."},
		{"unsigned date", false, forever, edit("Authorization", ";x-amz-date", ""),
			sigv4.SignatureDoesNotMatch, "'x-amz-date' must be a 'SignedHeader' in the AWS Authorization."},
		{"unsigned action", false, forever, func(r *http.Request) { r.Header.Set("X-Amz-Target", "x") },
			sigv4.SignatureDoesNotMatch, "'x-amz-target' must be a 'SignedHeader' in the AWS Authorization."},
		{"unsigned token", false, forever, func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "x") },
			sigv4.SignatureDoesNotMatch, "'x-amz-security-token' must be a 'SignedHeader' in the AWS Authorization."},
		{"absent", false, forever, func(r *http.Request) { r.Header.Del("Content-Type") },
			sigv4.SignatureDoesNotMatch, "The request has no header 'content-type', which is a 'SignedHeader' in the AWS Authorization."},
		{"scope", false, forever, edit("Authorization", "20260301/us-east-1/ec2/aws4_request", "20260228/mars/s3/aws5"),
			sigv4.SignatureDoesNotMatch, "Credential should be scoped to a valid region, not 'mars'. Credential should be scoped to correct service: 'ec2' or 'sts'. " +
				"Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5'. " +
				"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20260228' != '20260301', from '20260301T120000Z'."},
		{"unknown key", false, forever, edit("Authorization", "AKIDEXAMPLE", "AKIDUNKNOWN"),
			sigv4.InvalidClientTokenID, expiredToken},
		{"no token", false, sigv4.Credentials{AccessKeyID: session.AccessKeyID, SecretKey: session.SecretKey}, func(*http.Request) {},
			sigv4.InvalidClientTokenID, expiredToken},
		{"wrong token", false, sigv4.Credentials{AccessKeyID: session.AccessKeyID, SecretKey: session.SecretKey, SessionToken: "x"}, func(*http.Request) {},
			sigv4.InvalidClientTokenID, expiredToken},
		{"token of nobody", false, sigv4.Credentials{AccessKeyID: forever.AccessKeyID, SecretKey: forever.SecretKey, SessionToken: "x"}, func(*http.Request) {},
			sigv4.InvalidClientTokenID, expiredToken},
		{"two tokens", false, session, func(r *http.Request) { r.Header.Add("X-Amz-Security-Token", "x") },
			sigv4.InvalidClientTokenID, expiredToken},
		{"signature", false, forever, edit("Authorization", "Signature=", "Signature=0"),
			sigv4.SignatureDoesNotMatch, "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.\n\nThe Canonical String"},
		{"escape", false, forever, func(r *http.Request) { r.URL.RawQuery = "a=%zz" },
			sigv4.MalformedQueryString, "The query string contains a syntax error."},
		{"long query", false, forever, func(r *http.Request) { r.URL.RawQuery = strings.Repeat("a", 1<<20) },
			sigv4.MalformedQueryString, "The query string is too long."},
		{"many parameters", false, forever, func(r *http.Request) { r.URL.RawQuery = strings.Repeat("&", 10000) },
			sigv4.MalformedQueryString, "The query string is too long."},

		{"query: algorithm", true, forever, query("SHA256", "SHA1"),
			sigv4.IncompleteSignature, "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA1' (only AWS4-HMAC-SHA256 for now). "},
		{"query: missing", true, forever, func(r *http.Request) { r.URL.RawQuery = "X-Amz-Algorithm" },
			sigv4.IncompleteSignature, "AWS query-string parameters must include 'X-Amz-Algorithm'. AWS query-string parameters must include 'X-Amz-Credential'. " +
				"AWS query-string parameters must include 'X-Amz-Signature'. AWS query-string parameters must include 'X-Amz-SignedHeaders'. " +
				"AWS query-string parameters must include 'X-Amz-Date'. Re-examine the query-string parameters."},
		{"query: repeated", true, forever, query("X-Amz-Date", "X-Amz-Date=20260301T120000Z&X-Amz-Date"),
			sigv4.IncompleteSignature, "AWS query-string parameter 'X-Amz-Date' must not be repeated. Re-examine the query-string parameters."},
		{"query: life", true, forever, query("Action", "X-Amz-Expires=604801&Action"),
			sigv4.IncompleteSignature, "X-Amz-Expires must be a number of seconds between 1 and 604800."},
		{"query: no life", true, forever, query("Action", "X-Amz-Expires=0&Action"),
			sigv4.IncompleteSignature, "X-Amz-Expires must be a number of seconds between 1 and 604800."},
		{"query: negative", true, forever, query("Action", "X-Amz-Expires=-1&Action"),
			sigv4.IncompleteSignature, "X-Amz-Expires must be a number of seconds between 1 and 604800."},
		{"query: old", true, forever, query("T120000Z", "T115829Z&X-Amz-Expires=90"),
			sigv4.RequestExpired, "Signature expired: 20260301T115829Z is now earlier than 20260301T115830Z (20260301T120000Z - 90 s.)"},
		{"query: old without life", true, forever, query("T120000Z", "T114459Z"),
			sigv4.RequestExpired, "Signature expired: 20260301T114459Z is now earlier than 20260301T114500Z (20260301T120000Z - 15 min.)"},
		{"query: host", true, forever, query("SignedHeaders=host", "SignedHeaders=accept"),
			sigv4.SignatureDoesNotMatch, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."},
		{"query: unsigned header", true, forever, func(r *http.Request) { r.Header.Set("X-Amz-Target", "x") },
			sigv4.SignatureDoesNotMatch, "'x-amz-target' must be a 'SignedHeader' in the AWS Authorization."},
		{"query: bytes", true, forever, query("20260301T120000Z", "%1b%0a%ff"),
			sigv4.IncompleteSignature, "Date must be in ISO-8601 'basic format'. Got '???'."},
		{"query: signature", true, forever, func(*http.Request) {},
			sigv4.SignatureDoesNotMatch, "The request signature we calculated does not match"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req := presigned(t, "")
			if !tc.query {
				req = signed(t, tc.creds)
			}
			tc.edit(req)
			cfg := at(noon)
			cfg.Regions, cfg.Services = []string{"us-east-1", "us-west-2"}, []string{"ec2", "sts"}
			_, err := sigv4.Verify(req, nil, cfg)
			var e *sigv4.Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v", err)
			}
			if e.Code != tc.code || !strings.HasPrefix(e.Message, tc.line) {
				t.Errorf("%s: %s\nwant %s: %s", e.Code, e.Message, tc.code, tc.line)
			}
		})
	}
}

// TestDates: a quarter of an hour off is still on time, either way, and the
// Date header serves where there is no other.
func TestDates(t *testing.T) {
	for _, skew := range []time.Duration{0, 15 * time.Minute, -15 * time.Minute} {
		if _, err := sigv4.Verify(signed(t, forever), nil, at(noon.Add(skew))); err != nil {
			t.Errorf("%v off: %v", skew, detail(err))
		}
	}
	for _, date := range []string{"20260301T120000Z", "Sun, 01 Mar 2026 12:00:00 GMT"} {
		req := build(t, "GET", "http://127.0.0.1:8180/", "", "Date: "+date,
			"Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260301/us-east-1/ec2/aws4_request, SignedHeaders=date;host, Signature=00")
		_, err := sigv4.Verify(req, nil, at(noon))
		if want := "\ndate:" + date + "\nhost:127.0.0.1:8180\n"; !strings.Contains(detail(err), want) || !strings.Contains(detail(err), "\n20260301T120000Z\n20260301/us-east-1/ec2/aws4_request\n") {
			t.Errorf("Date %s: %s", date, detail(err))
		}
	}
}

// TestUnsignedPayload: only who asks for it lets a request leave its body out.
func TestUnsignedPayload(t *testing.T) {
	req := signed(t, forever)
	req.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	if _, err := sigv4.Verify(req, []byte("x"), at(noon)); err == nil {
		t.Error("a body that is not signed was accepted")
	}
	cfg := at(noon)
	cfg.UnsignedPayload = true
	if _, err := sigv4.Verify(req, []byte("x"), cfg); err == nil {
		t.Error("an unsigned header said that the body is not signed, and was believed")
	}
	if _, err := sigv4.Verify(req, nil, cfg); err != nil {
		t.Errorf("the hash of the body is signed, and a header beside it says otherwise: %s", detail(err))
	}
}

// TestWhiteSpace: a header means the same with other white space, and its
// values have an order.
func TestWhiteSpace(t *testing.T) {
	req := build(t, "GET", "http://127.0.0.1:8180/", "", "X-Amz-Meta: b c  d", "X-Amz-Meta: a")
	if err := sigv4.Sign(req, nil, forever, "us-east-1", "ec2", noon); err != nil {
		t.Fatal(err)
	}
	req.Header["X-Amz-Meta"] = []string{" b   c \t d\t", "\ta"}
	if _, err := sigv4.Verify(req, nil, at(noon)); err != nil {
		t.Error(detail(err))
	}
	req.Header["X-Amz-Meta"] = []string{"a", "b c d"}
	if _, err := sigv4.Verify(req, nil, at(noon)); err == nil {
		t.Error("accepted in another order")
	}
}
