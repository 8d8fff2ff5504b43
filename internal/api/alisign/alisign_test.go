package alisign_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"openimds/internal/api/alisign"
	"openimds/internal/testnet"
)

var (
	noon    = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	forever = alisign.Credentials{AccessKeyID: "testid", AccessKeySecret: "testsecret"}
	session = alisign.Credentials{AccessKeyID: "STS.testid", AccessKeySecret: "sessionsecret", SecurityToken: "CAIS+token/=="}
)

// known looks up the two keys of these tests.
func known(id, _ string) (alisign.Credentials, error) {
	switch id {
	case forever.AccessKeyID:
		return forever, nil
	case session.AccessKeyID:
		return session, nil
	}
	return alisign.Credentials{}, alisign.ErrUnknownKey
}

func at(now time.Time) alisign.Config { return alisign.Config{Now: now, Lookup: known} }

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
func build(t testing.TB, method, url string, headers ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	return req
}

// detail shows what a message keeps for the client.
func detail(err error) string {
	var e *alisign.Error
	if errors.As(err, &e) {
		return e.Code + ": " + e.Message
	}
	return fmt.Sprint(err)
}

// TestVendorExampleV1 is the worked example of the vendor's documentation, and
// with a wrong secret the text that it gives.
func TestVendorExampleV1(t *testing.T) {
	const query = "Timestamp=2016-02-23T12%3A46%3A24Z&Format=XML&AccessKeyId=testid&Action=DescribeRegions&SignatureMethod=HMAC-SHA1" +
		"&SignatureNonce=3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf&Version=2014-05-26&SignatureVersion=1.0"
	now := time.Date(2016, 2, 23, 12, 46, 24, 0, time.UTC)

	req, body := received(t, wire(t, build(t, "GET", "http://ecs.aliyuncs.com/?"+query+"&Signature=OLeaidS1JvxuMvnyHOwuJ%2BuX5qY%3D"), nil))
	got, err := alisign.Verify(req, body, at(now))
	if err != nil {
		t.Fatal(detail(err))
	}
	if got.AccessKeyID != "testid" || got.Action != "DescribeRegions" || got.Version != "2014-05-26" || !got.Timestamp.Equal(now) ||
		got.Nonce != "3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf" || !maps.Equal(got.Params, map[string]string{"Format": "XML"}) {
		t.Errorf("%+v with %v", got, got.Params)
	}

	cfg := at(now)
	cfg.Lookup = func(string, string) (alisign.Credentials, error) {
		return alisign.Credentials{AccessKeyID: "testid", AccessKeySecret: "another"}, nil
	}
	_, err = alisign.Verify(req, body, cfg)
	const want = "SignatureDoesNotMatch: Specified signature is not matched with our calculation. server string to sign is:" +
		"GET&%2F&AccessKeyId%3Dtestid%26Action%3DDescribeRegions%26Format%3DXML%26SignatureMethod%3DHMAC-SHA1%26SignatureNonce%3D3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf" +
		"%26SignatureVersion%3D1.0%26Timestamp%3D2016-02-23T12%253A46%253A24Z%26Version%3D2014-05-26"
	if got := detail(err); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// TestWireV1 is a request as the vendor's SDK for Go sends it: a POST with
// everything in the query, and a parameter that is empty and signed.
func TestWireV1(t *testing.T) {
	req, body := received(t, []byte("POST /?AccessKeyId=testid&Action=ModifyInstanceMetadataOptions&Format=JSON&HttpEndpoint=enabled&HttpPutResponseHopLimit=1&HttpTokens=required"+
		"&InstanceId=i-1&RegionId=cn-hangzhou&Signature=Jtbb2tFh4a7cGnzHXb0osUxeSH8%3D&SignatureMethod=HMAC-SHA1&SignatureNonce=95bb760a8814d5d39de06225122772c4"+
		"&SignatureType=&SignatureVersion=1.0&Timestamp=2026-11-21T23%3A52%3A40Z&Version=2014-05-26 HTTP/1.1\r\nHost: 127.0.0.1:18080\r\n"+
		"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 0\r\nx-acs-action: ModifyInstanceMetadataOptions\r\n\r\n"))
	got, err := alisign.Verify(req, body, at(time.Date(2026, 11, 21, 23, 52, 40, 0, time.UTC)))
	if err != nil {
		t.Fatal(detail(err))
	}
	want := map[string]string{"Format": "JSON", "HttpEndpoint": "enabled", "HttpPutResponseHopLimit": "1", "HttpTokens": "required", "InstanceId": "i-1", "RegionId": "cn-hangzhou"}
	if !maps.Equal(got.Params, want) {
		t.Errorf("parameters %v", got.Params)
	}
}

// TestVendorExampleV3 is the worked example of the vendor's documentation, by
// the signature that it gives and, with a wrong secret, by the hash.
func TestVendorExampleV3(t *testing.T) {
	now := time.Date(2023, 10, 26, 10, 22, 32, 0, time.UTC)
	creds := alisign.Credentials{AccessKeyID: "YourAccessKeyId", AccessKeySecret: "YourAccessKeySecret"}
	cfg := alisign.Config{Now: now, Lookup: func(string, string) (alisign.Credentials, error) { return creds, nil }}
	for _, comma := range []string{",", ", "} {
		req, body := received(t, wire(t, build(t, "POST",
			"http://ecs.cn-shanghai.aliyuncs.com/?ImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd&RegionId=cn-shanghai",
			"x-acs-action: RunInstances", "x-acs-version: 2014-05-26", "x-acs-date: 2023-10-26T10:22:32Z",
			"x-acs-signature-nonce: 3156853299f313e23d1673dc12e1703d",
			"x-acs-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
			"Authorization: ACS3-HMAC-SHA256 Credential=YourAccessKeyId"+comma+
				"SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version"+comma+
				"Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"), nil))
		got, err := alisign.Verify(req, body, cfg)
		if err != nil {
			t.Fatal(detail(err))
		}
		if got.Action != "RunInstances" || got.Version != "2014-05-26" || !got.Timestamp.Equal(now) || got.Nonce != "3156853299f313e23d1673dc12e1703d" ||
			!maps.Equal(got.Params, map[string]string{"ImageId": "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd", "RegionId": "cn-shanghai"}) {
			t.Errorf("%+v with %v", got, got.Params)
		}
		req.Header.Set("Authorization", strings.Replace(req.Header.Get("Authorization"), "Signature=0", "Signature=1", 1))
		_, err = alisign.Verify(req, body, cfg)
		const want = "SignatureDoesNotMatch: Specified signature is not matched with our calculation. server string to sign is:" +
			"ACS3-HMAC-SHA256\n7ea06492da5221eba5297e897ce16e55f964061054b7695beedaac1145b1e259"
		if got := detail(err); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}

// TestSecretsDoNotPrint: neither a log nor a format verb shows a secret or a
// parameter.
func TestSecretsDoNotPrint(t *testing.T) {
	req := build(t, "GET", "http://127.0.0.1:8180/?Action=RunInstances&Version=2014-05-26&UserData=private")
	if err := alisign.SignV1(req, nil, session, "1", noon); err != nil {
		t.Fatal(err)
	}
	got, err := alisign.Verify(req, nil, at(noon))
	if err != nil {
		t.Fatal(detail(err))
	}
	req.Method = "POST"
	_, refused := alisign.Verify(req, nil, at(noon))
	if !strings.Contains(detail(refused), "private") {
		t.Errorf("the message does not tell the client what it signed: %v", refused)
	}
	var out bytes.Buffer
	for _, log := range []*slog.Logger{testnet.Logger(&out, nil), testnet.JSONLogger(&out, nil)} {
		log.Info("x", "creds", session, "pointer", &session, "request", got, "err", refused)
	}
	fmt.Fprintf(&out, "%v %+v %#v %s %v %+v %#v %v", session, session, session, session, got, got, got, refused)
	for _, secret := range []string{session.AccessKeySecret, session.SecurityToken, "private"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%q is in the output:\n%s", secret, out.String())
		}
	}
}

func TestLookupErrors(t *testing.T) {
	away := errors.New("the store is away")
	for _, tc := range []struct {
		name string
		err  error
		code string
	}{
		{"unknown", fmt.Errorf("wrapped: %w", alisign.ErrUnknownKey), alisign.UnknownAccessKey},
		{"no secret", nil, alisign.UnknownAccessKey},
		{"disabled", &alisign.Error{Code: alisign.DisabledAccessKey, Message: "The Access Key is disabled."}, alisign.DisabledAccessKey},
		{"away", away, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req := build(t, "GET", "http://127.0.0.1:8180/?Action=DescribeRegions&Version=2014-05-26")
			if err := alisign.SignV1(req, nil, alisign.Credentials{AccessKeyID: "testid"}, "1", noon); err != nil {
				t.Fatal(err)
			}
			cfg := at(noon)
			cfg.Lookup = func(string, string) (alisign.Credentials, error) { return alisign.Credentials{}, tc.err }
			_, err := alisign.Verify(req, nil, cfg)
			var e *alisign.Error
			if errors.As(err, &e) != (tc.code != "") || e != nil && e.Code != tc.code || tc.code == "" && !errors.Is(err, away) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestSignNeedsAnAction: a caller's mistake is told before anything is sent.
func TestSignNeedsAnAction(t *testing.T) {
	if err := alisign.SignV1(build(t, "GET", "http://127.0.0.1/?Action=x"), nil, forever, "1", noon); err == nil {
		t.Error("signed without a version")
	}
	if err := alisign.SignV3(build(t, "GET", "http://127.0.0.1/", "x-acs-version: 1"), nil, forever, "1", noon); err == nil {
		t.Error("signed without an action")
	}
	for name, sign := range map[string]func(*http.Request, []byte, alisign.Credentials, string, time.Time) error{"V1": alisign.SignV1, "V3": alisign.SignV3} {
		if err := sign(build(t, "GET", "http://127.0.0.1/?Action=x&Version=1&a=%zz", "x-acs-action: x", "x-acs-version: 1"), nil, forever, "1", noon); err == nil {
			t.Errorf("%s: signed a query that cannot be decoded", name)
		}
	}
}
