package docsign

import (
	"crypto/dsa" //nolint:staticcheck // EC2's pkcs7 is signed with it
	"crypto/rand"
	"crypto/rsa"
	sha1hash "crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"time"
)

// template is what a certificate says of its key.
type template struct {
	serial              *big.Int
	name                pkix.RDNSequence // of its holder, who has issued it
	notBefore, notAfter time.Time
}

// Attribute types of names (RFC 5280, appendix A.1).
var (
	oidCommonName   = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidCountry      = asn1.ObjectIdentifier{2, 5, 4, 6}
	oidLocality     = asn1.ObjectIdentifier{2, 5, 4, 7}
	oidProvince     = asn1.ObjectIdentifier{2, 5, 4, 8}
	oidOrganization = asn1.ObjectIdentifier{2, 5, 4, 10}
	oidUnit         = asn1.ObjectIdentifier{2, 5, 4, 11}
)

// nameOf returns the name in a scope's certificates. ECS's is the vendor's,
// which says nothing (ECS-IDENT-08). EC2's says what it is: it must not pass for
// the vendor's (EC2-IDENT-12).
func nameOf(s scopeID) pkix.RDNSequence {
	var name pkix.RDNSequence
	add := func(t asn1.ObjectIdentifier, value string) {
		name = append(name, pkix.RelativeDistinguishedNameSET{{Type: t, Value: value}})
	}
	if s.dialect == "ecs" {
		for _, t := range []asn1.ObjectIdentifier{oidCountry, oidProvince, oidLocality, oidOrganization, oidUnit, oidCommonName} {
			add(t, "Unknown")
		}
		return name
	}
	add(oidOrganization, "openimds")
	add(oidUnit, "EC2 instance identity")
	add(oidCommonName, s.region)
	return name
}

// signRSA returns the self-signed certificate of an RSA key.
func (t template) signRSA(k *rsa.PrivateKey) ([]byte, error) {
	subject, err := asn1.Marshal(t.name)
	if err != nil {
		return nil, fmt.Errorf("make identity certificate: %w", err)
	}
	id := sha1hash.Sum(x509.MarshalPKCS1PublicKey(&k.PublicKey)) // RFC 5280 §4.2.1.2: a name, not a secret
	c := &x509.Certificate{
		SerialNumber: t.serial, RawSubject: subject, NotBefore: t.notBefore, NotAfter: t.notAfter,
		SignatureAlgorithm: x509.SHA256WithRSA, KeyUsage: x509.KeyUsageDigitalSignature, SubjectKeyId: id[:],
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		return nil, fmt.Errorf("make identity certificate: %w", err)
	}
	return der, nil
}

// signDSA is signRSA for a DSA key, for which the standard library reads
// certificates and makes none.
func (t template) signDSA(k *dsa.PrivateKey) ([]byte, error) {
	type validity struct{ NotBefore, NotAfter time.Time }
	type publicKey struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	type toBeSigned struct {
		Version      int `asn1:"explicit,tag:0"`
		SerialNumber *big.Int
		Algorithm    pkix.AlgorithmIdentifier
		Issuer       pkix.RDNSequence
		Validity     validity
		Subject      pkix.RDNSequence
		PublicKey    publicKey
	}
	type certificate struct {
		Signed    asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	fail := func(err error) ([]byte, error) { return nil, fmt.Errorf("make identity certificate: %w", err) }
	parameters, err := asn1.Marshal(struct{ P, Q, G *big.Int }{k.P, k.Q, k.G})
	if err != nil {
		return fail(err)
	}
	y, err := asn1.Marshal(k.Y)
	if err != nil {
		return fail(err)
	}
	algorithm := pkix.AlgorithmIdentifier{Algorithm: oidDSAWithSHA1}
	tbs, err := asn1.Marshal(toBeSigned{
		Version: 2, SerialNumber: t.serial, Algorithm: algorithm, Issuer: t.name, Subject: t.name,
		Validity: validity{t.notBefore, t.notAfter},
		PublicKey: publicKey{
			pkix.AlgorithmIdentifier{Algorithm: oidDSA, Parameters: asn1.RawValue{FullBytes: parameters}},
			asn1.BitString{Bytes: y, BitLength: 8 * len(y)},
		},
	})
	if err != nil {
		return fail(err)
	}
	sum := sha1hash.Sum(tbs)
	signature, err := signDSA(k, sum[:])
	if err != nil {
		return fail(err)
	}
	der, err := asn1.Marshal(certificate{asn1.RawValue{FullBytes: tbs}, algorithm, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}})
	if err != nil {
		return fail(err)
	}
	return der, nil
}
