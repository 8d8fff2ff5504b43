package config

import (
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"openimds/internal/instance"
)

// Usage is where usage is kept, besides the state folder.
type Usage struct {
	// A place that is compatible with Prometheus. Default: there is none.
	Remote *RemoteUsage `json:"remote,omitempty"`
}

// RemoteUsage is a place that is compatible with Prometheus, such as Mimir,
// Thanos or VictoriaMetrics. Files with secrets are read anew for each request.
type RemoteUsage struct {
	// URL of its remote write, such as `https://prometheus.example.com/api/v1/write`.
	Write string `json:"write"`
	// URL of its HTTP API without `/api/v1/query`, such as `https://prometheus.example.com/`: readiness and the monitoring APIs then read from there what was long ago. Default: they read from the state folder.
	Query string `json:"query,omitempty"`
	// Labels that every series gets, such as `cluster`.
	Labels map[string]string `json:"labels,omitempty"`
	// File with a token that is sent as `Authorization: Bearer TOKEN`.
	TokenFile string `json:"tokenFile,omitempty"`
	// Name for basic authentication.
	User string `json:"user,omitempty"`
	// File with the password for basic authentication.
	PasswordFile string `json:"passwordFile,omitempty"`
	// Headers that are sent, such as `X-Scope-OrgID`. For secrets use `headerFiles`.
	Headers map[string]string `json:"headers,omitempty"`
	// Headers whose values are in files.
	HeaderFiles map[string]string `json:"headerFiles,omitempty"`
	// File with the certificates (PEM) of the authority that the place's certificate is signed by. Read at the start. Default: those of the system.
	CA string `json:"ca,omitempty"`
	// File with a certificate (PEM) to show to the place.
	Certificate string `json:"certificate,omitempty"`
	// File with the certificate's key (PEM).
	Key string `json:"key,omitempty"`
	// Time that a request may take. Default: 30s.
	Timeout time.Duration `json:"timeout,omitempty"`
}

var (
	labelName  = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
	headerName = regexp.MustCompile(`^[A-Za-z0-9-]+$`)
)

// ownLabels are labels that every series has of itself.
func ownLabels() []string { return []string{"instance_id", "kind", "writer"} }

func (c *checker) usage(u Usage) {
	r := u.Remote
	if r == nil {
		return
	}
	const at instance.Path = "usage.remote"
	secret := r.TokenFile != "" || r.User != "" || len(r.HeaderFiles) > 0
	c.expect(r.Write != "", at.Key("write"), "is required: the URL of remote write, such as https://prometheus.example.com/api/v1/write")
	for key, text := range map[string]string{"write": r.Write, "query": r.Query} {
		if text == "" {
			continue
		}
		u, err := url.Parse(text)
		ok := err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
		// What is wrong may have a password in it, and is not shown.
		c.expect(ok, at.Key(key), "is not a URL, such as https://prometheus.example.com/")
		if ok {
			c.expect(u.User == nil, at.Key(key), "has a user in it: want user and passwordFile")
			c.expect(u.Scheme == "https" || !secret || loopback(u.Hostname()), at.Key(key), "is plain http, over which secrets would go: want https")
		}
	}
	for name, value := range r.Labels {
		c.expect(labelName.MatchString(name) && !strings.HasPrefix(name, "__"), at.Key("labels"), "has %.40q: want names of letters, digits and _, without __ at the start", name)
		c.expect(!slices.Contains(ownLabels(), name), at.Key("labels"), "has %s, which every series has of itself", name)
		c.expect(value != "" && len(value) <= 1024, at.Key("labels"), "has %.40q with a value that is empty or longer than 1024 bytes", name)
	}
	c.expect((r.User == "") == (r.PasswordFile == ""), at.Key("user"), "goes with passwordFile: want both or neither")
	c.expect(r.TokenFile == "" || r.User == "", at.Key("tokenFile"), "contradicts user: leave one out")
	for key, all := range map[string]map[string]string{"headers": r.Headers, "headerFiles": r.HeaderFiles} {
		for name, value := range all {
			c.expect(headerName.MatchString(name) && value != "" && !strings.ContainsAny(value, "\r\n\x00"), at.Key(key), "has %.40q: want the name of a header, and one line", name)
		}
	}
	c.expect((r.Certificate == "") == (r.Key == ""), at.Key("certificate"), "goes with key: want both or neither")
	c.expect(r.Timeout >= 0 && r.Timeout <= 5*time.Minute, at.Key("timeout"), "is %v: want at most 5m", r.Timeout)
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// fill makes paths whole.
func (r *RemoteUsage) fill(folder string) {
	if r == nil {
		return
	}
	for _, path := range []*string{&r.TokenFile, &r.PasswordFile, &r.CA, &r.Certificate, &r.Key} {
		if *path != "" {
			*path = wholePath(folder, filepath.Clean(*path))
		}
	}
	for name, path := range r.HeaderFiles {
		r.HeaderFiles[name] = wholePath(folder, path)
	}
}
