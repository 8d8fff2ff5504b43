package ec2query_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"openimds/internal/control"
	"openimds/internal/state"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// TestNetworkRefusals: what a network interface cannot do has the vendor's
// code (EC2-API-15, EC2-API-16).
func TestNetworkRefusals(t *testing.T) {
	b := newBench(t)
	id := b.launch()
	primary := all(t, b.ok("DescribeInstances", "InstanceId.1", id), "networkInterfaceId")[0]
	address := all(t, b.ok("DescribeInstances", "InstanceId.1", id), "privateIpAddress")[0]
	free := all(t, b.ok("CreateNetworkInterface", "SubnetId", "subnet-0123456789abcdef0"), "networkInterfaceId")[0]
	const none = "eni-00000000000000000"
	run := func(more ...string) []string {
		return append([]string{"RunInstances", "ImageId", plain, "MinCount", "1", "MaxCount", "1"}, more...)
	}
	two := func(more ...string) []string {
		return append([]string{"RunInstances", "ImageId", plain, "MinCount", "2", "MaxCount", "2"}, more...)
	}
	for _, c := range []struct {
		code, say string
		call      []string
	}{
		{"MissingParameter", "NetworkInterfaceId", []string{"AssignPrivateIpAddresses", "SecondaryPrivateIpAddressCount", "1"}},
		{"MissingParameter", "SubnetId", []string{"CreateNetworkInterface"}},
		{"MissingParameter", "DeviceIndex", []string{"AttachNetworkInterface", "NetworkInterfaceId", free, "InstanceId", id}},
		{"InvalidNetworkInterfaceId.Malformed", "eni-", []string{"DeleteNetworkInterface", "NetworkInterfaceId", "x"}},
		{"InvalidNetworkInterfaceID.NotFound", none, []string{"DescribeNetworkInterfaces", "NetworkInterfaceId.1", none}},
		{"InvalidNetworkInterfaceID.NotFound", none, []string{"AssignIpv6Addresses", "NetworkInterfaceId", none, "Ipv6AddressCount", "1"}},
		{"InvalidNetworkInterface.InUse", primary, []string{"DeleteNetworkInterface", "NetworkInterfaceId", primary}},
		{"InvalidNetworkInterface.InUse", primary, []string{"AttachNetworkInterface", "NetworkInterfaceId", primary, "InstanceId", id, "DeviceIndex", "1"}},
		{"InvalidParameterValue", "device index '0'", []string{"AttachNetworkInterface", "NetworkInterfaceId", free, "InstanceId", id, "DeviceIndex", "0"}},
		{"InvalidInstanceID.NotFound", absent, []string{"AttachNetworkInterface", "NetworkInterfaceId", free, "InstanceId", absent, "DeviceIndex", "1"}},
		{"OperationNotPermitted", "device index 0", []string{"DetachNetworkInterface", "AttachmentId", strings.Replace(primary, "eni-", "eni-attach-", 1)}},
		{"InvalidAttachmentID.NotFound", "eni-attach-0", []string{"DetachNetworkInterface", "AttachmentId", "eni-attach-0"}},
		{"InvalidAttachmentId.Malformed", "x", []string{"DetachNetworkInterface", "AttachmentId", "x"}},
		{"InvalidIPAddress.InUse", address, []string{"AssignPrivateIpAddresses", "NetworkInterfaceId", free, "PrivateIpAddress.1", address}},
		{"InvalidIPAddress.InUse", address, run("PrivateIpAddress", address)},
		{"InvalidParameterValue", "does not fall within", []string{"AssignPrivateIpAddresses", "NetworkInterfaceId", free, "PrivateIpAddress.1", "192.0.2.1"}},
		{"InvalidParameterValue", "cannot be unassigned", []string{"UnassignPrivateIpAddresses", "NetworkInterfaceId", primary, "PrivateIpAddress.1", address}},
		{"InvalidParameterValue", "not assigned", []string{"UnassignIpv6Addresses", "NetworkInterfaceId", primary, "Ipv6Addresses.1", "2001:db8:1::1"}},
		{"InvalidParameterValue", "10.0.1.300", []string{"AssignPrivateIpAddresses", "NetworkInterfaceId", free, "PrivateIpAddress.1", "10.0.1.300"}},
		{"InvalidParameterValue", "twice", []string{"AssignPrivateIpAddresses", "NetworkInterfaceId", free, "PrivateIpAddress.1", "10.0.1.9", "PrivateIpAddress.2", "10.0.1.9"}},
		{"InvalidParameterValue", "257", []string{"AssignPrivateIpAddresses", "NetworkInterfaceId", free, "SecondaryPrivateIpAddressCount", "257"}},
		{"InsufficientFreeAddressesInSubnet", "10.0.1.0/24", []string{"AssignPrivateIpAddresses", "NetworkInterfaceId", free, "SecondaryPrivateIpAddressCount", "256"}},
		{"InvalidParameterCombination", "", []string{"AssignPrivateIpAddresses", "NetworkInterfaceId", free}},
		{"InvalidParameterCombination", "", []string{"AssignPrivateIpAddresses", "NetworkInterfaceId", free, "SecondaryPrivateIpAddressCount", "1", "PrivateIpAddress.1", "10.0.1.9"}},
		{"InvalidParameterCombination", "", []string{"ModifyNetworkInterfaceAttribute", "NetworkInterfaceId", free}},
		{"InvalidParameterCombination", "", []string{"DescribeNetworkInterfaces", "NetworkInterfaceId.1", free, "MaxResults", "5"}},
		{"UnknownParameter", "Nonsense", []string{"DescribeNetworkInterfaces", "Nonsense", "1"}},
		{"InvalidParameterCombination", "device index of 0", run("NetworkInterface.1.DeviceIndex", "1")},
		{"InvalidParameterCombination", "more than one", two("NetworkInterface.1.DeviceIndex", "0", "NetworkInterface.1.NetworkInterfaceId", free)},
		{"InvalidParameterCombination", "more than one", two("PrivateIpAddress", "10.0.1.9")},
		{"InvalidParameterValue", "device index", run("NetworkInterface.1.SubnetId", "subnet-1")},
		{"InvalidSubnetID.Malformed", "net", run("SubnetId", "net")},
		{"InvalidGroupId.Malformed", "g", run("SecurityGroupId.1", "g")},
	} {
		if message := b.refused(400, c.code, c.call[0], c.call[1:]...); !strings.Contains(message, c.say) {
			t.Errorf("%v: %q does not say %q", c.call, message, c.say)
		}
	}
	is(t, b.ok("DescribeNetworkInterfaces", "Filter.1.Name", "status", "Filter.1.Value.1", "available"), "networkInterfaceId", free)
	is(t, b.ok("DescribeNetworkInterfaces", "Filter.1.Name", "attachment.instance-id", "Filter.1.Value.1", id), "networkInterfaceId", primary)
	if n := len(all(t, b.ok("DescribeInstances"), "instanceId")); n != 1 {
		t.Errorf("refused launches left %d instances", n-1)
	}
	b.ok("CreateTags", "ResourceId.1", free, "ResourceId.2", primary, "Tag.1.Key", "a", "Tag.1.Value", "b")
	is(t, b.ok("DescribeTags", "Filter.1.Name", "resource-type", "Filter.1.Value.1", "network-interface"), "resourceType", "network-interface", "network-interface")
}

// TestLaunchEffects: what an item or a reply shows of a launch is kept
// (EC2-API-17, EC2-API-20).
func TestLaunchEffects(t *testing.T) {
	b := newBench(t)
	id := b.launch("Placement.GroupName", "pg", "Placement.PartitionNumber", "3", "HibernationOptions.Configured", "true", "Monitoring.Enabled", "true",
		"BlockDeviceMapping.1.DeviceName", "/dev/xvda", "BlockDeviceMapping.1.Ebs.VolumeSize", "20", "BlockDeviceMapping.2.DeviceName", "/dev/sdb", "BlockDeviceMapping.2.Ebs.VolumeSize", "5",
		"BlockDeviceMapping.3.DeviceName", "/dev/sdc", "BlockDeviceMapping.3.VirtualName", "ephemeral0", "BlockDeviceMapping.4.DeviceName", "/dev/sdd", "BlockDeviceMapping.4.NoDevice", "",
		"DisableApiStop", "true", "InstanceInitiatedShutdownBehavior", "terminate", "EbsOptimized", "true", "EnclaveOptions.Enabled", "true")
	in, _ := b.db.Instances.Get(id)
	if s := in.Spec; s.Placement.GroupName != "pg" || s.Placement.Partition != 3 || !s.Machine.Hibernation || len(s.Disks) != 3 || s.Disks[1].Device != "/dev/sdb" || s.Disks[2].Kind != "ephemeral" {
		t.Errorf("%+v %+v %+v", s.Placement, s.Machine, s.Disks)
	}
	show := func(attribute string, want ...string) {
		t.Helper()
		name := "value"
		switch attribute {
		case "groupSet":
			name = "groupId"
		case "blockDeviceMapping":
			name = "deviceName"
		case "enclaveOptions":
			name = "enabled"
		case "productCodes":
			name = "productCode"
		}
		is(t, b.ok("DescribeInstanceAttribute", "InstanceId", id, "Attribute", attribute), name, want...)
	}
	show("disableApiStop", "true")
	show("instanceInitiatedShutdownBehavior", "terminate")
	show("ebsOptimized", "true")
	show("enclaveOptions", "true")
	show("blockDeviceMapping", "/dev/xvda", "/dev/sdb")
	show("rootDeviceName", "/dev/xvda")
	show("instanceType", "m7g.large")
	show("disableApiTermination", "false")
	show("sourceDestCheck", "true")
	show("enaSupport", "true")
	show("userData", "")
	show("groupSet", "sg-0123456789abcdef0")
	for _, empty := range []string{"kernel", "ramdisk", "sriovNetSupport"} {
		show(empty, "")
	}
	show("productCodes")
	b.refused(400, "InvalidParameterValue", "DescribeInstanceAttribute", "InstanceId", id, "Attribute", "colour")

	b.refused(400, "OperationNotPermitted", "StopInstances", "InstanceId.1", id)
	b.ok("ModifyInstanceAttribute", "InstanceId", id, "DisableApiStop.Value", "false")
	b.ok("ModifyInstanceAttribute", "InstanceId", id, "SourceDestCheck.Value", "false")
	b.ok("ModifyInstanceAttribute", "InstanceId", id, "InstanceInitiatedShutdownBehavior.Value", "stop")
	show("disableApiStop", "false")
	show("sourceDestCheck", "false")
	show("instanceInitiatedShutdownBehavior", "stop")
	b.refused(400, "InvalidParameterCombination", "StopInstances", "InstanceId.1", id, "Hibernate", "true", "Force", "true")
	b.ok("StopInstances", "InstanceId.1", id, "Hibernate", "true")

	plainOne := b.launch()
	b.refused(400, "UnsupportedHibernationConfiguration", "StopInstances", "InstanceId.1", plainOne, "Hibernate", "true")
	once := b.launch("InstanceMarketOptions.MarketType", "spot")
	b.refused(400, "UnsupportedOperation", "StopInstances", "InstanceId.1", once)
	lasting := b.launch("InstanceMarketOptions.MarketType", "spot", "InstanceMarketOptions.SpotOptions.SpotInstanceType", "persistent", "InstanceMarketOptions.SpotOptions.InstanceInterruptionBehavior", "stop")
	b.ok("StopInstances", "InstanceId.1", lasting)
	b.refused(400, "InvalidParameterCombination", "RunInstances", "ImageId", plain, "MinCount", "1", "MaxCount", "1", "InstanceMarketOptions.MarketType", "spot", "InstanceMarketOptions.SpotOptions.InstanceInterruptionBehavior", "stop")
	b.refused(400, "InvalidParameterValue", "RunInstances", "ImageId", plain, "MinCount", "1", "MaxCount", "1", "InstanceMarketOptions.MarketType", "block")
}

// TestAttributeKeys: policies see which attribute is set, and to what
// (POL-KEY-20).
func TestAttributeKeys(t *testing.T) {
	b := newBench(t)
	id := b.launch()
	b.ok("StopInstances", "InstanceId.1", id)
	b.policy(`{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"*","Resource":"*"},
		{"Effect":"Deny","Action":"ec2:ModifyInstanceAttribute","Resource":"*","Condition":{"StringEquals":{"ec2:Attribute":"UserData"}}},
		{"Effect":"Deny","Action":"ec2:ModifyInstanceMetadataOptions","Resource":"*","Condition":{"ForAnyValue:StringEquals":{"ec2:Attribute":"HttpProtocolIpv6"}}},
		{"Effect":"Deny","Action":"ec2:ModifyInstanceAttribute","Resource":"*","Condition":{"StringLike":{"ec2:Attribute/InstanceType":"p5.*"}}}]}`)
	b.refused(403, "UnauthorizedOperation", "ModifyInstanceAttribute", "InstanceId", id, "UserData.Value", "eA==")
	b.refused(403, "UnauthorizedOperation", "ModifyInstanceAttribute", "InstanceId", id, "InstanceType.Value", "p5.48xlarge")
	b.ok("ModifyInstanceAttribute", "InstanceId", id, "InstanceType.Value", "t3.micro")
	b.ok("ModifyInstanceAttribute", "InstanceId", id, "DisableApiTermination.Value", "true")
	b.refused(403, "UnauthorizedOperation", "ModifyInstanceMetadataOptions", "InstanceId", id, "HttpTokens", "required", "HttpProtocolIpv6", "enabled")
	b.ok("ModifyInstanceMetadataOptions", "InstanceId", id, "HttpTokens", "required")
}

// TestSecurityGroupNames: groups may be named by their names.
func TestSecurityGroupNames(t *testing.T) {
	b := newBench(t)
	id := b.launch("SecurityGroup.1", "default")
	is(t, b.ok("DescribeInstanceAttribute", "InstanceId", id, "Attribute", "groupSet"), "groupId", "sg-0123456789abcdef0")
	b.refused(400, "InvalidGroup.NotFound", "RunInstances", "ImageId", plain, "MinCount", "1", "MaxCount", "1", "SecurityGroup.1", "none")
}

// TestStopStart: a start is a new one, and what was pending is applied by it.
func TestStopStart(t *testing.T) {
	b := newBench(t)
	id := b.launch()
	first := all(t, b.ok("DescribeInstances", "InstanceId.1", id), "launchTime")
	b.now = b.now.Add(time.Hour)
	b.ok("StopInstances", "InstanceId.1", id)
	is(t, b.ok("DescribeInstances", "InstanceId.1", id), "launchTime", first...)
	b.ok("StartInstances", "InstanceId.1", id)
	is(t, b.ok("DescribeInstances", "InstanceId.1", id), "launchTime", "2026-03-14T10:26:53.000Z")
}

// TestDuplicates: names that are taken, and client tokens of template versions
// (EC2-API-07, EC2-API-18).
func TestDuplicates(t *testing.T) {
	b := newBench(t)
	first := all(t, b.ok("RegisterImage", "Name", "made-here"), "imageId")[0]
	if image, _ := b.db.Images.Get(first); image.Platform != "linux" || image.Architecture != "x86_64" {
		t.Errorf("platform %q, architecture %q: not what apply makes of a record without", image.Platform, image.Architecture)
	}
	if m := b.refused(400, "InvalidAMIName.Duplicate", "RegisterImage", "Name", "made-here"); m != "AMI name made-here is already in use by AMI "+first {
		t.Error(m)
	}
	key := []string{"KeyName", "mine", "PublicKeyMaterial", base64.StdEncoding.EncodeToString([]byte(publicKey))}
	b.ok("ImportKeyPair", key...)
	b.refused(400, "InvalidKeyPair.Duplicate", "ImportKeyPair", key...)
	b.ok("CreateLaunchTemplate", "LaunchTemplateName", "lt1", "LaunchTemplateData.ImageId", plain)
	version := []string{"LaunchTemplateName", "lt1", "LaunchTemplateData.KeyName", "mine", "ClientToken", "v"}
	for range 2 {
		is(t, b.ok("CreateLaunchTemplateVersion", version...), "versionNumber", "2")
	}
	b.refused(400, "IdempotentParameterMismatch", "CreateLaunchTemplateVersion", "LaunchTemplateName", "lt1", "LaunchTemplateData.KeyName", "other", "ClientToken", "v")
	is(t, b.ok("CreateLaunchTemplateVersion", "LaunchTemplateName", "lt1", "LaunchTemplateData.KeyName", "mine"), "versionNumber", "3")
}

// TestPresigned: a request that is signed in its query runs like any other, and
// only while it lasts.
func TestPresigned(t *testing.T) {
	b := newBench(t)
	id := b.launch()
	presigned := func(query string) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1:8180/?X-Amz-Expires=60&Version=2016-11-15&"+query, nil)
		const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
		uri, _, err := v4.NewSigner().PresignHTTP(t.Context(), aws.Credentials{AccessKeyID: b.key, SecretAccessKey: b.secret}, r, empty, "ec2", region, morning)
		if err != nil {
			t.Fatal(err)
		}
		return httptest.NewRequest(http.MethodGet, uri, nil)
	}
	if status, body := b.do(presigned("Action=DescribeInstances&InstanceId.1=" + id)); status != 200 || len(all(t, body, "instanceId")) != 1 {
		t.Errorf("%d %s", status, body)
	}
	changed := presigned("Action=DescribeInstances")
	changed.URL.RawQuery += "&InstanceId.1=" + id
	if status, body := b.do(changed); status != 403 {
		t.Errorf("%d %s", status, body)
	}
	b.now = b.now.Add(2 * time.Minute)
	status, body := b.do(presigned("Action=DescribeInstances"))
	if code, _ := failureOf(t, body); status != 400 || code != "RequestExpired" {
		t.Errorf("%d %s", status, body)
	}
}

// TestSamplePolicies: every sample does what its page says, through the API,
// as a guard over a key that may do everything.
func TestSamplePolicies(t *testing.T) {
	run := func(more ...string) []string {
		return append([]string{"RunInstances", "ImageId", plain, "MinCount", "1", "MaxCount", "1"}, more...)
	}
	modify := func(more ...string) []string {
		return append([]string{"ModifyInstanceMetadataOptions", "InstanceId", "$"}, more...)
	}
	for _, c := range []struct {
		sample string
		call   []string
		denied bool
	}{
		{"ec2-require-imdsv2", run(), true},
		{"ec2-require-imdsv2", run("MetadataOptions.HttpTokens", "optional"), true},
		{"ec2-require-imdsv2", run("MetadataOptions.HttpTokens", "required"), false},
		{"ec2-require-imdsv2", modify("HttpTokens", "optional"), false},
		{"ec2-forbid-opt-out", modify("HttpTokens", "optional"), true},
		{"ec2-forbid-opt-out", modify("HttpTokens", "required"), false},
		{"ec2-forbid-opt-out", modify("HttpEndpoint", "disabled"), false},
		{"ec2-forbid-opt-out", []string{"ModifyInstanceMetadataDefaults", "HttpTokens", "no-preference"}, true},
		{"ec2-limit-hops", run("MetadataOptions.HttpPutResponseHopLimit", "3"), true},
		{"ec2-limit-hops", run("MetadataOptions.HttpPutResponseHopLimit", "2"), false},
		{"ec2-limit-hops", modify("HttpPutResponseHopLimit", "3"), true},
		{"ec2-limit-hops", modify("HttpPutResponseHopLimit", "1"), false},
		{"ec2-limit-hops", []string{"ModifyInstanceMetadataDefaults", "HttpPutResponseHopLimit", "64"}, true},
		{"ec2-admins-only", modify("HttpTokens", "required"), true},
		{"ec2-admins-only", []string{"ModifyInstanceMetadataDefaults", "HttpTokens", "required"}, true},
		{"ec2-admins-only", run(), false},
		{"ec2-role-credentials-v2", modify("HttpTokens", "required"), false}, // a user's key says nothing of deliveries
	} {
		b := newBench(t)
		id := b.launch()
		document, err := os.ReadFile("../../../docs/policies/" + c.sample + ".json")
		if err != nil {
			t.Fatal(err)
		}
		admin := control.Caller{Dialect: "ec2", Account: account, Region: region, Admin: true}
		if err := b.control.PutPolicy(t.Context(), admin, state.Policy{Name: c.sample, Dialect: "ec2", Guard: true, Document: string(document)}); err != nil {
			t.Fatal(err)
		}
		var pairs []string
		for _, word := range c.call[1:] {
			pairs = append(pairs, strings.Replace(word, "$", id, 1))
		}
		if c.denied {
			b.refused(403, "UnauthorizedOperation", c.call[0], pairs...)
		} else {
			b.ok(c.call[0], pairs...)
		}
	}
}
