package config

import (
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"openimds/internal/instance"
)

// Serve is the top level of the file that `imds serve -c FILE` reads. Paths in
// it are relative to its folder.
type Serve struct {
	// Folder of everything that is kept: the store, the keys of session tokens, the audit log, the admin token. It is made, open to its owner alone, if there is none.
	State string `json:"state"`
	// Key under which secrets in the store are sealed: a file that `imds store key FILE` has made, or, without a slash, the name of a systemd credential.
	Key string `json:"key"`
	// Keys of before, of the same form. New secrets are sealed under `key` alone; what was sealed under these is still opened.
	OlderKeys []string `json:"olderKeys,omitempty"`
	// The address of the cloud APIs, the admin API, health and metrics.
	Control ControlAddress `json:"control,omitzero"`
	// Where instances ask for their metadata.
	Listeners []Listener `json:"listeners"`
	// Where the nodes of a fleet get what they serve. Default: there are none.
	Feed *Feed `json:"feed,omitempty"`
	// Instances file, beside the instances that are launched; it is followed while the program runs.
	Instances string `json:"instances,omitempty"`
	// Networks that instances are launched in, by dialect. Without one, launches of that dialect find no address.
	Places Places `json:"places,omitzero"`
	// The record of all calls of the APIs.
	Audit Audit `json:"audit,omitzero"`
	// The operator's own interface.
	Admin Admin `json:"admin,omitzero"`
	// Limit of each instance's requests.
	Throttle Throttle `json:"throttle,omitzero"`
	// Limits of connections and time.
	Limits Limits `json:"limits,omitzero"`
	// Names and addresses, besides the service's own, that clients may send as Host.
	Hosts []string `json:"hosts,omitempty"`
	// Choices where the clouds' behaviour differs or is not known.
	Security Security `json:"security,omitzero"`
	// How identity documents are signed.
	Identity Identity `json:"identity,omitzero"`
	// Where the credentials of roles come from. Default: from our own STS.
	Credentials RoleCredentials `json:"credentials,omitzero"`
	// How the clouds' monitoring APIs show usage.
	Monitoring Monitoring `json:"monitoring,omitzero"`
	// Where usage is kept, besides the state folder.
	Usage Usage `json:"usage,omitzero"`
}

// ControlAddress is where operators and the clouds' clients call.
type ControlAddress struct {
	// IP address and port. It speaks plain HTTP: give it an address that only operators reach. Default: `127.0.0.1:8180`.
	Address string `json:"address,omitempty"`
}

// Listener is one address that instances ask.
type Listener struct {
	// Which service answers there: `ecs` or `ec2`.
	Dialect string `json:"dialect"`
	// IP address and port, such as `169.254.169.254:80`.
	Address string `json:"address"`
	// Network whose instances call there. Default: on an interface, that of the instances attached to it; in a namespace, the one that is called like the namespace; else `default`.
	Network string `json:"network,omitempty"`
	// Interface of the host to listen on, such as `tap7`, or a pattern, such as `tap*`: listeners open and close as interfaces come and go. They answer the instances whose interfaces have that `attachment`, each from its own addresses alone.
	Interface string `json:"interface,omitempty"`
	// Network namespace to listen in: a name below `/run/netns`, a path, or a pattern of one, such as `tenant-*`.
	Namespace string `json:"namespace,omitempty"`
	// Put the address on the interface while it is listened on, and take it back. Default: `false`.
	Attach bool `json:"attach,omitempty"`
	// Refuse callers whose hardware address, as the kernel's neighbour table has it, is not that of the instance's interface: for bridges with many guests. Default: `false`.
	CheckHardwareAddress bool `json:"checkHardwareAddress,omitempty"`
	// Drop packets whose TTL or hop limit is lower than this, 1 to 255. Default: none are dropped.
	MinTTL int `json:"minTTL,omitempty"`
	// File with the key of forwarders, 64 hexadecimal digits or more: then only they connect there, and each connection begins with a header of the PROXY protocol that proves for whom it is.
	ProxyKeyFile string `json:"proxyKeyFile,omitempty"`
}

// Places are the networks that instances are launched in.
type Places struct {
	// For RunInstances of the EC2 API.
	EC2 *Place `json:"ec2,omitempty"`
	// For RunInstances and CreateInstance of the ECS API.
	ECS *Place `json:"ecs,omitempty"`
}

// Place is a network that instances are launched in. They get the next free
// address of its subnet.
type Place struct {
	// Region that the APIs list first, such as `us-east-1`.
	Region string `json:"region"`
	// Zone of the instances, such as `us-east-1a`.
	Zone string `json:"zone"`
	// Zone id (EC2), such as `use1-az4`.
	ZoneID string `json:"zoneId,omitempty"`
	// Network of the instances, which a listener names too. Default: `default`.
	Network string `json:"network,omitempty"`
	// Their VPC.
	VPC instance.VPC `json:"vpc"`
	// Their subnet (EC2) or vSwitch (ECS); it must have an IPv4 block.
	Subnet instance.Subnet `json:"subnet"`
	// Their security groups.
	SecurityGroups []instance.SecurityGroup `json:"securityGroups,omitempty"`
	// Services that the provider names to its guests.
	Services instance.Services `json:"services,omitzero"`
	// Block from which each also gets the address that it calls from, where that is not the one of its interface: on loopback, behind a proxy.
	Sources netip.Prefix `json:"sources,omitzero"`
	// Block of the public addresses that launches may ask for. Default: there are none to give.
	Public netip.Prefix `json:"public,omitzero"`
}

// Audit is how much of the audit log is kept. It is the file `audit.log` of
// the state folder, with older ones beside it.
type Audit struct {
	// Bytes after which a new file is begun. Default: 67108864, 64 MiB.
	RotateSize int `json:"rotateSize,omitempty"`
	// Time after which a new file is begun. Default: 24h.
	RotateAfter time.Duration `json:"rotateAfter,omitempty"`
	// Older files that are kept. Default: 30.
	Keep int `json:"keep,omitempty"`
}

// Admin is the operator's own interface, on the control address.
type Admin struct {
	// File with the token that its callers send as `Authorization: Bearer TOKEN`. It is made at the first start, open to its owner alone. Default: `admin-token` in the state folder.
	TokenFile string `json:"tokenFile,omitempty"`
}

// DefaultControl is the control address of a file that names none.
const DefaultControl = "127.0.0.1:8180"

// Service returns the settings that `imds dev` has too.
func (s Serve) Service() Service {
	return Service{Throttle: s.Throttle, Limits: s.Limits, Hosts: s.Hosts, Security: s.Security, Identity: s.Identity, Credentials: s.Credentials, Monitoring: s.Monitoring}
}

// Of returns the place of a dialect, nil if there is none.
func (p Places) Of(dialect string) *Place {
	if dialect == instance.DialectECS {
		return p.ECS
	}
	return p.EC2
}

// LoadServe reads the file of `imds serve`. The error is that of the file
// system, or Problems.
func LoadServe(path string) (Serve, error) {
	data, err := readSettings(path)
	if err != nil {
		return Serve{}, err
	}
	return ParseServe(path, data)
}

// ParseServe reads the text of that file, fills in defaults and resolves paths
// against the folder of name, which also stands in problems. The error is
// Problems.
func ParseServe(name string, data []byte) (Serve, error) {
	var s Serve
	doc, err := Parse(name, data)
	if err != nil {
		return s, err
	}
	c := checker{doc: doc, problems: doc.decode(&s)}
	c.serve(s)
	s.fill(filepath.Dir(name))
	return s, c.problems.err()
}

// fill sets defaults and makes paths whole.
func (s *Serve) fill(folder string) {
	whole := func(path *string) { *path = wholePath(folder, *path) }
	if s.Feed != nil {
		s.Feed.fill(folder)
	}
	if s.Control.Address == "" {
		s.Control.Address = DefaultControl
	}
	whole(&s.State)
	whole(&s.Admin.TokenFile)
	if s.Admin.TokenFile == "" {
		s.Admin.TokenFile = s.State + "/admin-token"
	}
	whole(&s.Instances)
	s.Usage.Remote.fill(folder)
	for i := range s.Credentials.Sources {
		whole(&s.Credentials.Sources[i].KeyFile)
	}
	if !IsCredential(s.Key) {
		whole(&s.Key)
	}
	for i := range s.OlderKeys {
		if !IsCredential(s.OlderKeys[i]) {
			whole(&s.OlderKeys[i])
		}
	}
	s.Throttle.fill()
}

// IsCredential reports whether a key is named by a systemd credential, and not
// by a path.
func IsCredential(key string) bool { return !strings.Contains(key, "/") }
