package ec2query

// action decodes the parameters of one call, carries it out and returns its
// reply.
type action func(c *call, parameters *node) (response, error)

// does makes an action of a function that takes decoded parameters. Accepted
// names parameters that are taken and have no effect.
func does[P any](run func(*call, *P) (response, error), accepted ...string) action {
	return func(c *call, parameters *node) (response, error) {
		p := new(P)
		if err := decode(parameters, p, accepted); err != nil {
			return nil, err
		}
		return run(c, p)
	}
}

// withoutEffect are the parameters that real clients send at launch, in a
// launch template or with an image and that nothing here depends on: they are
// accepted by name, whatever they say, and not kept (EC2-API-08).
var (
	launchWithoutEffect = []string{
		"AdditionalInfo", "CapacityReservationSpecification", "CpuOptions", "CreditSpecification", "ElasticGpuSpecification",
		"ElasticInferenceAccelerator", "EnablePrimaryIpv6", "LicenseSpecification", "MaintenanceOptions",
		"NetworkPerformanceOptions", "Operator", "PrivateDnsNameOptions",
	}
	imageWithoutEffect = []string{
		"BillingProduct", "BlockDeviceMapping", "BootMode", "EnaSupport", "ImageLocation", "SriovNetSupport", "TpmSupport",
		"UefiData", "VirtualizationType", "KernelId", "RamdiskId",
	}
)

// actions is the table of what the API can do.
func actions() map[string]action {
	return map[string]action{
		"RunInstances":            does(runInstances, launchWithoutEffect...),
		"DescribeInstances":       does(describeInstances),
		"DescribeInstanceStatus":  does(describeInstanceStatus),
		"StartInstances":          does(startInstances, "AdditionalInfo"),
		"StopInstances":           does(stopInstances),
		"RebootInstances":         does(rebootInstances),
		"TerminateInstances":      does(terminateInstances, "Force", "SkipOsShutdown"),
		"ModifyInstanceAttribute": does(modifyInstanceAttribute, "Force"),

		"DescribeInstanceAttribute":      does(describeInstanceAttribute),
		"ModifyInstanceMetadataOptions":  does(modifyInstanceMetadataOptions),
		"ModifyInstanceMetadataDefaults": does(modifyInstanceMetadataDefaults),
		"GetInstanceMetadataDefaults":    does(getInstanceMetadataDefaults),

		"DescribeImages":         does(describeImages, "ExecutableBy", "IncludeDeprecated", "IncludeDisabled"),
		"RegisterImage":          does(registerImage, imageWithoutEffect...),
		"ModifyImageAttribute":   does(modifyImageAttribute),
		"DescribeImageAttribute": does(describeImageAttribute),

		"CreateTags":   does(createTags),
		"DeleteTags":   does(deleteTags),
		"DescribeTags": does(describeTags),

		"AssociateIamInstanceProfile":            does(associateProfile),
		"DisassociateIamInstanceProfile":         does(disassociateProfile),
		"ReplaceIamInstanceProfileAssociation":   does(replaceProfile),
		"DescribeIamInstanceProfileAssociations": does(describeProfiles),

		"AssignPrivateIpAddresses":        does(assignPrivateIPs),
		"UnassignPrivateIpAddresses":      does(unassignPrivateIPs),
		"AssignIpv6Addresses":             does(assignIPv6s),
		"UnassignIpv6Addresses":           does(unassignIPv6s),
		"CreateNetworkInterface":          does(createInterface, "InterfaceType", "EnablePrimaryIpv6", "ConnectionTrackingSpecification", "Operator"),
		"DescribeNetworkInterfaces":       does(describeInterfaces),
		"ModifyNetworkInterfaceAttribute": does(modifyInterface),
		"AttachNetworkInterface":          does(attachInterface, "EnaSrdSpecification", "EnaQueueCount"),
		"DetachNetworkInterface":          does(detachInterface),
		"DeleteNetworkInterface":          does(deleteInterface),

		"CreateLaunchTemplate":           does(createLaunchTemplate),
		"CreateLaunchTemplateVersion":    does(createLaunchTemplateVersion, "ResolveAlias"),
		"ModifyLaunchTemplate":           does(modifyLaunchTemplate),
		"DescribeLaunchTemplates":        does(describeLaunchTemplates),
		"DescribeLaunchTemplateVersions": does(describeLaunchTemplateVersions, "ResolveAlias"),
		"DeleteLaunchTemplate":           does(deleteLaunchTemplate),

		"ImportKeyPair":    does(importKeyPair),
		"CreateKeyPair":    does(createKeyPair),
		"DescribeKeyPairs": does(describeKeyPairs),
		"DeleteKeyPair":    does(deleteKeyPair),

		"DescribeRegions":           does(describeRegions),
		"DescribeAvailabilityZones": does(describeAvailabilityZones),
	}
}
