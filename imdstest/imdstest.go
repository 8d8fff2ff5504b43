// Package imdstest is an instance metadata service inside your Go test: real
// HTTP on loopback, in the dialects of AWS EC2 and Alibaba Cloud ECS, with
// session tokens, role credentials, tags and events, whose state you change
// while it runs, and which fails on demand.
//
//	srv := imdstest.New(t, imdstest.EC2(imdstest.Required))
//	client := imds.New(imds.Options{Endpoint: srv.EC2().URL()})
//
// Nothing leaves the machine, nothing needs privileges, and tests may run in
// parallel: every server has ports of its own.
package imdstest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"openimds/internal/config"
	"openimds/internal/instance"
	"openimds/internal/node"
	"openimds/internal/token"
)

// Server is a metadata service with one or more instances.
type Server struct {
	node      *node.Node
	instances []*Instance

	mu sync.Mutex // guards the specs of the instances
}

// Option adds an instance to a server, or sets something of the server.
type Option func(*builder)

type builder struct {
	specs []*Spec
	now   func() time.Time
}

// Spec is everything that an instance's metadata says. See Change.
type Spec = instance.Instance

// Change alters an instance before the server starts. The ready-made changes
// of this package cover the usual; any func(*Spec) does the rest.
type Change func(*Spec)

// EC2 adds an EC2 instance: that of the samples of `imds dev` in normal mode,
// with role, tags, key pair and user data, as the changes make it.
func EC2(changes ...Change) Option { return add("ec2", changes) }

// ECS adds an ECS instance, as EC2 does.
func ECS(changes ...Change) Option { return add("ecs", changes) }

func add(dialect string, changes []Change) Option {
	return func(b *builder) {
		spec := sample(dialect)
		for _, change := range changes {
			change(spec)
		}
		b.specs = append(b.specs, spec)
	}
}

// Clock makes the server live by another clock, such as one that the test
// moves, so that tokens and credentials expire when the test wants it.
func Clock(now func() time.Time) Option { return func(b *builder) { b.now = now } }

// New starts a server that stops when the test ends. Without an instance among
// the options it has one of each dialect. It fails the test when an instance is
// not valid.
func New(t testing.TB, options ...Option) *Server {
	t.Helper()
	s, stop, err := Start(options...)
	if err != nil {
		t.Fatalf("imdstest: %v", err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("imdstest: %v", err)
		}
	})
	return s
}

// Start is New outside of a test. The caller stops the server.
func Start(options ...Option) (s *Server, stop func() error, err error) {
	b := &builder{now: time.Now}
	for _, o := range options {
		o(b)
	}
	if len(b.specs) == 0 {
		EC2()(b)
		ECS()(b)
	}
	secrets, err := token.NewSecrets(b.now(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	s = &Server{node: node.New(node.Config{Ring: token.NewRing(secrets), Now: b.now, Loopback: true})}
	stop = func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		return s.node.Shutdown(ctx)
	}
	for i, spec := range b.specs {
		// Each instance has a network and a listener of its own, so that the
		// port tells which one is asked.
		if err := check(spec); err != nil {
			return nil, nil, fmt.Errorf("instance %d: %w", i, err)
		}
		spec.ID = uniqueID(spec, i)
		spec.Network = fmt.Sprintf("imdstest-%d", i)
		spec.Sources = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
		s.instances = append(s.instances, &Instance{server: s, now: b.now, id: spec.ID, kind: spec.Dialect, spec: spec})
	}
	if err := s.apply(); err != nil {
		return nil, nil, err
	}
	for _, in := range s.instances {
		if err := in.serve(); err != nil {
			return nil, nil, errors.Join(err, stop())
		}
	}
	return s, stop, nil
}

// uniqueID keeps a sample's identifier for the first instance and makes others
// from it.
func uniqueID(spec *Spec, i int) string {
	const digits = 4
	if i == 0 || len(spec.ID) < 2*digits {
		return spec.ID
	}
	return fmt.Sprintf("%s%0*x", spec.ID[:len(spec.ID)-digits], digits, 0xa000+i)
}

// sample returns a fresh copy of a dialect's first sample.
func sample(dialect string) *Spec {
	for _, in := range config.Samples() {
		if in.Dialect == dialect {
			return in
		}
	}
	panic("imdstest: no sample of dialect " + dialect)
}

// apply puts the present specs in force.
func (s *Server) apply() error {
	var all []*instance.Instance
	for _, in := range s.instances {
		all = append(all, in.spec)
	}
	return s.node.Set(all)
}

// EC2 returns the first EC2 instance. It panics when the server has none.
func (s *Server) EC2() *Instance { return s.first("ec2") }

// ECS returns the first ECS instance. It panics when the server has none.
func (s *Server) ECS() *Instance { return s.first("ecs") }

func (s *Server) first(dialect string) *Instance {
	for _, in := range s.instances {
		if in.kind == dialect {
			return in
		}
	}
	panic("imdstest: the server has no instance of dialect " + dialect)
}

// Instances returns all instances in the order of their options.
func (s *Server) Instances() []*Instance { return s.instances }

// Env returns the environment variables, as NAME=VALUE, that point SDKs and
// CLIs at the server's first instance of each dialect.
func (s *Server) Env() []string {
	var env []string
	seen := map[string]bool{}
	for _, in := range s.instances {
		if !seen[in.kind] {
			seen[in.kind] = true
			env = append(env, in.Env()...)
		}
	}
	return env
}
