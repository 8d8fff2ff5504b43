package remote

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Access is how a place is reached. URL is required. Files are read anew for
// every request or connection, so that they can be replaced.
type Access struct {
	URL string
	// TokenFile has what is sent as `Authorization: Bearer`; empty: nothing is.
	TokenFile string
	// User and PasswordFile are sent as basic authentication.
	User, PasswordFile string
	// Headers are sent as they are, HeaderFiles with what the files have.
	Headers, HeaderFiles map[string]string
	// CA has the certificates (PEM) that the place's must be signed by; empty: those of the system.
	CA string
	// Certificate and Key (PEM) are shown to the place; empty: none is.
	Certificate, Key string
	// Timeout of a request; 30 s by default.
	Timeout time.Duration
	// Transport carries requests; nil: one of its own, with the files above.
	Transport http.RoundTripper
}

// userAgent is what the place sees.
const userAgent = "openimds"

// mostSecret is how large a file with a token may be.
const mostSecret = 64 << 10

// endpoint sends requests to one place.
type endpoint struct {
	Access
	client *http.Client
}

func newEndpoint(a Access) (*endpoint, error) {
	u, err := url.Parse(a.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
		return nil, errors.New("want a URL, such as https://prometheus.example.com/, without a name and a password in it")
	}
	if a.Timeout <= 0 {
		a.Timeout = 30 * time.Second
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if a.CA != "" {
		data, err := os.ReadFile(a.CA)
		if err != nil {
			return nil, fmt.Errorf("read the certificates of its authority: %w", err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("%s: found no certificate (PEM) in it", a.CA)
		}
	}
	if a.Certificate != "" {
		own := func() (*tls.Certificate, error) {
			c, err := tls.LoadX509KeyPair(a.Certificate, a.Key)
			return &c, err
		}
		if _, err := own(); err != nil {
			return nil, fmt.Errorf("read the certificate to show: %w", err)
		}
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own() }
	}
	if a.Transport == nil {
		a.Transport = &http.Transport{
			DialContext:     (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSClientConfig: conf, TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: 4, IdleConnTimeout: 90 * time.Second, ResponseHeaderTimeout: a.Timeout,
		}
	}
	e := &endpoint{a, &http.Client{
		Timeout:   a.Timeout,
		Transport: a.Transport,
		// A redirect would carry the token, and what is written, to somebody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if err := e.authorize(&http.Request{Header: http.Header{}}); err != nil {
		return nil, err
	}
	return e, nil
}

// authorize sets the headers that the place wants.
func (e *endpoint) authorize(r *http.Request) error {
	for name, value := range e.Headers {
		r.Header.Set(name, value)
	}
	for name, file := range e.HeaderFiles {
		value, err := secret(file)
		if err != nil {
			return err
		}
		r.Header.Set(name, value)
	}
	switch {
	case e.TokenFile != "":
		token, err := secret(e.TokenFile)
		if err != nil {
			return err
		}
		r.Header.Set("Authorization", "Bearer "+token)
	case e.User != "":
		password, err := secret(e.PasswordFile)
		if err != nil {
			return err
		}
		r.SetBasicAuth(e.User, password)
	}
	return nil
}

// secret reads a file that has one line.
func secret(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, mostSecret))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", file, err)
	}
	text := strings.TrimSpace(string(data))
	if text == "" || strings.ContainsAny(text, "\r\n\x00") {
		return "", fmt.Errorf("%s: want one line of text in it", file)
	}
	return text, nil
}

// post sends a body. The caller closes the answer's. Errors name the place's
// host, and nothing else of its URL.
func (e *endpoint) post(ctx context.Context, to string, body []byte, header http.Header) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("the URL is not one")
	}
	for name, values := range header {
		r.Header[name] = values
	}
	r.Header.Set("User-Agent", userAgent)
	if err := e.authorize(r); err != nil {
		return nil, err
	}
	answer, err := e.client.Do(r)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err
		}
		return nil, fmt.Errorf("ask %s: %w", r.URL.Host, err)
	}
	return answer, nil
}

// excerpt is the begin of an answer that tells of an error, on one line.
func excerpt(body io.Reader) string {
	data, _ := io.ReadAll(io.LimitReader(body, 300)) // what there is says enough
	text := strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return ' '
		}
		return r
	}, string(data))
	return strings.Join(strings.Fields(text), " ")
}
