// Package identity verifies the signed instance identity documents of openimds,
// and those of the clouds whose forms they have: the items
// dynamic/instance-identity/{document,signature,rsa2048,pkcs7} of EC2 and
// dynamic/instance-identity/{document,pkcs7} of ECS.
//
// An instance reads its document from the metadata service and sends it to you;
// you check it against certificates that you got from the operator
// (`imds identity certificates`), never from the instance:
//
//	certs, err := identity.ParseCertificates(pem)
//	v := identity.Verifier{Certificates: certs, Region: "us-east-1"}
//	doc, err := v.PKCS7(body) // what the instance sent of rsa2048 or pkcs7
//
// A document says which instance it was made for, not who sends it: whoever can
// read it once can send it again. ECS documents can be made for one purpose by
// an audience; for EC2's, remember what you accepted.
//
// The package needs nothing but the standard library.
package identity

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// Errors of a Verifier, of which every error it returns is one (errors.Is).
var (
	// ErrMalformed: it is not a signed document of either cloud.
	ErrMalformed = errors.New("not a signed identity document")
	// ErrUnknownSigner: none of the certificates is the signer's.
	ErrUnknownSigner = errors.New("signed by a key that none of the certificates has")
	// ErrSignature: document and signature do not belong together.
	ErrSignature = errors.New("the signature is not that of the document")
	// ErrSHA1: SHA-1 was used, and is not allowed.
	ErrSHA1 = errors.New("the signature uses SHA-1, which is not allowed here")
	// ErrExpired: the signer's certificate is not valid now.
	ErrExpired = errors.New("the signer's certificate is not valid at this time")
	// ErrRegion: the document is of another region.
	ErrRegion = errors.New("the document is of another region")
	// ErrAudience: the document was made for another audience.
	ErrAudience = errors.New("the document was made for another audience")
)

// Verifier checks signed documents. It is safe for concurrent use.
type Verifier struct {
	// Certificates are those of the signers that are trusted. No chain is
	// followed and no certificate is taken from a document.
	Certificates []*x509.Certificate
	// Region, where set, is the only region whose documents are accepted.
	Region string
	// Audience is the one that an ECS document must have been made for; empty:
	// only documents without an audience are accepted. EC2's have none.
	Audience string
	// AllowSHA1 accepts signatures over SHA-1: EC2's pkcs7 (DSA), and ECS's
	// pkcs7 as Alibaba Cloud makes it. Collisions of SHA-1 can be made, though
	// not yet within what an instance can choose of its own document; prefer
	// EC2's rsa2048, and ECS's pkcs7 with SHA-256 where you run the service.
	AllowSHA1 bool
	// Now is the clock; time.Now by default.
	Now func() time.Time
}

// ParseCertificates reads PEM certificates. What stands between them is passed
// over; other blocks are an error, and so is a text without any certificate.
func ParseCertificates(text []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		text = rest
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("parse certificates: there is a block %q: give certificates alone", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse certificates: %w", err)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, errors.New("parse certificates: there is none: give PEM, from -----BEGIN CERTIFICATE----- on")
	}
	return all, nil
}

// Signature checks an EC2 document, byte for byte as it was served, against the
// Base64 text of its item "signature".
func (v *Verifier) Signature(document, signature []byte) (*Document, error) {
	raw, err := decode(signature)
	if err != nil {
		return nil, err
	}
	if len(document) > maxSize {
		return nil, fmt.Errorf("%w: it has %d bytes", ErrMalformed, len(document))
	}
	for _, c := range v.Certificates {
		if check(c, sha256, rsaEncryption, document, raw) == nil {
			return v.accept(&Document{Bytes: document, Signer: c})
		}
	}
	return nil, fmt.Errorf("%w, or %w", ErrUnknownSigner, ErrSignature)
}

// PKCS7 checks the Base64 text of an item "pkcs7" or "rsa2048" and returns the
// document inside. Line ends and PEM armour do not matter.
func (v *Verifier) PKCS7(text []byte) (*Document, error) {
	der, err := decode(text)
	if err != nil {
		return nil, err
	}
	e, err := parseEnvelope(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	signer := v.signer(e)
	if signer == nil {
		return nil, fmt.Errorf("%w: its serial number is %x", ErrUnknownSigner, e.serial)
	}
	if e.digest == sha1 && !v.AllowSHA1 {
		return nil, ErrSHA1
	}
	if err := e.verify(signer); err != nil {
		return nil, err
	}
	return v.accept(&Document{Bytes: e.content, Signer: signer, SigningTime: e.signingTime})
}

// signer finds the certificate that an envelope names.
func (v *Verifier) signer(e *envelope) *x509.Certificate {
	for _, c := range v.Certificates {
		if string(c.RawIssuer) == string(e.issuer) && c.SerialNumber.Cmp(e.serial) == 0 {
			return c
		}
	}
	return nil
}

// accept reads a document whose signature is good, and checks what it says.
func (v *Verifier) accept(d *Document) (*Document, error) {
	now := time.Now
	if v.Now != nil {
		now = v.Now
	}
	if t := now(); t.Before(d.Signer.NotBefore) || t.After(d.Signer.NotAfter) {
		return nil, fmt.Errorf("%w: from %s to %s", ErrExpired, d.Signer.NotBefore.Format(time.RFC3339), d.Signer.NotAfter.Format(time.RFC3339))
	}
	if err := d.parse(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if v.Region != "" && d.Region != v.Region {
		return nil, fmt.Errorf("%w: of %q", ErrRegion, d.Region)
	}
	if d.Audience != v.Audience {
		return nil, fmt.Errorf("%w: %q", ErrAudience, d.Audience)
	}
	return d, nil
}
