package config

import (
	"fmt"
	"os"
	"time"

	"openimds/internal/instance"
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
}

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

// LoadService reads a settings file. The error is that of the file system, or
// Problems.
func LoadService(path string) (Service, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Service{}, err
	}
	if info.Size() > MaxSize {
		return Service{}, fmt.Errorf("%s has %d bytes: settings have at most %d", path, info.Size(), MaxSize)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return Service{}, err
	}
	return ParseService(path, data)
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
	var problems Problems
	expect := func(ok bool, at instance.Path, format string, args ...any) {
		if !ok {
			problems = append(problems, doc.Problem(at, fmt.Sprintf(format, args...)))
		}
	}
	expect(s.Throttle.Rate >= 0, "throttle.rate", "is %d: want requests a second, 0 for no limit", s.Throttle.Rate)
	expect(s.Throttle.Burst >= 0, "throttle.burst", "is %d: want a number of requests", s.Throttle.Burst)
	expect(s.Limits.Connections >= 0, "limits.connections", "is %d: want a number of connections", s.Limits.Connections)
	expect(s.Limits.ConnectionsPerInstance >= 0, "limits.connectionsPerInstance", "is %d: want a number of connections", s.Limits.ConnectionsPerInstance)
	expect(s.Limits.HeaderTimeout >= 0 && s.Limits.HeaderTimeout <= 5*time.Second, "limits.headerTimeout", "is %v: want at most 5s", s.Limits.HeaderTimeout)
	expect(s.Limits.IdleTimeout >= 0, "limits.idleTimeout", "is %v: want a time such as 60s", s.Limits.IdleTimeout)
	for at, value := range map[instance.Path]string{
		"security.ec2ForwardedReads": s.Security.EC2ForwardedReads, "security.ecsForwardedReads": s.Security.ECSForwardedReads,
	} {
		expect(value == "" || value == Allow || value == Refuse, at, "is %q: want %s or %s", value, Allow, Refuse)
	}
	for i, h := range s.Hosts {
		expect(h != "", instance.Path(fmt.Sprintf("hosts[%d]", i)), "is empty: want a name or an address")
	}
	if s.Throttle.Burst == 0 {
		s.Throttle.Burst = s.Throttle.Rate
	}
	return s, problems.err()
}
