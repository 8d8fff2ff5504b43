package pki

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

// Files are a certificate, its key and the authority of the other side, each a
// PEM file. They are read anew for every connection, so that a certificate is
// renewed by replacing files.
type Files struct{ Certificate, Key, Authority string }

// read reads all three. A key that others may read is refused.
func (f Files) read() (own Pair, authority []byte, err error) {
	if own.Cert, err = os.ReadFile(f.Certificate); err != nil {
		return own, nil, fmt.Errorf("read certificate: %w", err)
	}
	info, err := os.Stat(f.Key)
	if err != nil {
		return own, nil, fmt.Errorf("read the certificate's key: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		return own, nil, fmt.Errorf("the certificate's key %s may be read or changed by everybody (mode %04o): run chmod 600 on it", f.Key, mode)
	}
	if own.Key, err = os.ReadFile(f.Key); err != nil {
		return own, nil, fmt.Errorf("read the certificate's key: %w", err)
	}
	if authority, err = os.ReadFile(f.Authority); err != nil {
		return own, nil, fmt.Errorf("read the authority's certificate: %w", err)
	}
	return own, authority, nil
}

// explain adds the files to an error that does not name them.
func (f Files) explain(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s, %s, %s: %w", f.Certificate, f.Key, f.Authority, err)
}

// ServerConfig returns the TLS settings of a control plane. It fails if the
// files are no good now; if that comes later, handshakes fail until they are
// mended.
func (f Files) ServerConfig() (*tls.Config, error) {
	load := func() (*tls.Config, error) {
		own, authority, err := f.read()
		if err != nil {
			return nil, err
		}
		c, err := Server(own, authority)
		return c, f.explain(err)
	}
	first, err := load()
	if err != nil {
		return nil, err
	}
	c := first.Clone()
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return load() }
	return c, nil
}

// clientConfig returns the TLS settings of a node.
func (f Files) clientConfig() (*tls.Config, error) {
	own, authority, err := f.read()
	if err != nil {
		return nil, err
	}
	c, err := Client(own, authority)
	return c, f.explain(err)
}

// Dial connects to a control plane; it is what http.Transport.DialTLSContext
// wants.
func (f Files) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := f.clientConfig()
	if err != nil {
		return nil, err
	}
	if c.ServerName, _, err = net.SplitHostPort(address); err != nil {
		return nil, err
	}
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: c}
	return d.DialContext(ctx, network, address)
}

// Own returns what the certificate says: its name, and when it ends. Check it
// before the first connection.
func (f Files) Own() (name string, end time.Time, err error) {
	if _, err := f.clientConfig(); err != nil {
		return "", time.Time{}, err
	}
	data, err := os.ReadFile(f.Certificate)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("read certificate: %w", err)
	}
	return Leaf(data)
}

// Leaf returns the common name of the first certificate of a PEM text, and
// when it ends.
func Leaf(data []byte) (name string, end time.Time, err error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return "", time.Time{}, errors.New("read certificate: it is not PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("read certificate: %w", err)
	}
	return cert.Subject.CommonName, cert.NotAfter, nil
}
