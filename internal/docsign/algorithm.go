package docsign

import (
	"crypto"
	"crypto/dsa" //nolint:staticcheck // EC2's pkcs7 is signed with it
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" // registers itself
	_ "crypto/sha256"
	"encoding/asn1"
	"fmt"
	"math/big"
)

// hash is a digest of the clouds' forms.
type hash crypto.Hash

const (
	sha1   = hash(crypto.SHA1)
	sha256 = hash(crypto.SHA256)
)

// of returns the digest of data.
func (h hash) of(data []byte) []byte {
	f := crypto.Hash(h).New()
	f.Write(data)
	return f.Sum(nil)
}

// algorithm is the AlgorithmIdentifier of the digest.
func (h hash) algorithm() []byte {
	id := oidSHA1
	if h == sha256 {
		id = oidSHA256
	}
	return tlv(idSequence, der(id), null)
}

// algorithm is the content of the AlgorithmIdentifier of a signature; plain: it
// does not name the digest.
func (k *key) algorithm(h hash, plain bool) []byte {
	switch {
	case k.dsa != nil:
		return der(oidDSAWithSHA1)
	case plain:
		return append(der(oidRSA), null...)
	case h == sha256:
		return append(der(oidSHA256WithRSA), null...)
	}
	panic("docsign: nobody signs with RSA over SHA-1 by that name")
}

// sign signs the digest of data.
func (k *key) sign(h hash, data []byte) ([]byte, error) {
	if k.dsa != nil {
		return signDSA(k.dsa, h.of(data))
	}
	signature, err := rsa.SignPKCS1v15(nil, k.rsa, crypto.Hash(h), h.of(data))
	if err != nil {
		return nil, fmt.Errorf("sign with %s: %w", k, err)
	}
	return signature, nil
}

// signDSA signs a digest as long as the order of the key's group.
func signDSA(k *dsa.PrivateKey, sum []byte) ([]byte, error) {
	r, s, err := dsa.Sign(rand.Reader, k, sum)
	if err != nil {
		return nil, fmt.Errorf("sign with DSA: %w", err)
	}
	return asn1.Marshal(struct{ R, S *big.Int }{r, s})
}
