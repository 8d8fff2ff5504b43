package control_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"openimds/internal/config"
	"openimds/internal/control"
	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/state"
	"openimds/internal/store/memstore"
	"openimds/internal/testnet"
)

// bed is a control plane with the samples, two images for each dialect, and
// callers that may do everything.
type bed struct {
	*control.Control
	t       *testing.T
	db      *state.DB
	now     time.Time
	mu      sync.Mutex // guards audited
	audited []control.Entry
	fail    error
}

func newBed(t *testing.T) *bed {
	t.Helper()
	s := memstore.New(memstore.Config{})
	t.Cleanup(func() { _ = s.Close() })
	log := testnet.Logger(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})
	db, err := state.Open(t.Context(), s, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	b := &bed{t: t, db: db, now: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)}
	places := map[string]control.Place{}
	for _, in := range config.Samples() {
		if _, ok := places[in.Dialect]; !ok {
			places[in.Dialect] = control.Place{
				Zone: in.Zone, VPC: in.Primary().VPC, Subnet: in.Primary().Subnet, SecurityGroups: in.Primary().SecurityGroups,
				Sources: netip.MustParsePrefix("127.0.0.0/8"), Network: "default",
			}
		}
	}
	b.Control = control.New(control.Config{
		DB: db, Places: places, Logger: log, Now: func() time.Time { return b.now },
		Audit: func(e control.Entry) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.audited = append(b.audited, e)
			testnet.Said(t, "audit", fmt.Sprintf("%+v\n", e))
			return b.fail
		},
	})
	b.must(b.Give(t.Context(), config.Samples()))
	b.must(db.Update(t.Context(), func(tx *state.Tx) error {
		for _, i := range []state.Image{
			{ID: "ami-new", Dialect: "ec2", ImdsSupport: true}, {ID: "ami-old", Dialect: "ec2"},
			{ID: "new.vhd", Dialect: "ecs", ImdsSupport: true}, {ID: "old.vhd", Dialect: "ecs"}, {ID: "win.vhd", Dialect: "ecs", Platform: "windows", ImdsSupport: true},
		} {
			if err := state.Save(tx, db.Images, i.ID, &i); err != nil {
				return err
			}
		}
		return nil
	}))
	for dialect, version := range map[string]string{"ec2": "2012-10-17", "ecs": "1"} {
		b.policy(state.Policy{Name: "all", Dialect: dialect, Document: `{"Version":"` + version + `","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`})
	}
	return b
}

func (b *bed) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bed) policy(p state.Policy) {
	b.t.Helper()
	b.must(b.PutPolicy(b.t.Context(), control.Caller{Admin: true, Action: "PutPolicy"}, p))
}

// caller returns who calls an action of a dialect, in the account and region
// of its samples.
func (b *bed) caller(dialect, action string) control.Caller {
	for _, in := range config.Samples() {
		if in.Dialect == dialect {
			return control.Caller{Dialect: dialect, Account: in.Account, User: "ann", AccessKeyID: "AK", Region: in.Region, Policies: []string{"all"}, Action: action}
		}
	}
	b.t.Fatal("no sample of " + dialect)
	return control.Caller{}
}

func (b *bed) launch(dialect string, l control.Launch) (*control.Launched, error) {
	if l.Max == 0 {
		l.Min, l.Max = 1, 1
	}
	if l.Type == "" {
		l.Type = "t3.micro"
	}
	return b.Launch(b.t.Context(), b.caller(dialect, "RunInstances"), l)
}

func reason(err error) control.Reason {
	if e, ok := errors.AsType[*control.Error](err); ok {
		return e.Reason
	}
	return ""
}

// Each option by itself: asked, template, account, image, service
// (EC2 User Guide, order of precedence).
func TestPrecedence(t *testing.T) {
	o := func(tokens string, hops int) instance.MetadataOptions {
		return instance.MetadataOptions{HTTPTokens: tokens, HTTPPutResponseHopLimit: hops}
	}
	for name, tc := range map[string]struct {
		image           string
		defaults        state.Defaults
		template, asked instance.MetadataOptions
		want            instance.MetadataOptions
	}{
		"service":                        {"ami-old", state.Defaults{}, o("", 0), o("", 0), o("optional", 1)},
		"image":                          {"ami-new", state.Defaults{}, o("", 0), o("", 0), o("required", 2)},
		"account's hop, image's tokens":  {"ami-new", state.Defaults{HopLimit: 1}, o("", 0), o("", 0), o("required", 1)},
		"account beats image":            {"ami-new", state.Defaults{HTTPTokens: "optional"}, o("", 0), o("", 0), o("optional", 2)},
		"template beats account":         {"ami-old", state.Defaults{HTTPTokens: "required", HopLimit: 3}, o("optional", 0), o("", 0), o("optional", 3)},
		"asked beats all":                {"ami-new", state.Defaults{HTTPTokens: "required"}, o("required", 9), o("optional", 0), o("optional", 9)},
		"no preference is no preference": {"ami-new", state.Defaults{HTTPTokens: control.NoPreference, HopLimit: -1}, o("", 0), o("", 0), o("required", 2)},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			b.must(b.ModifyDefaults(t.Context(), b.caller("ec2", "ModifyInstanceMetadataDefaults"), tc.defaults))
			got, err := b.launch("ec2", control.Launch{Image: tc.image, Template: tc.template, Options: tc.asked})
			b.must(err)
			m := got.Instances[0].Spec.Metadata
			if m.HTTPTokens != tc.want.HTTPTokens || m.HTTPPutResponseHopLimit != tc.want.HTTPPutResponseHopLimit || m.HTTPEndpoint != "enabled" {
				t.Errorf("got %+v, want %+v", m, tc.want)
			}
		})
	}
}

func TestEnforcement(t *testing.T) {
	b := newBed(t)
	b.must(b.ModifyDefaults(t.Context(), b.caller("ec2", "ModifyInstanceMetadataDefaults"), state.Defaults{HTTPTokensEnforced: "enabled"}))
	if _, err := b.launch("ec2", control.Launch{Image: "ami-old"}); reason(err) != control.TokensEnforced {
		t.Errorf("launch that ends up optional: %v", err)
	}
	got, err := b.launch("ec2", control.Launch{Image: "ami-new"})
	b.must(err)
	modify := b.caller("ec2", "ModifyInstanceMetadataOptions")
	if _, err := b.ModifyOptions(t.Context(), modify, got.Instances[0].Spec.ID, instance.MetadataOptions{HTTPTokens: "optional"}); reason(err) != control.TokensEnforced {
		t.Errorf("back to optional: %v", err)
	}
	if _, err := b.ModifyOptions(t.Context(), modify, got.Instances[0].Spec.ID, instance.MetadataOptions{HTTPEndpoint: "disabled"}); err != nil {
		t.Errorf("another option: %v", err)
	}
}

func TestECSRequiredAtLaunch(t *testing.T) {
	b := newBed(t)
	required := instance.MetadataOptions{HTTPTokens: "required"}
	for image, want := range map[string]control.Reason{"new.vhd": "", "old.vhd": control.ImageWithoutSupport, "win.vhd": control.WindowsWithTokens, "none.vhd": control.ImageNotFound} {
		if _, err := b.launch("ecs", control.Launch{Image: image, Type: "ecs.g7.large", Options: required}); reason(err) != want {
			t.Errorf("%s: %v, want %q", image, err, want)
		}
	}
	if _, err := b.launch("ecs", control.Launch{Image: "old.vhd", Type: "ecs.g7.large"}); err != nil {
		t.Errorf("optional: %v", err)
	}
}

func TestModifyOptionsKeepsTheRest(t *testing.T) {
	b := newBed(t)
	got, err := b.launch("ec2", control.Launch{Image: "ami-new", Options: instance.MetadataOptions{HTTPPutResponseHopLimit: 5, InstanceMetadataTags: "enabled"}})
	b.must(err)
	id := got.Instances[0].Spec.ID
	in, err := b.ModifyOptions(t.Context(), b.caller("ec2", "ModifyInstanceMetadataOptions"), id, instance.MetadataOptions{HTTPTokens: "optional"})
	b.must(err)
	if m := in.Spec.Metadata; m.HTTPTokens != "optional" || m.HTTPPutResponseHopLimit != 5 || m.InstanceMetadataTags != "enabled" || in.OptionsPending {
		t.Errorf("%+v, pending %v", m, in.OptionsPending)
	}
	_, err = b.Stop(t.Context(), b.caller("ec2", "StopInstances"), []string{id})
	b.must(err)
	in, err = b.ModifyOptions(t.Context(), b.caller("ec2", "ModifyInstanceMetadataOptions"), id, instance.MetadataOptions{HTTPTokens: "required"})
	b.must(err)
	if !in.OptionsPending {
		t.Error("options of a stopped instance are not pending")
	}
	moved, err := b.Start(t.Context(), b.caller("ec2", "StartInstances"), []string{id})
	b.must(err)
	if moved[0].Instance.OptionsPending || moved[0].Before != "stopped" || moved[0].After != "running" {
		t.Errorf("started: %+v", moved[0])
	}
	if _, err := b.ModifyOptions(t.Context(), b.caller("ecs", "ModifyInstanceMetadataOptions"), id, instance.MetadataOptions{HTTPTokens: "required"}); reason(err) != control.InstanceNotFound {
		t.Errorf("from the other cloud: %v", err)
	}
	// What does not exist is recorded, and only who may call learns that it does not.
	for _, call := range []func(control.Caller) error{
		func(c control.Caller) error {
			_, err := b.ModifyOptions(t.Context(), c, "i-none", instance.MetadataOptions{HTTPTokens: "required"})
			return err
		},
		func(c control.Caller) error { _, err := b.Stop(t.Context(), c, []string{"i-none"}); return err },
		func(c control.Caller) error { _, err := b.Instance(c, "i-none"); return err },
	} {
		stranger := b.caller("ec2", "StopInstances")
		stranger.Policies = nil
		dry := b.caller("ec2", "StopInstances")
		dry.DryRun = true
		for want, caller := range map[control.Reason]control.Caller{control.Denied: stranger, control.InstanceNotFound: dry} {
			lines := len(b.audited)
			if err := call(caller); reason(err) != want || len(b.audited) != lines+1 {
				t.Errorf("%v and %d lines, want %s and one", err, len(b.audited)-lines, want)
			}
		}
	}
}

// Guards limit, identity policies allow, and every decision is recorded.
func TestPolicies(t *testing.T) {
	b := newBed(t)
	b.policy(state.Policy{Name: "hardened", Dialect: "ec2", Guard: true, Document: `{"Version":"2012-10-17","Statement":[
		{"Sid":"RequireImdsV2","Effect":"Deny","Action":"ec2:RunInstances","Resource":"arn:aws:ec2:*:*:instance/*","Condition":{"StringNotEquals":{"ec2:MetadataHttpTokens":"required"}}},
		{"Sid":"NoWayBack","Effect":"Deny","Action":"ec2:ModifyInstanceMetadataOptions","Resource":"*","Condition":{"StringNotEquals":{"ec2:Attribute/HttpTokens":"required"},"Null":{"ec2:Attribute/HttpTokens":"false"}}}]}`})
	if _, err := b.launch("ec2", control.Launch{Image: "ami-new"}); reason(err) != control.Denied || !strings.Contains(err.Error(), "RequireImdsV2") {
		t.Errorf("launch without asking for required: %v", err)
	}
	got, err := b.launch("ec2", control.Launch{Image: "ami-old", Options: instance.MetadataOptions{HTTPTokens: "required"}})
	b.must(err)
	id := got.Instances[0].Spec.ID
	modify := b.caller("ec2", "ModifyInstanceMetadataOptions")
	if _, err := b.ModifyOptions(t.Context(), modify, id, instance.MetadataOptions{HTTPTokens: "optional"}); reason(err) != control.Denied {
		t.Errorf("opting out: %v", err)
	}
	_, err = b.ModifyOptions(t.Context(), modify, id, instance.MetadataOptions{HTTPEndpoint: "disabled"})
	b.must(err)
	stranger := modify
	stranger.Policies = nil
	if _, err := b.Instances(stranger); reason(err) != control.Denied {
		t.Errorf("without a policy: %v", err)
	}
	dry := modify
	dry.DryRun = true
	if _, err := b.ModifyOptions(t.Context(), dry, id, instance.MetadataOptions{HTTPEndpoint: "enabled"}); reason(err) != control.DryRun {
		t.Errorf("dry run: %v", err)
	}
	if in, _ := b.db.Instances.Get(id); in.Spec.Metadata.HTTPEndpoint != "disabled" {
		t.Error("a dry run changed something")
	}
	denied := 0
	for _, e := range b.audited {
		if !e.Allowed {
			denied++
			if e.Decision == "" || e.Caller.Action == "" {
				t.Errorf("a refusal is recorded without its reason: %+v", e)
			}
		}
	}
	if denied != 3 {
		t.Errorf("%d refusals are recorded, want 3", denied)
	}
	b.fail = errors.New("disk full")
	if _, err := b.ModifyOptions(t.Context(), modify, id, instance.MetadataOptions{HTTPEndpoint: "enabled"}); reason(err) != control.Unavailable {
		t.Errorf("what cannot be recorded: %v", err)
	}
}

// The sample policies do what their page says, against the use cases.
func TestSamplePolicies(t *testing.T) {
	required, optional := instance.MetadataOptions{HTTPTokens: "required"}, instance.MetadataOptions{HTTPTokens: "optional"}
	hops := func(n int) instance.MetadataOptions {
		return instance.MetadataOptions{HTTPTokens: "required", HTTPPutResponseHopLimit: n}
	}
	for _, tc := range []struct {
		file, dialect string
		launch        bool
		options       instance.MetadataOptions
		denied        bool
	}{
		{"ec2-require-imdsv2", "ec2", true, instance.MetadataOptions{}, true},
		{"ec2-require-imdsv2", "ec2", true, optional, true},
		{"ec2-require-imdsv2", "ec2", true, required, false},
		{"ec2-forbid-opt-out", "ec2", false, optional, true},
		{"ec2-forbid-opt-out", "ec2", false, required, false},
		{"ec2-forbid-opt-out", "ec2", false, instance.MetadataOptions{HTTPEndpoint: "disabled"}, false},
		{"ec2-limit-hops", "ec2", true, hops(64), true},
		{"ec2-limit-hops", "ec2", true, hops(1), false},
		{"ec2-limit-hops", "ec2", false, hops(64), true},
		{"ec2-admins-only", "ec2", false, required, true},
		{"ecs-require-hardening", "ecs", true, instance.MetadataOptions{}, true},
		{"ecs-require-hardening", "ecs", true, required, false},
		{"ecs-forbid-opt-out", "ecs", false, optional, true},
		{"ecs-forbid-opt-out", "ecs", false, required, false},
		{"ecs-forbid-opt-out", "ecs", false, instance.MetadataOptions{HTTPEndpoint: "disabled"}, false},
		{"ecs-limit-hops", "ecs", true, hops(64), true},
		{"ecs-limit-hops", "ecs", false, hops(1), false},
		{"ecs-admins-only", "ecs", false, required, true},
	} {
		b := newBed(t)
		document, err := os.ReadFile("../../docs/policies/" + tc.file + ".json")
		b.must(err)
		image, id := map[string]string{"ec2": "ami-old", "ecs": "new.vhd"}[tc.dialect], ""
		if !tc.launch {
			got, err := b.launch(tc.dialect, control.Launch{Image: image})
			b.must(err)
			id = got.Instances[0].Spec.ID
		}
		b.policy(state.Policy{Name: tc.file, Dialect: tc.dialect, Guard: true, Document: string(document)})
		if tc.launch {
			_, err = b.launch(tc.dialect, control.Launch{Image: image, Options: tc.options})
		} else {
			_, err = b.ModifyOptions(t.Context(), b.caller(tc.dialect, "ModifyInstanceMetadataOptions"), id, tc.options)
		}
		if (reason(err) == control.Denied) != tc.denied || err != nil && !tc.denied {
			t.Errorf("%s, launch %v, %+v: %v, want denied: %v", tc.file, tc.launch, tc.options, err, tc.denied)
		}
	}
}

func TestIdempotency(t *testing.T) {
	b := newBed(t)
	l := control.Launch{Image: "ami-old", Min: 2, Max: 2, ClientToken: "t-1", Sum: "a"}
	first, err := b.launch("ec2", l)
	b.must(err)
	second, err := b.launch("ec2", l)
	b.must(err)
	if second.Reservation != first.Reservation || len(second.Instances) != 2 || second.Instances[0].Spec.ID != first.Instances[0].Spec.ID {
		t.Errorf("the same call made %+v after %+v", second, first)
	}
	l.Sum = "b"
	if _, err := b.launch("ec2", l); reason(err) != control.IdempotencyMismatch {
		t.Errorf("another call with the token: %v", err)
	}
	b.now = b.now.Add(25 * time.Hour)
	b.must(b.Sweep(t.Context()))
	third, err := b.launch("ec2", l)
	b.must(err)
	if third.Reservation == first.Reservation {
		t.Error("a token is remembered for ever")
	}
}

func TestLaunchesDiffer(t *testing.T) {
	b := newBed(t)
	seen := map[string]bool{}
	for range 3 {
		got, err := b.launch("ec2", control.Launch{Image: "ami-old", Min: 5, Max: 5})
		b.must(err)
		for i, in := range got.Instances {
			s := in.Spec
			if s.LaunchIndex != i {
				t.Errorf("launch index %d, want %d", s.LaunchIndex, i)
			}
			for _, id := range []string{s.ID, s.Sources[0].String(), s.Primary().MAC, s.Primary().IPv4[0].String(), s.Serial} {
				if seen[id] {
					t.Errorf("%s is given twice", id)
				}
				seen[id] = true
			}
		}
	}
	if problems := instance.ValidateAll(specs(b)); len(problems) > 0 {
		t.Errorf("launched instances are not valid: %v", problems)
	}
}

func specs(b *bed) []*instance.Instance {
	var all []*instance.Instance
	for _, in := range b.db.Instances.All(nil) {
		all = append(all, &in.Spec)
	}
	return all
}

func TestTags(t *testing.T) {
	b := newBed(t)
	got, err := b.launch("ec2", control.Launch{Image: "ami-old", Tags: map[string]string{"a": "1", "b": "2"}, Options: instance.MetadataOptions{InstanceMetadataTags: "enabled"}})
	b.must(err)
	id := got.Instances[0].Spec.ID
	tag := func(c control.TagChange) error {
		return b.Tag(t.Context(), b.caller("ec2", "CreateTags"), []string{id}, c)
	}
	other, one := "x", "1"
	b.must(tag(control.TagChange{Put: map[string]string{"c": ""}, Remove: map[string]*string{"a": &other, "b": nil}}))
	if in, _ := b.db.Instances.Get(id); len(in.Spec.Tags) != 2 || in.Spec.Tags["a"] != "1" {
		t.Errorf("tags %v", in.Spec.Tags)
	}
	b.must(tag(control.TagChange{Remove: map[string]*string{"a": &one}}))
	for key, want := range map[string]control.Reason{"k8s.io/x": control.InvalidTagKey, "_index": control.InvalidTagKey, "aws:x": control.InvalidTagKey, "ok": ""} {
		if err := tag(control.TagChange{Put: map[string]string{key: "v"}}); reason(err) != want {
			t.Errorf("%q: %v", key, err)
		}
	}
	// What no metadata item can show spoils the record for all that read it.
	got, err = b.launch("ec2", control.Launch{Image: "ami-old"})
	b.must(err)
	hidden := got.Instances[0].Spec.ID
	for _, bad := range []map[string]string{{"a\nb": ""}, {"\xff": ""}, {"v": "a\tb"}, {"v": "\xff"}, {"v": "\u2028"}} {
		err := b.Tag(t.Context(), b.caller("ec2", "CreateTags"), []string{hidden}, control.TagChange{Put: bad})
		if in, _ := b.db.Instances.Get(hidden); fault.KindOf(err) != fault.Invalid || len(instance.Validate(&in.Spec)) > 0 {
			t.Errorf("%q: %v, and the record has %v", bad, err, instance.Validate(&in.Spec))
		}
	}
	if err := b.Tag(t.Context(), b.caller("ec2", "CreateTags"), []string{"i-none"}, control.TagChange{}); reason(err) != control.ResourceNotFound || fault.KindOf(err) != fault.NotFound {
		t.Errorf("a resource that does not exist: %v", err)
	}
	many := map[string]string{}
	for i := range 60 {
		many["k"+strings.Repeat("x", i)] = ""
	}
	if err := tag(control.TagChange{Put: many}); reason(err) != control.TooManyTags {
		t.Errorf("60 tags: %v", err)
	}
}

// A file replaces what changed in it, and leaves alone what the APIs changed of
// the rest, and what they launched.
func TestGive(t *testing.T) {
	b := newBed(t)
	samples := config.Samples()
	first, second := samples[0].ID, samples[1].ID
	caller := b.caller(samples[0].Dialect, "ModifyInstanceMetadataOptions")
	for _, id := range []string{first, second} {
		_, err := b.ModifyOptions(t.Context(), caller, id, instance.MetadataOptions{HTTPEndpoint: "disabled"})
		b.must(err)
	}
	launched, err := b.launch("ec2", control.Launch{Image: "ami-old"})
	b.must(err)
	next := config.Samples()[:2]
	next[0].Name = "renamed"
	b.must(b.Give(t.Context(), next))
	a, _ := b.db.Instances.Get(first)
	if a.Spec.Name != "renamed" || a.Spec.Metadata.HTTPEndpoint == "disabled" {
		t.Errorf("the changed one: %q, %s", a.Spec.Name, a.Spec.Metadata.HTTPEndpoint)
	}
	if c, _ := b.db.Instances.Get(second); c.Spec.Metadata.HTTPEndpoint != "disabled" {
		t.Error("the unchanged one lost what the API set")
	}
	if _, ok := b.db.Instances.Get(samples[2].ID); ok {
		t.Error("an instance that left the file is still there")
	}
	if _, ok := b.db.Instances.Get(launched.Instances[0].Spec.ID); !ok {
		t.Error("a launched instance went with the file")
	}
	clash := config.Samples()
	for _, in := range clash {
		if in.Dialect == "ec2" {
			in.Sources = launched.Instances[0].Spec.Sources
			break
		}
	}
	if err := b.Give(t.Context(), clash); fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), launched.Instances[0].Spec.ID) {
		t.Errorf("an address that a launched instance holds: %v", err)
	}
}

func TestTerminate(t *testing.T) {
	b := newBed(t)
	got, err := b.launch("ec2", control.Launch{Image: "ami-old", DeletionProtection: true})
	b.must(err)
	id := got.Instances[0].Spec.ID
	end := b.caller("ec2", "TerminateInstances")
	if _, err := b.Terminate(t.Context(), end, []string{id}, true); reason(err) != control.DeletionProtected {
		t.Errorf("a protected one: %v", err)
	}
	_, err = b.Modify(t.Context(), end, id, control.Attribute{Name: "disableApiTermination"}, func(in *state.Instance) error { in.DeletionProtection = false; return nil })
	b.must(err)
	if _, err := b.Terminate(t.Context(), end, []string{id}, false); reason(err) != control.IncorrectState {
		t.Errorf("a running one: %v", err)
	}
	for range 2 { // the second time it has ended already
		if _, err := b.Terminate(t.Context(), end, []string{id}, true); err != nil {
			t.Error(err)
		}
	}
	if _, err := b.Start(t.Context(), end, []string{id}); reason(err) != control.IncorrectState {
		t.Errorf("start of a terminated one: %v", err)
	}
	shown := func() bool {
		all, err := b.Instances(end)
		b.must(err)
		for _, in := range all {
			if in.Spec.ID == id {
				return true
			}
		}
		return false
	}
	if !shown() {
		t.Error("it is gone at once")
	}
	b.now = b.now.Add(61 * time.Minute)
	if shown() {
		t.Error("it is still shown after an hour")
	}
	b.must(b.Sweep(t.Context()))
	if _, ok := b.db.Instances.Get(id); ok {
		t.Error("it was not swept")
	}
}

func TestRolesAndKeys(t *testing.T) {
	b := newBed(t)
	b.must(b.db.Update(t.Context(), func(tx *state.Tx) error {
		caller := b.caller("ec2", "")
		return state.Save(tx, b.db.Roles, state.Key("ec2", caller.Account, "app"), &state.Role{Name: "app", Dialect: "ec2", Account: caller.Account})
	}))
	got, err := b.launch("ec2", control.Launch{Image: "ami-old"})
	b.must(err)
	id, caller := got.Instances[0].Spec.ID, b.caller("ec2", "AssociateIamInstanceProfile")
	in, err := b.SetRole(t.Context(), caller, id, "app", false)
	b.must(err)
	if in.Spec.Role.Name != "app" || in.Association == "" {
		t.Errorf("role %+v, association %q", in.Spec.Role, in.Association)
	}
	if _, err := b.SetRole(t.Context(), caller, id, "app", false); reason(err) != control.RoleAttached {
		t.Errorf("a second role: %v", err)
	}
	if _, err := b.SetRole(t.Context(), caller, id, "none", true); reason(err) != control.RoleNotFound {
		t.Errorf("no such role: %v", err)
	}
	in, err = b.SetRole(t.Context(), caller, id, "", true)
	b.must(err)
	if in.Spec.Role != nil {
		t.Error("the role is still there")
	}

	k, err := b.NewKeyPair(t.Context(), caller, "k", "ssh-ed25519 AAAA k", "aa:bb", nil)
	b.must(err)
	if _, err := b.NewKeyPair(t.Context(), caller, "k", "x", "", nil); reason(err) != control.KeyPairExists {
		t.Errorf("the same name: %v", err)
	}
	got, err = b.launch("ec2", control.Launch{Image: "ami-old", KeyName: "k"})
	b.must(err)
	if keys := got.Instances[0].Spec.KeyPairs; len(keys) != 1 || keys[0].PublicKey != k.PublicKey {
		t.Errorf("key pairs %+v", keys)
	}
	b.must(b.DeleteKeyPairs(t.Context(), caller, []string{"k", "none"}))
	if _, err := b.launch("ec2", control.Launch{Image: "ami-old", KeyName: "k"}); reason(err) != control.KeyPairNotFound {
		t.Errorf("a deleted key pair: %v", err)
	}
}

func TestPrincipal(t *testing.T) {
	b := newBed(t)
	operator := control.Caller{Admin: true, Action: "PutKey"}
	b.must(b.PutKey(t.Context(), operator, state.AccessKey{ID: "AKIA1", Dialect: "ec2", Account: "1", User: "u", Policies: []string{"all"}}, "shh"))
	b.must(b.PutKey(t.Context(), operator, state.AccessKey{ID: "AKIA2", Dialect: "ec2", Disabled: true}, "shh"))
	secret, caller, err := b.Principal("ec2", "AKIA1", "")
	if err != nil || secret != "shh" || caller.User != "u" || caller.ARN() != "arn:aws:iam::1:user/u" {
		t.Errorf("%+v, %v", caller, err)
	}
	for _, id := range []string{"AKIA2", "AKIA3"} {
		if _, _, err := b.Principal("ec2", id, ""); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%s: %v", id, err)
		}
	}
	if _, _, err := b.Principal("ecs", "AKIA1", ""); err == nil {
		t.Error("a key of one cloud signs for the other")
	}
	if k, _ := b.db.Keys.Get("AKIA1"); strings.HasPrefix(string(k.Sealed), "shh") {
		t.Error("the secret is stored as it is")
	}
	if err := b.PutPolicy(t.Context(), operator, state.Policy{Name: "bad", Dialect: "ec2", Document: `{}`}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a policy that does not parse: %v", err)
	}
}
