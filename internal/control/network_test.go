package control_test

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"openimds/internal/config"
	"openimds/internal/control"
	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/state"
	"openimds/internal/store"
	"openimds/internal/store/memstore"
	"openimds/internal/testnet"
)

// small is a place with few addresses.
func small() control.Place {
	return control.Place{
		Zone: "us-east-1a", Network: "default", VPC: instance.VPC{ID: "vpc-1"}, Public: netip.MustParsePrefix("198.51.100.0/24"),
		Subnet: instance.Subnet{
			ID: "subnet-1", IPv4: netip.MustParsePrefix("10.9.0.0/24"), IPv6: []netip.Prefix{netip.MustParsePrefix("2001:db8:9::/64")},
		},
		SecurityGroups: []instance.SecurityGroup{{ID: "sg-1", Name: "default"}},
	}
}

// replica is one of several control planes on a store.
func replica(t *testing.T, s store.Store, place control.Place) (*control.Control, *state.DB) {
	t.Helper()
	db, err := state.Open(t.Context(), s, testnet.Quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return control.New(control.Config{DB: db, Places: map[string]control.Place{"ec2": place, "ecs": place}}), db
}

func operator(action string) control.Caller {
	return control.Caller{Dialect: "ec2", Account: "123456789012", Region: "us-east-1", Admin: true, Action: action}
}

// TestAddressesOfReplicas: whatever several replicas do at once, no two
// instances or interfaces get the same address.
func TestAddressesOfReplicas(t *testing.T) {
	s := memstore.New(memstore.Config{})
	t.Cleanup(func() { _ = s.Close() })
	const replicas, rounds = 3, 8
	var wg sync.WaitGroup
	var last *control.Control
	for n := range replicas {
		c, _ := replica(t, s, small())
		last = c
		if n == 0 {
			if _, err := c.NewImage(t.Context(), operator("RegisterImage"), state.Image{ID: "ami-1", Name: "one"}); err != nil {
				t.Fatal(err)
			}
		}
		wg.Go(func() {
			for {
				if _, err := c.Image(operator(""), "ami-1"); err == nil {
					break
				}
				time.Sleep(time.Millisecond) // until this replica has seen it
			}
			for range rounds {
				l, err := c.Launch(t.Context(), operator("RunInstances"), control.Launch{Image: "ami-1", Type: "t3.micro", Min: 1, Max: 1})
				if err != nil {
					t.Error(err)
					continue
				}
				nic := l.Instances[0].Spec.Primary().ID
				if _, err := c.AssignAddresses(t.Context(), operator("AssignPrivateIpAddresses"), nic, control.NewAddresses{MoreIPv4: 1, MoreIPv6: 1}); err != nil {
					t.Error(err)
				}
				if _, err := c.CreateInterface(t.Context(), operator("CreateNetworkInterface"), control.NewInterface{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	// A change of this replica is the last: it has seen all the others.
	if _, err := last.CreateInterface(t.Context(), operator("CreateNetworkInterface"), control.NewInterface{}); err != nil {
		t.Fatal(err)
	}
	all, err := last.NetworkInterfaces(operator("DescribeNetworkInterfaces"))
	if err != nil {
		t.Fatal(err)
	}
	held := map[netip.Addr]string{}
	for _, f := range all {
		for _, a := range slices.Concat(f.Spec.IPv4, f.Spec.IPv6) {
			if held[a] != "" {
				t.Errorf("%s and %s both have %s", held[a], f.Spec.ID, a)
			}
			held[a] = f.Spec.ID
		}
	}
	if want := replicas*rounds*4 + 1; len(held) != want {
		t.Errorf("%d addresses, want %d", len(held), want)
	}
}

// TestNetworkInterfaces: what a network interface goes through (EC2-API-16,
// EC2-API-21).
func TestNetworkInterfaces(t *testing.T) {
	s := memstore.New(memstore.Config{})
	t.Cleanup(func() { _ = s.Close() })
	c, db := replica(t, s, small())
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	refused := func(err error, want control.Reason) {
		t.Helper()
		if reason(err) != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	_, err := c.NewImage(ctx, operator("RegisterImage"), state.Image{ID: "ami-1", Name: "one"})
	must(err)
	l, err := c.Launch(ctx, operator("RunInstances"), control.Launch{Image: "ami-1", Type: "t3.micro", Min: 1, Max: 1, Interfaces: []control.NewInterface{
		{NewAddresses: control.NewAddresses{MoreIPv4: 2, MoreIPv6: 1, Public: true, MoreIPv4Prefixes: 1}},
		{Device: 1, NewAddresses: control.NewAddresses{IPv4: []netip.Addr{netip.MustParseAddr("10.9.0.200")}}, Keep: true, Description: "stays"},
	}})
	must(err)
	id, first, second := l.Instances[0].Spec.ID, l.Instances[0].Spec.Interfaces[0], l.Instances[0].Spec.Interfaces[1]
	if fmt.Sprint(first.IPv4, first.IPv6, first.IPv4Prefixes) != "[10.9.0.4 10.9.0.5 10.9.0.6] [2001:db8:9::10] [10.9.0.16/28]" || first.Public[0].Address.String() != "198.51.100.1" {
		t.Errorf("%+v", first)
	}
	now := func() *instance.Instance {
		in, _ := db.Instances.Get(id)
		return &in.Spec
	}

	// Taken and given back.
	got, err := c.AssignAddresses(ctx, operator(""), first.ID, control.NewAddresses{MoreIPv4: 1, MoreIPv6Prefixes: 1})
	must(err)
	if fmt.Sprint(got.IPv4, got.IPv6Prefixes) != "[10.9.0.7] [2001:db8:9:0:1::/80]" || !slices.Contains(now().Primary().IPv4, got.IPv4[0]) {
		t.Errorf("%+v, %+v", got, now().Primary())
	}
	_, err = c.AssignAddresses(ctx, operator(""), first.ID, control.NewAddresses{IPv4: []netip.Addr{netip.MustParseAddr("10.9.0.200")}})
	refused(err, control.AddressInUse)
	_, err = c.AssignAddresses(ctx, operator(""), first.ID, control.NewAddresses{IPv4: []netip.Addr{netip.MustParseAddr("10.9.0.17")}})
	refused(err, control.AddressInUse) // in a delegated prefix
	_, err = c.AssignAddresses(ctx, operator(""), first.ID, control.NewAddresses{IPv4: []netip.Addr{netip.MustParseAddr("10.8.0.1")}})
	refused(err, control.InvalidValue)
	refused(c.UnassignAddresses(ctx, operator(""), first.ID, control.Assigned{IPv4: first.IPv4[:1]}), control.PrimaryAddress)
	before := len(now().Primary().IPv4)
	refused(c.UnassignAddresses(ctx, operator(""), first.ID, control.Assigned{IPv4: []netip.Addr{got.IPv4[0], netip.MustParseAddr("10.9.0.77")}}), control.AddressNotAssigned)
	if len(now().Primary().IPv4) != before {
		t.Error("half of the addresses were taken away")
	}
	must(c.UnassignAddresses(ctx, operator(""), first.ID, control.Assigned{IPv4: got.IPv4, IPv6Prefixes: got.IPv6Prefixes}))

	// By themselves, attached, moved.
	made, err := c.CreateInterface(ctx, operator(""), control.NewInterface{Subnet: "subnet-1", ClientToken: "t", Sum: "1", NewAddresses: control.NewAddresses{MoreIPv4: 1}})
	must(err)
	again, err := c.CreateInterface(ctx, operator(""), control.NewInterface{Subnet: "subnet-1", ClientToken: "t", Sum: "1", NewAddresses: control.NewAddresses{MoreIPv4: 1}})
	must(err)
	if again.Spec.ID != made.Spec.ID {
		t.Error("the same client token made two interfaces")
	}
	free := made.Spec.ID
	refused(c.AttachInterface(ctx, operator(""), free, id, 1, nil), control.DeviceInUse)
	must(c.AttachInterface(ctx, operator(""), free, id, 2, nil))
	if len(now().Interfaces) != 3 || now().Interfaces[2].Device != 2 {
		t.Errorf("%+v", now().Interfaces)
	}
	refused(c.AttachInterface(ctx, operator(""), free, id, 3, nil), control.InterfaceInUse)
	refused(c.DeleteInterface(ctx, operator(""), free), control.InterfaceInUse)
	refused(c.DeleteInterface(ctx, operator(""), first.ID), control.InterfaceInUse)
	refused(c.DetachInterface(ctx, operator(""), control.AttachmentID(first.ID)), control.PrimaryInterface)
	refused(c.DetachInterface(ctx, operator(""), "eni-attach-none"), control.AttachmentNotFound)

	// Reassigned from one interface to the other.
	moved := made.Spec.IPv4[1]
	_, err = c.AssignAddresses(ctx, operator(""), first.ID, control.NewAddresses{IPv4: []netip.Addr{moved}})
	refused(err, control.AddressInUse)
	_, err = c.AssignAddresses(ctx, operator(""), first.ID, control.NewAddresses{IPv4: []netip.Addr{moved}, Reassign: true})
	must(err)
	if in := now(); !slices.Contains(in.Interfaces[0].IPv4, moved) || slices.Contains(in.Interfaces[2].IPv4, moved) {
		t.Errorf("%+v", in.Interfaces)
	}

	must(c.DetachInterface(ctx, operator(""), control.AttachmentID(free)))
	if len(now().Interfaces) != 2 {
		t.Errorf("%+v", now().Interfaces)
	}
	must(c.DeleteInterface(ctx, operator(""), free))
	refused(c.DeleteInterface(ctx, operator(""), free), control.InterfaceNotFound)

	// What outlives its instance keeps its address.
	if _, err := c.Terminate(ctx, operator(""), []string{id}, true); err != nil {
		t.Fatal(err)
	}
	left, err := c.NetworkInterfaces(operator(""))
	must(err)
	if len(left) != 1 || left[0].Spec.ID != second.ID || left[0].Instance != nil || left[0].Description != "stays" {
		t.Errorf("%+v", left)
	}
	_, err = c.CreateInterface(ctx, operator(""), control.NewInterface{NewAddresses: control.NewAddresses{IPv4: second.IPv4}})
	refused(err, control.AddressInUse)
	l, err = c.Launch(ctx, operator(""), control.Launch{Image: "ami-1", Type: "t3.micro", Min: 1, Max: 1, Interfaces: []control.NewInterface{{}, {Existing: second.ID, Device: 1}}})
	must(err)
	if f := l.Instances[0].Spec.Interfaces[1]; f.ID != second.ID || f.MAC != second.MAC {
		t.Errorf("%+v", f)
	}
	_, err = c.Terminate(ctx, operator(""), []string{l.Instances[0].Spec.ID}, true)
	must(err)
	if left, _ := c.NetworkInterfaces(operator("")); len(left) != 0 {
		t.Errorf("%+v", left)
	}
}

// What a network interface holds that no instance has, nobody is given
// otherwise, by an apply or by an instances file.
func TestFreeInterfacesHoldTheirs(t *testing.T) {
	b := newBed(t)
	made, err := b.CreateInterface(t.Context(), b.caller("ec2", "CreateNetworkInterface"), control.NewInterface{NewAddresses: control.NewAddresses{MoreIPv6: 1}})
	b.must(err)
	sample := func(change func(*instance.Instance)) *instance.Instance {
		in := *config.Samples()[4]
		in.ID, in.Interfaces = "i-0123456789abcdef0", []instance.Interface{*in.Primary()}
		in.Sources = []netip.Addr{netip.MustParseAddr("127.0.0.99")}
		f := &in.Interfaces[0]
		f.ID, f.MAC, f.IPv4, f.IPv6, f.Public = "eni-0123456789abcdef0", "02:00:00:00:09:09", []netip.Addr{netip.MustParseAddr("10.0.1.99")}, nil, nil
		change(&in)
		return &in
	}
	for what, in := range map[string]*instance.Instance{
		"no instance has, holds " + made.Spec.IPv4[0].String(): sample(func(in *instance.Instance) { in.Sources = nil; in.Interfaces[0].IPv4 = made.Spec.IPv4 }),
		"no instance has, holds " + made.Spec.IPv6[0].String(): sample(func(in *instance.Instance) { in.Sources = made.Spec.IPv6 }),
		"holds the hardware address " + made.Spec.MAC:          sample(func(in *instance.Instance) { in.Interfaces[0].MAC = made.Spec.MAC }),
		made.Spec.ID + " exists by itself":                     sample(func(in *instance.Instance) { in.Interfaces[0].ID = made.Spec.ID }),
	} {
		_, err := b.Apply(t.Context(), theOperator, []control.Resource{{Kind: control.KindInstances, Record: &state.Instance{Spec: *in}}})
		if fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), what) {
			t.Errorf("apply: %v, want %s", err, what)
		}
		if strings.HasSuffix(what, "exists by itself") {
			continue
		}
		before := b.db.Revision()
		if err := b.Give(t.Context(), append(config.Samples(), in)); fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), what) || b.db.Revision() != before {
			t.Errorf("a file: %v, want %s", err, what)
		}
	}
	other := sample(func(*instance.Instance) {})
	if _, err := b.Apply(t.Context(), theOperator, []control.Resource{{Kind: control.KindInstances, Record: &state.Instance{Spec: *other}}}); err != nil {
		t.Errorf("one that takes nothing of it: %v", err)
	}
}

// An instance of a file whose interface was detached is no obstacle to the
// file, and has its interface again when the file changes it.
func TestFileTakesInterfacesBack(t *testing.T) {
	b := newBed(t)
	in := config.Samples()[4]
	second := in.Interfaces[1].ID
	b.must(b.DetachInterface(t.Context(), b.caller("ec2", "DetachNetworkInterface"), control.AttachmentID(second)))
	b.must(b.Give(t.Context(), config.Samples()))
	if r, _ := b.db.Instances.Get(in.ID); len(r.Spec.Interfaces) != len(in.Interfaces)-1 {
		t.Errorf("the file has not changed, and the instance has %d interfaces", len(r.Spec.Interfaces))
	}
	next := config.Samples()
	next[4].Name = "renamed"
	b.must(b.Give(t.Context(), next))
	all, err := b.NetworkInterfaces(b.caller("ec2", "DescribeNetworkInterfaces"))
	b.must(err)
	for _, f := range all {
		if f.Spec.ID == second && (f.Instance == nil || f.Instance.Spec.ID != in.ID) {
			t.Errorf("%+v", f)
		}
	}
	if err := b.DeleteInterface(t.Context(), b.caller("ec2", "DeleteNetworkInterface"), second); reason(err) != control.InterfaceInUse {
		t.Errorf("delete it: %v", err)
	}
}

// TestMinimum: as many as there are addresses for, if that is enough
// (EC2-API-19, ECS-API-20).
func TestMinimum(t *testing.T) {
	s := memstore.New(memstore.Config{})
	t.Cleanup(func() { _ = s.Close() })
	place := small()
	place.Subnet.IPv4 = netip.MustParsePrefix("10.9.0.0/28") // eleven can be had
	c, db := replica(t, s, place)
	if _, err := c.NewImage(t.Context(), operator("RegisterImage"), state.Image{ID: "ami-1", Name: "one"}); err != nil {
		t.Fatal(err)
	}
	launch := func(least, most int) (int, error) {
		l, err := c.Launch(t.Context(), operator("RunInstances"), control.Launch{Image: "ami-1", Type: "t3.micro", Min: least, Max: most})
		if err != nil {
			return 0, err
		}
		return len(l.Instances), nil
	}
	if _, err := launch(12, 20); reason(err) != control.NoAddressLeft {
		t.Errorf("more than there are addresses: %v", err)
	}
	if n := len(db.Instances.All(nil)); n != 0 {
		t.Errorf("a refused launch left %d instances", n)
	}
	if n, err := launch(2, 20); n != 11 || err != nil {
		t.Errorf("launched %d, %v", n, err)
	}
	if _, err := launch(1, 1); reason(err) != control.NoAddressLeft {
		t.Errorf("none is left: %v", err)
	}
}

// TestTogether: a call about several instances is authorised for all of them
// before anything changes, is recorded once, and changes all or none
// (POL-EVAL-09).
func TestTogether(t *testing.T) {
	b := newBed(t)
	launch := func(tags map[string]string, protected bool) string {
		t.Helper()
		l, err := b.launch("ec2", control.Launch{Image: "ami-old", Tags: tags, DeletionProtection: protected})
		b.must(err)
		return l.Instances[0].Spec.ID
	}
	mine, theirs, kept := launch(map[string]string{"team": "a"}, false), launch(map[string]string{"team": "b"}, false), launch(map[string]string{"team": "a"}, true)
	b.policy(state.Policy{Name: "ours", Dialect: "ec2", Document: `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/team":"a"}}}]}`})
	for name, act := range map[string]func(control.Caller, []string) error{
		"StopInstances": func(who control.Caller, ids []string) error { _, err := b.Stop(t.Context(), who, ids); return err },
		"TerminateInstances": func(who control.Caller, ids []string) error {
			_, err := b.Terminate(t.Context(), who, ids, true)
			return err
		},
		"lenient": func(who control.Caller, ids []string) error {
			_, err := b.Move(t.Context(), who, control.Move{IDs: ids, To: control.ToStop, Lenient: true})
			return err
		},
		"CreateTags": func(who control.Caller, ids []string) error {
			return b.Tag(t.Context(), who, ids, control.TagChange{Put: map[string]string{"x": "1"}})
		},
		"roles": func(who control.Caller, ids []string) error {
			_, err := b.SetRoles(t.Context(), who, control.RoleChange{IDs: ids, Lenient: true})
			return err
		},
		"key pairs": func(who control.Caller, ids []string) error {
			_, err := b.SetKeyPairs(t.Context(), who, control.KeyChange{IDs: ids, Detach: true})
			return err
		},
	} {
		who := b.caller("ec2", name)
		who.Policies = []string{"ours"}
		lines, revision := len(b.audited), b.db.Revision()
		if err := act(who, []string{mine, theirs, kept}); reason(err) != control.Denied {
			t.Errorf("%s: %v", name, err)
		}
		if b.db.Revision() != revision {
			t.Errorf("%s changed something", name)
		}
		if len(b.audited) != lines+1 || len(b.audited[lines].Resources) != 3 {
			t.Errorf("%s: recorded %+v", name, b.audited[lines:])
		}
	}
	if _, err := b.Terminate(t.Context(), b.caller("ec2", "TerminateInstances"), []string{mine, kept}, true); reason(err) != control.DeletionProtected {
		t.Error(err)
	}
	if in, _ := b.db.Instances.Get(mine); in.Spec.State != "running" {
		t.Errorf("%s was ended, its neighbour was not", mine)
	}
	revision := b.db.Revision()
	done, err := b.Move(t.Context(), b.caller("ec2", "StopInstances"), control.Move{IDs: []string{mine, "i-none", theirs}, To: control.ToStop, Lenient: true})
	if err != nil || done[0].After != "stopped" || reason(done[1].Err) != control.InstanceNotFound || done[2].After != "stopped" {
		t.Errorf("%+v, %v", done, err)
	}
	if b.db.Revision() != revision+1 {
		t.Errorf("%d commits, want one", b.db.Revision()-revision)
	}
}

// TestIncluded: a launch needs the permissions for all that it does, and the
// condition keys of each resource (POL-KEY-12, POL-KEY-13, POL-KEY-14).
func TestIncluded(t *testing.T) {
	b := newBed(t)
	for dialect, account := range map[string]string{"ec2": b.caller("ec2", "").Account, "ecs": b.caller("ecs", "").Account} {
		b.must(b.db.Update(t.Context(), func(tx *state.Tx) error {
			return state.Save(tx, b.db.Roles, state.Key(dialect, account, "app"), &state.Role{Name: "app", Dialect: dialect, Account: account})
		}))
	}
	lt, err := b.CreateTemplate(t.Context(), b.caller("ec2", "CreateLaunchTemplate"), control.NewTemplate{Name: "lt1", Parameters: map[string]string{"ImageId": "ami-old"}, Tags: map[string]string{"env": "prod"}})
	b.must(err)
	const allow, deny = `{"Effect":"Allow","Action":%s,"Resource":"*"%s}`, `{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":%s,"Resource":%s%s}`
	with := func(condition string) string { return `,"Condition":` + condition }
	for name, c := range map[string]struct {
		dialect, statement string
		launch             control.Launch
		denied             string // the action; empty: allowed
	}{
		"tags without permission":     {"ec2", fmt.Sprintf(allow, `["ec2:RunInstances"]`, ""), control.Launch{Tags: map[string]string{"a": "1"}}, "ec2:CreateTags"},
		"no tags":                     {"ec2", fmt.Sprintf(allow, `["ec2:RunInstances"]`, ""), control.Launch{}, ""},
		"tags at launch only":         {"ec2", fmt.Sprintf(allow, `["ec2:RunInstances"]`, "") + "," + fmt.Sprintf(allow, `"ec2:CreateTags"`, with(`{"StringEquals":{"ec2:CreateAction":"RunInstances"}}`)), control.Launch{Tags: map[string]string{"a": "1"}}, ""},
		"tag keys":                    {"ec2", fmt.Sprintf(deny, `"ec2:CreateTags"`, `"*"`, with(`{"ForAnyValue:StringEquals":{"aws:TagKeys":"a"}}`)), control.Launch{Tags: map[string]string{"a": "1"}}, "ec2:CreateTags"},
		"request tag":                 {"ec2", fmt.Sprintf(deny, `"ec2:RunInstances"`, `"arn:aws:ec2:*:*:instance/*"`, with(`{"StringNotEquals":{"aws:RequestTag/env":"prod"}}`)), control.Launch{Tags: map[string]string{"env": "test"}}, "ec2:RunInstances"},
		"role without permission":     {"ec2", fmt.Sprintf(allow, `["ec2:*"]`, ""), control.Launch{Role: "app"}, "iam:PassRole"},
		"role passed to EC2":          {"ec2", fmt.Sprintf(allow, `["ec2:*"]`, "") + "," + fmt.Sprintf(allow, `"iam:PassRole"`, with(`{"StringEquals":{"iam:PassedToService":"ec2.amazonaws.com"}}`)), control.Launch{Role: "app"}, ""},
		"RAM role without permission": {"ecs", fmt.Sprintf(allow, `["ecs:*"]`, ""), control.Launch{Role: "app"}, "ram:PassRole"},
		"RAM role":                    {"ecs", fmt.Sprintf(allow, `["ecs:*"]`, "") + "," + fmt.Sprintf(allow, `"ram:PassRole"`, with(`{"StringEquals":{"acs:Service":"ecs.aliyuncs.com"}}`)), control.Launch{Role: "app"}, ""},
		"RAM role, another":           {"ecs", fmt.Sprintf(deny, `"ram:PassRole"`, `"acs:ram:*:*:role/other"`, ""), control.Launch{Role: "app"}, ""},
		"the template":                {"ec2", fmt.Sprintf(deny, `"ec2:RunInstances"`, `"arn:aws:ec2:*:*:launch-template/`+lt.ID+`"`, ""), control.Launch{From: lt}, "ec2:RunInstances"},
		"the template's tag":          {"ec2", fmt.Sprintf(deny, `"ec2:RunInstances"`, `"*"`, with(`{"StringEquals":{"aws:ResourceTag/env":"prod"}}`)), control.Launch{From: lt}, "ec2:RunInstances"},
		"only with a template":        {"ec2", fmt.Sprintf(deny, `"ec2:RunInstances"`, `"arn:aws:ec2:*:*:instance/*"`, with(`{"ArnNotLike":{"ec2:LaunchTemplate":"arn:aws:ec2:*:*:launch-template/*"}}`)), control.Launch{}, "ec2:RunInstances"},
		"with a template":             {"ec2", fmt.Sprintf(deny, `"ec2:RunInstances"`, `"arn:aws:ec2:*:*:instance/*"`, with(`{"ArnNotLike":{"ec2:LaunchTemplate":"arn:aws:ec2:*:*:launch-template/*"}}`)), control.Launch{From: lt}, ""},
		"overridden":                  {"ec2", fmt.Sprintf(deny, `"ec2:RunInstances"`, `"*"`, with(`{"Bool":{"ec2:IsLaunchTemplateResource":"false"}}`)), control.Launch{From: lt, Overridden: map[string]bool{"image": true}}, "ec2:RunInstances"},
		"not overridden":              {"ec2", fmt.Sprintf(deny, `"ec2:RunInstances"`, `"*"`, with(`{"Bool":{"ec2:IsLaunchTemplateResource":"false"}}`)), control.Launch{From: lt}, ""},
		"subnet":                      {"ec2", fmt.Sprintf(deny, `"ec2:RunInstances"`, `"arn:aws:ec2:*:*:subnet/subnet-9"`, ""), control.Launch{Interfaces: []control.NewInterface{{Subnet: "subnet-9"}}}, "ec2:RunInstances"},
		"security group":              {"ec2", fmt.Sprintf(deny, `"ec2:RunInstances"`, `"arn:aws:ec2:*:*:security-group/sg-9"`, ""), control.Launch{Interfaces: []control.NewInterface{{SecurityGroups: []string{"sg-9"}}}}, "ec2:RunInstances"},
		"images of others":            {"ec2", fmt.Sprintf(deny, `"ec2:RunInstances"`, `"arn:aws:ec2:*::image/*"`, with(`{"StringEquals":{"ec2:ImageID":"ami-old"}}`)), control.Launch{}, "ec2:RunInstances"},
		"instance profile":            {"ec2", fmt.Sprintf(deny, `"ec2:RunInstances"`, `"*"`, with(`{"ArnLike":{"ec2:InstanceProfile":"arn:aws:iam::*:instance-profile/app"}}`)), control.Launch{Role: "app"}, "ec2:RunInstances"},
	} {
		t.Run(name, func(t *testing.T) {
			version := map[string]string{"ec2": "2012-10-17", "ecs": "1"}[c.dialect]
			b.policy(state.Policy{Name: "case", Dialect: c.dialect, Document: `{"Version":"` + version + `","Statement":[` + c.statement + `]}`})
			who := b.caller(c.dialect, "RunInstances")
			who.Policies = []string{"case"}
			l := c.launch
			l.Image, l.Type, l.Min, l.Max = map[string]string{"ec2": "ami-old", "ecs": "old.vhd"}[c.dialect], "t3.micro", 1, 1
			lines := len(b.audited)
			_, err := b.Launch(t.Context(), who, l)
			refusal, _ := errors.AsType[*control.Error](err)
			switch {
			case c.denied == "" && err != nil:
				t.Error(err)
			case c.denied != "" && (refusal == nil || refusal.Reason != control.Denied || refusal.Subject != c.denied):
				t.Errorf("%v, want %s denied", err, c.denied)
			}
			if len(b.audited) != lines+1 {
				t.Errorf("%d lines are recorded", len(b.audited)-lines)
			}
		})
	}
}

// TestImageNames: a name is given once in an account and region, whichever
// replica gives it.
func TestImageNames(t *testing.T) {
	s := memstore.New(memstore.Config{})
	t.Cleanup(func() { _ = s.Close() })
	var wg sync.WaitGroup
	var mu sync.Mutex // guards made
	made := 0
	for range 4 {
		c, _ := replica(t, s, small())
		wg.Go(func() {
			_, err := c.NewImage(t.Context(), operator("RegisterImage"), state.Image{Name: "same"})
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				made++
			} else if reason(err) != control.ImageExists {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if made != 1 {
		t.Errorf("%d images have the name", made)
	}
	c, _ := replica(t, s, small())
	other := operator("RegisterImage")
	other.Region = "us-west-2"
	if _, err := c.NewImage(t.Context(), other, state.Image{Name: "same"}); err != nil {
		t.Error(err)
	}
}

// TestRestart: what waits for a restart is kept over the store, and comes into
// force with it.
func TestRestart(t *testing.T) {
	b := newBed(t)
	l, err := b.launch("ecs", control.Launch{Image: "new.vhd", Type: "ecs.g7.large", UserData: []byte("old")})
	b.must(err)
	id, who := l.Instances[0].Spec.ID, b.caller("ecs", "ModifyInstanceAttribute")
	set := func(text string) {
		t.Helper()
		data := []byte(text)
		_, err := b.Modify(t.Context(), who, id, control.Attribute{}, func(in *state.Instance) error {
			in.AtRestart(func(r *state.Restart) { r.UserData = &data })
			return nil
		})
		b.must(err)
	}
	served := func(want string) {
		t.Helper()
		if in, _ := b.db.Instances.Get(id); string(in.Spec.UserData) != want {
			t.Errorf("served %q, want %q", in.Spec.UserData, want)
		}
	}
	set("new")
	served("old")
	_, err = b.Reboot(t.Context(), who, []string{id})
	b.must(err)
	served("new")
	set("") // taken away
	served("new")
	_, err = b.Stop(t.Context(), who, []string{id})
	b.must(err)
	_, err = b.Start(t.Context(), who, []string{id})
	b.must(err)
	served("")
	_, err = b.Stop(t.Context(), who, []string{id})
	b.must(err)
	set("of a stopped one")
	served("of a stopped one")
}

// TestImageSwitch: what the documentation refuses can be let through
// (ECS-API-02, ECS-API-03).
func TestImageSwitch(t *testing.T) {
	for _, anyImage := range []bool{false, true} {
		s := memstore.New(memstore.Config{})
		t.Cleanup(func() { _ = s.Close() })
		db, err := state.Open(t.Context(), s, testnet.Quiet())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		c := control.New(control.Config{DB: db, AnyImage: anyImage, Places: map[string]control.Place{"ecs": small()}})
		who := control.Caller{Dialect: "ecs", Account: "1234567890123456", Region: "cn-hangzhou", Admin: true, Action: "RunInstances"}
		for id, want := range map[string]control.Reason{"old.vhd": control.ImageWithoutSupport, "win.vhd": control.WindowsWithTokens} {
			image := state.Image{ID: id}
			if id == "win.vhd" {
				image.Platform = "windows"
			}
			if _, err := c.NewImage(t.Context(), who, image); err != nil {
				t.Fatal(err)
			}
			if anyImage {
				want = ""
			}
			_, err := c.Launch(t.Context(), who, control.Launch{Image: id, Type: "ecs.g7.large", Min: 1, Max: 1, Options: instance.MetadataOptions{HTTPTokens: "required"}})
			if reason(err) != want || want == "" && err != nil {
				t.Errorf("any image: %v, %s: %v", anyImage, id, err)
			}
		}
	}
}
