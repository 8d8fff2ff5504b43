package main

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"openimds/internal/config"
	"openimds/internal/fault"
	"openimds/internal/feed"
	"openimds/internal/netenv"
	"openimds/internal/pki"
)

const (
	rolePath     = "meta-data/iam/security-credentials/app"
	documentPath = "dynamic/instance-identity/document"
	envelopePath = "dynamic/instance-identity/rsa2048"
)

// putWithRole makes the nth instance, with a role.
func (b *bed) putWithRole(n int, node string) {
	b.t.Helper()
	b.call(http.MethodPut, "/v1/roles/ec2/123456789012/app", map[string]any{})
	in := document(n, node, "m7g.large")
	in["role"] = map[string]any{"name": "app"}
	b.call(http.MethodPut, "/v1/instances/"+guestID(n), in)
}

// keyOf returns the access key that the nth instance is given.
func (b *bed) keyOf(p *process, n int, headers ...string) string {
	b.t.Helper()
	var set struct{ AccessKeyID, SecretAccessKey string } // whatever their letters' case
	a := b.item(p, n, rolePath, headers...)
	if err := json.Unmarshal([]byte(a.body), &set); err != nil || a.status != http.StatusOK || set.AccessKeyID == "" || set.SecretAccessKey == "" {
		b.t.Fatalf("credentials of instance %d: %d, %v", n, a.status, err)
	}
	return set.AccessKeyID
}

// The control plane makes credentials and signatures for a node's instances.
// The node keeps them when it is away, and gives out no others than the control
// plane would.
func TestVouched(t *testing.T) {
	b := newBed(t)
	b.putWithRole(1, "a")
	a := b.node("a")
	b.serves(a, 1, "m7g.large")
	free, tokened := b.keyOf(a, 1), b.keyOf(a, 1, tokenHeader, b.mint(a, 1))
	if free == tokened {
		t.Error("one set of credentials for requests with and without a token")
	}
	envelope, doc := b.item(a, 1, envelopePath), b.item(a, 1, documentPath)
	if envelope.status != http.StatusOK || doc.status != http.StatusOK || !strings.Contains(doc.body, guestID(1)) {
		t.Fatalf("envelope %v, document %v", envelope, doc)
	}
	if pkcs7 := b.item(a, 1, "dynamic/instance-identity/pkcs7"); pkcs7.status != http.StatusNotFound {
		t.Errorf("a form that the control plane does not make: %v", pkcs7)
	}

	// What is revoked is not given out any more.
	b.call(http.MethodPost, "/v1/revocations", map[string]string{"role": "ec2/123456789012/app"})
	b.eventually("new credentials", func() bool { return b.keyOf(a, 1) != free })
	free, tokened = b.keyOf(a, 1), b.keyOf(a, 1, tokenHeader, b.mint(a, 1))

	b.control.signal(t, syscall.SIGKILL)
	if got := b.keyOf(a, 1); got != free {
		t.Error("other credentials without a control plane")
	}
	if got := b.keyOf(a, 1, tokenHeader, b.mint(a, 1)); got != tokened {
		t.Error("other credentials for a request with a token, without a control plane")
	}
	if got := b.item(a, 1, envelopePath); got != envelope {
		t.Errorf("the signature without a control plane: %v", got)
	}
	b.up()
	b.eventually("the node follows again", func() bool { return b.feedOf(a).Connected })

	// The same key signs, whoever serves the instance.
	b.putWithRole(1, "")
	b.serves(b.control, 1, "m7g.large")
	if got := b.item(b.control, 1, envelopePath); got != envelope {
		t.Errorf("signed on the control plane: %v", got)
	}
}

// Whoever steals a host has what is its own instances', and gets nothing of
// others.
func TestStolenHost(t *testing.T) {
	b := newBed(t)
	b.putWithRole(1, "a")
	b.putWithRole(2, "b")
	a := b.node("a")
	b.serves(a, 1, "m7g.large")
	doc := b.item(a, 1, documentPath).body
	files := pki.Files{Certificate: b.path("fleet/a.crt"), Key: b.path("fleet/a.key"), Authority: b.path("fleet/authority.crt")}
	calls := feed.Calls{URL: "https://" + b.feed, HTTP: &http.Client{Transport: &http.Transport{DialTLSContext: files.Dial}}}
	sign := func(n int, document string) error {
		_, err := calls.Sign(t.Context(), feed.SignatureCall{Instance: guestID(n), Form: "rsa2048", Document: []byte(document)})
		return err
	}
	if err := sign(1, doc); err != nil {
		t.Errorf("its own: %v", err)
	}
	if _, err := calls.Credentials(t.Context(), feed.CredentialsCall{Instance: guestID(1), Delivery: "2.0"}); err != nil {
		t.Errorf("its own credentials: %v", err)
	}
	if _, err := calls.Credentials(t.Context(), feed.CredentialsCall{Instance: guestID(2), Delivery: "2.0"}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("credentials of another node's instance: %v", err)
	}
	for name, err := range map[string]error{
		"another's document":            sign(1, strings.ReplaceAll(doc, guestID(1), guestID(2))),
		"another's instance":            sign(2, strings.ReplaceAll(doc, guestID(1), guestID(2))),
		"another type":                  sign(1, strings.ReplaceAll(doc, "m7g.large", "m7g.metal")),
		"something behind the document": sign(1, doc+" "),
		"nothing":                       sign(1, ""),
	} {
		if err == nil {
			t.Errorf("signed: %s", name)
		}
	}
	// Nobody else's certificate opens the feed.
	b.imds("fleet", "init", b.path("other"), "--host", "127.0.0.1")
	b.imds("fleet", "certificate", "b", b.path("other"))
	files.Certificate, files.Key = b.path("other/b.crt"), b.path("other/b.key")
	calls.HTTP = &http.Client{Transport: &http.Transport{DialTLSContext: files.Dial}}
	if err := sign(2, doc); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a certificate of another authority: %v", err)
	}
}

// Every setting of a listener reaches the data plane, and what a socket depends
// on is in the key that it is handed over under.
func TestListenerOf(t *testing.T) {
	var l config.Listener
	v := reflect.ValueOf(&l).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.String:
			f.SetString("x")
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Int:
			f.SetInt(7)
		default:
			t.Fatalf("the test does not know fields like %s", v.Type().Field(i).Name)
		}
	}
	got := reflect.ValueOf(listenerOf(l))
	for i := range got.NumField() {
		// The key itself is read from its file by whoever listens.
		if name := got.Type().Field(i).Name; got.Field(i).IsZero() && name != "ProxyKey" {
			t.Errorf("%s is not set", name)
		}
	}
	if got, want := reflect.TypeFor[netenv.Spec]().NumField(), 3; got != want {
		t.Errorf("a socket depends on %d things, and the key of (*host).open has %d", got, want)
	}
}
