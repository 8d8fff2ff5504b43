package control

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"strings"
	"time"

	"openimds/internal/instance"
	"openimds/internal/state"
)

// tokenLife is how long a client token is remembered.
const tokenLife = 24 * time.Hour

// Launch launches instances: all of l.Max, or none. The same client token with
// the same parameters gives the instances of the first call.
func (c *Control) Launch(ctx context.Context, caller Caller, l Launch) (*Launched, error) {
	image, err := c.Image(caller, l.Image)
	if err != nil {
		return nil, err
	}
	if l.Max < 1 || l.Min < 1 || l.Min > l.Max || l.Max > 100 {
		return nil, &Error{Reason: InvalidValue, Subject: "MaxCount", Detail: fmt.Sprint(l.Max)}
	}
	asked := l.Template
	merge(&asked, l.Options)
	permitted := c.permit(caller, c.askLaunch(caller, image, l, asked))
	if permitted != nil && !isDryRun(permitted) {
		return nil, permitted
	}
	options := resolve(caller.Dialect, image, c.defaults(caller), l.Template, l.Options)
	if err := c.checkLaunch(caller, image, l, options); err != nil {
		return nil, err
	}
	if permitted != nil {
		return nil, permitted
	}
	c.launching.Lock()
	defer c.launching.Unlock()
	var launched *Launched
	err = c.update(ctx, func(tx *state.Tx) error {
		launched = nil
		remembered, err := c.recall(tx, caller, l.ClientToken, l.Sum)
		if err != nil {
			return err
		}
		if remembered != nil {
			launched, err = c.relaunched(tx, remembered)
			return err
		}
		launched, err = c.launch(tx, caller, l, image, options)
		return err
	})
	return launched, err
}

// checkLaunch refuses what the documentation refuses.
func (c *Control) checkLaunch(caller Caller, image *state.Image, l Launch, o instance.MetadataOptions) error {
	switch {
	case caller.Dialect == "ecs" && o.TokensRequired() && image.Platform == "windows" && !c.cfg.AnyImage:
		return refuse(WindowsWithTokens, image.ID)
	case caller.Dialect == "ecs" && o.TokensRequired() && !image.ImdsSupport && !c.cfg.AnyImage:
		return refuse(ImageWithoutSupport, image.ID)
	case caller.Dialect == "ec2" && !o.TokensRequired() && c.defaults(caller).HTTPTokensEnforced == instance.Enabled:
		return refuse(TokensEnforced, "")
	}
	if l.KeyName != "" {
		if _, ok := c.db.KeyPairs.Get(keyPairKey(caller, l.KeyName)); !ok {
			return refuse(KeyPairNotFound, l.KeyName)
		}
	}
	if l.Role != "" {
		if _, ok := c.db.Roles.Get(roleKey(caller, l.Role)); !ok {
			return refuse(RoleNotFound, l.Role)
		}
	}
	if err := checkTags(caller.Dialect, l.Tags); err != nil {
		return err
	}
	if caller.Dialect == "ec2" && o.TagsShown() {
		return checkShownTags(l.Tags)
	}
	return nil
}

// recall finds an earlier call with the same client token.
func (c *Control) recall(tx *state.Tx, caller Caller, token, sum string) (*state.Idempotent, error) {
	if token == "" {
		return nil, nil
	}
	r, ok, err := state.Load(tx, c.db.Tokens, state.Key(caller.Dialect, caller.Account, caller.Action, token))
	switch {
	case err != nil || !ok || c.cfg.Now().Sub(r.Created) > tokenLife:
		return nil, err
	case r.Sum != sum:
		return nil, refuse(IdempotencyMismatch, token)
	}
	return r, nil
}

func (c *Control) relaunched(tx *state.Tx, r *state.Idempotent) (*Launched, error) {
	l := &Launched{}
	for _, id := range r.IDs {
		in, ok, err := state.Load(tx, c.db.Instances, id)
		if err != nil {
			return nil, err
		}
		if ok {
			l.Instances = append(l.Instances, in)
			l.Reservation = in.Spec.ReservationID
		}
	}
	return l, nil
}

// launch makes the instances within a change of the state.
func (c *Control) launch(tx *state.Tx, caller Caller, l Launch, image *state.Image, options instance.MetadataOptions) (*Launched, error) {
	now := c.cfg.Now().UTC().Truncate(time.Second)
	out := &Launched{Reservation: "r-" + c.hex(17)}
	taken, err := c.addresses(tx, caller.Dialect, c.cfg.Places[caller.Dialect].Network)
	if err != nil {
		return nil, err
	}
	var ids []string
	for index := range l.Max {
		in, err := c.build(tx, caller, l, image, options, taken)
		if reason, ok := errors.AsType[*Error](err); ok && reason.Reason == NoAddressLeft && index >= l.Min {
			break // as many as there are addresses for
		}
		if err != nil {
			return nil, err
		}
		in.Created, in.Spec.Started, in.Spec.Landed = now, now, now
		in.Spec.LaunchIndex, in.Spec.ReservationID = index, out.Reservation
		if index < len(l.Names) {
			in.Spec.Name = l.Names[index]
		}
		if index < len(l.Hostnames) {
			in.Spec.Hostname = l.Hostnames[index]
		}
		if err := c.saveInstance(tx, in); err != nil {
			return nil, err
		}
		out.Instances = append(out.Instances, in)
		ids = append(ids, in.Spec.ID)
	}
	return out, c.remember(tx, caller, l.ClientToken, l.Sum, ids)
}

// remember keeps the outcome of a call with a client token.
func (c *Control) remember(tx *state.Tx, caller Caller, token, sum string, ids []string) error {
	if token == "" {
		return nil
	}
	return state.Save(tx, c.db.Tokens, state.Key(caller.Dialect, caller.Account, caller.Action, token), &state.Idempotent{
		Dialect: caller.Dialect, Account: caller.Account, Action: caller.Action, Token: token, Sum: sum, IDs: ids,
		Created: c.cfg.Now().UTC().Truncate(time.Second),
	})
}

// build makes one instance. It has no effect on addresses or interfaces if it
// fails for want of addresses.
func (c *Control) build(tx *state.Tx, caller Caller, l Launch, image *state.Image, options instance.MetadataOptions, taken *addresses) (*state.Instance, error) {
	place := c.cfg.Places[caller.Dialect]
	in := &state.Instance{
		KeyName: l.KeyName, ClientToken: l.ClientToken, Description: l.Description, DeletionProtection: l.DeletionProtection,
		OptionsPending: l.Stopped, Attributes: maps.Clone(l.Attributes),
	}
	s := &in.Spec
	*s = instance.Instance{
		ID: "i-" + c.hex(17), Dialect: caller.Dialect, Network: place.Network, Name: l.Name, Hostname: l.Hostname,
		Account: caller.Account, Region: caller.Region, Zone: place.Zone, ZoneID: place.ZoneID, Type: l.Type,
		Serial: c.uuid(), Platform: image.Platform, Architecture: image.Architecture, State: stateRunning,
		Image: instance.Image{ID: image.ID}, Metadata: options, UserData: l.UserData, Tags: maps.Clone(l.Tags),
		Services: place.Services, Placement: l.Placement, Machine: instance.Machine{Hibernation: l.Hibernation, Monitoring: l.Monitoring},
	}
	if caller.Dialect == "ecs" {
		s.ID = "i-bp1" + c.hex(17)
		if image.Platform == "windows" {
			s.Services.Mirrors = nil
		}
	}
	if l.Zone != "" {
		s.Zone = l.Zone
	}
	if l.Stopped {
		s.State = stateStopped
	}
	if l.Spot {
		s.Lifecycle = "spot"
	}
	if place.Sources.IsValid() {
		source, err := taken.pick(place.Sources, 1, s.ID)
		if err != nil {
			return nil, err
		}
		s.Sources = []netip.Addr{source}
	}
	if err := c.interfaces(tx, caller, l, in, taken); err != nil {
		return nil, err
	}
	s.Disks = c.disks(caller, l, image)
	if l.KeyName != "" {
		k, _ := c.db.KeyPairs.Get(keyPairKey(caller, l.KeyName))
		s.KeyPairs = []instance.KeyPair{{ID: k.ID, Name: k.Name, PublicKey: k.PublicKey}}
	}
	if l.Role != "" {
		r, _ := c.db.Roles.Get(roleKey(caller, l.Role))
		s.Role = &instance.Role{Name: r.Name, ProfileID: r.ProfileID}
		in.Association = "iip-assoc-" + c.hex(17)
	}
	return in, nil
}

// interfaces gives an instance its network interfaces.
func (c *Control) interfaces(tx *state.Tx, caller Caller, l Launch, in *state.Instance, taken *addresses) error {
	wanted := l.Interfaces
	if len(wanted) == 0 {
		wanted = []NewInterface{{}}
	}
	for _, n := range wanted {
		if n.Existing != "" {
			if err := c.attach(tx, caller, in, n); err != nil {
				return err
			}
			continue
		}
		f, err := c.makeInterface(caller, n, taken)
		if err != nil {
			return err
		}
		in.Spec.Interfaces = append(in.Spec.Interfaces, f)
		if n.Keep || n.Description != "" || len(n.Tags) > 0 {
			err = c.annotate(tx, in, nil, &f, func(r *state.Interface) {
				r.Keep, r.Description, r.Tags = n.Keep, n.Description, maps.Clone(n.Tags)
				r.Created = c.cfg.Now().UTC().Truncate(time.Second)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// disks are the root disk and those that the launch names.
func (c *Control) disks(caller Caller, l Launch, image *state.Image) []instance.Disk {
	prefix := "vol-"
	root := instance.Disk{Device: cmp.Or(image.RootDevice, "/dev/xvda"), Name: l.RootName, Kind: instance.DiskRoot}
	if caller.Dialect == "ecs" {
		prefix, root.Device = "d-bp1", ""
	}
	all := []instance.Disk{root}
	for _, d := range l.Disks {
		if root.Device == "" || d.Device != root.Device {
			all = append(all, d)
		}
	}
	for i := range all {
		if all[i].Kind == instance.DiskRoot || all[i].Kind == instance.DiskData {
			all[i].ID = prefix + c.hex(17)
		}
	}
	return all
}

// hex returns n random hexadecimal digits.
func (c *Control) hex(n int) string {
	b := make([]byte, (n+1)/2)
	if _, err := io.ReadFull(c.cfg.Random, b); err != nil {
		panic("control: no random numbers: " + err.Error()) // crypto/rand never fails
	}
	return hex.EncodeToString(b)[:n]
}

func (c *Control) uuid() string {
	d := c.hex(32)
	return strings.Join([]string{d[:8], d[8:12], "4" + d[13:16], "8" + d[17:20], d[20:]}, "-")
}
