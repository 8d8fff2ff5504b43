//go:build linux

package e2e

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	dara "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	darautil "github.com/alibabacloud-go/darabonba-openapi/v2/utils"
	openapiutil "github.com/alibabacloud-go/openapi-util/service"
	daraopts "github.com/alibabacloud-go/tea/dara"
	"github.com/alibabacloud-go/tea/tea"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"pgregory.net/rapid"

	"openimds/internal/api/alisign"
	"openimds/internal/testnet"
)

const signedVersion = "2014-05-26"

var signingKeys = []alisign.Credentials{
	{AccessKeyID: "LTAIexample", AccessKeySecret: "secret&/+"},
	{AccessKeyID: "STS.example", AccessKeySecret: "another secret", SecurityToken: "CAIS+to/ken=="},
}

// verifier is a server that verifies the signature of each request, and keeps
// what it found.
type verifier struct {
	*httptest.Server
	nonces *alisign.Nonces

	mu  sync.Mutex
	got alisign.Request
	err error
}

// startVerifier also keeps clients from a proxy, and from looking for
// credentials elsewhere.
func startVerifier(t *testing.T) *verifier {
	t.Helper()
	testnet.RequireIsolated(t)
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"} {
		t.Setenv(name, "")
	}
	t.Setenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	v := &verifier{nonces: alisign.NewNonces(alisign.NonceWindow, 1<<20)}
	v.Server = httptest.NewServer(v)
	t.Cleanup(v.Close)
	return v
}

// ServeHTTP answers as the vendor's gateway does.
func (v *verifier) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	got, err := alisign.Verify(r, body, alisign.Config{
		Now:    time.Now(),
		Nonces: v.nonces,
		Lookup: func(id, _ string) (alisign.Credentials, error) {
			for _, c := range signingKeys {
				if c.AccessKeyID == id {
					return c, nil
				}
			}
			return alisign.Credentials{}, alisign.ErrUnknownKey
		},
	})
	v.mu.Lock()
	v.got, v.err = got, err
	v.mu.Unlock()

	answer := map[string]string{"RequestId": "4C467B38-3910-447D-87BC-AC049166F216"}
	w.Header().Set("Content-Type", "application/json;charset=utf-8")
	if refusal := (*alisign.Error)(nil); errors.As(err, &refusal) {
		answer["Code"], answer["Message"] = refusal.Code, refusal.Message
		w.WriteHeader(http.StatusBadRequest)
	}
	json.NewEncoder(w).Encode(answer)
}

func (v *verifier) host() string { return strings.TrimPrefix(v.URL, "http://") }

// signedCall is what a client is told to ask for.
type signedCall struct {
	method, action string
	query, form    map[string]string
	creds          alisign.Credentials
}

// check holds what the server found against what the client was told. Clients
// add parameters of their own, which are named in besides.
func (v *verifier) check(r *rapid.T, c signedCall, err error, besides ...string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var refusal *alisign.Error
	if errors.As(v.err, &refusal) {
		r.Fatalf("refused: %s: %s", refusal.Code, refusal.Message)
	}
	if err != nil || v.err != nil {
		r.Fatalf("client: %v; server: %v", err, v.err)
	}
	params := maps.Clone(v.got.Params)
	for _, name := range besides {
		delete(params, name)
	}
	want := maps.Clone(c.query)
	maps.Copy(want, c.form)
	if v.got.AccessKeyID != c.creds.AccessKeyID || v.got.SecurityToken != c.creds.SecurityToken || v.got.Action != c.action ||
		v.got.Version != signedVersion || v.got.Nonce == "" || time.Since(v.got.Timestamp) > time.Minute || !maps.Equal(params, want) {
		r.Fatalf("got %v with %q\nwant %s with %q", v.got, params, c.action, want)
	}
}

// signedCalls have names that no client escapes in its own way, and values of
// any kind: spaces, plus, stars, tildes, UTF-8, nothing at all.
func signedCalls(methods ...string) *rapid.Generator[signedCall] {
	value := rapid.OneOf(
		rapid.StringOfN(rapid.SampledFrom([]rune(" +*~%&=/?#;:@!$'(),[]\"<>\\^`{|}-_.aZ09é漢😀\n")), 0, 12, -1),
		rapid.SampledFrom([]string{"", " ", "+", "*", "~", "%20", "a b", `["i-1","i-2"]`}),
	)
	return rapid.Custom(func(t *rapid.T) signedCall {
		c := signedCall{
			method: rapid.SampledFrom(methods).Draw(t, "method"),
			action: rapid.StringMatching(`[A-Z][A-Za-z]{2,20}`).Draw(t, "action"),
			query:  rapid.MapOfN(rapid.StringMatching(`Q[A-Za-z]{1,8}(\.[1-9]\.[A-Z][a-z]{1,5})?`), value, 0, 5).Draw(t, "query"),
			creds:  rapid.SampledFrom(signingKeys).Draw(t, "credentials"),
		}
		if c.method == "POST" {
			c.form = rapid.MapOfN(rapid.StringMatching(`F[A-Za-z]{1,8}(\.[1-9]\.[A-Z][a-z]{1,5})?`), value, 0, 5).Draw(t, "form")
		}
		return c
	})
}

// TestSigningAlibabaCloudSDK: version 1, as alibaba-cloud-sdk-go signs.
func TestSigningAlibabaCloudSDK(t *testing.T) {
	v := startVerifier(t)
	clients := map[string]*sdk.Client{}
	for _, k := range signingKeys {
		clients[k.AccessKeyID] = sdkClient(t, k)
	}
	rapid.Check(t, func(r *rapid.T) {
		c := signedCalls("GET", "POST").Draw(r, "call")
		request := requests.NewCommonRequest()
		request.Method, request.Scheme, request.Domain = c.method, "http", v.host()
		request.Version, request.ApiName = signedVersion, c.action
		maps.Copy(request.QueryParams, c.query)
		maps.Copy(request.FormParams, c.form)
		_, err := clients[c.creds.AccessKeyID].ProcessCommonRequest(request)
		v.check(r, c, err, "Format", "RegionId")
	})
}

func sdkClient(t *testing.T, k alisign.Credentials) *sdk.Client {
	t.Helper()
	var static auth.Credential = credentials.NewAccessKeyCredential(k.AccessKeyID, k.AccessKeySecret)
	if k.SecurityToken != "" {
		static = credentials.NewStsTokenCredential(k.AccessKeyID, k.AccessKeySecret, k.SecurityToken)
	}
	return check[*sdk.Client](t)(sdk.NewClientWithOptions("cn-hangzhou", sdk.NewConfig(), static))
}

// TestSigningDarabonba: version 3, which its clients use, and version 1, which
// they use when told to.
func TestSigningDarabonba(t *testing.T) {
	v := startVerifier(t)
	for name, algorithm := range map[string]string{"V3": "", "V1": "v2"} {
		t.Run(name, func(t *testing.T) {
			clients := map[string]*dara.Client{}
			for _, k := range signingKeys {
				config := &darautil.Config{
					AccessKeyId:     tea.String(k.AccessKeyID),
					AccessKeySecret: tea.String(k.AccessKeySecret),
					SecurityToken:   tea.String(k.SecurityToken),
					Endpoint:        tea.String(v.host()),
					Protocol:        tea.String("HTTP"),
				}
				if algorithm != "" {
					config.SignatureAlgorithm = tea.String(algorithm)
				}
				clients[k.AccessKeyID] = check[*dara.Client](t)(dara.NewClient(config))
			}
			rapid.Check(t, func(r *rapid.T) {
				c := signedCalls("GET", "POST").Draw(r, "call")
				request := &darautil.OpenApiRequest{Query: pointers(c.query)}
				if len(c.form) > 0 {
					form := map[string]any{}
					for name, value := range c.form {
						form[name] = value
					}
					request.Body = form
				}
				_, err := clients[c.creds.AccessKeyID].CallApi(&darautil.Params{
					Action: tea.String(c.action), Version: tea.String(signedVersion), Protocol: tea.String("HTTPS"), Pathname: tea.String("/"),
					Method: tea.String(c.method), AuthType: tea.String("AK"), Style: tea.String("RPC"), ReqBodyType: tea.String("formData"), BodyType: tea.String("json"),
				}, request, &daraopts.RuntimeOptions{})
				v.check(r, c, err, "Format")
			})
		})
	}
}

// TestSigningOpenAPIUtil: the signers of older clients, version 1 and 3, which
// sign what somebody else sends.
func TestSigningOpenAPIUtil(t *testing.T) {
	v := startVerifier(t)
	now := func() string { return tea.StringValue(openapiutil.GetTimestamp()) }
	nonce := func(r *rapid.T) string { return rapid.StringMatching(`[0-9a-f]{32}`).Draw(r, "nonce") }
	t.Run("V1", func(t *testing.T) {
		rapid.Check(t, func(r *rapid.T) {
			c := signedCalls("GET", "POST").Draw(r, "call")
			query := maps.Clone(c.query)
			maps.Copy(query, map[string]string{
				"Action": c.action, "Version": signedVersion, "Format": "json", "Timestamp": now(), "SignatureNonce": nonce(r),
				"SignatureMethod": "HMAC-SHA1", "SignatureVersion": "1.0", "AccessKeyId": c.creds.AccessKeyID,
			})
			if c.creds.SecurityToken != "" {
				query["SecurityToken"] = c.creds.SecurityToken
			}
			all := maps.Clone(query)
			maps.Copy(all, c.form)
			query["Signature"] = tea.StringValue(openapiutil.GetRPCSignature(pointers(all), tea.String(c.method), tea.String(c.creds.AccessKeySecret)))
			v.check(r, c, v.send(r, c.method, query, c.form, nil), "Format")
		})
	})
	t.Run("V3", func(t *testing.T) {
		rapid.Check(t, func(r *rapid.T) {
			c := signedCalls("GET", "POST").Draw(r, "call")
			body := encodeForm(c.form)
			algorithm := tea.String("ACS3-HMAC-SHA256")
			hash := openapiutil.HexEncode(openapiutil.Hash([]byte(body), algorithm))
			headers := map[string]string{
				"host": v.host(), "x-acs-action": c.action, "x-acs-version": signedVersion, "x-acs-date": now(),
				"x-acs-signature-nonce": nonce(r), "x-acs-content-sha256": tea.StringValue(hash), "accept": "application/json",
			}
			if body != "" {
				headers["content-type"] = "application/x-www-form-urlencoded"
			}
			if c.creds.SecurityToken != "" {
				headers["x-acs-accesskey-id"], headers["x-acs-security-token"] = c.creds.AccessKeyID, c.creds.SecurityToken
			}
			headers["Authorization"] = tea.StringValue(openapiutil.GetAuthorization(
				&tea.Request{Method: tea.String(c.method), Pathname: tea.String("/"), Query: pointers(c.query), Headers: pointers(headers)},
				algorithm, hash, tea.String(c.creds.AccessKeyID), tea.String(c.creds.AccessKeySecret)))
			v.check(r, c, v.send(r, c.method, c.query, c.form, headers))
		})
	})
}

// send sends what a signer has signed.
func (v *verifier) send(r *rapid.T, method string, query, form, headers map[string]string) error {
	body := encodeForm(form)
	req, err := http.NewRequest(method, v.URL+"/?"+encodeForm(query), strings.NewReader(body))
	if err != nil {
		r.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	res, err := v.Client().Do(req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

func encodeForm(params map[string]string) string {
	values := url.Values{}
	for name, value := range params {
		values.Set(name, value)
	}
	return values.Encode()
}

func pointers(m map[string]string) map[string]*string {
	p := map[string]*string{}
	for name, value := range m {
		p[name] = tea.String(value)
	}
	return p
}

// TestSigningRefused: the vendor's client understands the refusal, and tells
// its user that the secret is wrong.
func TestSigningRefused(t *testing.T) {
	v := startVerifier(t)
	client := sdkClient(t, alisign.Credentials{AccessKeyID: signingKeys[0].AccessKeyID, AccessKeySecret: "wrong"})
	request := requests.NewCommonRequest()
	request.Method, request.Scheme, request.Domain = "POST", "http", v.host()
	request.Version, request.ApiName = signedVersion, "DescribeRegions"
	_, err := client.ProcessCommonRequest(request)
	if err == nil || !strings.Contains(err.Error(), "InvalidAccessKeySecret: Please check you AccessKeySecret") {
		t.Errorf("error %v", err)
	}
}
