package config

import (
	"fmt"
	"os"
	"time"
)

// Service is the top level of a settings file. Everything in it is optional.
type Service struct {
	// Limit of each instance's requests.
	Throttle Throttle `json:"throttle,omitzero"`
	// Limits of connections and time.
	Limits Limits `json:"limits,omitzero"`
	// Names and addresses, besides the service's own, that clients may send as Host.
	Hosts []string `json:"hosts,omitempty"`
	// Choices where the clouds' behaviour differs or is not known.
	Security Security `json:"security,omitzero"`
	// How identity documents are signed.
	Identity Identity `json:"identity,omitzero"`
	// Where the credentials of roles come from. Default: from our own STS.
	Credentials RoleCredentials `json:"credentials,omitzero"`
	// How the clouds' monitoring APIs show usage.
	Monitoring Monitoring `json:"monitoring,omitzero"`
}

// Throttle is the rate of requests that one instance may send.
type Throttle struct {
	// Requests a second; 0: not limited.
	Rate int `json:"rate,omitempty"`
	// Requests that may come at once. Default: the rate.
	Burst int `json:"burst,omitempty"`
}

// Limits are bounds on connections and on time.
type Limits struct {
	// Connections open in total. Default: 16384.
	Connections int `json:"connections,omitempty"`
	// Connections that one instance may hold open. Default: 256.
	ConnectionsPerInstance int `json:"connectionsPerInstance,omitempty"`
	// Time that the head of a request may take, at most 5s. Default: 5s.
	HeaderTimeout time.Duration `json:"headerTimeout,omitempty"`
	// Time that a kept-alive connection may be idle. Default: 60s.
	IdleTimeout time.Duration `json:"idleTimeout,omitempty"`
}

// Security is what may be chosen of the security contract.
type Security struct {
	// Refuse token requests that carry any header that proxies add, not only `X-Forwarded-For` (SEC-07). Default: `false`.
	StrictForwarding bool `json:"strictForwarding,omitempty"`
	// `allow` or `refuse` (default) EC2 reads with a token and `X-Forwarded-For` (SEC-08).
	EC2ForwardedReads string `json:"ec2ForwardedReads,omitempty"`
	// `allow` (default) or `refuse` ECS reads with a token and `X-Forwarded-For` (SEC-08).
	ECSForwardedReads string `json:"ecsForwardedReads,omitempty"`
	// Launch ECS instances that require tokens from any image, Windows too; Alibaba Cloud refuses those that are not known to live with tokens (ECS-API-02, ECS-API-03). Default: `false`.
	ECSAnyImage bool `json:"ecsAnyImage,omitempty"`
}

// Identity is how identity documents are signed.
type Identity struct {
	// Also serve EC2's `pkcs7`, which is signed with a DSA key of 1024 bits over SHA-1, for verifiers that take nothing else. Default: `false`.
	EC2PKCS7 bool `json:"ec2Pkcs7,omitempty"`
	// Digest of ECS's `pkcs7`: `sha1` (default), as Alibaba Cloud's, or `sha256`.
	ECSDigest string `json:"ecsDigest,omitempty"`
}

// Values of Identity.ECSDigest.
const (
	SHA1   = "sha1"
	SHA256 = "sha256"
)

// Values of Security's choices.
const (
	Allow  = "allow"
	Refuse = "refuse"
)

// ForwardedReads returns, by dialect, the choices that were made.
func (s Security) ForwardedReads() map[string]bool {
	made := map[string]bool{}
	if s.EC2ForwardedReads != "" {
		made["ec2"] = s.EC2ForwardedReads == Allow
	}
	if s.ECSForwardedReads != "" {
		made["ecs"] = s.ECSForwardedReads == Allow
	}
	return made
}

// fill sets what follows from the rest.
func (t *Throttle) fill() {
	if t.Burst == 0 {
		t.Burst = t.Rate
	}
}

// LoadService reads a settings file. The error is that of the file system, or
// Problems.
func LoadService(path string) (Service, error) {
	data, err := readSettings(path)
	if err != nil {
		return Service{}, err
	}
	return ParseService(path, data)
}

func readSettings(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > MaxSize {
		return nil, fmt.Errorf("%s has %d bytes: settings have at most %d", path, info.Size(), MaxSize)
	}
	return os.ReadFile(path)
}

// ParseService reads the text of a settings file. The name stands in problems.
// The error is Problems.
func ParseService(name string, data []byte) (Service, error) {
	var s Service
	doc, err := Parse(name, data)
	if err != nil {
		return s, err
	}
	if err := doc.Decode(&s); err != nil {
		return s, err
	}
	c := checker{doc: doc}
	c.service(s)
	s.Throttle.fill()
	return s, c.problems.err()
}
