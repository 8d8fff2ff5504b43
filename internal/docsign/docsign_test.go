package docsign

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"openimds/identity"
	"openimds/internal/dialect"
	"openimds/internal/fault"
	"openimds/internal/instance"
)

var update = flag.Bool("update", false, "write the golden files anew")

// start is when the authority of these tests makes its first keys.
var start = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

// clock is a time that tests move.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newAuthority(t *testing.T, c *clock, edit func(*Config)) *Authority {
	t.Helper()
	cfg := Config{Now: c.now}
	if edit != nil {
		edit(&cfg)
	}
	a, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func sign(t *testing.T, a *Authority, in *instance.Instance, form, document string) []byte {
	t.Helper()
	signature, _, err := a.Sign(in, form, []byte(document))
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

// trusted returns what a verifier of a dialect's region is given.
func trusted(t *testing.T, a *Authority, dialect, region string) []*x509.Certificate {
	t.Helper()
	var b bytes.Buffer
	for _, c := range a.Certificates() {
		if c.Dialect == dialect && c.Region == region {
			WritePEM(&b, []Certificate{c})
		}
	}
	certs, err := identity.ParseCertificates(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return certs
}

var (
	ec2VM = &instance.Instance{ID: "i-0abcdef0123456789", Dialect: "ec2", Region: "us-east-1", Started: start.Add(time.Hour)}
	ecsVM = &instance.Instance{ID: "i-bp1", Dialect: "ecs", Region: "cn-hangzhou"}
)

const (
	ec2Document = "{\n  \"accountId\" : \"123456789012\",\n  \"instanceId\" : \"i-0abcdef0123456789\",\n  \"region\" : \"us-east-1\"\n}"
	ecsDocument = `{"instance-id":"i-bp1","region-id":"cn-hangzhou","owner-account-id":"1234567890123456"}`
)

func TestForms(t *testing.T) {
	c := &clock{start}
	a := newAuthority(t, c, func(cfg *Config) { cfg.LegacyDSA = true })
	v := func(in *instance.Instance) *identity.Verifier {
		sign(t, a, in, dialect.FormPKCS7, "{}")
		return &identity.Verifier{Certificates: trusted(t, a, in.Dialect, in.Region), Now: c.now, AllowSHA1: true}
	}
	t.Run("signature", func(t *testing.T) { // EC2-IDENT-09
		s := sign(t, a, ec2VM, dialect.FormSignature, ec2Document)
		if raw, err := base64.StdEncoding.DecodeString(string(s)); err != nil || len(raw) != 256 {
			t.Errorf("%d bytes, %v; want 256", len(raw), err)
		}
		d, err := v(ec2VM).Signature([]byte(ec2Document), s)
		if err != nil || d.InstanceID != ec2VM.ID {
			t.Errorf("%+v, %v", d, err)
		}
	})
	for _, form := range []string{dialect.FormRSA2048, dialect.FormPKCS7} { // EC2-IDENT-10, EC2-IDENT-11
		t.Run("ec2 "+form, func(t *testing.T) {
			s := sign(t, a, ec2VM, form, ec2Document)
			d, err := v(ec2VM).PKCS7(s)
			if err != nil {
				t.Fatal(err)
			}
			if string(d.Bytes) != ec2Document || !d.SigningTime.Equal(ec2VM.Started) { // EC2-IDENT-13
				t.Errorf("%+v", d)
			}
			for i, line := range strings.Split(string(s), "\n") { // EC2-IDENT-08
				if n := strings.Count(string(s), "\n"); len(line) != 76 && i < n || len(line) == 0 {
					t.Errorf("line %d has %d characters", i, len(line))
				}
			}
		})
	}
	t.Run("ecs pkcs7", func(t *testing.T) { // ECS-IDENT-06, ECS-IDENT-07
		s := sign(t, a, ecsVM, dialect.FormPKCS7, ecsDocument)
		if !strings.HasPrefix(string(s), "MII") || strings.ContainsAny(string(s), "\n-") {
			t.Errorf("%s", s)
		}
		d, err := v(ecsVM).PKCS7(s)
		if err != nil || string(d.Bytes) != ecsDocument || !d.SigningTime.IsZero() {
			t.Errorf("%+v, %v", d, err)
		}
	})
}

// TestLongDocument: what does not fit into one piece is in several.
func TestLongDocument(t *testing.T) {
	c := &clock{start}
	a := newAuthority(t, c, nil)
	for _, n := range []int{900, 999, 1000, 1001, 2500, 30000} {
		document := ec2Document[:len(ec2Document)-2] + ",\n  \"x\" : \"" + strings.Repeat("x", n-len(ec2Document)-10) + "\"\n}"
		s := sign(t, a, ec2VM, dialect.FormRSA2048, document)
		v := identity.Verifier{Certificates: trusted(t, a, "ec2", "us-east-1"), Now: c.now}
		if d, err := v.PKCS7(s); err != nil || string(d.Bytes) != document {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// TestStructure: the envelopes part for part, in openssl's words.
func TestStructure(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("openssl is needed")
		}
		t.Skip("there is no openssl")
	}
	a := newAuthority(t, &clock{start}, func(cfg *Config) { cfg.LegacyDSA = true })
	for _, test := range []struct {
		file, form, document string
		in                   *instance.Instance
	}{
		{"ec2-rsa2048", dialect.FormRSA2048, ec2Document, ec2VM},
		{"ec2-pkcs7", dialect.FormPKCS7, ec2Document, ec2VM},
		{"ecs-pkcs7", dialect.FormPKCS7, ecsDocument, ecsVM},
	} {
		t.Run(test.file, func(t *testing.T) {
			raw, err := base64.StdEncoding.DecodeString(string(sign(t, a, test.in, test.form, test.document)))
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "openssl", "asn1parse", "-inform", "DER")
			cmd.Stdin = bytes.NewReader(raw)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			golden(t, filepath.Join("testdata", test.file+".golden"), structure(string(out)))
		})
	}
}

// structure is the depth, kind and value of every part, without what is another
// with every key.
func structure(parsed string) []byte {
	var b bytes.Buffer
	for line := range strings.Lines(parsed) {
		if !strings.Contains(line, ":d=") {
			continue // of a document
		}
		place, rest, ok := strings.Cut(strings.TrimSpace(line), "cons:")
		if !ok {
			place, rest, _ = strings.Cut(strings.TrimSpace(line), "prim:")
		}
		_, place, _ = strings.Cut(place, ":")
		depth, length, _ := strings.Cut(place, " ")
		form := "definite"
		if strings.HasSuffix(strings.TrimSpace(length), "inf") {
			form = "indefinite"
		}
		kind, value, _ := strings.Cut(rest, ":")
		if name, dumped := strings.CutSuffix(kind, "[HEX DUMP]"); dumped {
			kind, value = name, "bytes"
		}
		kind = strings.TrimSpace(kind)
		if kind == "INTEGER" && len(value) > 4 {
			value = "serial"
		}
		b.WriteString(strings.TrimSpace(depth+" "+form+" "+kind+" "+strings.TrimSpace(value)) + "\n")
	}
	return b.Bytes()
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatalf("%v (run the test with -update)", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", name, diff)
	}
}

// TestSameBytes: with the same key the same document is signed alike, so that
// replicas agree.
func TestSameBytes(t *testing.T) {
	c := &clock{start}
	a := newAuthority(t, c, nil)
	one := sign(t, a, ec2VM, dialect.FormRSA2048, ec2Document)
	c.t = c.t.Add(24 * time.Hour)
	if two := sign(t, a, ec2VM, dialect.FormRSA2048, ec2Document); !bytes.Equal(one, two) {
		t.Error("two signatures of one document differ")
	}
}

// TestNotSigned: pkcs7 of EC2 is an option, and of nothing else is there a
// signature (EC2-IDENT-11).
func TestNotSigned(t *testing.T) {
	a := newAuthority(t, &clock{start}, nil)
	for in, form := range map[*instance.Instance]string{ec2VM: dialect.FormPKCS7, ecsVM: dialect.FormSignature, {Dialect: "gce"}: dialect.FormPKCS7} {
		if a.Signs(in.Dialect, form) {
			t.Errorf("%s of %s is made", form, in.Dialect)
		}
		if _, _, err := a.Sign(in, form, nil); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s of %s: %v", form, in.Dialect, err)
		}
	}
	odd := *ec2VM
	odd.Region = "../x"
	if _, _, err := a.Sign(&odd, dialect.FormSignature, nil); fault.KindOf(err) != fault.Invalid {
		t.Errorf("region %q: %v", odd.Region, err)
	}
}

// TestSHA256: ECS's envelope with the other digest needs no permission.
func TestSHA256(t *testing.T) {
	c := &clock{start}
	for _, with := range []bool{false, true} {
		a := newAuthority(t, c, func(cfg *Config) { cfg.ECSDigestSHA256 = with })
		s := sign(t, a, ecsVM, dialect.FormPKCS7, ecsDocument)
		v := identity.Verifier{Certificates: trusted(t, a, "ecs", "cn-hangzhou"), Now: c.now}
		if _, err := v.PKCS7(s); with != (err == nil) || !with && !errors.Is(err, identity.ErrSHA1) {
			t.Errorf("SHA-256 %v: %v", with, err)
		}
	}
}

// TestNames: what certificates call themselves (EC2-IDENT-12, ECS-IDENT-08).
func TestNames(t *testing.T) {
	a := newAuthority(t, &clock{start}, func(cfg *Config) { cfg.LegacyDSA = true })
	if err := errors.Join(a.Ensure(t.Context(), "ec2", "us-east-1"), a.Ensure(t.Context(), "ecs", "cn-hangzhou")); err != nil {
		t.Fatal(err)
	}
	for where, want := range map[[2]string]string{
		{"ec2", "us-east-1"}:   "CN=us-east-1,OU=EC2 instance identity,O=openimds",
		{"ecs", "cn-hangzhou"}: "CN=Unknown,OU=Unknown,O=Unknown,L=Unknown,ST=Unknown,C=Unknown",
	} {
		for _, c := range trusted(t, a, where[0], where[1]) {
			if c.Subject.String() != want || c.Issuer.String() != want || c.IsCA {
				t.Errorf("%v: %s, issued by %s", where, c.Subject, c.Issuer)
			}
			if c.PublicKeyAlgorithm == x509.RSA && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) != nil {
				t.Errorf("%v: not signed by itself", where)
			}
		}
	}
}

// TestKeyStarts: a document of an instance that is older than the key counts as
// signed when the key came into use, within the certificate's time
// (EC2-IDENT-13).
func TestKeyStarts(t *testing.T) {
	c := &clock{start}
	a := newAuthority(t, c, nil)
	for _, started := range []time.Time{{}, start.Add(-1000 * day), start.Add(5000 * day)} {
		vm := *ec2VM
		vm.Started = started
		s := sign(t, a, &vm, dialect.FormRSA2048, ec2Document)
		certs := trusted(t, a, "ec2", "us-east-1")
		d, err := (&identity.Verifier{Certificates: certs, Now: c.now}).PKCS7(s)
		if err != nil || d.SigningTime.Before(certs[0].NotBefore) || d.SigningTime.After(certs[0].NotAfter) {
			t.Errorf("started %v: %+v, %v", started, d, err)
		}
	}
}

// TestRegions: a region's certificate is good for that region alone.
func TestRegions(t *testing.T) {
	c := &clock{start}
	a := newAuthority(t, c, nil)
	if err := errors.Join(a.Ensure(context.Background(), "ec2", "eu-west-1"), a.Ensure(context.Background(), "ecs", "cn-hangzhou")); err != nil {
		t.Fatal(err)
	}
	s := sign(t, a, ec2VM, dialect.FormRSA2048, ec2Document)
	for _, where := range [][2]string{{"ec2", "eu-west-1"}, {"ecs", "cn-hangzhou"}} {
		v := identity.Verifier{Certificates: trusted(t, a, where[0], where[1]), Now: c.now}
		if _, err := v.PKCS7(s); !errors.Is(err, identity.ErrUnknownSigner) {
			t.Errorf("%v: %v", where, err)
		}
	}
}
