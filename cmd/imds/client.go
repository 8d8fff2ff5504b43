package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"openimds/internal/admin"
)

// Where client commands find the server, if no flag says it.
const (
	defaultServer = "http://127.0.0.1:8180"
	serverEnv     = "IMDS_SERVER"
	tokenFileEnv  = "IMDS_TOKEN_FILE"
)

// clientOptions are the flags of every command that talks to a server.
type clientOptions struct {
	server, tokenFile string
	real              bool
}

// flags adds the flags to a command, and to those below it.
func (o *clientOptions) flags(c *cobra.Command) {
	f := c.PersistentFlags()
	f.StringVar(&o.server, "server", "", "address of the server (default $"+serverEnv+", or else "+defaultServer+")")
	f.StringVar(&o.tokenFile, "token-file", "", "file with the admin token (default $"+tokenFileEnv+", or else none)")
	f.BoolVar(&o.real, "real", false, "talk to a server on a link-local metadata address, too")
}

// client talks to the admin API of a server.
type client struct {
	base  string
	token string
	http  *http.Client
}

// mostTokenFile is how many bytes a token file may have.
const mostTokenFile = 4096

// open makes a client of the flags and the environment.
func (o *clientOptions) open() (*client, error) {
	server := cmp.Or(o.server, os.Getenv(serverEnv), defaultServer)
	if !strings.Contains(server, "://") {
		server = "http://" + server
	}
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, usageError{fmt.Errorf("--server: found %q, expected an address such as %s", server, defaultServer)}
	}
	if !o.real && metadataAddress(u.Hostname()) {
		return nil, usageError{fmt.Errorf("--server: %s is an address of the cloud's own metadata service: nothing is sent there without --real", u.Hostname())}
	}
	c := &client{base: strings.TrimRight(u.Scheme+"://"+u.Host+u.Path, "/")}
	if path := cmp.Or(o.tokenFile, os.Getenv(tokenFileEnv)); path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, usageError{fmt.Errorf("read the admin token: %w", err)}
		}
		if c.token = strings.TrimSpace(string(data)); c.token == "" || len(data) > mostTokenFile || strings.ContainsAny(c.token, "\r\n") {
			return nil, usageError{fmt.Errorf("the token file %s holds no token: expected one line", path)}
		}
	}
	c.http = &http.Client{
		Timeout: time.Minute,
		// No proxy gets the token, and nobody sends it elsewhere.
		Transport:     &http.Transport{DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// metadataAddress reports whether a host is where clouds have their metadata
// service, or any other link-local address.
func metadataAddress(host string) bool {
	a, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	a = a.Unmap().WithZone("")
	return a.IsLinkLocalUnicast() || a == netip.MustParseAddr("100.100.100.200") ||
		a == netip.MustParseAddr("fd00:ec2::254") || a == netip.MustParseAddr("fd00:100::100:200")
}

// do sends a request to the API and returns the body of the answer.
func (c *client) do(ctx context.Context, method, path string, query url.Values, body any) ([]byte, error) {
	var content io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode the request: %w", err)
		}
		content = bytes.NewReader(data)
	}
	target := c.base + "/v1/" + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, content)
	if err != nil {
		return nil, fmt.Errorf("make the request: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if who := operator(); who != "" {
		req.Header.Set(admin.OperatorHeader, who)
	}
	req.Header.Set("User-Agent", "imds")
	res, err := c.http.Do(req)
	if err != nil {
		if urlError, ok := errors.AsType[*url.Error](err); ok {
			err = urlError.Err
		}
		return nil, fmt.Errorf("no server answers at %s (%w): start one with imds dev or imds serve, or say where it is with --server or %s", c.base, err, serverEnv)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", c.base, err)
	}
	if res.StatusCode/100 == 2 {
		return data, nil
	}
	return nil, c.refusal(res.StatusCode, data)
}

// refusal is what a server says it will not do.
func (c *client) refusal(status int, data []byte) error {
	var p struct{ Error, Message string }
	if json.Unmarshal(data, &p) != nil || p.Message == "" {
		return fmt.Errorf("%s is no openimds server, or an older one: it answers %d %s", c.base, status, http.StatusText(status))
	}
	err := errors.New(p.Message)
	switch status {
	case http.StatusBadRequest:
		return usageError{err}
	case http.StatusUnauthorized:
		return fmt.Errorf("%s: the admin token is missing or wrong: give it with --token-file or %s", c.base, tokenFileEnv)
	}
	return err
}

// into is do, and decodes the answer.
func (c *client) into(ctx context.Context, out any, method, path string, query url.Values, body any) error {
	data, err := c.do(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.base, err)
	}
	return nil
}

// operator is the user of the operating system, for the audit log.
func operator() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._@+-", r) {
			return r
		}
		return '_'
	}, u.Username)
	return name[:min(len(name), 64)]
}

// resourcePath is the path of a resource, whose name may have slashes between
// its parts.
func resourcePath(kind, name string) string {
	parts := strings.Split(name, "/")
	// The last part may have slashes of its own.
	if n := map[string]int{"templates": 3, admin.AlarmsKind[0]: 4}[kind]; n > 0 && len(parts) > n {
		parts = append(parts[:n-1:n-1], strings.Join(parts[n-1:], "/"))
	}
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return kind + "/" + strings.Join(parts, "/")
}
