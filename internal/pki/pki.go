// Package pki is the small certificate authority of a fleet: it vouches for the
// control plane to its nodes, and for the nodes to the control plane. Whoever
// has an authority of their own does without.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// Lives of certificates.
const (
	AuthorityLife = 10 * 365 * 24 * time.Hour
	LeafLife      = 365 * 24 * time.Hour
)

// Pair is a certificate with its key, both PEM.
type Pair struct{ Cert, Key []byte }

// String keeps the key out of logs.
func (p Pair) String() string { return "certificate and key (redacted)" }

// GoString keeps the key out of %#v.
func (p Pair) GoString() string { return p.String() }

// NewAuthority makes an authority that is valid from a little before now, for
// hosts whose clocks are behind.
func NewAuthority(name string, now time.Time) (Pair, error) {
	t := template(name, now, AuthorityLife)
	t.IsCA, t.MaxPathLenZero = true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	return sign(t, nil, nil)
}

// Control issues a certificate for a control plane that is reached under the
// given names and addresses.
func (p Pair) Control(hosts []string, now time.Time) (Pair, error) {
	if len(hosts) == 0 {
		return Pair{}, errors.New("a control plane's certificate needs the names or addresses that nodes reach it under")
	}
	t := template(hosts[0], now, LeafLife)
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	return p.issue(t, now)
}

// Node issues a certificate for the node of that name.
func (p Pair) Node(name string, now time.Time) (Pair, error) {
	if name == "" {
		return Pair{}, errors.New("a node's certificate needs its name")
	}
	t := template(name, now, LeafLife)
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return p.issue(t, now)
}

func (p Pair) issue(t *x509.Certificate, now time.Time) (Pair, error) {
	cert, key, err := p.parse()
	if err != nil {
		return Pair{}, err
	}
	if now.After(cert.NotAfter) {
		return Pair{}, fmt.Errorf("the authority's certificate ended on %s: make a new authority", cert.NotAfter.Format(time.DateOnly))
	}
	if t.NotAfter.After(cert.NotAfter) {
		t.NotAfter = cert.NotAfter
	}
	t.KeyUsage = x509.KeyUsageDigitalSignature
	return sign(t, cert, key)
}

func (p Pair) parse() (*x509.Certificate, *ecdsa.PrivateKey, error) {
	c, _ := pem.Decode(p.Cert)
	k, _ := pem.Decode(p.Key)
	if c == nil || k == nil {
		return nil, nil, errors.New("the authority's certificate or key is not PEM")
	}
	cert, err := x509.ParseCertificate(c.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("read the authority's certificate: %w", err)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(k.Bytes)
	if err != nil {
		return nil, nil, errors.New("read the authority's key: it is no PKCS #8 key") // the parser may quote it
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, nil, errors.New("the authority's key is not that of its certificate")
	}
	return cert, key, nil
}

func template(name string, now time.Time, life time.Duration) *x509.Certificate {
	return &x509.Certificate{
		Subject:   pkix.Name{CommonName: name, Organization: []string{"openimds"}},
		NotBefore: now.Add(-5 * time.Minute).UTC(), NotAfter: now.Add(life).UTC(),
		BasicConstraintsValid: true,
	}
}

// sign makes a key and signs a certificate for it, by itself without a parent.
func sign(t, parent *x509.Certificate, by *ecdsa.PrivateKey) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("make key: %w", err)
	}
	if t.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return Pair{}, fmt.Errorf("make serial number: %w", err)
	}
	if parent == nil {
		parent, by = t, key
	}
	cert, err := x509.CreateCertificate(rand.Reader, t, parent, &key.PublicKey, by)
	if err != nil {
		return Pair{}, fmt.Errorf("sign certificate of %s: %w", t.Subject.CommonName, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, fmt.Errorf("encode key: %w", err)
	}
	return Pair{
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
	}, nil
}
