package control

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"openimds/internal/instance"
	"openimds/internal/policy"
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
	a := ask{context: policy.Context{}}
	requestTags(caller.Dialect, a.context, l.Tags)
	own := policy.Context{}
	launchKeys(caller.Dialect, own, asked)
	if caller.Dialect == "ec2" {
		own.Set("ec2:InstanceType", l.Type)
	}
	a.on(arn(caller, "instance", "*"), own)
	a.on(arn(caller, "image", l.Image), nil)
	permitted := c.permit(caller, a)
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
		remembered, err := c.recall(tx, caller, l)
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
	case caller.Dialect == "ecs" && o.TokensRequired() && image.Platform == "windows":
		return refuse(WindowsWithTokens, image.ID)
	case caller.Dialect == "ecs" && o.TokensRequired() && !image.ImdsSupport:
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

// recall finds an earlier launch with the same client token.
func (c *Control) recall(tx *state.Tx, caller Caller, l Launch) (*state.Idempotent, error) {
	if l.ClientToken == "" {
		return nil, nil
	}
	r, ok, err := state.Load(tx, c.db.Tokens, state.Key(caller.Dialect, caller.Account, caller.Action, l.ClientToken))
	switch {
	case err != nil || !ok || c.cfg.Now().Sub(r.Created) > tokenLife:
		return nil, err
	case r.Sum != l.Sum:
		return nil, refuse(IdempotencyMismatch, l.ClientToken)
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
	taken := c.taken(caller.Dialect)
	var ids []string
	for index := range l.Max {
		in, err := c.build(caller, l, image, options, taken)
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
		instance.Normalize(&in.Spec)
		if problems := instance.Validate(&in.Spec); len(problems) > 0 {
			return nil, &Error{Reason: InvalidValue, Subject: string(problems[0].Path), Detail: problems[0].Msg}
		}
		if err := state.Save(tx, c.db.Instances, in.Spec.ID, in); err != nil {
			return nil, err
		}
		out.Instances = append(out.Instances, in)
		ids = append(ids, in.Spec.ID)
	}
	return out, c.remember(tx, caller, l, ids)
}

// remember keeps the outcome of a call with a client token.
func (c *Control) remember(tx *state.Tx, caller Caller, l Launch, ids []string) error {
	if l.ClientToken == "" {
		return nil
	}
	return state.Save(tx, c.db.Tokens, state.Key(caller.Dialect, caller.Account, caller.Action, l.ClientToken), &state.Idempotent{
		Dialect: caller.Dialect, Account: caller.Account, Action: caller.Action, Token: l.ClientToken, Sum: l.Sum, IDs: ids,
		Created: c.cfg.Now().UTC().Truncate(time.Second),
	})
}

// inNetwork gives an interface the subnet and the groups that were asked for
// (EC2-API-13).
// There are no networks here but the place's, so any are taken as they are.
func (l *Launch) inNetwork(eni *instance.Interface) {
	if l.Subnet != "" {
		eni.Subnet.ID = l.Subnet
	}
	if len(l.SecurityGroups) > 0 {
		eni.SecurityGroups = GroupsOf(eni.SecurityGroups, l.SecurityGroups)
	}
}

// GroupsOf returns the security groups with the given ids: those that are
// known, and of others ones that are called after their id.
func GroupsOf(known []instance.SecurityGroup, ids []string) []instance.SecurityGroup {
	var all []instance.SecurityGroup
	for _, id := range ids {
		g := instance.SecurityGroup{ID: id, Name: id}
		if i := slices.IndexFunc(known, func(k instance.SecurityGroup) bool { return k.ID == id }); i >= 0 {
			g = known[i]
		}
		all = append(all, g)
	}
	return all
}

// build makes one instance.
func (c *Control) build(caller Caller, l Launch, image *state.Image, options instance.MetadataOptions, taken map[netip.Addr]bool) (*state.Instance, error) {
	place := c.cfg.Places[caller.Dialect]
	digits := c.hex(17)
	in := &state.Instance{
		KeyName: l.KeyName, ClientToken: l.ClientToken, Description: l.Description, DeletionProtection: l.DeletionProtection,
		OptionsPending: l.Stopped,
	}
	s := &in.Spec
	*s = instance.Instance{
		ID: "i-" + digits, Dialect: caller.Dialect, Network: place.Network, Name: l.Name, Hostname: l.Hostname,
		Account: caller.Account, Region: caller.Region, Zone: place.Zone, ZoneID: place.ZoneID, Type: l.Type,
		Serial: c.uuid(), Platform: image.Platform, Architecture: image.Architecture, State: stateRunning,
		Image: instance.Image{ID: image.ID}, Metadata: options, UserData: l.UserData, Tags: maps.Clone(l.Tags),
		Services: place.Services,
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
	address := l.Address
	if !address.IsValid() {
		var err error
		if address, err = pick(place.Subnet.IPv4, taken, 4); err != nil {
			return nil, err
		}
	} else if taken[address] {
		return nil, refuse(AddressInUse, address.String())
	}
	taken[address] = true
	if place.Sources.IsValid() {
		source, err := pick(place.Sources, taken, 1)
		if err != nil {
			return nil, err
		}
		taken[source] = true
		s.Sources = []netip.Addr{source}
	}
	mac := c.hex(6)
	eni := instance.Interface{
		ID: "eni-" + c.hex(17), MAC: "02:" + mac[:2] + ":" + mac[2:4] + ":" + mac[4:6] + ":" + c.hex(2) + ":" + c.hex(2),
		IPv4: []netip.Addr{address}, Subnet: place.Subnet, VPC: place.VPC, SecurityGroups: place.SecurityGroups,
	}
	l.inNetwork(&eni)
	root := instance.Disk{ID: "vol-" + c.hex(17), Device: image.RootDevice, Kind: instance.DiskRoot}
	if caller.Dialect == "ecs" {
		s.ID, eni.ID = "i-bp1"+digits, "eni-bp1"+c.hex(17)
		eni.MAC = "00:16:3e:" + mac[:2] + ":" + mac[2:4] + ":" + mac[4:6]
		root = instance.Disk{ID: "d-bp1" + c.hex(17), Kind: instance.DiskRoot}
		if image.Platform == "windows" {
			s.Services.Mirrors = nil
		}
	} else if root.Device == "" {
		root.Device = "/dev/xvda"
	}
	s.Interfaces, s.Disks = []instance.Interface{eni}, []instance.Disk{root}
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

// taken returns the addresses that instances of a dialect hold.
func (c *Control) taken(dialect string) map[netip.Addr]bool {
	taken := map[netip.Addr]bool{}
	c.db.Instances.All(func(in *state.Instance) bool {
		if in.Spec.Dialect == dialect && alive(in) {
			for _, a := range in.Spec.Sources {
				taken[a] = true
			}
			for i := range in.Spec.Interfaces {
				for _, a := range in.Spec.Interfaces[i].IPv4 {
					taken[a] = true
				}
			}
		}
		return false
	})
	return taken
}

// pick returns the first address of a prefix that is not taken, after the
// first few, which a cloud keeps for itself.
func pick(from netip.Prefix, taken map[netip.Addr]bool, reserved int) (netip.Addr, error) {
	a := from.Masked().Addr()
	for range reserved {
		a = a.Next()
	}
	for ; from.Contains(a); a = a.Next() {
		if !taken[a] {
			return a, nil
		}
	}
	return a, refuse(NoAddressLeft, from.String())
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
