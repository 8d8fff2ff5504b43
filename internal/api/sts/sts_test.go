package sts_test

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"openimds/internal/api/alisign"
	"openimds/internal/api/sigv4"
	"openimds/internal/api/sts"
	"openimds/internal/control"
	"openimds/internal/state"
	"openimds/internal/store/memstore"
	"openimds/internal/testnet"
)

const account, secret = "123456789012", "hidden-key-secret"

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// bed is both APIs over a control plane with a user and a role in each cloud.
type bed struct {
	*control.Control
	t      *testing.T
	apis   map[string]http.Handler
	nonces int
}

func newBed(t *testing.T) *bed {
	t.Helper()
	store := memstore.New(memstore.Config{})
	t.Cleanup(func() { _ = store.Close() })
	db, err := state.Open(t.Context(), store, testnet.Quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	clock := func() time.Time { return now }
	b := &bed{Control: control.New(control.Config{DB: db, Now: clock}), t: t}
	cfg := sts.Config{Control: b.Control, Now: clock, Random: zeros{}}
	b.apis = map[string]http.Handler{"ec2": sts.NewAWS(cfg), "ecs": sts.NewAliyun(cfg)}
	operator := control.Caller{Admin: true, Action: "Test"}
	for dialect, version := range map[string]string{"ec2": "2012-10-17", "ecs": "1"} {
		policy := state.Policy{Name: "all", Dialect: dialect, Document: `{"Version":"` + version + `","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`}
		for _, err := range []error{
			b.PutPolicy(t.Context(), operator, policy),
			b.PutKey(t.Context(), operator, state.AccessKey{ID: "AKIA" + dialect, Dialect: dialect, Account: account, User: "ops", Policies: []string{"all"}}, secret),
			b.PutKey(t.Context(), operator, state.AccessKey{ID: "WEAK" + dialect, Dialect: dialect, Account: account, User: "weak"}, secret),
			b.PutRole(t.Context(), operator, state.Role{Name: "web", Dialect: dialect, Account: account, Policies: []string{"all"}, Trust: []string{account}}),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return b
}

// zeros make request ids that are the same in every run.
type zeros struct{}

// Read reads zeros.
func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// key signs calls.
type key struct{ id, secret, token string }

// aws calls AWS's API; params are those of the form.
func (b *bed) aws(k key, at time.Time, params ...string) (int, string) {
	b.t.Helper()
	form := url.Values{"Version": {"2011-06-15"}}
	for i := 0; i < len(params); i += 2 {
		form.Set(params[i], params[i+1])
	}
	body := form.Encode()
	r := httptest.NewRequest(http.MethodPost, "http://sts.test/", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if err := sigv4.Sign(r, []byte(body), sigv4.Credentials{AccessKeyID: k.id, SecretKey: k.secret, SessionToken: k.token}, "us-east-1", "sts", at); err != nil {
		b.t.Fatal(err)
	}
	return b.do("ec2", r)
}

// ali calls Alibaba Cloud's API.
func (b *bed) ali(k key, v3, asJSON bool, action string, params ...string) (int, string) {
	b.t.Helper()
	query := url.Values{}
	for i := 0; i < len(params); i += 2 {
		query.Set(params[i], params[i+1])
	}
	if asJSON {
		query.Set("Format", "JSON")
	}
	if !v3 {
		query.Set("Action", action)
		query.Set("Version", "2015-04-01")
	}
	r := httptest.NewRequest(http.MethodPost, "http://sts.test/?"+query.Encode(), http.NoBody)
	c := alisign.Credentials{AccessKeyID: k.id, AccessKeySecret: k.secret, SecurityToken: k.token}
	b.nonces++
	var err error
	if v3 {
		r.Header.Set("X-Acs-Action", action)
		r.Header.Set("X-Acs-Version", "2015-04-01")
		err = alisign.SignV3(r, nil, c, strconv.Itoa(b.nonces), now)
	} else {
		err = alisign.SignV1(r, nil, c, strconv.Itoa(b.nonces), now)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return b.do("ecs", r)
}

func (b *bed) do(dialect string, r *http.Request) (int, string) {
	w := httptest.NewRecorder()
	b.apis[dialect].ServeHTTP(w, r)
	body, _ := io.ReadAll(w.Body)
	if strings.Contains(string(body), secret) {
		b.t.Errorf("the answer has the key's secret: %s", body)
	}
	return w.Code, string(body)
}

// TestAWSForms: replies byte for byte, but for what is random (EC2-STS-02,
// EC2-STS-03).
func TestAWSForms(t *testing.T) {
	b := newBed(t)
	ops := key{"AKIAec2", secret, ""}
	status, body := b.aws(ops, now, "Action", "GetCallerIdentity")
	want := `<?xml version="1.0" encoding="UTF-8"?>
<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <GetCallerIdentityResult>
    <Arn>arn:aws:iam::123456789012:user/ops</Arn>
    <UserId>AIDA*</UserId>
    <Account>123456789012</Account>
  </GetCallerIdentityResult>
  <ResponseMetadata>
    <RequestId>00000000-0000-4000-8000-000000000000</RequestId>
  </ResponseMetadata>
</GetCallerIdentityResponse>`
	like(t, status, body, 200, want)
	status, body = b.aws(ops, now, "Action", "AssumeRole", "RoleArn", "arn:aws:iam::123456789012:role/web", "RoleSessionName", "one", "DurationSeconds", "900")
	like(t, status, body, 200, `<?xml version="1.0" encoding="UTF-8"?>
<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleResult>
    <AssumedRoleUser>
      <AssumedRoleId>AROA*:one</AssumedRoleId>
      <Arn>arn:aws:sts::123456789012:assumed-role/web/one</Arn>
    </AssumedRoleUser>
    <Credentials>
      <AccessKeyId>ASIA*</AccessKeyId>
      <SecretAccessKey>*</SecretAccessKey>
      <SessionToken>*</SessionToken>
      <Expiration>2026-03-01T12:15:00Z</Expiration>
    </Credentials>
  </AssumeRoleResult>
  <ResponseMetadata>
    <RequestId>00000000-0000-4000-8000-000000000000</RequestId>
  </ResponseMetadata>
</AssumeRoleResponse>`)
	var made struct {
		ID     string `xml:"AssumeRoleResult>Credentials>AccessKeyId"`
		Secret string `xml:"AssumeRoleResult>Credentials>SecretAccessKey"`
		Token  string `xml:"AssumeRoleResult>Credentials>SessionToken"`
	}
	if err := xml.Unmarshal([]byte(body), &made); err != nil {
		t.Fatal(err)
	}
	status, body = b.aws(key{made.ID, made.Secret, made.Token}, now, "Action", "GetCallerIdentity")
	if status != 200 || !strings.Contains(body, "<Arn>arn:aws:sts::123456789012:assumed-role/web/one</Arn>") || !strings.Contains(body, ":one</UserId>") {
		t.Errorf("%d %s", status, body)
	}
	status, body = b.aws(key{made.ID, made.Secret, ""}, now, "Action", "GetCallerIdentity")
	like(t, status, body, 403, awsError("InvalidClientTokenId", "The security token included in the request is invalid."))
}

func awsError(code, message string) string {
	return xml.Header + `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>` + code + `</Code><Message>` + message +
		`</Message></Error><RequestId>00000000-0000-4000-8000-000000000000</RequestId></ErrorResponse>`
}

// like compares with a text in which * stands for anything.
func like(t *testing.T, status int, body string, wantStatus int, want string) {
	t.Helper()
	pattern := strings.ReplaceAll(regexp.QuoteMeta(want), `\*`, ".+")
	if status != wantStatus || !regexp.MustCompile(`(?s)^`+pattern+`$`).MatchString(body) {
		t.Errorf("%d %s\nwant %d %s", status, body, wantStatus, want)
	}
}

// TestAWSRefuses has a row for each code (EC2-STS-04).
func TestAWSRefuses(t *testing.T) {
	b := newBed(t)
	ops, weak := key{"AKIAec2", secret, ""}, key{"WEAKec2", secret, ""}
	role := []string{"Action", "AssumeRole", "RoleArn", "arn:aws:iam::123456789012:role/web", "RoleSessionName", "one"}
	with := func(more ...string) []string { return append(append([]string{}, role...), more...) }
	for name, c := range map[string]struct {
		key    key
		at     time.Time
		params []string
		status int
		code   string
	}{
		"unknown key":        {key{"AKIANONE", secret, ""}, now, role, 403, "InvalidClientTokenId"},
		"wrong secret":       {key{"AKIAec2", "other", ""}, now, role, 403, "SignatureDoesNotMatch"},
		"wrong clock":        {ops, now.Add(-time.Hour), role, 403, "SignatureDoesNotMatch"},
		"not permitted":      {weak, now, role, 403, "AccessDenied"},
		"no such role":       {ops, now, with("RoleArn", "arn:aws:iam::123456789012:role/none"), 403, "AccessDenied"},
		"no role":            {ops, now, []string{"Action", "AssumeRole", "RoleSessionName", "one"}, 400, "ValidationError"},
		"no role's name":     {ops, now, with("RoleArn", "web"), 400, "ValidationError"},
		"a bad name":         {ops, now, with("RoleSessionName", "a b"), 400, "ValidationError"},
		"a bad life":         {ops, now, with("DurationSeconds", "60"), 400, "ValidationError"},
		"no life":            {ops, now, with("DurationSeconds", "+900"), 400, "ValidationError"},
		"a bad policy":       {ops, now, with("Policy", "{}"), 400, "MalformedPolicyDocument"},
		"a long policy":      {ops, now, with("Policy", strings.Repeat(" ", 2049)), 400, "PackedPolicyTooLarge"},
		"not offered":        {ops, now, with("Tags.member.1.Key", "a"), 400, "InvalidParameterValue"},
		"an external id":     {ops, now, with("ExternalId", "x"), 400, "InvalidParameterValue"},
		"an unknown action":  {ops, now, []string{"Action", "GetSessionToken"}, 400, "InvalidAction"},
		"an unknown version": {ops, now, []string{"Action", "GetCallerIdentity", "Version", "2016-11-15"}, 400, "InvalidAction"},
	} {
		if status, body := b.aws(c.key, c.at, c.params...); status != c.status || !strings.Contains(body, "<Code>"+c.code+"</Code>") {
			t.Errorf("%s: %d %s, want %d %s", name, status, body, c.status, c.code)
		}
	}
	// Who may do nothing may still know who he is.
	if status, body := b.aws(weak, now, "Action", "GetCallerIdentity"); status != 200 || !strings.Contains(body, "user/weak") {
		t.Errorf("%d %s", status, body)
	}
	w := httptest.NewRecorder()
	b.apis["ec2"].ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/?Action=GetCallerIdentity&Version=2011-06-15", http.NoBody))
	if w.Code != 403 || !strings.Contains(w.Body.String(), "MissingAuthenticationToken") {
		t.Errorf("unsigned: %d %s", w.Code, w.Body)
	}
}

// TestAliyunForms: replies byte for byte in both formats, by both signatures
// (ECS-STS-02, ECS-STS-03).
func TestAliyunForms(t *testing.T) {
	b := newBed(t)
	ops := key{"AKIAecs", secret, ""}
	for _, v3 := range []bool{false, true} {
		status, body := b.ali(ops, v3, true, "GetCallerIdentity")
		like(t, status, body, 200, `{"IdentityType":"RAMUser","AccountId":"123456789012","RequestId":"00000000-0000-4000-8000-000000000000","PrincipalId":"*","UserId":"*","Arn":"acs:ram::123456789012:user/ops"}`)
		status, body = b.ali(ops, v3, false, "GetCallerIdentity")
		like(t, status, body, 200, xml.Header+`<GetCallerIdentityResponse><IdentityType>RAMUser</IdentityType><AccountId>123456789012</AccountId><RequestId>00000000-0000-4000-8000-000000000000</RequestId><PrincipalId>*</PrincipalId><UserId>*</UserId><Arn>acs:ram::123456789012:user/ops</Arn></GetCallerIdentityResponse>`)
		status, body = b.ali(ops, v3, true, "AssumeRole", "RoleArn", "acs:ram::123456789012:role/web", "RoleSessionName", "one", "DurationSeconds", "900")
		like(t, status, body, 200, `{"RequestId":"00000000-0000-4000-8000-000000000000","AssumedRoleUser":{"AssumedRoleId":"*:one","Arn":"acs:sts::123456789012:assumed-role/web/one"},"Credentials":{"SecurityToken":"*","AccessKeyId":"STS.N*","AccessKeySecret":"*","Expiration":"2026-03-01T12:15:00Z"}}`)
		var made struct {
			Credentials struct {
				AccessKeyID     string `json:"AccessKeyId"`
				AccessKeySecret string
				SecurityToken   string
			}
		}
		if err := json.Unmarshal([]byte(body), &made); err != nil {
			t.Fatal(err)
		}
		k := made.Credentials
		status, body = b.ali(key{k.AccessKeyID, k.AccessKeySecret, k.SecurityToken}, v3, true, "GetCallerIdentity")
		like(t, status, body, 200, `{"IdentityType":"AssumedRoleUser","AccountId":"123456789012","RequestId":"00000000-0000-4000-8000-000000000000","PrincipalId":"*:one","Arn":"acs:sts::123456789012:assumed-role/web/one","RoleId":"*"}`)
		if status, body := b.ali(key{k.AccessKeyID, k.AccessKeySecret, "other"}, v3, true, "GetCallerIdentity"); status == 200 {
			t.Errorf("another token: %s", body)
		}
	}
}

// TestAliyunRefuses has a row for each code (ECS-STS-04).
func TestAliyunRefuses(t *testing.T) {
	b := newBed(t)
	ops, weak := key{"AKIAecs", secret, ""}, key{"WEAKecs", secret, ""}
	role := []string{"RoleArn", "acs:ram::123456789012:role/web", "RoleSessionName", "one"}
	with := func(more ...string) []string { return append(append([]string{}, role...), more...) }
	for name, c := range map[string]struct {
		key    key
		action string
		params []string
		status int
		code   string
	}{
		"unknown key":       {key{"LTAInone", secret, ""}, "AssumeRole", role, 404, "InvalidAccessKeyId.NotFound"},
		"wrong secret":      {key{"AKIAecs", "other", ""}, "AssumeRole", role, 400, "SignatureDoesNotMatch"},
		"not permitted":     {weak, "AssumeRole", role, 403, "NoPermission"},
		"no such role":      {ops, "AssumeRole", with("RoleArn", "acs:ram::123456789012:role/none"), 403, "NoPermission"},
		"no role":           {ops, "AssumeRole", []string{"RoleSessionName", "one"}, 400, "MissingParameter.RoleArn"},
		"a bad name":        {ops, "AssumeRole", with("RoleSessionName", "a b"), 400, "InvalidParameter.RoleSessionName"},
		"a bad life":        {ops, "AssumeRole", with("DurationSeconds", "60"), 400, "InvalidParameter.DurationSeconds"},
		"a bad policy":      {ops, "AssumeRole", with("Policy", "{}"), 400, "InvalidParameter.PolicyGrammar"},
		"a long policy":     {ops, "AssumeRole", with("Policy", strings.Repeat(" ", 2049)), 400, "InvalidParameter.PolicySize"},
		"an external id":    {ops, "AssumeRole", with("ExternalId", "xx"), 400, "InvalidParameter.ExternalId"},
		"an unknown action": {ops, "GenerateSessionAccessKey", nil, 404, "InvalidAction.NotFound"},
	} {
		status, body := b.ali(c.key, false, true, c.action, c.params...)
		var e struct{ Code, HostID, RequestID, Message, Recommend string }
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			t.Fatal(err)
		}
		if status != c.status || e.Code != c.code || e.Message == "" {
			t.Errorf("%s: %d %s, want %d %s", name, status, body, c.status, c.code)
		}
	}
}

// TestExpired: what a client is told so that it gets new credentials
// (EC2-STS-04, ECS-STS-04).
func TestExpired(t *testing.T) {
	b := newBed(t)
	for dialect, arn := range map[string]string{"ec2": "arn:aws:iam::123456789012:role/web", "ecs": "acs:ram::123456789012:role/web"} {
		caller := control.Caller{Dialect: dialect, Account: account, User: "ops", Policies: []string{"all"}, Action: "AssumeRole"}
		made, err := b.AssumeRole(t.Context(), caller, control.Assume{RoleARN: arn, SessionName: "one", Life: 15 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		k := key{made.Credentials.AccessKeyID, made.Credentials.AccessKeySecret, made.Credentials.SessionToken}
		before := now
		now = now.Add(15 * time.Minute)
		if dialect == "ec2" {
			status, body := b.aws(k, now, "Action", "GetCallerIdentity")
			like(t, status, body, 403, awsError("ExpiredToken", "The security token included in the request is expired"))
		} else if status, body := b.ali(k, true, true, "GetCallerIdentity"); status != 400 || !strings.Contains(body, `"InvalidSecurityToken.Expired"`) {
			t.Errorf("%d %s", status, body)
		}
		now = before
	}
}
