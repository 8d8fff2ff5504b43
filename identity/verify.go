package identity

import (
	"bytes"
	"crypto"
	"crypto/dsa" //nolint:staticcheck // EC2's pkcs7 is signed with it
	"crypto/rsa"
	_ "crypto/sha1" // registers itself
	_ "crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/big"
)

// digest is an index of digests.
type digest int

const (
	sha1 digest = iota
	sha256
)

// digests are the ones that the clouds use, and the algorithms of signatures
// over them: each is named by itself or with its digest.
var digests = [...]struct {
	oid  string
	hash crypto.Hash
	rsa  string
	dsa  string
}{
	sha1:   {oid(1, 3, 14, 3, 2, 26), crypto.SHA1, oid(1, 2, 840, 113549, 1, 1, 5), oid(1, 2, 840, 10040, 4, 3)},
	sha256: {oid(2, 16, 840, 1, 101, 3, 4, 2, 1), crypto.SHA256, oid(1, 2, 840, 113549, 1, 1, 11), oid(2, 16, 840, 1, 101, 3, 4, 3, 2)},
}

var (
	rsaEncryption = oid(1, 2, 840, 113549, 1, 1, 1)
	dsaPlain      = oid(1, 2, 840, 10040, 4, 1)
)

func (d digest) of(data []byte) []byte {
	h := digests[d].hash.New()
	h.Write(data)
	return h.Sum(nil)
}

// verify checks the signature over the attributes, and theirs over the content;
// or the one over the content.
func (e *envelope) verify(signer *x509.Certificate) error {
	if e.signed == nil {
		return check(signer, e.digest, e.algorithm, e.content, e.signature)
	}
	if !bytes.Equal(e.messageDigest, e.digest.of(e.content)) {
		return fmt.Errorf("%w: its digest is another", ErrSignature)
	}
	return check(signer, e.digest, e.algorithm, e.signed, e.signature)
}

// check checks one signature. The algorithm must be that of the key.
func check(signer *x509.Certificate, d digest, algorithm string, data, signature []byte) error {
	sum := d.of(data)
	switch key := signer.PublicKey.(type) {
	case *rsa.PublicKey:
		if algorithm != rsaEncryption && algorithm != digests[d].rsa {
			return fmt.Errorf("%w: the signer's key is for RSA", ErrSignature)
		}
		if err := rsa.VerifyPKCS1v15(key, digests[d].hash, sum, signature); err != nil {
			return ErrSignature
		}
		return nil
	case *dsa.PublicKey:
		if algorithm != dsaPlain && algorithm != digests[d].dsa {
			return fmt.Errorf("%w: the signer's key is for DSA", ErrSignature)
		}
		return checkDSA(key, sum, signature)
	}
	return fmt.Errorf("%w: a key of type %T signs no documents", ErrSignature, signer.PublicKey)
}

func checkDSA(key *dsa.PublicKey, sum, signature []byte) error {
	var s struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(signature, &s); err != nil || len(rest) > 0 {
		return ErrSignature
	}
	// FIPS 186-3 §4.6: the leftmost bits of the digest, as many as Q has.
	sum = sum[:min(len(sum), (key.Q.BitLen()+7)/8)]
	if s.R.Sign() <= 0 || s.S.Sign() <= 0 || !dsa.Verify(key, sum, s.R, s.S) {
		return ErrSignature
	}
	return nil
}
