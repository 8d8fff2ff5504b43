package control

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"openimds/internal/instance"
	"openimds/internal/policy"
	"openimds/internal/state"
)

// NetworkInterface is a network interface and what has it.
type NetworkInterface struct {
	Spec        instance.Interface
	Zone        string
	Description string
	Tags        map[string]string
	// Instance that it is attached to; nil: none.
	Instance *state.Instance
	// Keep: it outlives the instance.
	Keep bool
}

// isFree reports whether no instance has the interface of a record.
func (c *Control) isFree(r *state.Interface) bool {
	in, ok := c.db.Instances.Get(r.Instance)
	return r.Instance == "" || !ok || !alive(in) || find(in, r.Spec.ID) == nil
}

// freeInterfaces are the network interfaces that no instance has: what they
// keep from instances, and who keeps it.
type freeInterfaces struct {
	ids       map[string]bool
	addresses map[callerPlace]string
	hardware  map[hardwarePlace]string
}

func (c *Control) freeInterfaces() freeInterfaces {
	free := freeInterfaces{map[string]bool{}, map[callerPlace]string{}, map[hardwarePlace]string{}}
	for _, r := range c.db.Interfaces.All(nil) {
		if !c.isFree(r) {
			continue
		}
		id, network := r.Spec.ID, cmp.Or(r.Network, defaultNetwork)
		free.ids[id] = true
		free.hardware[hardwarePlace{network, r.Spec.MAC}] = id
		for _, address := range slices.Concat(r.Spec.IPv4, r.Spec.IPv6) {
			free.addresses[callerPlace{r.Dialect, network, address}] = id
		}
	}
	return free
}

// keep says what an instance cannot have because a free interface other than
// its own has it.
func (f freeInterfaces) keep(in *instance.Instance) (wrong problems) {
	network := cmp.Or(in.Network, defaultNetwork)
	own := func(id string) bool {
		return slices.ContainsFunc(in.Interfaces, func(f instance.Interface) bool { return f.ID == id })
	}
	for _, a := range in.Addresses() {
		if id := f.addresses[callerPlace{in.Dialect, network, a.Unmap().WithZone("")}]; id != "" && !own(id) {
			wrong.addf("the network interface %s, which no instance has, holds %s in network %s: delete it, or give the instance another address", id, a, network)
		}
	}
	for i := range in.Interfaces {
		mac := in.Interfaces[i].MAC
		if id := f.hardware[hardwarePlace{network, mac}]; id != "" && !own(id) {
			wrong.addf("the network interface %s, which no instance has, holds the hardware address %s in network %s: delete it, or give the instance another one", id, mac, network)
		}
	}
	return wrong
}

// find returns the interface of an instance that has an id.
func find(in *state.Instance, id string) *instance.Interface {
	for i := range in.Spec.Interfaces {
		if in.Spec.Interfaces[i].ID == id {
			return &in.Spec.Interfaces[i]
		}
	}
	return nil
}

func ownsInterface(caller Caller, r *state.Interface) bool {
	return r.Dialect == caller.Dialect && r.Account == caller.Account && r.Region == caller.Region
}

// networkInterfaces are the caller's, by id.
func (c *Control) networkInterfaces(caller Caller) map[string]NetworkInterface {
	all := map[string]NetworkInterface{}
	c.db.Instances.All(func(in *state.Instance) bool {
		if belongs(caller, in) && alive(in) {
			for i := range in.Spec.Interfaces {
				f := in.Spec.Interfaces[i]
				all[f.ID] = NetworkInterface{Spec: f, Zone: in.Spec.Zone, Instance: in}
			}
		}
		return false
	})
	for _, r := range c.db.Interfaces.All(func(r *state.Interface) bool { return ownsInterface(caller, r) }) {
		one, attached := all[r.Spec.ID]
		if !attached {
			one = NetworkInterface{Spec: r.Spec, Zone: r.Zone}
		}
		one.Description, one.Tags, one.Keep = r.Description, r.Tags, r.Keep
		all[r.Spec.ID] = one
	}
	return all
}

// NetworkInterfaces returns the caller's network interfaces, by id.
func (c *Control) NetworkInterfaces(caller Caller) ([]NetworkInterface, error) {
	if err := c.permit(caller, ask{}); err != nil {
		return nil, err
	}
	all := c.networkInterfaces(caller)
	list := make([]NetworkInterface, 0, len(all))
	for _, id := range slices.Sorted(maps.Keys(all)) {
		list = append(list, all[id])
	}
	return list, nil
}

// AttachmentID is the id of an interface's attachment.
func AttachmentID(id string) string { return strings.Replace(id, "eni-", "eni-attach-", 1) }

func (c *Control) ownInterface(caller Caller, id string) (NetworkInterface, error) {
	f, ok := c.networkInterfaces(caller)[id]
	if !ok {
		return f, refuse(InterfaceNotFound, id)
	}
	return f, nil
}

// interfaceKeys are the condition keys of a network interface that exists.
func interfaceKeys(caller Caller, f NetworkInterface) policy.Context {
	ctx := policy.Context{}
	ctx.Set("ec2:NetworkInterfaceID", f.Spec.ID)
	ctx.Set("ec2:AvailabilityZone", f.Zone)
	ctx.Set("ec2:Subnet", arn(caller, "subnet", f.Spec.Subnet.ID))
	ctx.Set("ec2:Vpc", arn(caller, "vpc", f.Spec.VPC.ID))
	resourceTags(caller.Dialect, ctx, f.Tags)
	return ctx
}

// CreateInterface makes a network interface that no instance has.
func (c *Control) CreateInterface(ctx context.Context, caller Caller, n NewInterface) (*state.Interface, error) {
	place := c.cfg.Places[caller.Dialect]
	a := ask{}
	own := policy.Context{}
	own.Set("ec2:AvailabilityZone", place.Zone)
	own.Set("ec2:Subnet", arn(caller, "subnet", n.Subnet))
	own.Set("ec2:Vpc", arn(caller, "vpc", place.VPC.ID))
	requestTags(caller.Dialect, own, n.Tags)
	a.on(arn(caller, "network-interface", "*"), own)
	a.on(arn(caller, "subnet", n.Subnet), nil)
	for _, g := range n.SecurityGroups {
		a.on(arn(caller, "security-group", g), nil)
	}
	a.tagging(caller, "network-interface", n.Tags)
	if err := c.permit(caller, a); err != nil {
		return nil, err
	}
	if err := checkTags(caller.Dialect, n.Tags); err != nil {
		return nil, err
	}
	var made *state.Interface
	err := c.update(ctx, func(tx *state.Tx) error {
		remembered, err := c.recall(tx, caller, n.ClientToken, n.Sum)
		if err != nil {
			return err
		}
		if remembered != nil {
			var ok bool
			if made, ok, err = state.Load(tx, c.db.Interfaces, remembered.IDs[0]); err == nil && !ok {
				err = refuse(InterfaceNotFound, remembered.IDs[0])
			}
			return err
		}
		taken, err := c.addresses(tx, caller.Dialect, place.Network)
		if err != nil {
			return err
		}
		f, err := c.makeInterface(caller, n, taken)
		if err != nil {
			return err
		}
		made = &state.Interface{
			Spec: f, Dialect: caller.Dialect, Account: caller.Account, Region: caller.Region, Zone: place.Zone, Network: place.Network,
			Description: n.Description, Tags: maps.Clone(n.Tags), Created: c.cfg.Now().UTC().Truncate(time.Second), Keep: true,
		}
		if err := state.Save(tx, c.db.Interfaces, f.ID, made); err != nil {
			return err
		}
		return c.remember(tx, caller, n.ClientToken, n.Sum, []string{f.ID})
	})
	return made, err
}

// DeleteInterface forgets a network interface that no instance has.
func (c *Control) DeleteInterface(ctx context.Context, caller Caller, id string) error {
	if err := c.permitInterface(caller, id, nil); err != nil {
		return err
	}
	return c.update(ctx, func(tx *state.Tx) error {
		r, ok, err := state.Load(tx, c.db.Interfaces, id)
		switch {
		case err != nil:
			return err
		case ok && !c.isFree(r), !ok && c.networkInterfaces(caller)[id].Instance != nil:
			return refuse(InterfaceInUse, id)
		case !ok:
			return refuse(InterfaceNotFound, id)
		}
		state.Remove(tx, c.db.Interfaces, id)
		return nil
	})
}

// permitInterface asks the policies about a call that is about one interface,
// and the instance, if any, that it is about, too.
func (c *Control) permitInterface(caller Caller, id string, in *state.Instance) error {
	f, err := c.ownInterface(caller, id)
	if err != nil {
		return err
	}
	a := ask{}
	a.on(arn(caller, "network-interface", id), interfaceKeys(caller, f))
	if in != nil {
		a.on(arn(caller, "instance", in.Spec.ID), instanceKeys(caller.Dialect, in))
	}
	return c.permit(caller, a)
}

// interfaceChange changes an interface: that of the instance, if one has it, or
// else that of the record. Both are saved after it; the record, which an
// interface that was launched has none of, only if it is there before.
type interfaceChange func(tx *state.Tx, in *state.Instance, r *state.Interface, f *instance.Interface) error

func (c *Control) changeInterface(ctx context.Context, caller Caller, id string, change interfaceChange) error {
	return c.update(ctx, func(tx *state.Tx) error { return c.withInterface(tx, caller, id, change) })
}

func (c *Control) withInterface(tx *state.Tx, caller Caller, id string, change interfaceChange) error {
	known, err := c.ownInterface(caller, id)
	if err != nil {
		return err
	}
	r, _, err := state.Load(tx, c.db.Interfaces, id)
	if err != nil {
		return err
	}
	var in *state.Instance
	var f *instance.Interface
	if known.Instance != nil {
		in, _, err = state.Load(tx, c.db.Instances, known.Instance.Spec.ID)
		if err != nil {
			return err
		}
		if in != nil && alive(in) {
			f = find(in, id)
		}
		if f == nil {
			in = nil
		}
	}
	switch {
	case f == nil && r == nil:
		return refuse(InterfaceNotFound, id)
	case f == nil:
		f = &r.Spec
	}
	if err := change(tx, in, r, f); err != nil {
		return err
	}
	if in != nil {
		return c.saveInstance(tx, in)
	}
	return state.Save(tx, c.db.Interfaces, id, r)
}

// saveInstance saves an instance that a change of its network has made.
func (c *Control) saveInstance(tx *state.Tx, in *state.Instance) error {
	instance.Normalize(&in.Spec)
	if problems := instance.Validate(&in.Spec); len(problems) > 0 {
		return &Error{Reason: InvalidValue, Subject: string(problems[0].Path), Detail: problems[0].Msg}
	}
	return state.Save(tx, c.db.Instances, in.Spec.ID, in)
}

// AttachInterface gives an instance a network interface that no other has, as
// the device with an index.
func (c *Control) AttachInterface(ctx context.Context, caller Caller, id, to string, device int, card *int) error {
	in, err := c.own(caller, to)
	if err != nil {
		return err
	}
	if err := c.permitInterface(caller, id, in); err != nil {
		return err
	}
	return c.update(ctx, func(tx *state.Tx) error {
		in, ok, err := state.Load(tx, c.db.Instances, to)
		switch {
		case err != nil:
			return err
		case !ok || !belongs(caller, in):
			return refuse(InstanceNotFound, to)
		case !alive(in):
			return &Error{Reason: IncorrectState, Subject: to, Detail: in.Spec.State}
		}
		if err := c.attach(tx, caller, in, NewInterface{Existing: id, Device: device, Card: card, Keep: true}); err != nil {
			return err
		}
		return c.saveInstance(tx, in)
	})
}

// attach puts an interface that exists into an instance, which is not saved.
func (c *Control) attach(tx *state.Tx, caller Caller, in *state.Instance, n NewInterface) error {
	r, ok, err := state.Load(tx, c.db.Interfaces, n.Existing)
	switch {
	case err != nil:
		return err
	case !ok && c.networkInterfaces(caller)[n.Existing].Instance != nil:
		return refuse(InterfaceInUse, n.Existing)
	case !ok || !ownsInterface(caller, r):
		return refuse(InterfaceNotFound, n.Existing)
	case !c.isFree(r):
		return refuse(InterfaceInUse, n.Existing)
	}
	for i := range in.Spec.Interfaces {
		if f := &in.Spec.Interfaces[i]; f.Device == n.Device && cardOf(f) == cardOf(&instance.Interface{Card: n.Card}) {
			return &Error{Reason: DeviceInUse, Subject: in.Spec.ID, Detail: strconv.Itoa(n.Device)}
		}
	}
	r.Instance, r.Keep = in.Spec.ID, n.Keep
	r.Spec.Device, r.Spec.Card = n.Device, n.Card
	in.Spec.Interfaces = append(in.Spec.Interfaces, r.Spec)
	return state.Save(tx, c.db.Interfaces, n.Existing, r)
}

func cardOf(f *instance.Interface) int {
	if f.Card == nil {
		return 0
	}
	return *f.Card
}

// DetachInterface takes the network interface with an attachment from its
// instance. The primary one stays.
func (c *Control) DetachInterface(ctx context.Context, caller Caller, attachment string) error {
	var id string
	var in *state.Instance
	for _, f := range c.networkInterfaces(caller) {
		if f.Instance != nil && AttachmentID(f.Spec.ID) == attachment {
			id, in = f.Spec.ID, f.Instance
		}
	}
	if id == "" {
		return refuse(AttachmentNotFound, attachment)
	}
	if err := c.permitInterface(caller, id, in); err != nil {
		return err
	}
	return c.changeInterface(ctx, caller, id, func(tx *state.Tx, in *state.Instance, r *state.Interface, f *instance.Interface) error {
		switch {
		case in == nil:
			return refuse(AttachmentNotFound, attachment)
		case f == in.Spec.Primary():
			return refuse(PrimaryInterface, id)
		}
		if err := c.free(tx, in, r, *f); err != nil {
			return err
		}
		in.Spec.Interfaces = slices.DeleteFunc(in.Spec.Interfaces, func(f instance.Interface) bool { return f.ID == id })
		return nil
	})
}

// free keeps an interface that an instance gives up.
func (c *Control) free(tx *state.Tx, in *state.Instance, r *state.Interface, f instance.Interface) error {
	if r == nil {
		r = &state.Interface{Created: c.cfg.Now().UTC().Truncate(time.Second)}
	}
	f.Device, f.Card = 0, nil
	r.Spec, r.Instance, r.Keep = f, "", true
	r.Dialect, r.Account, r.Region, r.Zone, r.Network = in.Spec.Dialect, in.Spec.Account, in.Spec.Region, in.Spec.Zone, in.Spec.Network
	return state.Save(tx, c.db.Interfaces, f.ID, r)
}

// release keeps those interfaces of an instance that ends which outlive it.
func (c *Control) release(tx *state.Tx, in *state.Instance) error {
	for _, f := range in.Spec.Interfaces {
		r, ok, err := state.Load(tx, c.db.Interfaces, f.ID)
		switch {
		case err != nil:
			return err
		case !ok:
		case r.Keep:
			if err := c.free(tx, in, r, f); err != nil {
				return err
			}
		default:
			state.Remove(tx, c.db.Interfaces, f.ID)
		}
	}
	return nil
}
