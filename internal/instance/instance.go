// Package instance is the domain: what an instance is, whichever cloud's
// dialect describes it. A value of type Instance is immutable once it is
// handed to a node; a change is a new value.
//
// The json tags are also the keys of the instances file; the comment of a
// field is its reference documentation.
package instance

import (
	"net/netip"
	"time"
)

// Instance is one machine and everything its metadata can say about it.
type Instance struct {
	// Identifier, unique in the file: `i-` and 17 hexadecimal digits for EC2, `i-` and 20 letters and digits for ECS.
	ID string `json:"id"`
	// Which service answers the instance: `ecs` or `ec2`.
	Dialect string `json:"dialect"`
	// Network in which the instance's addresses are unique. Listeners name the network they serve. Default: `default`.
	Network string `json:"network,omitempty"`
	// Host whose node answers the instance, by the node's name. Default: the data plane of the control plane itself.
	Node string `json:"node,omitempty"`
	// Addresses the instance calls from, when they are not the addresses of its interfaces (on loopback, behind a proxy).
	Sources []netip.Addr `json:"sources,omitempty"`
	// Name a person gave it (ECS `instance/instance-name`).
	Name string `json:"name,omitempty"`
	// Host name the service reports; inside, the machine may call itself something else.
	Hostname string `json:"hostname,omitempty"`
	// Owner's account id: 16 digits for ECS, 12 for EC2.
	Account string `json:"account"`
	// Region id, such as `cn-hangzhou` or `us-east-1`.
	Region string `json:"region"`
	// Zone, such as `cn-hangzhou-i` or `us-east-1a`.
	Zone string `json:"zone"`
	// Zone id that means the same zone in every account (EC2), such as `use1-az4`.
	ZoneID string `json:"zoneId,omitempty"`
	// Instance type, such as `ecs.g7.large` or `m7g.large`.
	Type string `json:"type"`
	// Serial number of the machine, a UUID; equal to the DMI serial.
	Serial string `json:"serial,omitempty"`
	// Operating system: `linux` (default) or `windows`.
	Platform string `json:"platform,omitempty"`
	// Processor architecture: `x86_64` (default), `arm64` or `i386`.
	Architecture string `json:"architecture,omitempty"`
	// State: `running` (default), `pending`, `stopping`, `stopped`, `shutting-down` or `terminated`. Only a running instance is answered.
	State string `json:"state,omitempty"`
	// Place in the batch that one launch request made, from 0.
	LaunchIndex int `json:"launchIndex,omitempty"`
	// Identifier of that launch request (EC2).
	ReservationID string `json:"reservationId,omitempty"`
	// When the instance was launched or last started.
	Started time.Time `json:"started,omitzero"`
	// When the instance last came to its present host (ECS).
	Landed time.Time `json:"landed,omitzero"`
	// How it is paid for: `on-demand` (default) or `spot`.
	Lifecycle string `json:"lifecycle,omitempty"`
	// What the machine was started from.
	Image Image `json:"image"`
	// The virtual machine itself.
	Machine Machine `json:"machine,omitzero"`
	// Where it stands (EC2).
	Placement Placement `json:"placement,omitzero"`
	// Access to the metadata service.
	Metadata MetadataOptions `json:"metadata,omitzero"`
	// Session tokens minted for an older generation are refused: raise it to revoke every session.
	Generation uint64 `json:"generation,omitempty"`
	// Network interfaces; the first is the primary one.
	Interfaces []Interface `json:"interfaces"`
	// Disks and volumes, in order of attachment.
	Disks []Disk `json:"disks,omitempty"`
	// Public keys given at launch.
	KeyPairs []KeyPair `json:"keyPairs,omitempty"`
	// Role of the instance, with the credentials to serve.
	Role *Role `json:"role,omitempty"`
	// Identity credentials of the instance itself (EC2 `identity-credentials`).
	Identity *Credentials `json:"identity,omitempty"`
	// Tags, by key.
	Tags map[string]string `json:"tags,omitempty"`
	// User data, served as it is; text, or `!!binary` with base64. At most 16 KiB (EC2) or 32 KiB (ECS).
	UserData []byte `json:"userData,omitempty"`
	// Vendor data (ECS), served as it is.
	VendorData []byte `json:"vendorData,omitempty"`
	// What is going to happen to the instance, or has.
	Events Events `json:"events,omitzero"`
	// State that Auto Scaling wants (EC2), such as `InService`; empty outside a group.
	AutoScaling string `json:"autoScaling,omitempty"`
	// Services that the provider names to its guests.
	Services Services `json:"services,omitzero"`
	// SSH keys that are valid for a minute (EC2 Instance Connect).
	ManagedSSH ManagedSSH `json:"managedSsh,omitzero"`
	// Accelerator associations by id, each a JSON text (EC2, retired service).
	ElasticGPUs map[string]string `json:"elasticGpus,omitempty"`
	// Inference accelerator associations by id, each a JSON text (EC2, retired service).
	ElasticInference map[string]string `json:"elasticInference,omitempty"`
}

// Image is what an instance was started from.
type Image struct {
	// Identifier, such as `ami-0123456789abcdef0` or `aliyun_3_x64_20G_alibase_20240819.vhd`.
	ID string `json:"id"`
	// Manifest path of an instance-store image (EC2).
	ManifestPath string `json:"manifestPath,omitempty"`
	// Images this one was bundled from (EC2).
	Ancestors []string `json:"ancestors,omitempty"`
	// Marketplace product codes; ECS has at most one.
	ProductCodes []string `json:"productCodes,omitempty"`
	// How the marketplace image is charged (ECS), such as `PrePaid`.
	ChargeType string `json:"chargeType,omitempty"`
	// Billing products (EC2 identity document).
	BillingProducts []string `json:"billingProducts,omitempty"`
	// Kernel of a paravirtual machine (EC2).
	KernelID string `json:"kernelId,omitempty"`
	// RAM disk of a paravirtual machine (EC2).
	RAMDiskID string `json:"ramdiskId,omitempty"`
}

// Machine is the virtual hardware.
type Machine struct {
	// Underlying virtualization (EC2): `nitro` (default) or `xen`.
	System string `json:"system,omitempty"`
	// Profile (EC2): `default-hvm` (default) or `default-paravirtual`.
	Profile string `json:"profile,omitempty"`
	// Virtualization solution (ECS). Default: `ECS Virt`.
	Solution string `json:"solution,omitempty"`
	// Its version (ECS). Default: `2.0`.
	SolutionVersion string `json:"solutionVersion,omitempty"`
	// Outgoing bandwidth in Kbit/s (ECS).
	EgressKbps int `json:"egressKbps,omitempty"`
	// Incoming bandwidth in Kbit/s (ECS).
	IngressKbps int `json:"ingressKbps,omitempty"`
	// Packets per second (ECS).
	MaxPPS int `json:"maxPps,omitempty"`
	// Connections (ECS).
	MaxConnections int `json:"maxConnections,omitempty"`
	// Whether the instance may hibernate.
	Hibernation bool `json:"hibernation,omitempty"`
	// Whether detailed monitoring is on (EC2).
	Monitoring bool `json:"monitoring,omitempty"`
	// What the guest is asked to do for bundling (EC2 `instance-action`): `none` (default), `shutdown` or `bundle-pending`.
	Action string `json:"action,omitempty"`
}

// Placement is where an EC2 instance stands.
type Placement struct {
	// Placement group.
	GroupName string `json:"groupName,omitempty"`
	// Dedicated host.
	HostID string `json:"hostId,omitempty"`
	// Partition in the group, from 1.
	Partition int `json:"partition,omitempty"`
}

// Services are the names of the provider's services as guests see them.
type Services struct {
	// DNS domain of the services (EC2). Default: that of the region, such as `amazonaws.com`.
	Domain string `json:"domain,omitempty"`
	// Partition (EC2). Default: that of the region, such as `aws`.
	Partition string `json:"partition,omitempty"`
	// Name servers (ECS).
	Nameservers []netip.Addr `json:"nameservers,omitempty"`
	// Time servers (ECS).
	NTPServers []string `json:"ntpServers,omitempty"`
	// Package mirrors (ECS, Linux).
	Mirrors []string `json:"mirrors,omitempty"`
	// Windows activation server (ECS, Windows).
	KMSServer string `json:"kmsServer,omitempty"`
	// Windows update server (ECS, Windows).
	WSUSServer string `json:"wsusServer,omitempty"`
	// Windows update status server (ECS, Windows).
	WSUSStatusServer string `json:"wsusStatusServer,omitempty"`
	// Cloud Assistant server, in clouds that have their own (ECS).
	AssistServer string `json:"assistServer,omitempty"`
}

// KeyPair is a public key given at launch.
type KeyPair struct {
	// Identifier (ECS), such as `skp-bp1…`.
	ID string `json:"id,omitempty"`
	// Name.
	Name string `json:"name"`
	// The key in the form of an authorized_keys line, without a line end.
	PublicKey string `json:"publicKey"`
}

// ManagedSSH holds the keys that Instance Connect pushed, and the certificates
// that vouch for them.
type ManagedSSH struct {
	// Keys pushed, by user.
	Keys []ManagedKey `json:"keys,omitempty"`
	// Certificate chain of the signer, PEM.
	SignerCertificate string `json:"signerCertificate,omitempty"`
	// OCSP answers, base64, by the SHA-1 fingerprint of the certificate.
	SignerOCSP map[string]string `json:"signerOcsp,omitempty"`
}

// ManagedKey is what one user may log in with until it expires.
type ManagedKey struct {
	// Operating system user.
	User string `json:"user"`
	// When the keys are no longer served; zero: never.
	Expires time.Time `json:"expires,omitzero"`
	// Blocks as Instance Connect's parser expects them: comments, key, signature.
	Text string `json:"text"`
}
