package ecsrpc

// actions are what the API can do, by name.
var actions = map[string]action{
	"RunInstances":   does(runInstances),
	"CreateInstance": does(createInstance),

	"DescribeInstances":         does(describeInstances),
	"DescribeInstanceAttribute": does(describeInstanceAttribute),
	"DescribeUserData":          does(describeUserData),

	"ModifyInstanceMetadataOptions": does(modifyInstanceMetadataOptions),
	"ModifyInstanceAttribute":       does(modifyInstanceAttribute),

	"StartInstance":   does(startInstance),
	"StopInstance":    does(stopInstance),
	"RebootInstance":  does(rebootInstance),
	"DeleteInstance":  does(deleteInstance),
	"StartInstances":  does(startInstances),
	"StopInstances":   does(stopInstances),
	"RebootInstances": does(rebootInstances),
	"DeleteInstances": does(deleteInstances),

	"AttachInstanceRamRole":   does(attachInstanceRAMRole),
	"DetachInstanceRamRole":   does(detachInstanceRAMRole),
	"DescribeInstanceRamRole": does(describeInstanceRAMRole),

	"CreateKeyPair":    does(createKeyPair),
	"ImportKeyPair":    does(importKeyPair),
	"DescribeKeyPairs": does(describeKeyPairs),
	"DeleteKeyPairs":   does(deleteKeyPairs),
	"AttachKeyPair":    does(attachKeyPair),
	"DetachKeyPair":    does(detachKeyPair),

	"TagResources":     does(tagResources),
	"UntagResources":   does(untagResources),
	"ListTagResources": does(listTagResources),

	"DescribeImages":       does(describeImages),
	"CreateImage":          does(createImage),
	"ModifyImageAttribute": does(modifyImageAttribute),

	"DescribeRegions": does(describeRegions),
	"DescribeZones":   does(describeZones),
}
