package control

import (
	"context"
	"maps"
	"net/netip"
	"slices"

	"openimds/internal/instance"
	"openimds/internal/state"
)

// AssignAddresses gives a network interface more addresses. On an instance that
// runs they are in force on the data plane when it returns.
func (c *Control) AssignAddresses(ctx context.Context, caller Caller, id string, n NewAddresses) (Assigned, error) {
	var got Assigned
	if err := c.permitInterface(caller, id, nil); err != nil {
		return got, err
	}
	err := c.update(ctx, func(tx *state.Tx) error {
		known, err := c.ownInterface(caller, id)
		if err != nil {
			return err
		}
		network := c.cfg.Places[caller.Dialect].Network
		if known.Instance != nil {
			network = known.Instance.Spec.Network
		}
		taken, err := c.addresses(tx, caller.Dialect, network)
		if err != nil {
			return err
		}
		if n.Reassign {
			if err := c.takeAway(tx, caller, id, n.IPv4, taken); err != nil {
				return err
			}
		}
		return c.withInterface(tx, caller, id, func(_ *state.Tx, _ *state.Instance, _ *state.Interface, f *instance.Interface) error {
			got, err = c.assign(caller, f, n, taken)
			return err
		})
	})
	return got, err
}

// takeAway frees secondary addresses that other interfaces of the caller have.
func (c *Control) takeAway(tx *state.Tx, caller Caller, id string, wanted []netip.Addr, taken *addresses) error {
	all := c.networkInterfaces(caller)
	for _, other := range slices.Sorted(maps.Keys(all)) {
		var lost []netip.Addr
		for i, address := range all[other].Spec.IPv4 {
			if other != id && i > 0 && slices.Contains(wanted, address) {
				lost = append(lost, address)
			}
		}
		if len(lost) == 0 {
			continue
		}
		err := c.withInterface(tx, caller, other, func(_ *state.Tx, _ *state.Instance, _ *state.Interface, f *instance.Interface) error {
			return unassign(f, Assigned{IPv4: lost})
		})
		if err != nil {
			return err
		}
		for _, address := range lost {
			taken.free(address)
		}
	}
	return nil
}

// UnassignAddresses takes addresses from a network interface: all, or none of
// them.
func (c *Control) UnassignAddresses(ctx context.Context, caller Caller, id string, gone Assigned) error {
	if err := c.permitInterface(caller, id, nil); err != nil {
		return err
	}
	return c.changeInterface(ctx, caller, id, func(_ *state.Tx, _ *state.Instance, _ *state.Interface, f *instance.Interface) error {
		return unassign(f, gone)
	})
}

func unassign(f *instance.Interface, gone Assigned) error {
	for _, address := range gone.IPv4 {
		switch i := slices.Index(f.IPv4, address); {
		case i == 0:
			return &Error{Reason: PrimaryAddress, Subject: address.String(), Detail: f.ID}
		case i < 0:
			return &Error{Reason: AddressNotAssigned, Subject: address.String(), Detail: f.ID}
		}
	}
	for _, address := range gone.IPv6 {
		if !slices.Contains(f.IPv6, address) {
			return &Error{Reason: AddressNotAssigned, Subject: address.String(), Detail: f.ID}
		}
	}
	for _, p := range slices.Concat(gone.IPv4Prefixes, gone.IPv6Prefixes) {
		if !slices.Contains(f.IPv4Prefixes, p) && !slices.Contains(f.IPv6Prefixes, p) {
			return &Error{Reason: AddressNotAssigned, Subject: p.String(), Detail: f.ID}
		}
	}
	f.IPv4, f.IPv6 = without(f.IPv4, gone.IPv4), without(f.IPv6, gone.IPv6)
	f.IPv4Prefixes, f.IPv6Prefixes = without(f.IPv4Prefixes, gone.IPv4Prefixes), without(f.IPv6Prefixes, gone.IPv6Prefixes)
	f.Public = slices.DeleteFunc(f.Public, func(p instance.PublicIPv4) bool {
		return p.Private.IsValid() && slices.Contains(gone.IPv4, p.Private)
	})
	return nil
}

func without[T comparable](list, gone []T) []T {
	return slices.DeleteFunc(list, func(one T) bool { return slices.Contains(gone, one) })
}

// InterfaceChange is what to change of a network interface; nil members stay.
type InterfaceChange struct {
	Description *string
	// SecurityGroups are ids.
	SecurityGroups []string
	Keep           *bool
}

// ModifyInterface changes attributes of a network interface.
func (c *Control) ModifyInterface(ctx context.Context, caller Caller, id string, change InterfaceChange) error {
	if err := c.permitInterface(caller, id, nil); err != nil {
		return err
	}
	return c.changeInterface(ctx, caller, id, func(tx *state.Tx, in *state.Instance, r *state.Interface, f *instance.Interface) error {
		if len(change.SecurityGroups) > 0 {
			f.SecurityGroups = GroupsOf(c.cfg.Places[caller.Dialect].SecurityGroups, change.SecurityGroups)
		}
		if change.Description == nil && change.Keep == nil {
			return nil
		}
		return c.annotate(tx, in, r, f, func(r *state.Interface) {
			if change.Description != nil {
				r.Description = *change.Description
			}
			if change.Keep != nil {
				r.Keep = *change.Keep
			}
		})
	})
}

// annotate changes what is known of an interface beside what its instance says.
func (c *Control) annotate(tx *state.Tx, in *state.Instance, r *state.Interface, f *instance.Interface, change func(*state.Interface)) error {
	if r == nil {
		r = &state.Interface{
			Spec: *f, Instance: in.Spec.ID, Dialect: in.Spec.Dialect, Account: in.Spec.Account, Region: in.Spec.Region, Zone: in.Spec.Zone,
			Network: in.Spec.Network, Created: in.Created,
		}
	}
	change(r)
	return state.Save(tx, c.db.Interfaces, r.Spec.ID, r)
}
