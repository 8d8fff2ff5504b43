package docsign

import (
	"crypto/dsa" //nolint:staticcheck // EC2's pkcs7 is signed with it
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"math/big"
	"time"
)

// algorithm is what a key is for, as it is named in records.
type algorithm string

const (
	algorithmRSA algorithm = "rsa"
	algorithmDSA algorithm = "dsa"
)

// key is a private key and its certificate. It is immutable, and does not show
// itself.
type key struct {
	from        time.Time // it signs from then on
	certificate *x509.Certificate
	rsa         *rsa.PrivateKey // one of the two
	dsa         *dsa.PrivateKey
}

// String names the key.
func (k *key) String() string { return fmt.Sprintf("identity key %x", k.certificate.SerialNumber) }

// GoString keeps the key out of %#v.
func (k *key) GoString() string { return k.String() }

// rsaBits is the size of RSA keys: EC2's form is called after it.
const rsaBits = 2048

// backdate is how much earlier a certificate begins than it is made, for
// verifiers whose clocks are late.
const backdate = time.Hour

// newKey makes a key that signs from a time on.
func newKey(s scopeID, now, from, notAfter time.Time) (*key, error) {
	k := &key{from: from.UTC().Truncate(time.Second)}
	t := template{
		serial: newSerial(), name: nameOf(s), notBefore: now.Add(-backdate).UTC().Truncate(time.Second), notAfter: notAfter.UTC().Truncate(time.Second),
	}
	var der []byte
	var err error
	if s.algorithm == algorithmDSA {
		k.dsa = &dsa.PrivateKey{PublicKey: dsa.PublicKey{Parameters: dsaDomain()}}
		if err := dsa.GenerateKey(k.dsa, rand.Reader); err != nil {
			return nil, fmt.Errorf("make identity key: %w", err)
		}
		der, err = t.signDSA(k.dsa)
	} else {
		if k.rsa, err = rsa.GenerateKey(rand.Reader, rsaBits); err != nil {
			return nil, fmt.Errorf("make identity key: %w", err)
		}
		der, err = t.signRSA(k.rsa)
	}
	if err != nil {
		return nil, err
	}
	k.certificate, err = x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make identity certificate: %w", err)
	}
	return k, nil
}

// newSerial returns a serial number of eight bytes, as EC2's have, that is
// positive and not short.
func newSerial() *big.Int {
	raw := make([]byte, 8)
	_, _ = rand.Read(raw) // never fails
	raw[0] = raw[0]&0x3f | 0x40
	return new(big.Int).SetBytes(raw)
}

// dsaDomain returns the domain parameters of DSA keys, 1024 and 160 bits. They
// are no secret and may be shared: these are the ones that Java brings for this
// size, from a seed that is published with them, and that EC2's own certificate
// has. To make others takes seconds.
func dsaDomain() dsa.Parameters {
	number := func(text string) *big.Int {
		n, ok := new(big.Int).SetString(text, 16)
		if !ok {
			panic("docsign: a parameter is no number")
		}
		return n
	}
	return dsa.Parameters{
		P: number("fd7f53811d75122952df4a9c2eece4e7f611b7523cef4400c31e3f80b6512669455d402251fb593d8d58fabfc5f5ba30f6cb9b556cd7813b801d346ff26660b76b9950a5a49f9fe8047b1022c24fbba9d7feb7c61bf83b57e7c6a8a6150f04fb83f6d3c51ec3023554135a169132f675f3ae2b61d72aeff22203199dd14801c7"),
		Q: number("9760508f15230bccb292b982a2eb840bf0581cf5"),
		G: number("f7e1a085d69b3ddecbbcab5c36b857b97994afbbfa3aea82f9574c0b3d0782675159578ebad4594fe67107108180b449167123e84c281613b7cf09328cc8a6e13c167a8b547c8d28e0a3ae1e2bb3a675916ea37f0bfa213562f1fb627a01243bcca4f1bea8519089a883dfe15ae59f06928b665e807b552564014c3bfecf492a"),
	}
}
