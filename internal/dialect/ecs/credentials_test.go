package ecs

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

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
