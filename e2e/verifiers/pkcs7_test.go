//go:build linux

package verifiers

import (
	"encoding/base64"
	"testing"

	"github.com/smallstep/pkcs7"

	"openimds/identity"
)

// TestPKCS7: smallstep/pkcs7 reads rsa2048 and finds the document, byte for
// byte (EC2-IDENT-07, EC2-IDENT-10).
func TestPKCS7(t *testing.T) {
	control := start(t)
	verify := func(envelope, query string) (string, error) {
		t.Helper()
		raw, err := base64.StdEncoding.DecodeString(envelope)
		if err != nil {
			t.Fatal(err)
		}
		p, err := pkcs7.Parse(raw)
		if err != nil {
			return "", err
		}
		if len(p.Certificates) != 0 {
			t.Error("there are certificates inside")
		}
		if p.Certificates, err = identity.ParseCertificates([]byte(certificates(t, control, query))); err != nil {
			t.Fatal(err)
		}
		return string(p.Content), p.Verify()
	}
	content, err := verify(item(t, "rsa2048"), "algorithm=rsa&region="+region)
	if document := item(t, "document"); err != nil || content != document {
		t.Errorf("%v: %s\nwant %s", err, content, document)
	}
	if _, err := verify(tampered(t, item(t, "rsa2048")), "region="+region); err == nil {
		t.Error("a tampered document is accepted")
	}
	if _, err := verify(item(t, "rsa2048"), "region=us-west-2"); err == nil {
		t.Error("another region's certificate is accepted")
	}
}
