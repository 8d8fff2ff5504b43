package main

import (
	"context"
	"fmt"
	"net/netip"
	"sync"

	"openimds/internal/config"
	"openimds/internal/control"
	"openimds/internal/instance"
	"openimds/internal/node"
	"openimds/internal/state"
)

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
			Services: in.Services, Sources: loopback, Network: node.DefaultNetwork, Public: netip.PrefixFrom(f.Public[0].Address, 24).Masked(),
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
				if err := state.Save(tx, db.Roles, key, &state.Role{Name: r.Name, Dialect: in.Dialect, Account: in.Account, ProfileID: r.ProfileID, Created: created, Policies: rolePolicies[in.Dialect]}); err != nil {
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
	if err := putDevRolePolicy(ctx, c, operator); err != nil {
		return err
	}
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
