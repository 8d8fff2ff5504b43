package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// Server returns the TLS settings of a control plane that serves nodes of the
// given authority, and nobody else.
func Server(own Pair, authority []byte) (*tls.Config, error) {
	cert, pool, err := load(own, authority)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{cert}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
	}, nil
}

// Client returns the TLS settings of a node.
func Client(own Pair, authority []byte) (*tls.Config, error) {
	cert, pool, err := load(own, authority)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, MinVersion: tls.VersionTLS13}, nil
}

func load(own Pair, authority []byte) (tls.Certificate, *x509.CertPool, error) {
	cert, err := tls.X509KeyPair(own.Cert, own.Key)
	if err != nil {
		return cert, nil, fmt.Errorf("read certificate and key: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		return cert, nil, errors.New("the authority's file holds no PEM certificate")
	}
	return cert, pool, nil
}
