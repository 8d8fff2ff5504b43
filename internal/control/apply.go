package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/state"
)

// MaxApply is how many resources one Apply puts: what one commit of the store
// can hold.
const MaxApply = 500

// Effect is what Apply did to one resource.
type Effect string

// The effects.
const (
	Created   Effect = "created"
	Changed   Effect = "changed"
	Unchanged Effect = "unchanged"
)

// Applied is a resource as it is after Apply.
type Applied struct {
	Resource
	Effect Effect
	// Secret is that of an access key, if it was made here; it is not told again.
	Secret string
}

// Apply puts resources, each in the place of the one with its name: all of
// them in one commit, or none. A caller's DryRun does everything but the
// commit. Mistakes are all reported, as fault.Invalid, or as fault.Conflict if
// they are about what is there already.
func (c *Control) Apply(ctx context.Context, caller Caller, resources []Resource) ([]Applied, error) {
	if len(resources) > MaxApply {
		return nil, invalid("found %d documents, expected at most %d, which is what one commit can hold: apply them in parts", len(resources), MaxApply)
	}
	a := ask{}
	resources = slices.Clone(resources)
	for i, r := range resources {
		resources[i].Name = c.records(r.Kind).nameOf(r.Record)
		a.on(resources[i].String(), nil)
		var was []setting
		if old, ok := c.records(r.Kind).get(resources[i].Name); ok {
			was = settings(old.Record)
		}
		a.changes = append(a.changes, differences(resources[i].String(), was, settings(r.Record))...)
	}
	dry := caller.DryRun
	if err := c.permit(caller, a); err != nil && (!dry || !isDryRun(err)) {
		return nil, err
	}
	c.launching.Lock()
	defer c.launching.Unlock()
	var done []Applied
	err := c.update(ctx, func(tx *state.Tx) error {
		b, err := newBatch(c, tx, resources)
		if err != nil {
			return err
		}
		if done, err = c.apply(tx, b, resources); err == nil && dry {
			return errDryRun
		}
		return err
	})
	if errors.Is(err, errDryRun) {
		err = nil
	}
	return done, err
}

// errDryRun ends a change that is not to be committed.
var errDryRun = errors.New("dry run")

// mostReported is how many resources' mistakes are reported.
const mostReported = 20

func (c *Control) apply(tx *state.Tx, b *batch, resources []Resource) ([]Applied, error) {
	var done []Applied
	var wrong []string
	kind := fault.Conflict
	at := map[string]int{}
	for i, r := range resources {
		var applied Applied
		var err error
		if first, twice := at[r.String()]; twice {
			err = invalid("it stands at place %d too", first)
		} else {
			at[r.String()] = i + 1
			applied, err = c.records(r.Kind).put(tx, b, r)
		}
		switch {
		case err == nil:
			done = append(done, applied)
		case !isInvalid(err):
			return nil, err
		default:
			if fault.KindOf(err) == fault.Invalid {
				kind = fault.Invalid
			}
			wrong = append(wrong, described(i, len(resources), r, err))
		}
	}
	if len(wrong) > mostReported {
		wrong = append(wrong[:mostReported], fmt.Sprintf("and %d more", len(wrong)-mostReported))
	}
	if len(wrong) > 0 {
		return nil, fault.New(kind, "%s", strings.Join(wrong, "\n"))
	}
	return done, nil
}

// described puts the resource before each line of its mistakes.
func described(i, of int, r Resource, err error) string {
	prefix := r.String() + ": "
	if of > 1 {
		prefix = fmt.Sprintf("document %d, %s: ", i+1, r)
	}
	return prefix + strings.ReplaceAll(err.Error(), "\n", "\n"+prefix)
}

// Delete forgets resources of one kind: all of them in one commit, or none.
func (c *Control) Delete(ctx context.Context, caller Caller, kind Kind, names ...string) error {
	a := ask{}
	for _, name := range names {
		a.on(string(kind)+"/"+name, nil)
	}
	if err := c.permit(caller, a); err != nil {
		return err
	}
	return c.update(ctx, func(tx *state.Tx) error {
		for _, name := range names {
			if err := c.records(kind).remove(tx, name); err != nil {
				return err
			}
		}
		return nil
	})
}

// batch is what the resources of one Apply must know of each other and of
// what stays as it is.
type batch struct {
	*Control
	policies map[string]bool // among those that are put
	callers  map[callerPlace]string
	hardware map[hardwarePlace]string
	free     freeInterfaces
	ports    ports
}

type callerPlace struct {
	dialect, network string
	address          netip.Addr
}

type hardwarePlace struct{ network, mac string }

func newBatch(c *Control, tx *state.Tx, resources []Resource) (*batch, error) {
	b := &batch{Control: c, policies: map[string]bool{}, callers: map[callerPlace]string{}, hardware: map[hardwarePlace]string{}, ports: newPorts()}
	put, places := map[string]bool{}, map[string]bool{}
	for _, r := range resources {
		switch r.Kind {
		case KindPolicies:
			b.policies[r.Name] = true
		case KindInstances:
			put[r.Name] = true
			in := r.Record.(*state.Instance).Spec
			if place := state.Key("ports", in.Node); attached(&in) && !places[place] {
				places[place] = true
				if err := c.serialize(tx, "ports", in.Node); err != nil {
					return nil, err
				}
			}
			network := cmp.Or(in.Network, defaultNetwork)
			if place := state.Key(in.Dialect, network); !places[place] {
				places[place] = true
				if err := c.serialize(tx, "addresses", in.Dialect, network); err != nil {
					return nil, err
				}
			}
		}
	}
	if len(put) == 0 {
		return b, nil
	}
	c.db.Instances.All(func(in *state.Instance) bool {
		if !put[in.Spec.ID] && alive(in) {
			_ = b.claim(&in.Spec)
		}
		return false
	})
	b.free = c.freeInterfaces()
	return b, nil
}

// claim takes the addresses of an instance and the host's interfaces that it is
// attached to, or says who has them.
func (b *batch) claim(in *instance.Instance) error {
	var wrong problems
	for _, a := range in.Addresses() {
		at := callerPlace{in.Dialect, in.Network, a.Unmap().WithZone("")}
		if id := b.callers[at]; id != "" && id != in.ID {
			wrong.addf("%s calls from %s in network %s, too: give one of them another address or network", id, a, in.Network)
		}
		b.callers[at] = in.ID
	}
	for i := range in.Interfaces {
		at := hardwarePlace{in.Network, in.Interfaces[i].MAC}
		if id := b.hardware[at]; id != "" && id != in.ID {
			wrong.addf("%s has the hardware address %s in network %s, too", id, at.mac, at.network)
		}
		b.hardware[at] = in.ID
	}
	wrong = append(wrong, b.ports.claim(in)...)
	wrong = append(wrong, b.free.keep(in)...)
	for i := range in.Interfaces {
		if id := in.Interfaces[i].ID; b.free.ids[id] {
			wrong.addf("the network interface %s exists by itself: attach it through the cloud's API, or delete it", id)
		}
	}
	if len(wrong) > 0 {
		return fault.New(fault.Conflict, "%s", strings.Join(wrong, "\n"))
	}
	return nil
}
