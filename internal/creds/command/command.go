// Package command is a source of role credentials: a program that prints them,
// in the form of the AWS CLI's credential_process or of either cloud's metadata
// document.
package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"time"

	"openimds/internal/creds"
	"openimds/internal/fault"
	"openimds/internal/instance"
)

// Source runs a program for each set.
//
// It gets no input. Its environment is Env and what is asked for:
// OPENIMDS_DIALECT, OPENIMDS_ACCOUNT, OPENIMDS_ROLE, OPENIMDS_INSTANCE and
// OPENIMDS_DELIVERY (1.0 or 2.0). It prints a JSON object with AccessKeyId,
// SecretAccessKey or AccessKeySecret, SessionToken, Token or SecurityToken, and
// Expiration, and exits with 0. Exit status 77 says that the role is refused;
// any other, that there is trouble. What it writes to its standard error is
// nobody's: it may hold secrets.
type Source struct {
	// Program is the path of the program, Args are its arguments.
	Program string
	Args    []string
	// Env is its environment, as NAME=value.
	Env []string
}

// refused is the exit status that refuses a role.
const refused = 77

// maxOutput bounds what is read of the output, in bytes.
const maxOutput = 64 << 10

// Fetch implements creds.Source.
func (s *Source) Fetch(ctx context.Context, r creds.Request) (*instance.Credentials, error) {
	in := r.Instance
	cmd := exec.CommandContext(ctx, s.Program, s.Args...)
	cmd.Env = append(append([]string{}, s.Env...),
		"OPENIMDS_DIALECT="+in.Dialect, "OPENIMDS_ACCOUNT="+in.Account, "OPENIMDS_ROLE="+in.Role.Name, "OPENIMDS_INSTANCE="+in.ID, "OPENIMDS_DELIVERY="+r.Delivery)
	// A child that keeps the output open must not outlast the program.
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout = &limited{w: &out, left: maxOutput}
	asked := time.Now().UTC()
	if err := cmd.Run(); err != nil {
		return nil, s.explain(ctx, in, err)
	}
	return s.read(in, out.Bytes(), asked)
}

func (s *Source) explain(ctx context.Context, in *instance.Instance, err error) error {
	exit, exited := errors.AsType[*exec.ExitError](err)
	switch {
	case ctx.Err() != nil:
		return fault.New(fault.Unavailable, "run %s for role %s: it took too long", s.Program, in.Role.Name)
	case exited && exit.ExitCode() == refused:
		return fault.New(fault.Denied, "run %s for role %s: it refused the role", s.Program, in.Role.Name)
	case exited:
		return fault.New(fault.Unavailable, "run %s for role %s: it ended with status %d", s.Program, in.Role.Name, exit.ExitCode())
	}
	return fault.Wrap(fault.Unavailable, err, "run %s for role %s", s.Program, in.Role.Name)
}

// printed is what a program prints: one name of each kind.
type printed struct {
	Code                               string
	AccessKeyID                        string `json:"AccessKeyId"`
	SecretAccessKey, AccessKeySecret   string
	SessionToken, Token, SecurityToken string
	Expiration                         time.Time
}

// read reads the output; its errors do not quote it.
func (s *Source) read(in *instance.Instance, out []byte, asked time.Time) (*instance.Credentials, error) {
	var p printed
	if err := json.Unmarshal(out, &p); err != nil {
		return nil, fault.New(fault.Unavailable, "run %s for role %s: it printed no JSON object of credentials", s.Program, in.Role.Name)
	}
	k := &instance.Credentials{
		AccessKeyID: p.AccessKeyID, AccessKeySecret: first(p.SecretAccessKey, p.AccessKeySecret),
		SessionToken: first(p.SessionToken, p.Token, p.SecurityToken), Updated: asked, Expires: p.Expiration.UTC(),
	}
	switch {
	case p.Code != "" && p.Code != "Success":
		return nil, fault.New(fault.Denied, "run %s for role %s: it printed a refusal", s.Program, in.Role.Name)
	case k.AccessKeyID == "" || k.AccessKeySecret == "" || k.SessionToken == "" || p.Expiration.IsZero():
		return nil, fault.New(fault.Unavailable, "run %s for role %s: it must print AccessKeyId, SecretAccessKey, SessionToken and Expiration", s.Program, in.Role.Name)
	}
	return k, nil
}

func first(all ...string) string {
	for _, s := range all {
		if s != "" {
			return s
		}
	}
	return ""
}

// limited takes so much and no more.
type limited struct {
	w    io.Writer
	left int
}

// Write fails when there is no room.
func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.left {
		return 0, errors.New("the output is too long")
	}
	l.left -= len(p)
	return l.w.Write(p)
}
