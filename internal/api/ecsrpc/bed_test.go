package ecsrpc_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"openimds/internal/api/alisign"
	"openimds/internal/api/ecsrpc"
	"openimds/internal/control"
	"openimds/internal/instance"
	"openimds/internal/state"
	"openimds/internal/store/memstore"
	"openimds/internal/testnet"
)

// same gives the same bytes in every run.
type same struct {
	mu  sync.Mutex // guards src
	src *rand.ChaCha8
}

func (s *same) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.src.Read(b)
}

const (
	account = "1234567890123456"
	secret  = "test-secret"
	good    = "imdsdev_3_x64_20G.vhd"
	old     = "imdsdev_2_x64_20G.vhd"
	windows = "imdsdev_win_x64_40G.vhd"
)

// bed is the API over a control plane with three images, a role, a key pair's
// worth of policies, and nothing launched.
type bed struct {
	*control.Control
	t       *testing.T
	db      *state.DB
	handler http.Handler
	now     time.Time
	nonce   int
	key     string
	audited []control.Entry
}

func newBed(t *testing.T) *bed {
	t.Helper()
	s := memstore.New(memstore.Config{})
	t.Cleanup(func() { _ = s.Close() })
	db, err := state.Open(t.Context(), s, testnet.Quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	b := &bed{t: t, db: db, now: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC), key: "LTAItest"}
	random := &same{src: rand.NewChaCha8([32]byte{1})}
	now := func() time.Time { return b.now }
	b.Control = control.New(control.Config{
		DB: db, Now: now, Random: random,
		Audit: func(e control.Entry) error { b.audited = append(b.audited, e); return nil },
		Places: map[string]control.Place{"ecs": {
			Zone: "cn-hangzhou-i", Network: "default", Sources: netip.MustParsePrefix("127.0.1.0/24"),
			VPC:            instance.VPC{ID: "vpc-bp1test", IPv4: []netip.Prefix{netip.MustParsePrefix("172.16.0.0/12")}},
			Subnet:         instance.Subnet{ID: "vsw-bp1test", IPv4: netip.MustParsePrefix("172.16.0.0/24"), IPv6: []netip.Prefix{netip.MustParsePrefix("2001:db8:172::/64")}},
			Public:         netip.MustParsePrefix("198.51.100.0/24"),
			SecurityGroups: []instance.SecurityGroup{{ID: "sg-bp1test", Name: "default"}},
		}},
	})
	b.must(db.Update(t.Context(), func(tx *state.Tx) error {
		for _, i := range []state.Image{
			{ID: good, Name: "imdsdev 3", ImdsSupport: true, Architecture: "x86_64"},
			{ID: old, Name: "imdsdev 2"},
			{ID: windows, Name: "imdsdev windows", Platform: "windows"},
		} {
			i.Dialect, i.Region, i.Account, i.Created = "ecs", "cn-hangzhou", "system", b.now
			if err := state.Save(tx, db.Images, i.ID, &i); err != nil {
				return err
			}
		}
		role := state.Role{Name: "reader", Dialect: "ecs", Account: account, Created: b.now}
		return state.Save(tx, db.Roles, state.Key("ecs", account, role.Name), &role)
	}))
	b.policy("all", `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`)
	b.accessKey("LTAItest", "all")
	b.handler = ecsrpc.New(ecsrpc.Config{Control: b.Control, Now: now, Region: "cn-hangzhou", Random: random})
	return b
}

func (b *bed) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) policy(name, document string) {
	b.t.Helper()
	b.must(b.PutPolicy(b.t.Context(), control.Caller{Dialect: "ecs", Admin: true, Action: "PutPolicy"}, state.Policy{Name: name, Dialect: "ecs", Document: document}))
}

func (b *bed) accessKey(id string, policies ...string) {
	b.t.Helper()
	b.must(b.PutKey(b.t.Context(), control.Caller{Dialect: "ecs", Admin: true, Action: "PutKey"},
		state.AccessKey{ID: id, Dialect: "ecs", Account: account, User: "tester", Policies: policies}, secret))
}

// values are parameters, written as k=v pairs.
func values(pairs ...string) url.Values {
	v := url.Values{}
	for _, p := range pairs {
		key, value, _ := strings.Cut(p, "=")
		v.Set(key, value)
	}
	return v
}

// send makes a call signed with V1.
func (b *bed) send(action, format string, pairs ...string) *httptest.ResponseRecorder {
	b.t.Helper()
	v := values(pairs...)
	v.Set("Action", action)
	v.Set("Version", ecsrpc.Version)
	if format != "" {
		v.Set("Format", format)
	}
	r := httptest.NewRequest(http.MethodPost, "http://ecs.test/?"+v.Encode(), nil)
	b.sign(r)
	return b.do(r)
}

func (b *bed) sign(r *http.Request) {
	b.t.Helper()
	b.nonce++
	b.must(alisign.SignV1(r, nil, alisign.Credentials{AccessKeyID: b.key, AccessKeySecret: secret}, fmt.Sprint("n", b.nonce), b.now))
}

func (b *bed) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	b.handler.ServeHTTP(w, r)
	return w
}

// reply is what tests look at in JSON replies, errors included.
type reply struct {
	RequestID     string `json:"RequestId"`
	HostID        string `json:"HostId"`
	Code          string
	Message       string
	Recommend     string
	InstanceID    string `json:"InstanceId"`
	ImageID       string `json:"ImageId"`
	InstanceIDSet struct {
		ID []string `json:"InstanceIdSet"`
	} `json:"InstanceIdSets"`
	Instances struct {
		Instance []struct {
			InstanceID   string `json:"InstanceId"`
			InstanceName string
			HostName     string
			Status       string
			KeyPairName  string
			SpotStrategy string
			Tags         struct {
				Tag []struct{ TagKey, TagValue string }
			}
			Metadata struct {
				HTTPTokens   string `json:"HttpTokens"`
				HTTPEndpoint string `json:"HttpEndpoint"`
				HopLimit     *int   `json:"HttpPutResponseHopLimit"`
				Tags         string `json:"InstanceMetadataTags"`
			} `json:"MetadataOptions"`
		}
	}
	UserData                         string
	NextToken                        string
	PageNumber, PageSize, TotalCount int
	FailCount                        int
	Attached                         struct {
		Result []item `json:"AttachInstanceRamRoleResult"`
	} `json:"AttachInstanceRamRoleResults"`
	Detached struct {
		Result []item `json:"DetachInstanceRamRoleResult"`
	} `json:"DetachInstanceRamRoleResults"`
	Results           struct{ Result []item }
	InstanceResponses struct{ InstanceResponse []item }
	TagResources      struct {
		TagResource []struct{ ResourceID, TagKey, TagValue string }
	}
	Images struct {
		Image []struct {
			ImageID  string `json:"ImageId"`
			Features struct{ ImdsSupport string }
		}
	}
	status int
}

type item struct {
	InstanceID                    string `json:"InstanceId"`
	Code                          string
	Success                       bool
	PreviousStatus, CurrentStatus string
}

// call makes a call in JSON and returns the reply, whatever it is.
func (b *bed) call(action string, pairs ...string) reply {
	b.t.Helper()
	w := b.send(action, "JSON", pairs...)
	out := reply{status: w.Code}
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		b.t.Fatalf("%s: %v in %s", action, err, w.Body)
	}
	if out.RequestID == "" || w.Header().Get("Content-Type") != "application/json;charset=utf-8" {
		b.t.Errorf("%s: request id %q, type %q", action, out.RequestID, w.Header().Get("Content-Type"))
	}
	return out
}

// ok makes a call that has to succeed.
func (b *bed) ok(action string, pairs ...string) reply {
	b.t.Helper()
	out := b.call(action, pairs...)
	if out.status != http.StatusOK {
		b.t.Fatalf("%s %v: %d %s: %s", action, pairs, out.status, out.Code, out.Message)
	}
	return out
}

// refused makes a call that has to be refused.
func (b *bed) refused(status int, code, action string, pairs ...string) reply {
	b.t.Helper()
	out := b.call(action, pairs...)
	if out.status != status || out.Code != code {
		b.t.Errorf("%s %v: %d %s (%s), want %d %s", action, pairs, out.status, out.Code, out.Message, status, code)
	}
	return out
}

// run launches one instance.
func (b *bed) run(pairs ...string) string {
	b.t.Helper()
	out := b.ok("RunInstances", append([]string{"ImageId=" + good, "InstanceType=ecs.g7.large"}, pairs...)...)
	if len(out.InstanceIDSet.ID) != 1 {
		b.t.Fatalf("launched %v", out.InstanceIDSet.ID)
	}
	return out.InstanceIDSet.ID[0]
}

// ids makes DescribeInstances and returns which instances it found.
func (b *bed) ids(pairs ...string) []string {
	b.t.Helper()
	found := []string{}
	for _, i := range b.ok("DescribeInstances", append([]string{"PageSize=100"}, pairs...)...).Instances.Instance {
		found = append(found, i.InstanceID)
	}
	return found
}

func list(ids ...string) string {
	text, _ := json.Marshal(ids)
	return string(text)
}
