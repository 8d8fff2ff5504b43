package docsign

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"time"
)

// Certificate is a certificate as it is published.
type Certificate struct {
	// Dialect whose documents it is for.
	Dialect string `json:"dialect"`
	// Region whose documents it is for.
	Region string `json:"region"`
	// Algorithm of the key: rsa, or dsa for EC2's pkcs7.
	Algorithm string `json:"algorithm"`
	// State: next (published ahead), current (signs), previous (has signed).
	State string `json:"state"`
	// Serial number in hexadecimal digits, as openssl prints it.
	Serial string `json:"serial"`
	// SignsFrom is when its key begins to sign.
	SignsFrom time.Time `json:"signsFrom"`
	// NotAfter is the end of the certificate.
	NotAfter time.Time `json:"notAfter"`
	// PEM is the certificate itself.
	PEM string `json:"pem"`
}

// Certificates returns what verifiers need, in the order of dialect, region,
// algorithm and time.
func (a *Authority) Certificates() []Certificate {
	now := a.cfg.Now()
	all := []Certificate{}
	for _, s := range a.all() {
		keys := s.published()
		signs := current(keys, now)
		for i, k := range keys {
			state := "current"
			if i < signs {
				state = "previous"
			} else if i > signs {
				state = "next"
			}
			all = append(all, Certificate{
				Dialect: s.id.dialect, Region: s.id.region, Algorithm: string(s.id.algorithm), State: state,
				Serial: fmt.Sprintf("%X", k.certificate.SerialNumber), SignsFrom: k.from, NotAfter: k.certificate.NotAfter.UTC(),
				PEM: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: k.certificate.Raw})),
			})
		}
	}
	return all
}

// WritePEM writes certificates as text: each after a line that says what it is
// for, which readers of PEM pass over.
func WritePEM(b *bytes.Buffer, all []Certificate) {
	for _, c := range all {
		fmt.Fprintf(b, "# %s %s %s, %s, signs from %s, serial %s, until %s\n%s",
			c.Dialect, c.Region, c.Algorithm, c.State, c.SignsFrom.Format(time.RFC3339), c.Serial, c.NotAfter.Format(time.RFC3339), c.PEM)
	}
}
