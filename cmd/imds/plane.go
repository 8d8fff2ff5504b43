package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"openimds/internal/admin"
	"openimds/internal/api"
	"openimds/internal/api/ec2query"
	"openimds/internal/api/ecsrpc"
	"openimds/internal/api/sts"
	"openimds/internal/audit"
	"openimds/internal/control"
	"openimds/internal/instance"
	"openimds/internal/node"
	"openimds/internal/seal"
	"openimds/internal/state"
	"openimds/internal/store"
)

// planeConfig is what a control plane is made of. Audit without a path records
// nothing.
type planeConfig struct {
	node    *node.Node
	lab     *lab         // nil: instances have no namespaces
	store   store.Store  // closed by the plane, also when it cannot be opened
	backup  admin.Backup // of the store; nil: it has none
	secrets *seal.Ring
	keeper  *keeper
	usage   *usageBook // closed by the plane likewise
	monitor monitorConfig
	// rolePolicies are those of roles that an instances file names, by dialect.
	rolePolicies map[string][]string
	places       map[string]control.Place
	regions      map[string]string // that the APIs list first, by dialect
	anyImage     bool              // lets any image be launched with tokens required (ECS)
	audit        audit.Config
	// seed puts what must be there into the state, before anybody sees it.
	seed func(context.Context, *state.DB, *control.Control) error
	log  *slog.Logger
}

// plane is a control plane: the state in a store, use cases, and the instances
// file that feeds it.
type plane struct {
	planeConfig
	db      *state.DB
	control *control.Control
	// evidence judges instances, and switches them.
	evidence evidence
	records  *audit.Log // nil: nothing is recorded
}

// openPlane makes a control plane whose instances the node serves from now on.
func openPlane(ctx context.Context, c planeConfig) (_ *plane, err error) {
	p := &plane{planeConfig: c}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if p.db, err = state.OpenSealed(ctx, c.store, c.secrets, c.log); err != nil {
		return nil, err
	}
	use := control.Config{DB: p.db, Places: c.places, AnyImage: c.anyImage, Secrets: c.secrets, RolePolicies: c.rolePolicies, Departed: c.usage.departed, Logger: c.log}
	if c.audit.Path != "" {
		if p.records, err = audit.Open(c.audit); err != nil {
			return nil, err
		}
		use.Audit = func(e control.Entry) error { return p.records.Append(record(e)) }
	}
	p.control = control.New(use)
	if c.seed != nil {
		if err := c.seed(ctx, p.db, p.control); err != nil {
			return nil, err
		}
	}
	c.keeper.follow(p)
	p.db.OnChange(func(change state.Change) {
		put := serveChange
		if c.lab != nil {
			put = c.lab.serve
		}
		if err := put(c.node, p.db, change); err != nil {
			c.log.Error("a change is not in force on the data plane", "err", err)
		}
	})
	c.usage.begin(p.db)
	p.evidence = newEvidence(p)
	return p, nil
}

// apis serves the cloud APIs, and other for what is none of them.
func (p *plane) apis(other http.Handler) http.Handler {
	s := api.Services{
		EC2:    ec2query.New(ec2query.Config{Control: p.control, Region: p.regions["ec2"], Logger: p.log}),
		ECS:    ecsrpc.New(ecsrpc.Config{Control: p.control, Region: p.regions["ecs"], Logger: p.log}),
		STS:    sts.NewAWS(sts.Config{Control: p.control, Region: p.regions["ec2"], Logger: p.log}),
		ECSSTS: sts.NewAliyun(sts.Config{Control: p.control, Region: p.regions["ecs"], Logger: p.log}),
		Other:  other,
	}
	p.monitoring(&s)
	return s
}

// close reports the last of the usage, stops following the state, and ends the
// audit log.
func (p *plane) close() error {
	err := p.usage.close()
	if p.db != nil {
		err = errors.Join(err, p.db.Close())
	}
	err = errors.Join(err, p.store.Close())
	if p.records != nil {
		err = errors.Join(err, p.records.Close())
	}
	return err
}

// record is a decision as the audit log has it.
func record(e control.Entry) audit.Record {
	decision := audit.Deny
	if e.Allowed {
		decision = audit.Allow
	}
	r := audit.Record{
		Time: e.Time, RequestID: e.Caller.RequestID, Principal: e.Caller.ARN(), AccessKeyID: e.Caller.AccessKeyID,
		UserAgent: e.Caller.UserAgent, API: audit.API(e.Caller.Dialect), Resources: e.Resources,
		Action: e.Caller.ActionName(), Decision: decision, Reason: e.Reason, Policy: e.Policy, Sid: e.Sid, Error: e.Error,
	}
	for _, change := range e.Changes {
		r.Changes = append(r.Changes, audit.Change{Resource: change.Resource, Field: change.Field, From: change.From, To: change.To})
	}
	if e.Caller.Admin {
		r.API, r.Action = audit.Admin, "admin:"+e.Caller.Action
	}
	if e.Caller.SourceIP.IsValid() {
		r.SourceIP = e.Caller.SourceIP.String()
	}
	return r
}

// serveChange puts a change of the state in force on the data plane: that of
// the instances which no other node serves.
func serveChange(n *node.Node, db *state.DB, c state.Change) error {
	if c.All {
		return n.Set(specs(db.Instances.All(here)))
	}
	removed := c.Removed
	var put []*state.Instance
	for _, in := range c.Put {
		if here(in) {
			put = append(put, in)
		} else {
			removed = append(removed[:len(removed):len(removed)], in.Spec.ID)
		}
	}
	if len(put)+len(removed) == 0 {
		return nil
	}
	return n.Update(specs(put), removed)
}

// here reports whether an instance is served by the data plane of the control
// plane itself.
func here(in *state.Instance) bool { return in.Spec.Node == "" }

func specs(records []*state.Instance) []*instance.Instance {
	all := make([]*instance.Instance, len(records))
	for i, r := range records {
		all[i] = &r.Spec
	}
	return all
}

// tend forgets what is over until ctx is done.
func (p *plane) tend(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := p.control.Sweep(ctx); err != nil && ctx.Err() == nil {
				p.log.Error("the state was not swept; trying again in a minute", "err", err)
			}
		}
	}
}
