package control_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"openimds/internal/config"
	"openimds/internal/control"
	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/state"
)

var theOperator = control.Caller{Admin: true, Action: "Test", User: "ann"}

func image(id string) control.Resource {
	return control.Resource{Kind: control.KindImages, Record: &state.Image{ID: id, Dialect: "ec2"}}
}

// Of an apply with one mistake nothing is done, and every mistake is said.
func TestApplyAllOrNone(t *testing.T) {
	b := newBed(t)
	before := b.db.Revision()
	bad := image("ami-b")
	bad.Record.(*state.Image).Platform = "dos"
	worse := image("ami-c")
	worse.Record.(*state.Image).Dialect = "gcp"
	_, err := b.Apply(t.Context(), theOperator, []control.Resource{image("ami-a"), bad, image("ami-d"), worse})
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "document 2, images/ami-b: platform") || !strings.Contains(err.Error(), "document 4, images/ami-c: dialect") {
		t.Errorf("%v", err)
	}
	if b.db.Revision() != before {
		t.Error("something was committed")
	}
	dry := theOperator
	dry.DryRun = true
	done, err := b.Apply(t.Context(), dry, []control.Resource{image("ami-a")})
	if err != nil || len(done) != 1 || done[0].Effect != control.Created || b.db.Revision() != before {
		t.Errorf("dry run: %+v, %v, revision %d after %d", done, err, b.db.Revision(), before)
	}
	many := make([]control.Resource, control.MaxApply)
	for i := range many {
		many[i] = image(fmt.Sprint("ami-", i))
	}
	if _, err := b.Apply(t.Context(), theOperator, many); err != nil || b.db.Revision() != before+1 {
		t.Errorf("%d documents: %v, %d revisions", len(many), err, b.db.Revision()-before)
	}
	if _, err := b.Apply(t.Context(), theOperator, append(many, image("x-1"))); fault.KindOf(err) != fault.Invalid {
		t.Errorf("one more: %v", err)
	}
	b.fail = fault.New(fault.Unavailable, "no space left")
	if _, err := b.Apply(t.Context(), theOperator, []control.Resource{image("ami-z")}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("without a record: %v", err)
	}
}

// The theOperator's calls are recorded with what they were about.
func TestOperatorIsAudited(t *testing.T) {
	b := newBed(t)
	if _, err := b.Apply(t.Context(), theOperator, []control.Resource{image("ami-a")}); err != nil {
		t.Fatal(err)
	}
	last := b.audited[len(b.audited)-1]
	if last.Caller.ARN() != "admin/ann" || !slices.Equal(last.Resources, []string{"images/ami-a"}) || !last.Allowed {
		t.Errorf("recorded %+v", last)
	}
}

// Two puts of instances at once never both get one address.
func TestPutAddressOnce(t *testing.T) {
	b := newBed(t)
	put := func(id string) error {
		in := *config.Samples()[4]
		in.ID, in.Interfaces = id, slices.Clone(in.Interfaces)
		in.Interfaces[0].MAC = "02:00:00:00:01:" + id[len(id)-2:]
		in.Interfaces = in.Interfaces[:1]
		in.Sources = slices.Clone(in.Sources)
		in.Sources[0] = in.Sources[0].Next().Next().Next().Next().Next().Next()
		_, err := b.Apply(t.Context(), theOperator, []control.Resource{{Kind: control.KindInstances, Record: &state.Instance{Spec: in}}})
		return err
	}
	errs := make(chan error)
	for i := range 8 {
		go func() { errs <- put(fmt.Sprintf("i-0%d%d", i, 10+i)) }()
	}
	ok := 0
	for range 8 {
		if err := <-errs; err == nil {
			ok++
		} else if fault.KindOf(err) != fault.Conflict {
			t.Error(err)
		}
	}
	if ok != 1 {
		t.Errorf("%d of 8 got the address", ok)
	}
}

// A share is the same each time, part of every larger one, and about as large
// as asked for.
func TestShare(t *testing.T) {
	b := newBed(t)
	var all []control.Resource
	for i := range 200 {
		in := *config.Samples()[4]
		in.ID, in.Interfaces, in.Sources = fmt.Sprintf("i-%017x", i), nil, nil
		f := config.Samples()[4].Interfaces[0]
		f.MAC = fmt.Sprintf("02:00:00:00:%02x:%02x", i/256, i%256)
		f.IPv4, f.IPv6, f.Public, f.IPv4Prefixes, f.IPv6Prefixes = nil, nil, nil, nil, nil
		in.Interfaces = []instance.Interface{f}
		base := config.Samples()[4].Sources[0]
		for range 100 + i {
			base = base.Next()
		}
		in.Sources = append(in.Sources, base)
		in.Tags = map[string]string{"fleet": "yes"}
		all = append(all, control.Resource{Kind: control.KindInstances, Record: &state.Instance{Spec: in}})
	}
	if _, err := b.Apply(t.Context(), theOperator, all); err != nil {
		t.Fatal(err)
	}
	pick := func(share float64) []string {
		done, err := b.SetOptions(t.Context(), theOperator, control.Target{Tags: map[string]string{"fleet": "*"}, Share: share}, instance.MetadataOptions{HTTPPutResponseHopLimit: 2})
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, r := range done {
			ids = append(ids, r.ID)
		}
		return ids
	}
	rapid.Check(t, func(rt *rapid.T) {
		x, y := rapid.Float64Range(0.001, 1).Draw(rt, "x"), rapid.Float64Range(0.001, 1).Draw(rt, "y")
		small, large := pick(min(x, y)), pick(max(x, y))
		for _, id := range small {
			if !slices.Contains(large, id) {
				rt.Errorf("%s is in %v and not in %v", id, min(x, y), max(x, y))
			}
		}
		if n := float64(len(small)); n < 200*min(x, y)-1e-6 || n >= 200*min(x, y)+1 {
			rt.Errorf("%v of 200 are %d", min(x, y), len(small))
		}
	})
	if n := len(pick(0.1)); n != 20 {
		t.Errorf("10%% of 200 are %d", n)
	}
}

// An event with an end goes away at that time, and others stay.
func TestEventsExpire(t *testing.T) {
	b := newBed(t)
	ids := []string{config.Samples()[4].ID}
	b.must(b.db.Update(t.Context(), func(tx *state.Tx) error {
		in, _, err := state.Load(tx, b.db.Instances, ids[0])
		in.Spec.Events = instance.Events{}
		b.must(err)
		return state.Save(tx, b.db.Instances, ids[0], in)
	}))
	announce := func(e control.NewEvent) control.Event {
		t.Helper()
		e.Target.Instances = ids
		done, err := b.Announce(t.Context(), theOperator, e)
		if err != nil || len(done) != 1 {
			t.Fatalf("%+v, %v", done, err)
		}
		return done[0]
	}
	announce(control.NewEvent{Type: control.EventSpot, Expires: b.now.Add(time.Hour)})
	first := announce(control.NewEvent{Type: control.EventMaintenance, At: b.now.Add(time.Hour), Expires: b.now.Add(2 * time.Hour)})
	second := announce(control.NewEvent{Type: control.EventMaintenance, At: b.now.Add(time.Hour)})
	if first.ID == second.ID || first.ID == "" {
		t.Errorf("ids %q and %q", first.ID, second.ID)
	}
	for _, want := range []int{3, 2, 1, 1} {
		b.must(b.Sweep(t.Context()))
		all, err := b.Events(theOperator, control.EventFilter{Target: control.Target{Instances: ids}})
		if err != nil || len(all) != want {
			t.Errorf("at %s: %+v, %v; want %d", b.now, all, err, want)
		}
		b.now = b.now.Add(time.Hour)
	}
	// A new one without an end takes the place of one that has one.
	announce(control.NewEvent{Type: control.EventSpot, Expires: b.now.Add(time.Hour)})
	announce(control.NewEvent{Type: control.EventSpot})
	b.now = b.now.Add(2 * time.Hour)
	b.must(b.Sweep(t.Context()))
	if in, _ := b.db.Instances.Get(ids[0]); in.Spec.Events.Spot == nil || len(in.Expiring) != 0 {
		t.Errorf("%+v", in.Spec.Events)
	}
	gone, err := b.ClearEvents(t.Context(), theOperator, control.EventFilter{Type: control.EventMaintenance}, instance.EventCompleted)
	if err != nil || len(gone) == 0 {
		t.Fatalf("%+v, %v", gone, err)
	}
	if in, _ := b.db.Instances.Get(ids[0]); len(in.Spec.Events.Maintenance) != 1 || in.Spec.Events.Maintenance[0].State != instance.EventCompleted {
		t.Errorf("the history is %+v", in.Spec.Events.Maintenance)
	}
	if _, err := b.ClearEvents(t.Context(), theOperator, control.EventFilter{Target: control.Target{All: true}}, ""); err != nil {
		t.Fatal(err)
	}
	if in, _ := b.db.Instances.Get(ids[0]); in.Spec.Events.Spot != nil || in.Spec.Events.Maintenance != nil {
		t.Errorf("after clearing: %+v", in.Spec.Events)
	}
}

// What cannot be done to one instance is done to the others.
func TestSetOptionsOfMany(t *testing.T) {
	b := newBed(t)
	in := config.Samples()[4]
	b.must(b.ModifyDefaults(t.Context(), b.caller("ec2", "ModifyInstanceMetadataDefaults"), state.Defaults{HTTPTokensEnforced: instance.Enabled}))
	done, err := b.SetOptions(t.Context(), theOperator, control.Target{All: true}, instance.MetadataOptions{HTTPTokens: instance.Optional})
	if err != nil || len(done) != len(config.Samples()) {
		t.Fatalf("%+v, %v", done, err)
	}
	for _, r := range done {
		got, _ := b.db.Instances.Get(r.ID)
		enforced := got.Spec.Dialect == "ec2" && got.Spec.Account == in.Account && got.Spec.Region == in.Region
		if (r.Err != nil) != enforced {
			t.Errorf("%s in %s: %v", r.ID, got.Spec.Region, r.Err)
		}
		if r.Err == nil && got.Spec.Metadata.TokensRequired() {
			t.Errorf("%s was not changed", r.ID)
		}
	}
}
