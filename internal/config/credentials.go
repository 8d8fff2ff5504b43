package config

import (
	"net/url"
	"path/filepath"
	"time"

	"openimds/internal/instance"
)

// RoleCredentials is where the credentials of roles come from.
type RoleCredentials struct {
	// Sources; the first one that is meant for a role is used. Roles without one get sessions of our own STS.
	Sources []CredentialSource `json:"sources,omitempty"`
	// Calls a second to the sources for each role; up to two seconds' worth at once. Default: 20.
	Rate int `json:"rate,omitempty"`
}

// CredentialSource gives credentials for roles.
type CredentialSource struct {
	// `aws` or `aliyun` (AssumeRole of that cloud's STS, or of a service that speaks like it), or `exec` (a program that prints credentials).
	Kind string `json:"kind"`
	// Dialect of the instances that it is for. Default: both.
	Dialect string `json:"dialect,omitempty"`
	// Account of the instances that it is for. Default: any.
	Account string `json:"account,omitempty"`
	// Role that it is for. Default: any.
	Role string `json:"role,omitempty"`
	// ARN of the role to assume; `{account}` and `{role}` stand for the instance's. Default: a role of the same name in the same account.
	RoleARN string `json:"roleArn,omitempty"`
	// External id that the role asks for.
	ExternalID string `json:"externalId,omitempty"`
	// Region of the STS (`aws`).
	Region string `json:"region,omitempty"`
	// URL of the STS. Default: the cloud's own.
	Endpoint string `json:"endpoint,omitempty"`
	// File with the key that assumes roles, open to its owner alone: a JSON object with `accessKeyId`, `accessKeySecret` and, for a temporary one, `sessionToken`. It is read for every call, so that it can be replaced.
	KeyFile string `json:"keyFile,omitempty"`
	// How long the sessions live. Default: 1h.
	Duration time.Duration `json:"duration,omitempty"`
	// The program of `exec`, a path, and its arguments.
	Command []string `json:"command,omitempty"`
}

// Kinds of sources.
const (
	SourceAWS    = "aws"
	SourceAliyun = "aliyun"
	SourceExec   = "exec"
)

// credentials checks where credentials come from.
func (c *checker) credentials(s RoleCredentials) {
	c.expect(s.Rate >= 0, "credentials.rate", "is %d: want calls a second", s.Rate)
	for i, source := range s.Sources {
		c.source(instance.Path("credentials.sources").Index(i), source)
	}
}

func (c *checker) source(at instance.Path, s CredentialSource) {
	c.expect(s.Dialect == "" || s.Dialect == instance.DialectECS || s.Dialect == instance.DialectEC2, at.Key("dialect"), "is %q: want %s or %s", s.Dialect, instance.DialectECS, instance.DialectEC2)
	c.expect(s.Duration == 0 || s.Duration >= 15*time.Minute && s.Duration <= 12*time.Hour, at.Key("duration"), "is %v: want 15m to 12h", s.Duration)
	switch s.Kind {
	case SourceAWS, SourceAliyun:
		c.expect(s.KeyFile != "", at.Key("keyFile"), "is required: the file with the key that assumes roles")
		c.expect(s.Kind != SourceAWS || s.Region != "", at.Key("region"), "is required for %s, such as us-east-1", SourceAWS)
		u, err := url.Parse(s.Endpoint)
		c.expect(s.Endpoint == "" || err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https"), at.Key("endpoint"), "is %q: want a URL, such as https://sts.example.com", s.Endpoint)
		c.expect(len(s.Command) == 0, at.Key("command"), "is for sources of kind %s", SourceExec)
	case SourceExec:
		c.expect(len(s.Command) > 0 && filepath.IsAbs(s.Command[0]), at.Key("command"), "is %q: want the path of a program, from /, and its arguments", s.Command)
	default:
		c.expect(false, at.Key("kind"), "is %q: want %s, %s or %s", s.Kind, SourceAWS, SourceAliyun, SourceExec)
	}
}
