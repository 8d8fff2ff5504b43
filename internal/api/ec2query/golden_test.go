package ec2query_test

import (
	"encoding/base64"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

const publicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGtKNPj7QwqaX5g2DyRqFAY5oZCN9kkHhLDpXdjoY5xY someone@somewhere"

// TestReplies plays one conversation in which every action occurs, and holds
// each reply against its golden file.
func TestReplies(t *testing.T) {
	b := newBench(t)
	golden := func(name, body string) string {
		t.Helper()
		file := filepath.Join("testdata", name+".xml")
		if *update {
			if err := os.WriteFile(file, []byte(body+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			return body
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if body+"\n" != string(want) {
			t.Errorf("%s: run with -update and look at the difference; got\n%s", file, body)
		}
		return body
	}
	say := func(action string, pairs ...string) string {
		t.Helper()
		return golden(action, b.ok(action, pairs...))
	}

	say("ImportKeyPair", "KeyName", "mine", "PublicKeyMaterial", base64.StdEncoding.EncodeToString([]byte(publicKey)))
	say("CreateKeyPair", "KeyName", "theirs", "KeyType", "ed25519", "TagSpecification.1.ResourceType", "key-pair", "TagSpecification.1.Tag.1.Key", "a", "TagSpecification.1.Tag.1.Value", "b")
	say("DescribeKeyPairs", "IncludePublicKey", "true")
	say("CreateLaunchTemplate", "LaunchTemplateName", "lt1", "LaunchTemplateData.ImageId", plain, "LaunchTemplateData.InstanceType", "m7g.large",
		"LaunchTemplateData.MetadataOptions.HttpTokens", "required", "LaunchTemplateData.MetadataOptions.HttpPutResponseHopLimit", "2",
		"LaunchTemplateData.TagSpecification.1.ResourceType", "instance", "LaunchTemplateData.TagSpecification.1.Tag.1.Key", "Name", "LaunchTemplateData.TagSpecification.1.Tag.1.Value", "x",
		"VersionDescription", "first", "ClientToken", "t1")
	say("CreateLaunchTemplateVersion", "LaunchTemplateName", "lt1", "SourceVersion", "1", "LaunchTemplateData.KeyName", "mine")
	say("ModifyLaunchTemplate", "LaunchTemplateName", "lt1", "SetDefaultVersion", "2")
	say("DescribeLaunchTemplates")
	say("DescribeLaunchTemplateVersions", "LaunchTemplateName", "lt1")

	run := say("RunInstances", "LaunchTemplate.LaunchTemplateName", "lt1", "LaunchTemplate.Version", "$Latest", "MinCount", "2", "MaxCount", "2",
		"ClientToken", "c1", "IamInstanceProfile.Name", "app", "UserData", base64.StdEncoding.EncodeToString([]byte("#!/bin/sh\n")),
		"NetworkInterface.1.DeviceIndex", "0", "NetworkInterface.1.SubnetId", "subnet-0123456789abcdef0", "NetworkInterface.1.SecurityGroupId.1", "sg-0123456789abcdef0",
		"Placement.AvailabilityZone", "us-east-1a", "Monitoring.Enabled", "true", "EbsOptimized", "true", "BlockDeviceMapping.1.DeviceName", "/dev/xvda",
		"BlockDeviceMapping.1.Ebs.VolumeSize", "20")
	ids := all(t, run, "instanceId")
	id := ids[0]
	say("DescribeInstances", "InstanceId.1", id, "InstanceId.2", ids[1])
	say("DescribeInstanceStatus", "InstanceId.1", id)
	say("ModifyInstanceMetadataOptions", "InstanceId", id, "HttpTokens", "optional", "HttpPutResponseHopLimit", "64")
	say("ModifyInstanceMetadataDefaults", "HttpTokens", "required", "HttpPutResponseHopLimit", "2", "HttpTokensEnforced", "enabled")
	say("GetInstanceMetadataDefaults")
	say("CreateTags", "ResourceId.1", id, "Tag.1.Key", "A", "Tag.1.Value", "b/c d<&>")
	say("DescribeTags", "Filter.1.Name", "resource-id", "Filter.1.Value.1", id)
	say("DeleteTags", "ResourceId.1", id, "Tag.1.Key", "A")
	association := all(t, b.ok("DescribeIamInstanceProfileAssociations", "Filter.1.Name", "instance-id", "Filter.1.Value.1", id), "associationId")[0]
	say("ReplaceIamInstanceProfileAssociation", "AssociationId", association, "IamInstanceProfile.Arn", "arn:aws:iam::123456789012:instance-profile/path/other")
	association = all(t, say("DescribeIamInstanceProfileAssociations", "Filter.1.Name", "instance-id", "Filter.1.Value.1", id), "associationId")[0]
	say("DisassociateIamInstanceProfile", "AssociationId", association)
	say("AssociateIamInstanceProfile", "InstanceId", id, "IamInstanceProfile.Name", "app")
	say("RebootInstances", "InstanceId.1", id)
	say("StopInstances", "InstanceId.1", id, "Force", "true")
	say("ModifyInstanceAttribute", "InstanceId", id, "UserData.Value", base64.StdEncoding.EncodeToString([]byte("changed")))
	say("DescribeInstanceAttribute", "InstanceId", id, "Attribute", "userData")
	say("StartInstances", "InstanceId.1", id)
	say("TerminateInstances", "InstanceId.1", id, "InstanceId.2", ids[1])
	golden("DescribeInstances-terminated", b.ok("DescribeInstances", "InstanceId.1", id))

	nic := all(t, say("CreateNetworkInterface", "SubnetId", "subnet-0123456789abcdef0", "Description", "by itself", "SecurityGroupId.1", "sg-0123456789abcdef0",
		"PrivateIpAddresses.1.PrivateIpAddress", "10.0.1.100", "PrivateIpAddresses.1.Primary", "true", "SecondaryPrivateIpAddressCount", "1", "Ipv6AddressCount", "1",
		"TagSpecification.1.ResourceType", "network-interface", "TagSpecification.1.Tag.1.Key", "a", "TagSpecification.1.Tag.1.Value", "b", "ClientToken", "n1"), "networkInterfaceId")[0]
	holder := b.launch("NetworkInterface.1.DeviceIndex", "0", "NetworkInterface.1.Ipv6Addresses.1.Ipv6Address", "2001:db8:1::99", "NetworkInterface.1.Ipv4PrefixCount", "1",
		"NetworkInterface.2.DeviceIndex", "1", "NetworkInterface.2.NetworkCardIndex", "1", "NetworkInterface.2.PrivateIpAddress", "10.0.1.110", "NetworkInterface.2.PrivateIpAddresses.1.PrivateIpAddress", "10.0.1.111",
		"NetworkInterface.2.Description", "second", "NetworkInterface.2.DeleteOnTermination", "false")
	say("AttachNetworkInterface", "NetworkInterfaceId", nic, "InstanceId", holder, "DeviceIndex", "2")
	say("AssignPrivateIpAddresses", "NetworkInterfaceId", nic, "PrivateIpAddress.1", "10.0.1.120", "Ipv4PrefixCount", "1")
	say("AssignIpv6Addresses", "NetworkInterfaceId", nic, "Ipv6AddressCount", "2", "Ipv6PrefixCount", "1")
	say("DescribeNetworkInterfaces")
	say("UnassignIpv6Addresses", "NetworkInterfaceId", nic, "Ipv6Addresses.1", "2001:db8:1::10")
	say("UnassignPrivateIpAddresses", "NetworkInterfaceId", nic, "PrivateIpAddress.1", "10.0.1.120")
	say("ModifyNetworkInterfaceAttribute", "NetworkInterfaceId", nic, "Description.Value", "changed")
	say("DetachNetworkInterface", "AttachmentId", "eni-attach-"+strings.TrimPrefix(nic, "eni-"))
	say("DeleteNetworkInterface", "NetworkInterfaceId", nic)
	b.ok("TerminateInstances", "InstanceId.1", holder)

	image := all(t, say("RegisterImage", "Name", "made-here", "ImdsSupport", "v2.0", "Architecture", "x86_64", "RootDeviceName", "/dev/sda1", "EnaSupport", "true"), "imageId")[0]
	say("ModifyImageAttribute", "ImageId", plain, "ImdsSupport.Value", "v2.0")
	say("DescribeImageAttribute", "ImageId", plain, "Attribute", "imdsSupport")
	say("DescribeImages", "Filter.1.Name", "name", "Filter.1.Value.1", "made-*", "Owner.1", "self")
	if image == "" {
		t.Error("no image id")
	}
	say("DeleteLaunchTemplate", "LaunchTemplateName", "lt1")
	say("DeleteKeyPair", "KeyName", "theirs")
	say("DescribeRegions")
	say("DescribeAvailabilityZones")

	status, body := b.call("NoSuchAction") // EC2-API-03
	if status != 400 {
		t.Errorf("status %d", status)
	}
	golden("error", body)
	if !strings.HasPrefix(body, `<?xml version="1.0" encoding="UTF-8"?>`+"\n<Response><Errors><Error><Code>InvalidAction</Code><Message>") {
		t.Errorf("the form of errors: %s", body)
	}
}
