package sigv4_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"openimds/internal/api/sigv4"
	"openimds/internal/testnet"
)

var (
	noon    = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	forever = sigv4.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
	session = sigv4.Credentials{AccessKeyID: "ASIDEXAMPLE", SecretKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYSESSIONKEY", SessionToken: "AQoDYXdzEPT//wEXAMPLE=="}
)

// known looks up the two keys of these tests.
func known(id, _ string) (sigv4.Credentials, error) {
	switch id {
	case forever.AccessKeyID:
		return forever, nil
	case session.AccessKeyID:
		return session, nil
	}
	return sigv4.Credentials{}, sigv4.ErrUnknownKey
}

// at is a configuration that accepts any scope.
func at(now time.Time) sigv4.Config { return sigv4.Config{Now: now, Lookup: known} }

// wire returns the bytes of a request as a client sends them.
func wire(t testing.TB, req *http.Request, body []byte) []byte {
	t.Helper()
	req.Body, req.ContentLength = nil, 0
	if len(body) > 0 {
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	var b bytes.Buffer
	if err := req.Write(&b); err != nil {
		t.Fatalf("write request: %v", err)
	}
	return b.Bytes()
}

// received returns what a server reads of a request.
func received(t testing.TB, raw []byte) (*http.Request, []byte) {
	t.Helper()
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		t.Fatalf("read request: %v\n%s", err, raw)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		t.Fatalf("read body: %v", err)
	}
	return req, body
}

// build makes a request with header lines "Name: value".
func build(t testing.TB, method, url, body string, headers ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	return req
}

// TestVendorExamples are the worked examples of the vendor's documentation.
func TestVendorExamples(t *testing.T) {
	iam := sigv4.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
	s3 := sigv4.Credentials{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for _, tc := range []struct {
		name    string
		creds   sigv4.Credentials
		method  string
		url     string
		body    string
		headers []string
		auth    string
	}{
		{
			"ListUsers", iam, "GET", "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08", "",
			[]string{"Content-Type: application/x-www-form-urlencoded; charset=utf-8", "X-Amz-Date: 20150830T123600Z"},
			"Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
		},
		{
			"GET object", s3, "GET", "https://examplebucket.s3.amazonaws.com/test.txt", "",
			[]string{"Range: bytes=0-9", "X-Amz-Content-Sha256: " + empty, "X-Amz-Date: 20130524T000000Z"},
			"Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
		},
		{
			"PUT object", s3, "PUT", "https://examplebucket.s3.amazonaws.com/test$file.text", "Welcome to Amazon S3.",
			[]string{"Date: Fri, 24 May 2013 00:00:00 GMT", "X-Amz-Date: 20130524T000000Z", "X-Amz-Storage-Class: REDUCED_REDUNDANCY",
				"X-Amz-Content-Sha256: 44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"},
			"Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class,Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
		},
		{
			"GET lifecycle", s3, "GET", "https://examplebucket.s3.amazonaws.com/?lifecycle", "",
			[]string{"X-Amz-Date: 20130524T000000Z", "X-Amz-Content-Sha256: " + empty},
			"Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
		},
		{
			"list objects", s3, "GET", "https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J", "",
			[]string{"X-Amz-Date: 20130524T000000Z", "X-Amz-Content-Sha256: " + empty},
			"Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req := build(t, tc.method, tc.url, "", append(tc.headers, "Authorization: AWS4-HMAC-SHA256 "+tc.auth)...)
			date, err := time.Parse("20060102T150405Z", req.Header.Get("X-Amz-Date"))
			if err != nil {
				t.Fatal(err)
			}
			got, body := received(t, wire(t, req, []byte(tc.body)))
			id, err := sigv4.Verify(got, body, sigv4.Config{Now: date, Lookup: func(id, _ string) (sigv4.Credentials, error) {
				if id != tc.creds.AccessKeyID {
					return sigv4.Credentials{}, sigv4.ErrUnknownKey
				}
				return tc.creds, nil
			}})
			if err != nil {
				t.Fatal(detail(err))
			}
			if !id.Date.Equal(date) || id.Region != "us-east-1" || id.AccessKeyID != tc.creds.AccessKeyID || !slices.Contains(id.SignedHeaders, "host") {
				t.Errorf("identity %+v", id)
			}
		})
	}
}

// detail shows what a message keeps for the client.
func detail(err error) string {
	var e *sigv4.Error
	if errors.As(err, &e) {
		return e.Code + ": " + e.Message
	}
	return fmt.Sprint(err)
}

// TestMismatchTellsWhatToSign: the message is the vendor's, word for word.
func TestMismatchTellsWhatToSign(t *testing.T) {
	req := build(t, "POST", "http://127.0.0.1:8180/", "", "Content-Type: application/x-www-form-urlencoded")
	body := []byte("Action=DescribeInstances&Version=2016-11-15")
	wrong := forever
	wrong.SecretKey = "another"
	if err := sigv4.Sign(req, body, wrong, "us-east-1", "ec2", noon); err != nil {
		t.Fatal(err)
	}
	got, _ := received(t, wire(t, req, body))
	_, err := sigv4.Verify(got, body, at(noon))
	var e *sigv4.Error
	if !errors.As(err, &e) || e.Code != sigv4.SignatureDoesNotMatch {
		t.Fatalf("error %v", err)
	}
	const want = `The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.

The Canonical String for this request should have been
'POST
/

content-type:application/x-www-form-urlencoded
host:127.0.0.1:8180
x-amz-date:20260301T120000Z

content-type;host;x-amz-date
6171eb09865e32b0602af0f7957e26573a51f53caaedff02ff88883cb0275885'

The String-to-Sign should have been
'AWS4-HMAC-SHA256
20260301T120000Z
20260301/us-east-1/ec2/aws4_request
59ee3b7a280732a3d28386f0ed587a1d6221ebce2cc97b96b9bf640b65a2cc0f'
`
	if e.Message != want {
		t.Errorf("message\n%s\nwant\n%s", e.Message, want)
	}
	if line := e.Error(); strings.Contains(line, "\n") || strings.Contains(line, "Canonical") {
		t.Errorf("Error() = %q, which is more than a log may hold", line)
	}
}

// TestSecretsDoNotPrint: neither a log nor a format verb shows a secret.
func TestSecretsDoNotPrint(t *testing.T) {
	req := build(t, "GET", "http://127.0.0.1:8180/?UserData=private", "")
	if err := sigv4.Sign(req, nil, session, "us-east-1", "ec2", noon); err != nil {
		t.Fatal(err)
	}
	got, _ := received(t, wire(t, req, nil))
	id, err := sigv4.Verify(got, nil, at(noon))
	if err != nil {
		t.Fatal(detail(err))
	}
	got.Method = "PUT"
	_, refused := sigv4.Verify(got, nil, at(noon))
	if refused == nil {
		t.Fatal("another method was accepted")
	}
	var out bytes.Buffer
	for _, log := range []*slog.Logger{testnet.Logger(&out, nil), testnet.JSONLogger(&out, nil)} {
		log.Info("x", "creds", session, "pointer", &session, "id", id, "err", refused)
	}
	fmt.Fprintf(&out, "%v %+v %#v %s %v %+v %#v %v", session, session, session, session, id, id, id, refused)
	for _, secret := range []string{session.SecretKey, session.SessionToken, "private"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%q is in the output:\n%s", secret, out.String())
		}
	}
}

func TestLookupErrors(t *testing.T) {
	away := errors.New("the store is away")
	for _, tc := range []struct {
		name   string
		lookup func(string, string) (sigv4.Credentials, error)
		code   string
		is     error
	}{
		{"unknown", func(string, string) (sigv4.Credentials, error) {
			return sigv4.Credentials{}, fmt.Errorf("wrapped: %w", sigv4.ErrUnknownKey)
		}, sigv4.InvalidClientTokenID, nil},
		{"no secret", func(string, string) (sigv4.Credentials, error) { return sigv4.Credentials{}, nil }, sigv4.InvalidClientTokenID, nil},
		{"expired", func(string, string) (sigv4.Credentials, error) {
			return sigv4.Credentials{}, &sigv4.Error{Code: sigv4.ExpiredToken, Message: "The security token included in the request is expired"}
		}, sigv4.ExpiredToken, nil},
		{"away", func(string, string) (sigv4.Credentials, error) { return sigv4.Credentials{}, away }, "", away},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req := build(t, "GET", "http://127.0.0.1:8180/", "")
			if err := sigv4.Sign(req, nil, sigv4.Credentials{AccessKeyID: "AKIDEXAMPLE"}, "us-east-1", "ec2", noon); err != nil {
				t.Fatal(err)
			}
			cfg := at(noon)
			cfg.Lookup = tc.lookup
			_, err := sigv4.Verify(req, nil, cfg)
			var e *sigv4.Error
			if errors.As(err, &e) != (tc.code != "") || e != nil && e.Code != tc.code || tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestLookupSeesTheToken: who keeps sessions in their tokens needs no store.
func TestLookupSeesTheToken(t *testing.T) {
	req := build(t, "GET", "http://127.0.0.1:8180/", "")
	if err := sigv4.Sign(req, nil, session, "us-east-1", "ec2", noon); err != nil {
		t.Fatal(err)
	}
	cfg := at(noon)
	cfg.Lookup = func(id, token string) (sigv4.Credentials, error) {
		if id != session.AccessKeyID || token != session.SessionToken {
			t.Errorf("looked up %s with %q", id, token)
		}
		return session, nil
	}
	if id, err := sigv4.Verify(req, nil, cfg); err != nil || id.SessionToken != session.SessionToken {
		t.Errorf("%v, %v", id, err)
	}
}
