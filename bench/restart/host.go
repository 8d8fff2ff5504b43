package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"openimds/internal/control"
	"openimds/internal/instance"
	"openimds/internal/seal"
	"openimds/internal/state"
	"openimds/internal/store/boltstore"
)

// The one key of each API.
const (
	keyEC2, keyECS = "AKIABENCH00000000000", "LTAIbench00000000000"
	secret         = "bench-secret"
)

var (
	accounts = map[string]string{"ec2": "123456789012", "ecs": "1234567890123456"}
	regions  = map[string]string{"ec2": "us-east-1", "ecs": "cn-hangzhou"}
	keys     = map[string]string{"ec2": keyEC2, "ecs": keyECS}
)

// host is a folder that `imds serve` runs in.
type host struct{ dir string }

func (h host) config() string { return filepath.Join(h.dir, "imds.yaml") }

const settings = `state: state
key: ./key
control: {address: 127.0.0.1:0}
listeners:
  - {dialect: ec2, address: 127.0.0.1:0}
  - {dialect: ecs, address: 127.0.0.1:0}
`

// perCommit is how many instances one commit puts.
const perCommit = 500

// fill makes the host with n instances, half of each dialect. It returns their
// ids and the size of the store's file.
func (h host) fill(ctx context.Context, n int) (ids map[string][]string, size int64, err error) {
	dir := filepath.Join(h.dir, "state")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(h.config(), []byte(settings), 0o600)); err != nil {
		return nil, 0, err
	}
	key, err := seal.Generate(filepath.Join(h.dir, "key"))
	if err != nil {
		return nil, 0, err
	}
	path := filepath.Join(dir, "imds.db")
	s, err := boltstore.Open(boltstore.Config{Path: path})
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	db, err := state.Open(ctx, s, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := putKeys(ctx, control.New(control.Config{DB: db, Secrets: seal.NewRing(key)})); err != nil {
		return nil, 0, err
	}
	ids = map[string][]string{}
	for first := 0; first < n; first += perCommit {
		if err := db.Update(ctx, func(tx *state.Tx) error {
			for i := first; i < min(n, first+perCommit); i++ {
				in := launched(i)
				ids[in.Spec.Dialect] = append(ids[in.Spec.Dialect], in.Spec.ID)
				if err := state.Save(tx, db.Instances, in.Spec.ID, in); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return nil, 0, err
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	return ids, info.Size(), nil
}

// putKeys makes a key for each API that may do everything.
func putKeys(ctx context.Context, c *control.Control) error {
	operator := control.Caller{Admin: true, Action: "Bench"}
	for dialect, version := range map[string]string{"ec2": "2012-10-17", "ecs": "1"} {
		p := state.Policy{
			Name: "all", Dialect: dialect,
			Document: `{"Version":"` + version + `","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`,
		}
		k := state.AccessKey{ID: keys[dialect], Dialect: dialect, Account: accounts[dialect], User: "bench", Policies: []string{p.Name}}
		if err := errors.Join(c.PutPolicy(ctx, operator, p), c.PutKey(ctx, operator, k, secret)); err != nil {
			return err
		}
	}
	return nil
}

// launched is the ith instance, such as a launch makes it.
func launched(i int) *state.Instance {
	dialect := []string{"ec2", "ecs"}[i%2]
	at := time.Date(2026, 1, 15, 8, 0, 0, 0, time.UTC)
	address := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
	in := &state.Instance{Created: at, KeyName: "ops", ClientToken: fmt.Sprintf("launch-%d", i/4)}
	in.Spec = instance.Instance{
		ID: fmt.Sprintf("i-%017x", i), Dialect: dialect, Account: accounts[dialect], Region: regions[dialect], Zone: regions[dialect] + "a",
		Type: "m7g.large", Serial: fmt.Sprintf("4acd2b47-b328-4762-852f-%012x", i), State: "running", Started: at, Landed: at, Image: instance.Image{ID: "ami-0123456789abcdef0"},
		ReservationID: fmt.Sprintf("r-%017x", i/4), LaunchIndex: i % 4,
		Metadata: instance.MetadataOptions{HTTPTokens: instance.Required, HTTPEndpoint: instance.Enabled, HTTPPutResponseHopLimit: 2},
		Interfaces: []instance.Interface{{
			ID: fmt.Sprintf("eni-%017x", i), MAC: fmt.Sprintf("02:00:%02x:%02x:%02x:%02x", i>>24, i>>16&255, i>>8&255, i&255), IPv4: []netip.Addr{address},
			SecurityGroups: []instance.SecurityGroup{{ID: "sg-0123456789abcdef0", Name: "default"}},
			Subnet:         instance.Subnet{ID: "subnet-0123456789abcdef0", IPv4: netip.MustParsePrefix("10.0.0.0/8")},
			VPC:            instance.VPC{ID: "vpc-0123456789abcdef0", IPv4: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		}},
		Disks:    []instance.Disk{{ID: fmt.Sprintf("vol-%017x", i), Device: "/dev/xvda", Kind: instance.DiskRoot}},
		KeyPairs: []instance.KeyPair{{Name: "ops", PublicKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJYTDj0VDwqkuKZUh9UsMTFSV6tAw5OnZYYzJnW3mTGt ops"}},
		Role:     &instance.Role{Name: "web"},
		Tags:     map[string]string{"Name": fmt.Sprintf("web-%d", i), "team": "shop", "stage": "production"},
		UserData: []byte("#!/bin/sh\nexec /opt/app/start --role web\n"),
	}
	if dialect == "ecs" {
		in.Spec.ID, in.Spec.Type, in.Spec.Image.ID = fmt.Sprintf("i-bp1%017x", i), "ecs.g7.large", "imdsdev_3_x64_20G.vhd"
	}
	instance.Normalize(&in.Spec)
	return in
}
