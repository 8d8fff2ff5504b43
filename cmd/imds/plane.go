package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"openimds/internal/api"
	"openimds/internal/api/ec2query"
	"openimds/internal/api/ecsrpc"
	"openimds/internal/audit"
	"openimds/internal/config"
	"openimds/internal/control"
	"openimds/internal/instance"
	"openimds/internal/node"
	"openimds/internal/state"
	"openimds/internal/store"
	"openimds/internal/store/memstore"
)

// plane is the control plane of `imds dev`: state in memory, use cases, and
// the instances file that feeds it.
type plane struct {
	store   store.Store
	db      *state.DB
	control *control.Control
	audit   *audit.Log // nil: nothing is recorded
	given   []*instance.Instance
}

// openPlane makes a control plane whose instances n serves.
//
// Every decision is recorded in the directory of the state; without one,
// nothing is recorded.
func openPlane(ctx context.Context, n *node.Node, dir string, log *slog.Logger) (*plane, error) {
	memory := memstore.New(memstore.Config{})
	db, err := state.Open(ctx, memory, log)
	if err != nil {
		return nil, errors.Join(err, memory.Close())
	}
	p := &plane{store: memory, db: db}
	cfg := control.Config{DB: db, Places: devPlaces(), Logger: log}
	if dir != "" {
		p.audit, err = audit.Open(audit.Config{Path: filepath.Join(dir, "audit.log"), Logger: log})
		if err != nil {
			return nil, errors.Join(err, p.close())
		}
		cfg.Audit = func(e control.Entry) error { return p.audit.Append(record(e)) }
	}
	p.control = control.New(cfg)
	if err := seed(ctx, db, p.control); err != nil {
		return nil, errors.Join(err, p.close())
	}
	db.OnChange(func(c state.Change) {
		if err := serve(n, db, c); err != nil {
			log.Error("a change is not in force on the data plane", "err", err)
		}
	})
	return p, nil
}

// apis serves the cloud APIs, and other for what is none of them.
func (p *plane) apis(other http.Handler, log *slog.Logger) http.Handler {
	first := firstSample()
	return api.Services{
		EC2:   ec2query.New(ec2query.Config{Control: p.control, Region: first["ec2"].Region, Logger: log}),
		ECS:   ecsrpc.New(ecsrpc.Config{Control: p.control, Region: first["ecs"].Region, Logger: log}),
		Other: other,
	}
}

// close stops following the state, and ends the audit log.
func (p *plane) close() error {
	err := errors.Join(p.db.Close(), p.store.Close())
	if p.audit != nil {
		err = errors.Join(err, p.audit.Close())
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
		Action: e.Caller.Dialect + ":" + e.Caller.Action, Decision: decision, Reason: e.Reason, Policy: e.Policy, Sid: e.Sid, Error: e.Error,
	}
	if e.Caller.Admin {
		r.API, r.Action = audit.Admin, "admin:"+e.Caller.Action
	}
	if e.Caller.SourceIP.IsValid() {
		r.SourceIP = e.Caller.SourceIP.String()
	}
	return r
}

// serve puts a change of the state in force on the data plane.
func serve(n *node.Node, db *state.DB, c state.Change) error {
	if !c.All {
		return n.Update(specs(c.Put), c.Removed)
	}
	return n.Set(specs(db.Instances.All(nil)))
}

func specs(records []*state.Instance) []*instance.Instance {
	all := make([]*instance.Instance, len(records))
	for i, r := range records {
		all[i] = &r.Spec
	}
	return all
}

// give makes the instances of a file, or the samples, those of the plane.
func (p *plane) give(ctx context.Context, instances []*instance.Instance) error {
	if err := p.control.Give(ctx, p.given, instances); err != nil {
		return err
	}
	p.given = instances
	return nil
}

// tend forgets what is over until ctx is done.
func (p *plane) tend(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := p.control.Sweep(ctx); err != nil && ctx.Err() == nil {
				log.Error("the state was not swept; trying again in a minute", "err", err)
			}
		}
	}
}

// loopback is where launched instances of `imds dev` call from.
var loopback = netip.MustParsePrefix("127.0.0.0/8")

// firstSample returns the first sample of each dialect: account, region and
// network of `imds dev` are theirs. It must not be changed.
var firstSample = sync.OnceValue(func() map[string]*instance.Instance {
	first := map[string]*instance.Instance{}
	for _, in := range config.Samples() {
		if first[in.Dialect] == nil {
			first[in.Dialect] = in
		}
	}
	return first
})

func devPlaces() map[string]control.Place {
	places := map[string]control.Place{}
	for dialect, in := range firstSample() {
		f := in.Primary()
		places[dialect] = control.Place{
			Zone: in.Zone, ZoneID: in.ZoneID, VPC: f.VPC, Subnet: f.Subnet, SecurityGroups: f.SecurityGroups,
			Services: in.Services, Sources: loopback, Network: node.DefaultNetwork,
		}
	}
	return places
}

// Development keys: fixed and printed, worth nothing but here.
const (
	devKeyEC2 = "AKIAIMDSDEV000000000"
	devKeyECS = "LTAIimdsdev000000000"
	devSecret = "imds-dev-secret"
)

// devImages are what instances of `imds dev` are launched from.
var devImages = []state.Image{
	{ID: "ami-0123456789abcdef0", Dialect: "ec2", Name: "imds-dev-2023", Description: "lives with session tokens alone", Platform: "linux", Architecture: "x86_64", ImdsSupport: true, RootDevice: "/dev/xvda"},
	{ID: "ami-0fedcba9876543210", Dialect: "ec2", Name: "imds-dev-2017", Description: "needs normal mode", Platform: "linux", Architecture: "x86_64", RootDevice: "/dev/xvda"},
	{ID: "imdsdev_3_x64_20G.vhd", Dialect: "ecs", Name: "imdsdev 3", Description: "lives with session tokens alone", Platform: "linux", Architecture: "x86_64", ImdsSupport: true},
	{ID: "imdsdev_2_x64_20G.vhd", Dialect: "ecs", Name: "imdsdev 2", Description: "needs normal mode", Platform: "linux", Architecture: "x86_64"},
	{ID: "imdsdev_win_x64_40G.vhd", Dialect: "ecs", Name: "imdsdev Windows", Description: "Windows", Platform: "windows", Architecture: "x86_64"},
}

// seed puts images, roles, key pairs, keys and their policies into an empty
// state.
func seed(ctx context.Context, db *state.DB, c *control.Control) error {
	first, samples := firstSample(), config.Samples()
	created := first["ec2"].Started
	err := db.Update(ctx, func(tx *state.Tx) error {
		for _, i := range devImages {
			i.Account, i.Region, i.Created = first[i.Dialect].Account, first[i.Dialect].Region, created
			if err := state.Save(tx, db.Images, i.ID, &i); err != nil {
				return err
			}
		}
		for _, in := range samples {
			if r := in.Role; r != nil {
				key := state.Key(in.Dialect, in.Account, r.Name)
				if err := state.Save(tx, db.Roles, key, &state.Role{Name: r.Name, Dialect: in.Dialect, Account: in.Account, ProfileID: r.ProfileID, Created: created}); err != nil {
					return err
				}
			}
			for _, k := range in.KeyPairs {
				key := state.Key(in.Dialect, in.Account, in.Region, k.Name)
				if err := state.Save(tx, db.KeyPairs, key, &state.KeyPair{Name: k.Name, ID: k.ID, Dialect: in.Dialect, Account: in.Account, Region: in.Region, PublicKey: k.PublicKey, Created: created}); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("make the development images, roles and key pairs: %w", err)
	}
	operator := control.Caller{Admin: true, Action: "Seed"}
	for dialect, id := range map[string]string{"ec2": devKeyEC2, "ecs": devKeyECS} {
		version := "2012-10-17"
		if dialect == "ecs" {
			version = "1"
		}
		p := state.Policy{
			Name: "AdministratorAccess", Dialect: dialect,
			Document: `{"Version":"` + version + `","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`,
		}
		if err := c.PutPolicy(ctx, operator, p); err != nil {
			return err
		}
		k := state.AccessKey{ID: id, Dialect: dialect, Account: first[dialect].Account, User: "imds-dev", Policies: []string{p.Name}}
		if err := c.PutKey(ctx, operator, k, devSecret); err != nil {
			return err
		}
	}
	return nil
}
