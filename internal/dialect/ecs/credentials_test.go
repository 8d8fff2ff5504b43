package ecs

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

const credentialsPath = "latest/meta-data/ram/security-credentials/web-role"

// TestCredentials: the bytes of the document (ECS-CRED-02, ECS-CRED-05), and
// its defaults (ECS-CRED-06).
func TestCredentials(t *testing.T) {
	issued := func(in *instance.Instance) {
		in.Role.Credentials.Updated = time.Date(2026, 4, 10, 20, 9, 23, 5, time.FixedZone("", 2*3600))
		in.Role.Credentials.Expires = time.Date(2026, 4, 11, 0, 15, 30, 0, time.UTC)
	}
	document := func(expires, updated string) string {
		return "{\n  \"AccessKeyId\" : \"STS.NUtest\",\n  \"AccessKeySecret\" : \"secret\\\"/\\\\\",\n  \"Expiration\" : \"" + expires +
			"\",\n  \"SecurityToken\" : \"token\",\n  \"LastUpdated\" : \"" + updated + "\",\n  \"Code\" : \"Success\"\n}"
	}
	for name, test := range map[string]struct {
		in   *instance.Instance
		want string
	}{
		"defaults":   {guest(), document("2025-06-01T06:30:00Z", "2025-06-01T00:00:00Z")},
		"with times": {guest(issued), document("2026-04-11T00:15:30Z", "2026-04-10T18:09:23Z")},
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{credentialsPath, strings.Replace(credentialsPath, "ram", "Ram", 1)} {
				if got, _ := lookup(t, test.in, path, ""); got != test.want {
					t.Errorf("want %s, got %s", test.want, got)
				}
			}
		})
	}
}

// TestNoCredentials: a role without credentials says so (ECS-CRED-07).
func TestNoCredentials(t *testing.T) {
	in := guest(func(in *instance.Instance) { in.Role.Credentials = nil })
	got, ok := lookup(t, in, credentialsPath, "")
	var answer struct{ Code, Message string }
	if err := json.Unmarshal([]byte(got), &answer); err != nil || !ok {
		t.Fatalf("%v, %v in %s", ok, err, got)
	}
	if answer.Code == "" || answer.Code == "Success" || answer.Message == "" {
		t.Errorf("got %+v", answer)
	}
}

// TestDefaultValidity: a set without times is good for half an hour or more
// at any moment, and changes with the window alone (ECS-CRED-06).
func TestDefaultValidity(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := rapid.Int64Range(0, 1<<33).Draw(t, "now")
		updated, expires := validity(&instance.Credentials{}, at)
		if left := expires.Unix() - at; left <= overlap || left > window+overlap {
			t.Errorf("at %d the set is good for %d seconds", at, left)
		}
		if u := updated.Unix(); u > at || u%window != 0 {
			t.Errorf("at %d the set is of %d", at, u)
		}
		next, _ := validity(&instance.Credentials{}, updated.Unix()+window)
		if gap := expires.Unix() - next.Unix(); gap != overlap {
			t.Errorf("the next set comes %d seconds before this one ends", gap)
		}
	})
}

// TestSecretClass keeps secrets where loggers and the whole tree look for them.
func TestSecretClass(t *testing.T) {
	for _, n := range New().Tree.Nodes() {
		row := n.Row()
		if row == nil {
			continue
		}
		if strings.Contains(row.Path, "security-credentials") != (row.Class == item.Credential) {
			t.Errorf("%s has class %s", row.Path, row.Class)
		}
		if strings.HasSuffix(row.Path, "user-data") && row.Class != item.Opaque {
			t.Errorf("%s has class %s", row.Path, row.Class)
		}
	}
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
func (h *holder) Updated(bool) time.Time { return time.Time{} }

// TestHeldCredentials: what is held is served by how it was asked for
// (ECS-CRED-10), what was given by hand comes first, and a listing asks for
// nothing.
func TestHeldCredentials(t *testing.T) {
	h := &holder{free: &instance.Credentials{AccessKeyID: "STS.free"}, tokened: &instance.Credentials{AccessKeyID: "STS.tokened"}}
	none := guest(func(in *instance.Instance) { in.Role.Credentials = nil })
	tree := New().Tree
	read := func(in *instance.Instance, path string, tokened bool) string {
		q := item.Query{Instance: in, Now: now.Unix(), Tokened: tokened, Credentials: h}
		out, _ := tree.Resolve(nil, &q, []byte(path))
		return string(out)
	}
	for tokened, want := range map[bool]string{false: "STS.free", true: "STS.tokened"} {
		if got := read(none, credentialsPath, tokened); !strings.Contains(got, want) || !strings.Contains(got, `"Code" : "Success"`) {
			t.Errorf("tokened %v: %s", tokened, got)
		}
	}
	if got := read(guest(), credentialsPath, true); !strings.Contains(got, "STS.NUtest") {
		t.Errorf("given by hand: %s", got)
	}
	asked := h.asked
	for path, want := range map[string]string{"latest/meta-data/ram/security-credentials/": "web-role", "latest/meta-data/ram": "security-credentials/"} {
		if got := read(none, strings.TrimSuffix(path, "/"), true); !strings.Contains(got, want) {
			t.Errorf("%s lists %q", path, got)
		}
	}
	if h.asked != asked {
		t.Error("a listing asked for credentials")
	}
	// ECS-CRED-07, ECS-CRED-11
	for kind, code := range map[fault.Kind]string{
		fault.Denied: "CredentialsNotAvailable", fault.NotFound: "CredentialsNotAvailable", fault.Unavailable: "ServiceUnavailable", fault.Throttled: "ServiceUnavailable", fault.Internal: "ServiceUnavailable",
	} {
		h.err = fault.New(kind, "cause")
		if got := read(none, credentialsPath, true); !strings.Contains(got, `"Code" : "`+code+`"`) || strings.Contains(got, "cause") {
			t.Errorf("%v: %s", kind, got)
		}
	}
}
