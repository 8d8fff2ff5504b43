package docsign

import (
	"bytes"
	"crypto/dsa" //nolint:staticcheck // EC2's pkcs7 is signed with it
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// record is the form in which the keys of a scope are kept: version 1.
type record struct {
	Version int         `json:"version"`
	Keys    []keyRecord `json:"keys"`
}

type keyRecord struct {
	From        time.Time `json:"from"`
	Certificate []byte    `json:"certificate"`   // DER
	RSA         []byte    `json:"rsa,omitempty"` // PKCS #8
	DSA         []byte    `json:"dsa,omitempty"` // the private number
}

func encode(keys []*key) ([]byte, error) {
	r := record{Version: 1}
	for _, k := range keys {
		kr := keyRecord{From: k.from, Certificate: k.certificate.Raw}
		if k.dsa != nil {
			kr.DSA = k.dsa.X.Bytes()
		} else {
			var err error
			if kr.RSA, err = x509.MarshalPKCS8PrivateKey(k.rsa); err != nil {
				return nil, fmt.Errorf("encode %s: %w", k, err)
			}
		}
		r.Keys = append(r.Keys, kr)
	}
	return json.Marshal(r)
}

// errDamaged says no more: the record is secret.
var errDamaged = errors.New("the record is damaged")

func decode(data []byte, s scopeID) ([]*key, error) {
	var r record
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return nil, errDamaged
	}
	if r.Version != 1 {
		return nil, fmt.Errorf("the record is of version %d, this program knows 1: use a newer one", r.Version)
	}
	var keys []*key
	for _, kr := range r.Keys {
		k := &key{from: kr.From.UTC()}
		var err error
		if k.certificate, err = x509.ParseCertificate(kr.Certificate); err != nil {
			return nil, errDamaged
		}
		if err := k.private(kr, s); err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	slices.SortStableFunc(keys, func(a, b *key) int { return a.from.Compare(b.from) })
	return keys, nil
}

// private reads the private key, which must be that of the certificate.
func (k *key) private(kr keyRecord, s scopeID) error {
	if s.algorithm == algorithmDSA {
		public, ok := k.certificate.PublicKey.(*dsa.PublicKey)
		if !ok || len(kr.DSA) == 0 {
			return errDamaged
		}
		k.dsa = &dsa.PrivateKey{PublicKey: *public, X: new(big.Int).SetBytes(kr.DSA)}
		if new(big.Int).Exp(public.G, k.dsa.X, public.P).Cmp(public.Y) != 0 {
			return errDamaged
		}
		return nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(kr.RSA)
	if err != nil {
		return errDamaged
	}
	private, ok := parsed.(*rsa.PrivateKey)
	if !ok || !private.PublicKey.Equal(k.certificate.PublicKey) {
		return errDamaged
	}
	k.rsa = private
	return nil
}
