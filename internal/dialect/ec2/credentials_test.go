package ec2

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/item"

	"pgregory.net/rapid"
)

const rolePath = "latest/meta-data/iam/security-credentials/"

// TestCredentials spells the documents out (EC2-CRED-01 to EC2-CRED-06,
// EC2-FMT-04, EC2-FMT-06, EC2-ITEM-016 to EC2-ITEM-019).
func TestCredentials(t *testing.T) {
	dated := func(in *instance.Instance) {
		in.Role.Credentials.Updated = now.Add(-8 * 24 * time.Hour)
		in.Role.Credentials.Expires = time.Date(2025, 5, 24, 12, 0, 0, 0, time.FixedZone("", 2*60*60))
	}
	named := func(in *instance.Instance) {
		in.Role.ProfileARN = "arn:aws:iam::123456789012:instance-profile/team/web"
	}
	own := func(in *instance.Instance) {
		in.Identity = &instance.Credentials{AccessKeyID: "ASIA2", AccessKeySecret: "s", SessionToken: "t"}
	}
	for _, test := range []struct {
		name  string
		edits edits
		path  string
		want  string
	}{
		{"listing", nil, rolePath[:len(rolePath)-1], "web-role"},
		{"undated", nil, rolePath + "web-role", `{
  "Code" : "Success",
  "LastUpdated" : "2025-06-01T00:00:00Z",
  "Type" : "AWS-HMAC",
  "AccessKeyId" : "ASIA1",
  "SecretAccessKey" : "secret/1",
  "Token" : "token+1==",
  "Expiration" : "2025-06-01T06:30:00Z"
}`},
		{"dated, expired", edits{dated}, rolePath + "web-role", `{
  "Code" : "Success",
  "LastUpdated" : "2025-05-24T03:00:00Z",
  "Type" : "AWS-HMAC",
  "AccessKeyId" : "ASIA1",
  "SecretAccessKey" : "secret/1",
  "Token" : "token+1==",
  "Expiration" : "2025-05-24T10:00:00Z"
}`},
		{"none to be had", edits{withoutCredentials}, rolePath + "web-role", `{
  "Code" : "AssumeRoleUnauthorizedAccess",
  "Message" : "EC2 cannot assume the role web-role.  Please see documentation at http://docs.amazonwebservices.com/IAM/latest/UserGuide/RolesTroubleshooting.html.",
  "LastUpdated" : "2025-06-01T00:00:00Z"
}`},
		{"other role", nil, rolePath + "web", absent},
		{"no role", edits{withoutRole}, "latest/meta-data/iam", absent},
		{"profile", nil, "latest/meta-data/iam/info", `{
  "Code" : "Success",
  "LastUpdated" : "2025-06-01T00:00:00Z",
  "InstanceProfileArn" : "arn:aws:iam::123456789012:instance-profile/web-role",
  "InstanceProfileId" : "AIPA0000000000000001"
}`},
		{"named profile, dated", edits{named, dated}, "latest/meta-data/iam/info", `{
  "Code" : "Success",
  "LastUpdated" : "2025-05-24T03:00:00Z",
  "InstanceProfileArn" : "arn:aws:iam::123456789012:instance-profile/team/web",
  "InstanceProfileId" : "AIPA0000000000000001"
}`},
		{"account", nil, "latest/meta-data/identity-credentials/ec2/info", `{
  "Code" : "Success",
  "LastUpdated" : "2025-06-01T00:00:00Z",
  "AccountId" : "123456789012"
}`},
		{"no own", nil, "latest/meta-data/identity-credentials/ec2", "info"},
		{"own", edits{own}, "latest/meta-data/identity-credentials/ec2/security-credentials/ec2-instance", `{
  "Code" : "Success",
  "LastUpdated" : "2025-06-01T00:00:00Z",
  "Type" : "AWS-HMAC",
  "AccessKeyId" : "ASIA2",
  "SecretAccessKey" : "s",
  "Token" : "t",
  "Expiration" : "2025-06-01T06:30:00Z"
}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, ok := lookup(t, guest(test.edits...), test.path)
			if !ok {
				got = absent
			}
			if got != test.want {
				t.Errorf("want\n%s\ngot\n%s", test.want, got)
			}
		})
	}
}

// TestUndatedCredentialsLive: at no time are credentials that were given
// without times expired, about to expire, or from the future (EC2-CRED-05).
func TestUndatedCredentialsLive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := rapid.Int64Range(0, 4e9).Draw(t, "now")
		updated, expires := validity(new(instance.Credentials), at)
		if updated.Unix() > at || updated.Unix() <= at-window {
			t.Errorf("updated %v, now %d", updated, at)
		}
		if left := expires.Unix() - at; left <= 5*60 || left > window+overlap {
			t.Errorf("%d s left", left)
		}
	})
}

// TestAnyTextIsJSON: whatever an instance's texts hold, documents are JSON
// that says the same.
func TestAnyTextIsJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret, account := rapid.String().Draw(t, "secret"), rapid.String().Draw(t, "account")
		in := guest(func(in *instance.Instance) {
			in.Role.Credentials.AccessKeySecret = secret
			in.Account = account
		})
		for path, member := range map[string]string{
			rolePath + "web-role":                       "SecretAccessKey",
			"latest/dynamic/instance-identity/document": "accountId",
		} {
			q := item.Query{Instance: in, Now: now.Unix()}
			body, _ := tree.Resolve(nil, &q, []byte(path))
			var got map[string]any
			if err := json.Unmarshal(body, &got); err != nil {
				t.Fatalf("%v in %s", err, body)
			}
			if want := map[string]string{"SecretAccessKey": secret, "accountId": account}[member]; got[member] != want {
				t.Errorf("%s: want %q, got %q", member, want, got[member])
			}
		}
	})
}

// holder is an item.Credentials that answers as told.
type holder struct {
	free, tokened *instance.Credentials
	err           error
	asked         int
}

// Get implements item.Credentials.
func (h *holder) Get(_ *instance.Instance, tokened bool, _ int64) (*instance.Credentials, error) {
	h.asked++
	if tokened {
		return h.tokened, h.err
	}
	return h.free, h.err
}

// Updated implements item.Credentials.
func (h *holder) Updated(bool) time.Time { return now.Add(-time.Hour) }

// TestHeldCredentials: what is held is served by how it was asked for
// (EC2-CRED-07), what was given by hand comes first, and neither a listing nor
// iam/info asks for anything.
func TestHeldCredentials(t *testing.T) {
	h := &holder{free: &instance.Credentials{AccessKeyID: "ASIAFREE"}, tokened: &instance.Credentials{AccessKeyID: "ASIATOKENED"}}
	none := guest(withoutCredentials)
	read := func(in *instance.Instance, path string, tokened bool) string {
		q := item.Query{Instance: in, Now: now.Unix(), Tokened: tokened, Credentials: h}
		out, _ := tree.Resolve(nil, &q, []byte(path))
		return string(out)
	}
	for tokened, want := range map[bool]string{false: "ASIAFREE", true: "ASIATOKENED"} {
		if got := read(none, rolePath+"web-role", tokened); !strings.Contains(got, want) || !strings.Contains(got, `"Code" : "Success"`) {
			t.Errorf("tokened %v: %s", tokened, got)
		}
	}
	if got := read(guest(), rolePath+"web-role", true); !strings.Contains(got, `"ASIA1"`) {
		t.Errorf("given by hand: %s", got)
	}
	asked := h.asked
	for path, want := range map[string]string{
		"latest/meta-data/iam/security-credentials": "web-role", "latest/meta-data/iam": "security-credentials/", "latest/meta-data/iam/info": `"LastUpdated" : "2025-06-01T02:00:00Z"`,
	} {
		if got := read(none, path, true); !strings.Contains(got, want) {
			t.Errorf("%s is %q", path, got)
		}
	}
	if h.asked != asked {
		t.Error("credentials were asked for")
	}
	// EC2-CRED-06, EC2-CRED-10
	for kind, code := range map[fault.Kind]string{
		fault.Denied: "AssumeRoleUnauthorizedAccess", fault.NotFound: "AssumeRoleUnauthorizedAccess", fault.Unavailable: "ServiceUnavailable", fault.Throttled: "ServiceUnavailable", fault.Internal: "ServiceUnavailable",
	} {
		h.err = fault.New(kind, "cause")
		got := read(none, rolePath+"web-role", true)
		var d struct{ Code, Message, LastUpdated string }
		if err := json.Unmarshal([]byte(got), &d); err != nil || d.Code != code || d.Message == "" || d.LastUpdated == "" || strings.Contains(got, "cause") {
			t.Errorf("%v: %s, %v", kind, got, err)
		}
	}
}
