package main

import (
	"encoding/json"
	"fmt"
	"os"

	"openimds/internal/config"
	"openimds/internal/creds"
	"openimds/internal/creds/alists"
	"openimds/internal/creds/awssts"
	"openimds/internal/creds/command"
	"openimds/internal/instance"
	"openimds/internal/throttle"
)

// upstream are the sources of roles that do not come from our own STS.
type upstream struct {
	budget throttle.Policy // zero: the broker's default
	rules  []upstreamRule
}

// upstreamRule says which roles a source is for.
type upstreamRule struct {
	dialect, account, role string // empty: any
	choice                 creds.Choice
}

// upstreamOf makes the sources that settings name.
func upstreamOf(c config.RoleCredentials) upstream {
	u := upstream{}
	if c.Rate > 0 {
		u.budget = throttle.PerSecond(float64(c.Rate), 2*c.Rate)
	}
	for _, s := range c.Sources {
		keys := func() (instance.Credentials, error) { return readKey(s.KeyFile) }
		var source creds.Source
		switch s.Kind {
		case config.SourceAWS:
			source = awssts.New(awssts.Config{Region: s.Region, Endpoint: s.Endpoint, Keys: keys, RoleARN: s.RoleARN, ExternalID: s.ExternalID, Life: s.Duration})
		case config.SourceAliyun:
			source = alists.New(alists.Config{Endpoint: s.Endpoint, Keys: keys, RoleARN: s.RoleARN, ExternalID: s.ExternalID, Life: s.Duration})
		case config.SourceExec:
			source = &command.Source{Program: s.Command[0], Args: s.Command[1:], Env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}}
		}
		u.rules = append(u.rules, upstreamRule{s.Dialect, s.Account, s.Role, creds.Choice{Name: s.Kind, Source: source}})
	}
	return u
}

// readKey reads a key that nobody but the owner of its file may read. Its
// errors do not quote it.
func readKey(path string) (k instance.Credentials, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return k, fmt.Errorf("read key: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return k, fmt.Errorf("key %s may be read or changed by others than its owner (mode %04o): run chmod 600 %s", path, mode, path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return k, fmt.Errorf("read key: %w", err)
	}
	if json.Unmarshal(data, &k) != nil || k.AccessKeyID == "" || k.AccessKeySecret == "" {
		return k, fmt.Errorf("key %s is no JSON object with accessKeyId and accessKeySecret", path)
	}
	return k, nil
}

// of returns the source of an instance's role, if it has one of its own.
func (u upstream) of(in *instance.Instance) (creds.Choice, bool) {
	for _, r := range u.rules {
		if fits(r.dialect, in.Dialect) && fits(r.account, in.Account) && fits(r.role, in.Role.Name) {
			return r.choice, true
		}
	}
	return creds.Choice{}, false
}

func fits(want, is string) bool { return want == "" || want == is }
