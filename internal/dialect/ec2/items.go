package ec2

import (
	"slices"

	"openimds/internal/instance"
	"openimds/internal/item"
)

// rows returns the table of metadata items, in the order of their paths. An
// item without a Since has no date in the vendor's documents (EC2-VER-05).
func rows() []item.Row {
	return append(slices.Concat(dynamic(), signatures(), metaData()), item.Row{
		Path: "user-data", Class: item.Opaque, Fact: "EC2-ITEM-080",
		Doc: "The user data, as it was given.",
		Get: userData,
	})
}

func dynamic() []item.Row {
	return []item.Row{
		{
			Path: "dynamic/fws/instance-monitoring", Since: "2009-04-04", Fact: "EC2-ITEM-078",
			Doc: "Whether detailed monitoring is on: `enabled` or `disabled`.",
			Get: monitoring,
		},
		{
			Path: "dynamic/instance-identity/document", Since: "2009-04-04", Class: item.Identity, Fact: "EC2-ITEM-079",
			Doc: "The instance identity document, JSON.",
			Get: identityDocument,
		},
	}
}

func metaData() []item.Row {
	return []item.Row{
		{
			Path: "meta-data/ami-id", Fact: "EC2-ITEM-001",
			Doc: "Id of the image the instance was started from.",
			Get: given(func(in *instance.Instance) string { return in.Image.ID }),
		},
		{
			Path: "meta-data/ami-launch-index", Fact: "EC2-ITEM-002",
			Doc: "Place among the instances of the same launch request, from 0.",
			Get: launchIndex,
		},
		{
			Path: "meta-data/ami-manifest-path", Fact: "EC2-ITEM-003",
			Doc: "Manifest path of an instance-store image, or `(unknown)`.",
			Get: or(func(in *instance.Instance) string { return in.Image.ManifestPath }, "(unknown)"),
		},
		{
			Path: "meta-data/ancestor-ami-ids", Since: "2007-10-10", Fact: "EC2-ITEM-004",
			Doc: "Images the image was bundled from, one a line.",
			Get: linesOf(func(in *instance.Instance) []string { return in.Image.Ancestors }),
		},
		{
			Path: "meta-data/autoscaling/target-lifecycle-state", Since: "2021-07-15", Fact: "EC2-ITEM-005",
			Doc: "State that Auto Scaling is taking the instance to.",
			Get: given(func(in *instance.Instance) string { return in.AutoScaling }),
		},
		{
			Path: "meta-data/block-device-mapping/ami", Since: "2007-12-15", Fact: "EC2-ITEM-006",
			Doc: "Device that holds the root file system.",
			Get: rootDevice,
		},
		{
			Path: "meta-data/block-device-mapping/root", Since: "2007-12-15", Fact: "EC2-ITEM-007",
			Doc: "Device that the root file system is mounted from.",
			Get: rootDevice,
		},
		{
			Path: "meta-data/block-device-mapping/swap", Since: "2007-12-15", Fact: "EC2-ITEM-010",
			Doc: "Device for swapping.",
			Get: swapDevice,
		},
		{
			Path: "meta-data/block-device-mapping/{device}", Since: "2007-12-15", Fact: "EC2-ITEM-008",
			Doc: "Device of an EBS volume (`ebs1`, …) or an instance store volume (`ephemeral0`, …).",
			Get: numberedDevice,
		},
		{
			Path: "meta-data/elastic-gpus/associations/{id}", Since: "2016-11-30", Fact: "EC2-ITEM-076",
			Doc: "An Elastic GPU of the instance, JSON.",
			Get: entry(elasticGPUs),
		},
		{
			Path: "meta-data/elastic-inference/associations/{id}", Since: "2018-11-29", Fact: "EC2-ITEM-077",
			Doc: "An Elastic Inference accelerator of the instance, JSON.",
			Get: entry(elasticInference),
		},
		{
			Path: "meta-data/events/maintenance/history", Since: "2018-08-17", Fact: "EC2-ITEM-011",
			Doc: "Maintenance that is over, a JSON array.",
			Get: history,
		},
		{
			Path: "meta-data/events/maintenance/scheduled", Since: "2018-08-17", Fact: "EC2-ITEM-012",
			Doc: "Maintenance to come, a JSON array.",
			Get: scheduled,
		},
		{
			Path: "meta-data/events/recommendations/rebalance", Since: "2020-10-27", Fact: "EC2-ITEM-013",
			Doc: "When a rebalance was recommended, JSON.",
			Get: rebalance,
		},
		{
			Path: "meta-data/hibernation/configured", Fact: "EC2-ITEM-014",
			Doc: "Whether the instance may hibernate: `true` or `false`.",
			Get: hibernation,
		},
		{
			Path: "meta-data/hostname", Fact: "EC2-ITEM-015",
			Doc: "Private DNS name of the instance.",
			Get: hostname,
		},
		{
			Path: "meta-data/iam/info", Since: "2012-01-12", Fact: "EC2-ITEM-016",
			Doc: "The instance profile, JSON.",
			Get: profile,
		},
		{
			Path: "meta-data/iam/security-credentials/{role}", Since: "2012-01-12", Class: item.Credential, Fact: "EC2-ITEM-017",
			Doc: "Temporary credentials of the instance's role, JSON.",
			Get: roleCredentials, Has: hasRole,
		},
		{
			Path: "meta-data/identity-credentials/ec2/info", Since: "2018-05-23", Fact: "EC2-ITEM-018",
			Doc: "Account of the instance's own credentials, JSON.",
			Get: account,
		},
		{
			Path:  "meta-data/identity-credentials/ec2/security-credentials/ec2-instance",
			Since: "2018-05-23", Class: item.Credential, Fact: "EC2-ITEM-019",
			Doc: "Credentials of the instance itself, which grant nothing, JSON.",
			Get: ownCredentials,
		},
		{
			Path: "meta-data/instance-action", Since: "2008-09-01", Fact: "EC2-ITEM-020",
			Doc: "What the guest is asked to do for bundling: `none`, `shutdown` or `bundle-pending`.",
			Get: or(func(in *instance.Instance) string { return in.Machine.Action }, "none"),
		},
		{
			Path: "meta-data/instance-id", Fact: "EC2-ITEM-021",
			Doc: "Id of the instance.",
			Get: given(func(in *instance.Instance) string { return in.ID }),
		},
		{
			Path: "meta-data/instance-life-cycle", Since: "2019-10-01", Fact: "EC2-ITEM-022",
			Doc: "How the instance is paid for: `on-demand` or `spot`.",
			Get: or(func(in *instance.Instance) string { return in.Lifecycle }, "on-demand"),
		},
		{
			Path: "meta-data/instance-type", Since: "2007-08-29", Fact: "EC2-ITEM-023",
			Doc: "Instance type.",
			Get: given(func(in *instance.Instance) string { return in.Type }),
		},
		{
			Path: "meta-data/ipv6", Since: "2021-01-03", Fact: "EC2-ITEM-024",
			Doc: "First IPv6 address of the primary interface.",
			Get: primary(ipv6),
		},
		{
			Path: "meta-data/kernel-id", Since: "2008-02-01", Fact: "EC2-ITEM-025",
			Doc: "Kernel of a paravirtual instance.",
			Get: given(func(in *instance.Instance) string { return in.Image.KernelID }),
		},
		{
			Path: "meta-data/local-hostname", Since: "2007-01-19", Fact: "EC2-ITEM-027",
			Doc: "Private DNS name of the primary interface.",
			Get: hostname,
		},
		{
			Path: "meta-data/local-ipv4", Fact: "EC2-ITEM-028",
			Doc: "First private IPv4 address of the primary interface.",
			Get: primary(localIPv4),
		},
		{
			Path: "meta-data/mac", Since: "2011-01-01", Fact: "EC2-ITEM-029",
			Doc: "Hardware address of the primary interface.",
			Get: primary(nicText(func(f *instance.Interface) string { return f.MAC })),
		},
		{
			Path: "meta-data/managed-ssh-keys/active-keys/{user}", Fact: "EC2-ITEM-030",
			Doc: "Keys that were pushed for a user and have not expired, each signed.",
			Get: activeKeys,
		},
		{
			Path: "meta-data/managed-ssh-keys/signer-cert", Fact: "EC2-ITEM-031",
			Doc: "Certificate chain of the signer of those keys, PEM.",
			Get: signerCertificate,
		},
		{
			Path: "meta-data/managed-ssh-keys/signer-ocsp/{fingerprint}", Fact: "EC2-ITEM-032",
			Doc: "OCSP answer for a certificate of that chain, base64.",
			Get: entry(signerOCSP),
		},
		{
			Path: "meta-data/metrics/vhostmd", Since: "2011-05-01", Fact: "EC2-ITEM-033",
			Doc: "An XML declaration and nothing after it.",
			Get: constant(`<?xml version="1.0" encoding="UTF-8"?>`),
		},
		{
			Path: "meta-data/network/interfaces/macs/{mac}/device-number", Since: "2011-01-01", Fact: "EC2-ITEM-035",
			Doc: "Number of the device, from 0.",
			Get: nic(deviceNumber),
		},
		{
			Path: "meta-data/network/interfaces/macs/{mac}/interface-id", Since: "2011-01-01", Fact: "EC2-ITEM-036",
			Doc: "Id of the interface.",
			Get: nic(nicText(func(f *instance.Interface) string { return f.ID })),
		},
		{
			Path:  "meta-data/network/interfaces/macs/{mac}/ipv4-associations/{public-ipv4}",
			Since: "2011-01-01", Fact: "EC2-ITEM-037",
			Doc: "Private address behind a public one.",
			Get: association,
		},
		{
			Path: "meta-data/network/interfaces/macs/{mac}/ipv4-prefix", Since: "2011-01-01", Fact: "EC2-ITEM-038",
			Doc: "IPv4 prefixes delegated to the interface, one a line.",
			Get: nic(ipv4Prefixes),
		},
		{
			Path: "meta-data/network/interfaces/macs/{mac}/ipv6-prefix", Since: "2011-01-01", Fact: "EC2-ITEM-039",
			Doc: "IPv6 prefixes delegated to the interface, one a line.",
			Get: nic(ipv6Prefixes),
		},
		{
			Path: "meta-data/network/interfaces/macs/{mac}/ipv6s", Since: "2016-06-30", Fact: "EC2-ITEM-040",
			Doc: "IPv6 addresses, one a line.",
			Get: nic(ipv6s),
		},
		{
			Path: "meta-data/network/interfaces/macs/{mac}/local-hostname", Since: "2011-01-01", Fact: "EC2-ITEM-041",
			Doc: "Private DNS name of the interface.",
			Get: nic(localHostname),
		},
		{
			Path: "meta-data/network/interfaces/macs/{mac}/local-ipv4s", Since: "2011-01-01", Fact: "EC2-ITEM-042",
			Doc: "Private IPv4 addresses, the primary one first, one a line.",
			Get: nic(localIPv4s),
		},
		{
			Path: "meta-data/network/interfaces/macs/{mac}/mac", Since: "2011-01-01", Fact: "EC2-ITEM-043",
			Doc: "Hardware address.",
			Get: nic(nicText(func(f *instance.Interface) string { return f.MAC })),
		},
		{
			Path: "meta-data/network/interfaces/macs/{mac}/network-card", Since: "2020-11-01", Fact: "EC2-ITEM-044",
			Doc: "Network card, on types that have several.",
			Get: nic(networkCard),
		},
		{
			Path: "meta-data/network/interfaces/macs/{mac}/owner-id", Since: "2011-01-01", Fact: "EC2-ITEM-045",
			Doc: "Account the interface belongs to.",
			Get: nic(ownerID),
		},
		{
			Path: "meta-data/network/interfaces/macs/{mac}/public-hostname", Since: "2011-01-01", Fact: "EC2-ITEM-046",
			Doc: "Public DNS name of the interface.",
			Get: nic(nicText(func(f *instance.Interface) string { return f.PublicHostname })),
		},
		{
			Path: "meta-data/network/interfaces/macs/{mac}/public-ipv4s", Since: "2011-01-01", Fact: "EC2-ITEM-047",
			Doc: "Public IPv4 addresses, one a line.",
			Get: nic(publicIPv4s),
		},
		{
			Path: "meta-data/network/interfaces/macs/{mac}/security-group-ids", Since: "2011-01-01", Fact: "EC2-ITEM-049",
			Doc: "Ids of the security groups, one a line.",
			Get: nic(groupIDs),
		},
		{
			Path: "meta-data/network/interfaces/macs/{mac}/security-groups", Since: "2011-01-01", Fact: "EC2-ITEM-048",
			Doc: "Names of the security groups, one a line.",
			Get: nic(groupNames),
		},
		{
			Path: "meta-data/network/interfaces/macs/{mac}/subnet-id", Since: "2011-01-01", Fact: "EC2-ITEM-050",
			Doc: "Id of the subnet.",
			Get: nic(nicText(func(f *instance.Interface) string { return f.Subnet.ID })),
		},
		{
			Path: "meta-data/network/interfaces/macs/{mac}/subnet-ipv4-cidr-block", Since: "2011-01-01", Fact: "EC2-ITEM-051",
			Doc: "IPv4 block of the subnet.",
			Get: nic(subnetIPv4),
		},
		{
			Path: "meta-data/network/interfaces/macs/{mac}/subnet-ipv6-cidr-blocks", Since: "2016-06-30", Fact: "EC2-ITEM-052",
			Doc: "IPv6 blocks of the subnet, one a line.",
			Get: nic(subnetIPv6s),
		},
		{
			Path: "meta-data/network/interfaces/macs/{mac}/vpc-id", Since: "2011-01-01", Fact: "EC2-ITEM-053",
			Doc: "Id of the virtual private cloud.",
			Get: nic(nicText(func(f *instance.Interface) string { return f.VPC.ID })),
		},
		{
			Path: "meta-data/network/interfaces/macs/{mac}/vpc-ipv4-cidr-block", Since: "2011-01-01", Fact: "EC2-ITEM-054",
			Doc: "Primary IPv4 block of the virtual private cloud.",
			Get: nic(vpcIPv4),
		},
		{
			Path: "meta-data/network/interfaces/macs/{mac}/vpc-ipv4-cidr-blocks", Since: "2016-06-30", Fact: "EC2-ITEM-055",
			Doc: "IPv4 blocks of the virtual private cloud, one a line.",
			Get: nic(vpcIPv4s),
		},
		{
			Path: "meta-data/network/interfaces/macs/{mac}/vpc-ipv6-cidr-blocks", Since: "2016-06-30", Fact: "EC2-ITEM-056",
			Doc: "IPv6 blocks of the virtual private cloud, one a line.",
			Get: nic(vpcIPv6s),
		},
		{
			Path: "meta-data/placement/availability-zone", Since: "2008-02-01", Fact: "EC2-ITEM-057",
			Doc: "Availability zone.",
			Get: given(func(in *instance.Instance) string { return in.Zone }),
		},
		{
			Path: "meta-data/placement/availability-zone-id", Since: "2019-10-01", Fact: "EC2-ITEM-058",
			Doc: "Id of the zone, the same in every account.",
			Get: given(func(in *instance.Instance) string { return in.ZoneID }),
		},
		{
			Path: "meta-data/placement/group-name", Since: "2020-08-24", Fact: "EC2-ITEM-059",
			Doc: "Placement group.",
			Get: given(func(in *instance.Instance) string { return in.Placement.GroupName }),
		},
		{
			Path: "meta-data/placement/host-id", Since: "2020-08-24", Fact: "EC2-ITEM-060",
			Doc: "Dedicated host.",
			Get: given(func(in *instance.Instance) string { return in.Placement.HostID }),
		},
		{
			Path: "meta-data/placement/partition-number", Since: "2020-08-24", Fact: "EC2-ITEM-061",
			Doc: "Partition in the placement group, from 1.",
			Get: partitionNumber,
		},
		{
			Path: "meta-data/placement/region", Since: "2020-08-24", Fact: "EC2-ITEM-062",
			Doc: "Region.",
			Get: given(func(in *instance.Instance) string { return in.Region }),
		},
		{
			Path: "meta-data/product-codes", Since: "2007-03-01", Fact: "EC2-ITEM-063",
			Doc: "Marketplace product codes, one a line.",
			Get: linesOf(func(in *instance.Instance) []string { return in.Image.ProductCodes }),
		},
		{
			Path: "meta-data/profile", Fact: "EC2-ITEM-064",
			Doc: "Virtualization profile: `default-hvm` or `default-paravirtual`.",
			Get: or(func(in *instance.Instance) string { return in.Machine.Profile }, "default-hvm"),
		},
		{
			Path: "meta-data/public-hostname", Since: "2007-01-19", Fact: "EC2-ITEM-065",
			Doc: "Public DNS name of the primary interface.",
			Get: primary(nicText(func(f *instance.Interface) string { return f.PublicHostname })),
		},
		{
			Path: "meta-data/public-ipv4", Since: "2007-01-19", Fact: "EC2-ITEM-066",
			Doc: "Public IPv4 address of the primary interface.",
			Get: primary(publicIPv4),
		},
		{
			Path: "meta-data/public-keys/{number}/openssh-key", Fact: "EC2-ITEM-067",
			Doc: "Public key given at launch, with a line end.",
			Get: opensshKey,
		},
		{
			Path: "meta-data/ramdisk-id", Since: "2007-10-10", Fact: "EC2-ITEM-026",
			Doc: "RAM disk of a paravirtual instance.",
			Get: given(func(in *instance.Instance) string { return in.Image.RAMDiskID }),
		},
		{
			Path: "meta-data/reservation-id", Fact: "EC2-ITEM-068",
			Doc: "Id of the launch request.",
			Get: reservation,
		},
		{
			Path: "meta-data/security-groups", Fact: "EC2-ITEM-069",
			Doc: "Names of the primary interface's security groups, one a line.",
			Get: primary(groupNames),
		},
		{
			Path: "meta-data/services/domain", Since: "2014-02-25", Fact: "EC2-ITEM-070",
			Doc: "DNS domain of the provider's services.",
			Get: given(domainOf),
		},
		{
			Path: "meta-data/services/partition", Since: "2015-10-20", Fact: "EC2-ITEM-071",
			Doc: "Partition of the region.",
			Get: given(partitionOf),
		},
		{
			Path: "meta-data/spot/instance-action", Since: "2016-11-15", Fact: "EC2-ITEM-072",
			Doc: "What an announced spot interruption does, and when, JSON.",
			Get: spotAction,
		},
		{
			Path: "meta-data/spot/termination-time", Since: "2014-11-05", Fact: "EC2-ITEM-073",
			Doc: "When a spot instance will be terminated.",
			Get: spotTermination,
		},
		{
			Path: "meta-data/system", Since: "2022-09-24", Fact: "EC2-ITEM-074",
			Doc: "Underlying virtualization: `nitro` or `xen`.",
			Get: or(func(in *instance.Instance) string { return in.Machine.System }, "nitro"),
		},
		{
			Path: "meta-data/tags/instance/{tag}", Since: "2021-03-23", Fact: "EC2-ITEM-075",
			Doc: "Value of a tag, when the instance shows its tags.",
			Get: entry(tags),
		},
	}
}
