package identity_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"openimds/identity"
	"openimds/internal/docsign"
	"openimds/internal/instance"
)

var start = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

// signed is a document that an authority has signed in every form.
type signed struct {
	instance.Instance
	document string
	texts    map[string][]byte
}

const ecsText = `{"zone-id":"cn-hangzhou-i","serial-number":"4acd2b47","instance-id":"i-bp1","region-id":"cn-hangzhou","private-ipv4":"192.168.1.10",` +
	`"owner-account-id":"1609000000000001","mac":"00:16:3e:0f:00:01","image-id":"m-1","instance-type":"ecs.g7.large","audience":"abc"}`

const ec2Text = `{
  "accountId" : "123456789012",
  "architecture" : "x86_64",
  "availabilityZone" : "us-east-1a",
  "billingProducts" : null,
  "imageId" : "ami-0abcdef0123456789",
  "instanceId" : "i-0abcdef0123456789",
  "instanceType" : "t2.micro",
  "pendingTime" : "2022-02-02T02:02:02Z",
  "privateIp" : "172.31.0.10",
  "region" : "us-east-1",
  "version" : "2017-09-30"
}`

// bed is an authority, what it signed, and a verifier that trusts it.
func bed(t testing.TB) (ec2, ecs signed, v identity.Verifier) {
	t.Helper()
	a, err := docsign.New(t.Context(), docsign.Config{LegacyDSA: true, Now: func() time.Time { return start }})
	if err != nil {
		t.Fatal(err)
	}
	ec2 = signed{instance.Instance{Dialect: "ec2", Region: "us-east-1"}, ec2Text, map[string][]byte{}}
	ecs = signed{instance.Instance{Dialect: "ecs", Region: "cn-hangzhou"}, ecsText, map[string][]byte{}}
	for _, s := range []*signed{&ec2, &ecs} {
		for _, form := range []string{"signature", "rsa2048", "pkcs7"} {
			if !a.Signs(s.Dialect, form) {
				continue
			}
			if s.texts[form], _, err = a.Sign(&s.Instance, form, []byte(s.document)); err != nil {
				t.Fatal(err)
			}
		}
	}
	var b bytes.Buffer
	docsign.WritePEM(&b, a.Certificates())
	certs, err := identity.ParseCertificates(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return ec2, ecs, identity.Verifier{Certificates: certs, AllowSHA1: true, Now: func() time.Time { return start }}
}

func TestDocument(t *testing.T) {
	ec2, ecs, v := bed(t)
	d, err := v.PKCS7(ec2.texts["rsa2048"])
	if err != nil {
		t.Fatal(err)
	}
	want := identity.Document{
		Cloud: identity.EC2, InstanceID: "i-0abcdef0123456789", Account: "123456789012", Region: "us-east-1", Zone: "us-east-1a",
		ImageID: "ami-0abcdef0123456789", InstanceType: "t2.micro", PrivateIP: "172.31.0.10", Architecture: "x86_64",
		PendingTime: time.Date(2022, 2, 2, 2, 2, 2, 0, time.UTC), SigningTime: start,
	}
	same(t, d, want, ec2Text)
	v.Audience = "abc"
	if d, err = v.PKCS7(ecs.texts["pkcs7"]); err != nil {
		t.Fatal(err)
	}
	want = identity.Document{
		Cloud: identity.ECS, InstanceID: "i-bp1", Account: "1609000000000001", Region: "cn-hangzhou", Zone: "cn-hangzhou-i",
		ImageID: "m-1", InstanceType: "ecs.g7.large", PrivateIP: "192.168.1.10", SerialNumber: "4acd2b47", MAC: "00:16:3e:0f:00:01", Audience: "abc",
	}
	same(t, d, want, ecsText)
}

func same(t *testing.T, got *identity.Document, want identity.Document, text string) {
	t.Helper()
	if string(got.Bytes) != text || got.Signer == nil {
		t.Errorf("%s", got.Bytes)
	}
	g := *got
	g.Bytes, g.Signer = nil, nil
	if g.Cloud != want.Cloud || g.InstanceID != want.InstanceID || g.Account != want.Account || g.Region != want.Region || g.Zone != want.Zone ||
		g.ImageID != want.ImageID || g.InstanceType != want.InstanceType || g.PrivateIP != want.PrivateIP || g.Architecture != want.Architecture ||
		!g.PendingTime.Equal(want.PendingTime) || g.SerialNumber != want.SerialNumber || g.MAC != want.MAC || g.Audience != want.Audience || !g.SigningTime.Equal(want.SigningTime) {
		t.Errorf("got %+v, want %+v", g, want)
	}
}

// TestForms: armour and line ends do not matter.
func TestForms(t *testing.T) {
	ec2, _, v := bed(t)
	text := string(ec2.texts["rsa2048"])
	for _, form := range []string{
		text, text + "\n", strings.ReplaceAll(text, "\n", ""), strings.ReplaceAll(text, "\n", "\r\n"),
		"-----BEGIN PKCS7-----\n" + text + "\n-----END PKCS7-----\n", "-----BEGIN CERTIFICATE-----\n" + text + "\n-----END CERTIFICATE-----",
	} {
		if _, err := v.PKCS7([]byte(form)); err != nil {
			t.Errorf("%v:\n%s", err, form)
		}
	}
	if _, err := v.Signature([]byte(ec2.document), ec2.texts["signature"]); err != nil {
		t.Error(err)
	}
	if _, err := v.Signature([]byte(ec2.document+"\n"), ec2.texts["signature"]); !errors.Is(err, identity.ErrSignature) {
		t.Errorf("a line end more: %v", err)
	}
}

// TestTampered: no byte of an envelope can be changed so that another document
// comes out, and none at all.
func TestTampered(t *testing.T) {
	ec2, ecs, v := bed(t)
	for name, text := range map[string][]byte{"rsa2048": ec2.texts["rsa2048"], "pkcs7": ec2.texts["pkcs7"], "ecs": ecs.texts["pkcs7"]} {
		document := ec2.document
		v.Audience = ""
		if name == "ecs" {
			document, v.Audience = ecs.document, "abc"
		}
		raw, err := base64.StdEncoding.DecodeString(string(text))
		if err != nil {
			t.Fatal(err)
		}
		accepted := 0
		for i := range raw {
			for _, flip := range []byte{1, 0x80, 0xff} {
				raw[i] ^= flip
				if d, err := v.PKCS7([]byte(base64.StdEncoding.EncodeToString(raw))); err == nil {
					accepted++
					if string(d.Bytes) != document {
						t.Fatalf("%s: byte %d: %s", name, i, d.Bytes)
					}
				}
				raw[i] ^= flip
			}
		}
		if accepted > 0 {
			t.Errorf("%s: %d of %d changes are accepted", name, accepted, 3*len(raw))
		}
		for _, end := range []int{0, 1, len(raw) / 2, len(raw) - 1} {
			if _, err := v.PKCS7([]byte(base64.StdEncoding.EncodeToString(raw[:end]))); !errors.Is(err, identity.ErrMalformed) {
				t.Errorf("%s cut off at %d: %v", name, end, err)
			}
		}
		if _, err := v.PKCS7([]byte(base64.StdEncoding.EncodeToString(append(raw, 0)))); !errors.Is(err, identity.ErrMalformed) {
			t.Errorf("%s and a byte more: %v", name, err)
		}
	}
}

func TestRefused(t *testing.T) {
	ec2, ecs, v := bed(t)
	_, _, stranger := bed(t)
	for name, test := range map[string]struct {
		edit func(v *identity.Verifier)
		text []byte
		want error
	}{
		"nobody trusted":    {func(v *identity.Verifier) { v.Certificates = nil }, ec2.texts["rsa2048"], identity.ErrUnknownSigner},
		"another authority": {func(v *identity.Verifier) { v.Certificates = stranger.Certificates }, ec2.texts["rsa2048"], identity.ErrUnknownSigner},
		"SHA-1, DSA":        {func(v *identity.Verifier) { v.AllowSHA1 = false }, ec2.texts["pkcs7"], identity.ErrSHA1},
		"SHA-1, RSA":        {func(v *identity.Verifier) { v.AllowSHA1, v.Audience = false, "abc" }, ecs.texts["pkcs7"], identity.ErrSHA1},
		"another region":    {func(v *identity.Verifier) { v.Region = "eu-west-1" }, ec2.texts["rsa2048"], identity.ErrRegion},
		"another audience":  {func(v *identity.Verifier) { v.Audience = "me" }, ecs.texts["pkcs7"], identity.ErrAudience},
		"for somebody":      {nil, ecs.texts["pkcs7"], identity.ErrAudience},
		"for nobody":        {func(v *identity.Verifier) { v.Audience = "me" }, ec2.texts["rsa2048"], identity.ErrAudience},
		"too early":         {func(v *identity.Verifier) { v.Now = func() time.Time { return start.AddDate(-1, 0, 0) } }, ec2.texts["rsa2048"], identity.ErrExpired},
		"too late":          {func(v *identity.Verifier) { v.Now = func() time.Time { return start.AddDate(9, 0, 0) } }, ec2.texts["rsa2048"], identity.ErrExpired},
		"empty":             {nil, nil, identity.ErrMalformed},
		"the document":      {nil, []byte(ec2Text), identity.ErrMalformed},
		"the signature":     {nil, ec2.texts["signature"], identity.ErrMalformed},
		"too long":          {nil, bytes.Repeat([]byte("A"), 1<<20), identity.ErrMalformed},
		"two":               {nil, []byte("-----BEGIN PKCS7-----\nAAAA\n-----END PKCS7-----\nx"), identity.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			v := v
			if test.edit != nil {
				test.edit(&v)
			}
			if d, err := v.PKCS7(test.text); !errors.Is(err, test.want) {
				t.Errorf("got %+v, %v, want %v", d, err, test.want)
			}
		})
	}
}

func TestParseCertificates(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "text": "hello", "a key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		"damaged": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
	} {
		if c, err := identity.ParseCertificates([]byte(text)); err == nil {
			t.Errorf("%s: %v", name, c)
		}
	}
}

// FuzzPKCS7: whatever an instance sends, only what was signed comes out.
func FuzzPKCS7(f *testing.F) {
	ec2, ecs, v := bed(f)
	v.Audience = ""
	audience := v
	audience.Audience = "abc"
	for _, s := range []signed{ec2, ecs} {
		for _, text := range s.texts {
			raw, err := base64.StdEncoding.DecodeString(string(text))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(raw)
		}
	}
	f.Add([]byte{0x30, 0x80, 0, 0})
	f.Add(bytes.Repeat([]byte{0x30, 0x80}, 100))
	f.Fuzz(func(t *testing.T, raw []byte) {
		text := []byte(base64.StdEncoding.EncodeToString(raw))
		for _, v := range []identity.Verifier{v, audience} {
			if d, err := v.PKCS7(text); err == nil && string(d.Bytes) != ec2Text && string(d.Bytes) != ecsText {
				t.Errorf("accepted: %s", d.Bytes)
			}
		}
	})
}
