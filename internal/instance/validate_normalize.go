package instance

import (
	"cmp"
	"path"
	"strings"
)

// Names of the dialects.
const (
	DialectECS = "ecs"
	DialectEC2 = "ec2"
)

// Normalize fills in what the fields' comments name as defaults, writes
// hardware addresses in lower case and namespaces of the host in their one
// spelling, and cuts the line ends off public keys. It
// changes in and what in points to, which nobody else may hold yet. Doing it
// again changes nothing.
//
// What depends on the time, such as when credentials expire, is left to the
// one who answers.
func Normalize(in *Instance) {
	setDefault(&in.Network, "default")
	setDefault(&in.Platform, "linux")
	setDefault(&in.Architecture, "x86_64")
	setDefault(&in.State, "running")
	setDefault(&in.Lifecycle, "on-demand")
	setDefault(&in.Metadata.HTTPTokens, Optional)
	setDefault(&in.Metadata.HTTPEndpoint, Enabled)
	setDefault(&in.Metadata.InstanceMetadataTags, Disabled)
	switch in.Dialect {
	case DialectEC2:
		normalizeEC2(in)
	case DialectECS:
		normalizeECS(in)
	}
	for i := range in.Interfaces {
		normalizeInterface(&in.Interfaces[i], in.Account)
	}
	for i := range in.Disks {
		setDefault(&in.Disks[i].Kind, DiskData)
	}
	for i := range in.KeyPairs {
		k := &in.KeyPairs[i]
		k.PublicKey = strings.TrimRight(k.PublicKey, "\r\n")
	}
	if s := in.Events.Spot; s != nil {
		s.Action = s.SpotAction()
	}
	for i := range in.Events.Maintenance {
		setDefault(&in.Events.Maintenance[i].State, EventActive)
	}
	for i := range in.Events.System {
		setDefault(&in.Events.System[i].Status, "Scheduled")
	}
}

func normalizeEC2(in *Instance) {
	m := &in.Metadata
	m.HTTPPutResponseHopLimit = cmp.Or(m.HTTPPutResponseHopLimit, 1)
	setDefault(&m.HTTPProtocolIPv6, Disabled)
	setDefault(&in.Machine.System, "nitro")
	setDefault(&in.Machine.Profile, "default-hvm")
	setDefault(&in.Machine.Action, "none")
	setDefault(&in.Services.Domain, "amazonaws.com")
	setDefault(&in.Services.Partition, "aws")
	if in.Role != nil && in.Role.Name != "" {
		setDefault(&in.Role.ProfileARN,
			"arn:"+in.Services.Partition+":iam::"+in.Account+":instance-profile/"+in.Role.Name)
	}
}

func normalizeECS(in *Instance) {
	setDefault(&in.Machine.Solution, "ECS Virt")
	setDefault(&in.Machine.SolutionVersion, "2.0")
	for i := range in.Disks {
		setDefault(&in.Disks[i].Serial, strings.TrimPrefix(in.Disks[i].ID, "d-"))
	}
}

func normalizeInterface(f *Interface, account string) {
	f.MAC = strings.ToLower(f.MAC)
	setDefault(&f.Owner, account)
	f.Attachment.Namespace = namespaceName(f.Attachment.Namespace)
	for i := range f.Public {
		f.Public[i].Private = f.PrivateOf(f.Public[i])
	}
}

// namespaceName returns the one spelling of a namespace: the path of one that
// has a name is its name.
func namespaceName(s string) string {
	if !strings.Contains(s, "/") {
		return s
	}
	s = path.Clean(s)
	for _, dir := range []string{"/run/netns/", "/var/run/netns/"} {
		if name, ok := strings.CutPrefix(s, dir); ok && !strings.Contains(name, "/") {
			return name
		}
	}
	return s
}

func setDefault(field *string, value string) {
	*field = cmp.Or(*field, value)
}
