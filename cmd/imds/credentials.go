package main

import (
	"context"
	"log/slog"
	"sync/atomic"

	"openimds/internal/control"
	"openimds/internal/creds"
	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/item"
	"openimds/internal/state"
)

// keeper keeps the role credentials of instances. The node has it before there
// is a control plane, which gives it what to keep.
type keeper struct {
	*creds.Broker
	upstream upstream
	plane    atomic.Pointer[plane]
}

func newKeeper(u upstream, log *slog.Logger) *keeper {
	k := &keeper{upstream: u}
	k.Broker = creds.New(creds.Config{
		Choose: k.choose, Find: k.find, Logger: log,
		Budget: u.budget,
	})
	return k
}

// of returns what holds the credentials of an instance.
func (k *keeper) of(id string) item.Credentials { return k.Holder(id) }

// choose finds the source of a role: the first upstream one that is meant for
// it, or else our own STS.
func (k *keeper) choose(in *instance.Instance) creds.Choice {
	if c, ok := k.upstream.of(in); ok {
		return c
	}
	return creds.Choice{Name: "builtin", Source: creds.SourceFunc(k.builtin), Local: true}
}

// builtin makes sessions of our own STS.
func (k *keeper) builtin(_ context.Context, r creds.Request) (*instance.Credentials, error) {
	p := k.plane.Load()
	if p == nil {
		return nil, fault.New(fault.Unavailable, "the control plane is not up yet")
	}
	return p.control.InstanceCredentials(r.Instance.ID, r.Delivery)
}

func (k *keeper) find(id string) (*instance.Instance, bool) {
	p := k.plane.Load()
	if p == nil {
		return nil, false
	}
	in, ok := p.db.Instances.Get(id)
	if !ok || in.Spec.State == "terminated" {
		return nil, false
	}
	return &in.Spec, true
}

// follow keeps to what a control plane says: what is revoked is no longer
// given out when the call returns that revoked it.
func (k *keeper) follow(p *plane) {
	k.plane.Store(p)
	p.db.OnSessions(func(c state.SessionChange) {
		if c.All {
			k.DropAll()
		}
		for _, key := range c.Roles {
			if dialect, account, name, ok := state.CutKey(key); ok {
				k.DropRole(dialect, account, name)
			}
		}
		for _, id := range c.Instances {
			k.DropInstance(id)
		}
	})
}

// rolePolicies are the policies of roles that nobody gave any, in `imds dev`.
var rolePolicies = map[string][]string{"ec2": {devRolePolicy}, "ecs": {devRolePolicy}}

// devRolePolicy lets a development role look at everything, and change
// nothing.
const devRolePolicy = "ImdsDevRole"

func putDevRolePolicy(ctx context.Context, c *control.Control, operator control.Caller) error {
	for dialect, document := range map[string]string{
		"ec2": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ec2:Describe*","ec2:Get*","sts:*"],"Resource":"*"}]}`,
		"ecs": `{"Version":"1","Statement":[{"Effect":"Allow","Action":["ecs:Describe*","ecs:List*","sts:*"],"Resource":"*"}]}`,
	} {
		if err := c.PutPolicy(ctx, operator, state.Policy{Name: devRolePolicy, Dialect: dialect, Document: document}); err != nil {
			return err
		}
	}
	return nil
}
