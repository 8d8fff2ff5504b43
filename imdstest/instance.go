package imdstest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"openimds/internal/instance"
	"openimds/internal/node"
	"openimds/internal/usage"
)

// Instance is one instance of a running server. Its methods are safe for
// concurrent use; a change is in force when the method returns.
type Instance struct {
	server *Server
	now    func() time.Time
	url    string
	id     string
	kind   string // dialect
	spec   *Spec  // guarded by server.mu
}

// Usage counts the requests of one instance.
type Usage = usage.Report

func (in *Instance) serve() error {
	e, err := in.server.node.Listen(context.Background(), node.Listener{
		Dialect: in.spec.Dialect, Network: in.spec.Network, Address: "127.0.0.1:0",
	})
	if err != nil {
		return err
	}
	in.url = "http://" + e.Addr().String()
	go func() { _ = in.server.node.Serve(e) }() // ends with Shutdown, which waits for it
	return nil
}

// URL returns the root of the instance's metadata service, without a slash at
// its end.
func (in *Instance) URL() string { return in.url }

// ID returns the instance's identifier.
func (in *Instance) ID() string { return in.id }

// Env returns the environment variables, as NAME=VALUE, that point SDKs and
// CLIs at the instance.
//
// For an ECS instance they are those of the clients that have one. Clients of
// Alibaba Cloud with a built-in address, such as credentials-go, are given URL
// as their HTTP proxy instead: the service accepts the requests that a client
// sends to a proxy.
func (in *Instance) Env() []string {
	if in.kind == "ec2" {
		return []string{
			// Without the slash, the AWS CLI runs address and path together.
			"AWS_EC2_METADATA_SERVICE_ENDPOINT=" + in.url + "/",
			"AWS_EC2_METADATA_DISABLED=false",
		}
	}
	return []string{
		"ALIBABA_CLOUD_IMDS_ENDPOINT=" + in.url,
		"METADATA_ENDPOINT=" + in.url,
		"ALIBABA_CLOUD_ECS_METADATA_DISABLED=false",
	}
}

// Usage returns the counters of the instance.
func (in *Instance) Usage() Usage {
	r, err := in.server.node.Usage(in.id)
	if err != nil {
		panic("imdstest: " + err.Error()) // the instance is always there
	}
	return r
}

// Update changes the instance while it is served. An error says what is not
// valid; nothing is changed then.
func (in *Instance) Update(change Change) error {
	in.server.mu.Lock()
	defer in.server.mu.Unlock()
	old := in.spec
	spec, err := clone(old)
	if err != nil {
		return err
	}
	change(spec)
	spec.ID, spec.Dialect, spec.Network, spec.Sources = old.ID, old.Dialect, old.Network, old.Sources
	if err := check(spec); err != nil {
		return fmt.Errorf("change instance %s: %w", old.ID, err)
	}
	in.spec = spec
	if err := in.server.apply(); err != nil {
		in.spec = old
		return err
	}
	return nil
}

// clone copies a spec, all the way down.
func clone(spec *Spec) (*Spec, error) {
	data, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("copy instance %s: %w", spec.ID, err)
	}
	next := new(instance.Instance)
	if err := json.Unmarshal(data, next); err != nil {
		return nil, fmt.Errorf("copy instance %s: %w", spec.ID, err)
	}
	return next, nil
}

// check fills in the defaults of a spec and returns what is wrong with it.
func check(spec *Spec) error {
	instance.Normalize(spec)
	var errs []error
	for _, p := range instance.Validate(spec) {
		errs = append(errs, fmt.Errorf("%s: %s", p.Path, p.Msg))
	}
	return errors.Join(errs...)
}
