package ec2query_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"openimds/internal/api/ec2query"
	"openimds/internal/api/sigv4"
	"openimds/internal/control"
	"openimds/internal/instance"
	"openimds/internal/state"
	"openimds/internal/store/memstore"
	"openimds/internal/testnet"
)

const (
	account = "123456789012"
	region  = "us-east-1"
	secret  = "secret-of-a-test"

	supported = "ami-0123456789abcdef0" // can do with tokens alone
	plain     = "ami-0fedcba9876543210"
	absent    = "i-00000000000000000"

	fullAccess = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`
)

var morning = time.Date(2026, 3, 14, 9, 26, 53, 0, time.UTC)

// bench is an API over a state in memory, with two images, a role, a key pair
// and a key that may do anything.
type bench struct {
	t       *testing.T
	now     time.Time
	control *control.Control
	db      *state.DB
	handler http.Handler
	key     string
	secret  string
	region  string
	mu      sync.Mutex // guards audited
	audited []control.Entry
	// together: calls are made at once, and their lines cannot be told apart.
	together bool
}

// locked lets calls at once read the same numbers.
type locked struct {
	mu sync.Mutex
	r  io.Reader
}

func (l *locked) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(p)
}

func newBench(t *testing.T) *bench {
	t.Helper()
	log := testnet.Logger(t.Output(), nil)
	store := memstore.New(memstore.Config{})
	db, err := state.Open(t.Context(), store, log)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, now: morning, db: db, key: "AKIATEST", secret: secret, region: region}
	t.Cleanup(func() {
		db.Close()
		store.Close()
	})
	random := &locked{r: rand.NewChaCha8([32]byte{'e', 'c', '2'})}
	b.control = control.New(control.Config{
		DB: db, Random: random, Logger: log, Now: func() time.Time { return b.now },
		Audit: func(e control.Entry) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.audited = append(b.audited, e)
			return nil
		},
		Places: map[string]control.Place{"ec2": {
			Zone: "us-east-1a", ZoneID: "use1-az4", VPC: instance.VPC{ID: "vpc-0123456789abcdef0", IPv4: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}},
			Subnet:         instance.Subnet{ID: "subnet-0123456789abcdef0", IPv4: netip.MustParsePrefix("10.0.1.0/24"), IPv6: []netip.Prefix{netip.MustParsePrefix("2001:db8:1::/64")}},
			SecurityGroups: []instance.SecurityGroup{{ID: "sg-0123456789abcdef0", Name: "default"}},
		}},
	})
	b.handler = ec2query.New(ec2query.Config{Control: b.control, Now: func() time.Time { return b.now }, Region: region, Logger: log, Random: random})

	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	admin := control.Caller{Dialect: "ec2", Account: account, Region: region, Admin: true}
	must(b.control.PutPolicy(t.Context(), admin, state.Policy{Name: "full", Dialect: "ec2", Document: fullAccess}))
	must(b.control.PutKey(t.Context(), admin, state.AccessKey{ID: b.key, Dialect: "ec2", Account: account, User: "tester", Policies: []string{"full"}}, secret))
	for _, image := range []state.Image{
		{ID: supported, Name: "al2023", ImdsSupport: true, RootDevice: "/dev/xvda"},
		{ID: plain, Name: "old", Description: "an old one", Architecture: "arm64"},
	} {
		_, err := b.control.NewImage(t.Context(), admin, image)
		must(err)
	}
	for _, name := range []string{"app", "other"} {
		must(db.Update(t.Context(), func(tx *state.Tx) error {
			return state.Save(tx, db.Roles, state.Key("ec2", account, name), &state.Role{Name: name, Dialect: "ec2", Account: account, ProfileID: "AIPA" + strings.ToUpper(name)})
		}))
	}
	return b
}

// policy replaces the policies of the bench's key by one document.
func (b *bench) policy(document string) {
	b.t.Helper()
	admin := control.Caller{Dialect: "ec2", Account: account, Region: region, Admin: true}
	if err := b.control.PutPolicy(b.t.Context(), admin, state.Policy{Name: "full", Dialect: "ec2", Document: document}); err != nil {
		b.t.Fatal(err)
	}
}

// call sends an action with parameters in pairs and returns status and body.
func (b *bench) call(action string, pairs ...string) (int, string) {
	b.t.Helper()
	form := url.Values{"Action": {action}, "Version": {ec2query.Version}}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return b.form(form)
}

func (b *bench) form(form url.Values) (int, string) {
	b.t.Helper()
	body := []byte(form.Encode())
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:8180/", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	if err := sigv4.Sign(r, body, sigv4.Credentials{AccessKeyID: b.key, SecretKey: b.secret}, b.region, "ec2", b.now); err != nil {
		b.t.Fatal(err)
	}
	return b.do(r)
}

func (b *bench) do(r *http.Request) (int, string) {
	b.t.Helper()
	w := httptest.NewRecorder()
	b.mu.Lock()
	before := len(b.audited)
	b.mu.Unlock()
	b.handler.ServeHTTP(w, r)
	b.mu.Lock()
	if lines := len(b.audited) - before; w.Code == http.StatusOK && lines != 1 && !b.together {
		b.t.Errorf("one call has %d lines in the audit log: %+v", lines, b.audited[before:])
	}
	b.mu.Unlock()
	if got := w.Header().Get("Content-Type"); got != "text/xml;charset=UTF-8" {
		b.t.Errorf("Content-Type = %q", got)
	}
	return w.Code, w.Body.String()
}

// ok is call for what must succeed.
func (b *bench) ok(action string, pairs ...string) string {
	b.t.Helper()
	status, body := b.call(action, pairs...)
	if status != http.StatusOK {
		b.t.Fatalf("%s %v = %d %s", action, pairs, status, body)
	}
	return body
}

// refused is call for what must be refused with a code; it returns the text.
func (b *bench) refused(status int, code, action string, pairs ...string) string {
	b.t.Helper()
	got, body := b.call(action, pairs...)
	gotCode, message := failureOf(b.t, body)
	if got != status || gotCode != code {
		b.t.Errorf("%s %v = %d %s (%s), want %d %s", action, pairs, got, gotCode, message, status, code)
	}
	return message
}

func failureOf(t *testing.T, body string) (code, message string) {
	t.Helper()
	var e struct {
		XMLName   xml.Name `xml:"Response"`
		Code      string   `xml:"Errors>Error>Code"`
		Message   string   `xml:"Errors>Error>Message"`
		RequestID string   `xml:"RequestID"`
	}
	if err := xml.Unmarshal([]byte(body), &e); err != nil || len(e.RequestID) != 36 {
		t.Errorf("no error of the API (%v): %s", err, body)
	}
	return e.Code, e.Message
}

// launch launches one instance and returns its id.
func (b *bench) launch(pairs ...string) string {
	b.t.Helper()
	return all(b.t, b.ok("RunInstances", append([]string{"ImageId", plain, "InstanceType", "m7g.large", "MinCount", "1", "MaxCount", "1"}, pairs...)...), "instanceId")[0]
}

// all returns the texts of the elements with a name, in order.
func all(t *testing.T, body, name string) []string {
	t.Helper()
	var found []string
	d := xml.NewDecoder(strings.NewReader(body))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == name {
			var text string
			if err := d.DecodeElement(&text, &start); err != nil {
				t.Fatal(err)
			}
			found = append(found, text)
		}
	}
}

// is asks that the elements with a name are these.
func is(t *testing.T, body, name string, want ...string) {
	t.Helper()
	got := all(t, body, name)
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("%s = %q, want %q in %s", name, got, want, body)
	}
}
