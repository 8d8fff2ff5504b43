package ecsrpc_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLaunchRefusals: ECS-API-02, ECS-API-03, ECS-API-07, ECS-API-11.
func TestLaunchRefusals(t *testing.T) {
	b := newBed(t)
	image, kind := "ImageId="+good, "InstanceType=ecs.g7.large"
	for _, tc := range []struct {
		status int
		code   string
		pairs  []string
	}{
		{400, "MissingParameter", []string{kind}},
		{400, "MissingParameter", []string{image}},
		{404, "InvalidImageId.NotFound", []string{kind, "ImageId=none"}},
		{400, "InvalidInstanceType.ValueNotSupported", []string{image, "InstanceType=m7g.large"}},
		{400, "InvalidHttpEndpoint.NotSupported", []string{image, kind, "HttpEndpoint=on"}},
		{400, "InvalidHttpTokens.NotSupported", []string{image, kind, "HttpTokens=Required"}},
		{400, "InvalidHttpPutResponseHopLimit.NotSupported", []string{image, kind, "HttpPutResponseHopLimit=0"}},
		{400, "InvalidHttpPutResponseHopLimit.NotSupported", []string{image, kind, "HttpPutResponseHopLimit=65"}},
		{400, "InvalidParameter", []string{image, kind, "HttpPutResponseHopLimit=two"}},
		{400, "OpenImds.ImageWithoutImdsSupport", []string{"ImageId=" + old, kind, "HttpTokens=required"}},
		{400, "OpenImds.WindowsWithTokensRequired", []string{"ImageId=" + windows, kind, "HttpTokens=required"}},
		{403, "InvalidParam.Amount", []string{image, kind, "Amount=0"}},
		{403, "InvalidParam.Amount", []string{image, kind, "Amount=101"}},
		{403, "InvalidParam.MinAmount", []string{image, kind, "Amount=2", "MinAmount=3"}},
		{400, "InvalidInstanceName.Malformed", []string{image, kind, "InstanceName=1a"}},
		{400, "InvalidInstanceName.Malformed", []string{image, kind, "InstanceName=http://x"}},
		{400, "InvalidHostName.Malformed", []string{image, kind, "HostName=-a"}},
		{400, "InvalidHostName.Malformed", []string{image, kind, "HostName=a..b"}},
		{400, "InvalidHostName.Malformed", []string{"ImageId=" + windows, kind, "HostName=abcdefghijklmnop"}},
		{400, "InvalidHostName.Malformed", []string{"ImageId=" + windows, kind, "HostName=123"}},
		{400, "InvalidUserData.Base64FormatInvalid", []string{image, kind, "UserData=#!/bin/sh"}},
		{400, "InvalidUserData.SizeExceeded", []string{image, kind, "UserData=" + base64.StdEncoding.EncodeToString(make([]byte, 32769))}},
		{400, "InvalidTagKey.Malformed", []string{image, kind, "Tag.1.Key=aliyunx"}},
		{400, "InvalidTagKey.Malformed", []string{image, kind, "Tag.1.Key=acs:x"}},
		{400, "InvalidTagKey.Malformed", []string{image, kind, "Tag.1.Key=" + strings.Repeat("k", 129)}},
		{400, "InvalidTagValue.Malformed", []string{image, kind, "Tag.1.Key=a", "Tag.1.Value=http://x"}},
		{400, "InvalidTagValue.Malformed", []string{image, kind, "Tag.1.Key=a", "Tag.1.Value=" + strings.Repeat("v", 129)}},
		{400, "Duplicate.TagKey", []string{image, kind, "Tag.1.Key=a", "Tag.2.Key=a"}},
		{400, "InvalidTag.Mismatch", []string{image, kind, "Tag.1.Value=a"}},
		{404, "InvalidRamRole.NotFound", []string{image, kind, "RamRoleName=none"}},
		{400, "InvalidKeyPairName.NotFound", []string{image, kind, "KeyPairName=none"}},
		{404, "InvalidVSwitchId.NotFound", []string{image, kind, "VSwitchId=vsw-none"}},
		{404, "InvalidZoneId.NotFound", []string{image, kind, "ZoneId=cn-hangzhou-z"}},
		{404, "InvalidSecurityGroupId.NotFound", []string{image, kind, "SecurityGroupIds.1=sg-none"}},
		{400, "InvalidPrivateIpAddress.Malformed", []string{image, kind, "PrivateIpAddress=x"}},
		{400, "InvalidPrivateIpAddress", []string{image, kind, "PrivateIpAddress=10.0.0.1"}},
		{400, "InvalidPrivateIpAddress", []string{image, kind, "PrivateIpAddress=172.16.0.9", "Amount=2"}},
		{400, "InvalidSpotStrategy", []string{image, kind, "SpotStrategy=Cheap"}},
		{400, "InvalidClientToken.ValueNotSupported", []string{image, kind, "ClientToken=" + strings.Repeat("x", 65)}},
		{404, "InvalidRegionId.NotFound", []string{image, kind, "RegionId=a/b"}},
		{400, "DryRunOperation", []string{image, kind, "DryRun=true"}},
		{400, "OpenImds.ImageWithoutImdsSupport", []string{"ImageId=" + old, kind, "HttpTokens=required", "DryRun=true"}},
	} {
		b.refused(tc.status, tc.code, "RunInstances", tc.pairs...)
	}
	if found := b.ids(); len(found) != 0 {
		t.Errorf("refused launches left %v", found)
	}
}

func TestLaunch(t *testing.T) {
	b := newBed(t)
	image, kind := "ImageId="+good, "InstanceType=ecs.g7.large"
	b.ok("RunInstances", image, kind, "Amount=3", "UniqueSuffix=true", "InstanceName=web", "HostName=web", "SpotStrategy=SpotAsPriceGo")
	var names []string
	for _, i := range b.ok("DescribeInstances").Instances.Instance {
		names = append(names, i.InstanceName+" "+i.HostName+" "+i.SpotStrategy)
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"web001 web001 SpotAsPriceGo", "web002 web002 SpotAsPriceGo", "web003 web003 SpotAsPriceGo"}, names); diff != "" {
		t.Error(diff)
	}

	made := b.ok("CreateInstance", image, kind, "InstanceName=stopped").InstanceID
	if got := b.ok("DescribeInstances", "InstanceIds="+list(made)).Instances.Instance[0].Status; got != "Stopped" {
		t.Errorf("CreateInstance leaves it %s", got)
	}

	address := b.run("PrivateIpAddress=172.16.0.99")
	if got := b.ids(`PrivateIpAddresses=["172.16.0.99"]`); !slices.Equal(got, []string{address}) {
		t.Errorf("found %v", got)
	}
	b.refused(400, "InvalidPrivateIpAddress.Duplicated", "RunInstances", image, kind, "PrivateIpAddress=172.16.0.99")

	// A Windows image: a key pair is ignored, and there are no tokens at launch.
	b.ok("RunInstances", "ImageId="+windows, kind, "KeyPairName=none", "HttpTokens=optional")
}

func TestIdempotency(t *testing.T) {
	b := newBed(t)
	first := b.run("ClientToken=t1", "InstanceName=web")
	if again := b.run("ClientToken=t1", "InstanceName=web"); again != first {
		t.Errorf("the same token gave %s, then %s", first, again)
	}
	b.refused(400, "IdempotentParameterMismatch", "RunInstances", "ImageId="+good, "InstanceType=ecs.g7.large", "ClientToken=t1", "InstanceName=other")
	if other := b.run("ClientToken=t2", "InstanceName=web"); other == first {
		t.Error("another token gave the same instance")
	}
	if n := len(b.ids()); n != 2 {
		t.Errorf("%d instances, want 2", n)
	}
}

// TestModifyOptions: what is not given keeps its value (ECS-API-05).
func TestModifyOptions(t *testing.T) {
	b := newBed(t)
	id := b.run("HttpTokens=required", "HttpPutResponseHopLimit=3")
	shown := func() string {
		m := b.ok("DescribeInstances", "InstanceIds="+list(id), "AdditionalAttributes.1=META_OPTIONS").Instances.Instance[0].Metadata
		return fmt.Sprint(m.HTTPTokens, " ", m.HTTPEndpoint, " ", *m.HopLimit, " ", m.Tags)
	}
	modify := func(want string, pairs ...string) {
		t.Helper()
		b.ok("ModifyInstanceMetadataOptions", append([]string{"InstanceId=" + id}, pairs...)...)
		if got := shown(); got != want {
			t.Errorf("%v: %s, want %s", pairs, got, want)
		}
	}
	if got := shown(); got != "required enabled 3 disabled" {
		t.Errorf("after launch: %s", got)
	}
	modify("required disabled 3 disabled", "HttpEndpoint=disabled")
	modify("optional enabled 64 enabled", "HttpEndpoint=enabled", "HttpTokens=optional", "HttpPutResponseHopLimit=64", "InstanceMetadataTags=enabled")

	id2 := "InstanceId=" + id
	b.refused(400, "MissingParameter", "ModifyInstanceMetadataOptions", id2, "HttpTokens=required")
	b.refused(400, "MissingParameter", "ModifyInstanceMetadataOptions", "HttpEndpoint=enabled")
	b.refused(400, "InvalidHttpEndpoint.NotSupported", "ModifyInstanceMetadataOptions", id2, "HttpEndpoint=x")
	b.refused(400, "InvalidInstanceMetadataTags.NotSupported", "ModifyInstanceMetadataOptions", id2, "HttpEndpoint=enabled", "InstanceMetadataTags=x")
	b.refused(404, "InvalidInstanceId.NotFound", "ModifyInstanceMetadataOptions", "InstanceId=i-none", "HttpEndpoint=enabled")
	out := b.refused(400, "InvalidHttpTokens.NotSupported", "ModifyInstanceMetadataOptions", id2, "HttpEndpoint=enabled", "HttpTokens=x")
	if out.Message != "The specified HttpTokens not supported, you can use optional(default) or required." {
		t.Error(out.Message)
	}
	b.refused(400, "DryRunOperation", "ModifyInstanceMetadataOptions", id2, "HttpEndpoint=disabled", "DryRun=true")
	if got := shown(); got != "optional enabled 64 enabled" {
		t.Errorf("refusals changed it to %s", got)
	}
}

func TestFilters(t *testing.T) {
	b := newBed(t)
	hard := b.run("HttpTokens=required", "InstanceName=web-1", "Tag.1.Key=env", "Tag.1.Value=prod", "HttpPutResponseHopLimit=2")
	soft := b.run("InstanceName=db-1", "Tag.1.Key=env", "Tag.1.Value=test", "HttpEndpoint=disabled")
	b.ok("StopInstance", "InstanceId="+soft)
	both := []string{hard, soft}
	slices.Sort(both)
	for _, tc := range []struct {
		pairs string
		want  []string
	}{
		{"", both},
		{"HttpTokens=required", []string{hard}},
		{"HttpTokens=optional", []string{soft}},
		{"HttpEndpoint=enabled", []string{hard}},
		{"HttpPutResponseHopLimit=2", []string{hard}},
		{"HttpPutResponseHopLimit=0", []string{soft}},
		{"Status=Stopped", []string{soft}},
		{"InstanceName=web*", []string{hard}},
		{"InstanceName=*-1", both},
		{"InstanceName=*b-*", both},
		{"InstanceName=web", nil},
		{"Tag.1.Key=env", both},
		{"Tag.1.Key=env&Tag.1.Value=prod", []string{hard}},
		{"Tag.1.Key=none", nil},
		{"VpcId=vpc-bp1test&VSwitchId=vsw-bp1test&ZoneId=cn-hangzhou-i&InstanceTypeFamily=ecs.g7&SecurityGroupId=sg-bp1test", both},
		{"ImageId=" + old, nil},
		{"InstanceIds=" + list(soft, "i-none"), []string{soft}},
		{"InstanceChargeType=PrePaid", nil},
		{"InstanceNetworkType=vpc", both},
		{"LockReason=security", nil},
		{"Filter.1.Key=CreationStartTime&Filter.1.Value=2026-06-01T12:00Z", both},
		{"Filter.1.Key=CreationEndTime&Filter.1.Value=2026-06-01T11:59Z", nil},
		{"Filter.3.Key=ExpiredStartTime&Filter.3.Value=2026-06-01T12:00Z", both},
	} {
		var pairs []string
		if tc.pairs != "" {
			pairs = strings.Split(tc.pairs, "&")
		}
		if got := b.ids(pairs...); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.pairs, got, tc.want)
		}
	}
	b.refused(404, "InvalidStatus.NotFound", "DescribeInstances", "Status=running")
	b.refused(404, "InvalidInstanceChargeType.NotFound", "DescribeInstances", "InstanceChargeType=Free")
	b.refused(404, "InvalidLockReason.NotFound", "DescribeInstances", "LockReason=x")
	b.refused(404, "InvalidNetworkType.NotFound", "DescribeInstances", "InstanceNetworkType=x")
	b.refused(404, "InvalidFilterKey.NotFound", "DescribeInstances", "Filter.1.Key=x", "Filter.1.Value=y")
	b.refused(400, "InvalidInstanceIds.Malformed", "DescribeInstances", `InstanceIds=["a`)
	b.refused(400, "InvalidTag.Mismatch", "DescribeInstances", "Tag.1.Value=x")

	b.ok("DeleteInstance", "InstanceId="+soft)
	if got := b.ids(); !slices.Equal(got, []string{hard}) {
		t.Errorf("after deletion: %v", got)
	}
	b.refused(404, "InvalidInstanceId.NotFound", "DescribeInstanceAttribute", "InstanceId="+soft)
}

// TestPaging: ECS-API-14.
func TestPaging(t *testing.T) {
	b := newBed(t)
	b.ok("RunInstances", "ImageId="+good, "InstanceType=ecs.g7.large", "Amount=23")
	all := b.ids()
	if len(all) != 23 {
		t.Fatalf("%d instances", len(all))
	}
	var byNumber []string
	for n := 1; n <= 4; n++ {
		out := b.ok("DescribeInstances", fmt.Sprint("PageNumber=", n))
		if out.TotalCount != 23 || out.PageNumber != n || out.PageSize != 10 {
			t.Errorf("page %d: %+v", n, out)
		}
		for _, i := range out.Instances.Instance {
			byNumber = append(byNumber, i.InstanceID)
		}
	}
	if !slices.Equal(byNumber, all) {
		t.Error("pages by number do not add up")
	}
	var byToken []string
	pages := 0
	for token := ""; ; pages++ {
		out := b.ok("DescribeInstances", "MaxResults=5", "NextToken="+token) // fewer than 10 means 10
		for _, i := range out.Instances.Instance {
			byToken = append(byToken, i.InstanceID)
		}
		if token = out.NextToken; token == "" {
			break
		}
	}
	if !slices.Equal(byToken, all) || pages != 2 {
		t.Errorf("%d pages by token do not add up", pages)
	}
	// A client that names neither style, as the vendor's CLI with --pager,
	// follows the token, and keeps the size that it asked for.
	var followed []string
	for token, n := "", 1; ; n++ {
		out := b.ok("DescribeInstances", "PageSize=7", "NextToken="+token)
		for _, i := range out.Instances.Instance {
			followed = append(followed, i.InstanceID)
		}
		if token = out.NextToken; token == "" || n > len(all) {
			break
		}
	}
	if !slices.Equal(followed, all) {
		t.Errorf("following the token of a page by number gives %d instances of %d", len(followed), len(all))
	}
	if out := b.ok("DescribeInstances", "PageNumber=3"); out.NextToken != "" {
		t.Errorf("the last page by number has a token: %q", out.NextToken)
	}
	b.refused(400, "InvalidParameter", "DescribeInstances", "PageSize=101")
	b.refused(400, "InvalidParameter", "DescribeInstances", "PageNumber=0")
	b.refused(400, "InvalidNextToken", "DescribeInstances", "NextToken=xyz")
	if out := b.ok("DescribeInstances", "PageNumber=2147483647", "PageSize=100"); len(out.Instances.Instance) != 0 {
		t.Error("a page far behind the end is not empty")
	}
}

// TestLifecycle: ECS-API-08, ECS-API-09.
func TestLifecycle(t *testing.T) {
	b := newBed(t)
	one, two := b.run(), b.run("DeletionProtection=true")
	first, second := "InstanceId="+one, "InstanceId="+two
	b.refused(403, "IncorrectInstanceStatus", "StartInstance", first)
	b.refused(403, "IncorrectInstanceStatus", "DeleteInstance", first) // runs, and no Force
	b.ok("StopInstance", first)
	b.refused(403, "IncorrectInstanceStatus", "StopInstance", first)
	b.refused(403, "IncorrectInstanceStatus", "RebootInstance", first)
	b.refused(403, "InvalidOperation.DeletionProtection", "DeleteInstance", second, "Force=true")
	b.refused(403, "InvalidOperation.DeletionProtection", "DeleteInstances", "InstanceId.1="+one, "InstanceId.2="+two, "Force=true")
	if got := b.ids(); len(got) != 2 {
		t.Errorf("half a batch was deleted: %v are left", got)
	}
	b.refused(403, "IncorrectInstanceStatus", "RebootInstances", "InstanceId.1="+one, "InstanceId.2="+two)
	out := b.ok("RebootInstances", "InstanceId.1="+one, "InstanceId.2="+two, "BatchOptimization=SuccessFirst").InstanceResponses.InstanceResponse
	if len(out) != 2 || out[0].Code != "IncorrectInstanceStatus" || out[1].Code != "200" || out[1].CurrentStatus != "Running" {
		t.Errorf("%+v", out)
	}
	b.refused(400, "InvalidParameter", "StartInstances", "InstanceId.1="+one, "InstanceId.2="+one)
	b.refused(400, "MissingParameter", "StartInstances")
	b.ok("ModifyInstanceAttribute", second, "DeletionProtection=false")
	b.ok("DeleteInstances", "InstanceId.1="+one, "InstanceId.2="+two, "Force=true")
	b.refused(404, "InvalidInstanceId.NotFound", "DeleteInstance", first)
}

func TestModifyAttribute(t *testing.T) {
	b := newBed(t)
	id := "InstanceId=" + b.run("UserData=eA==")
	b.ok("ModifyInstanceAttribute", id, "InstanceName=named", "HostName=host-1", "UserData=aGVsbG8=")
	got := b.ok("DescribeInstances").Instances.Instance[0]
	if got.InstanceName != "named" || got.HostName != "host-1" {
		t.Errorf("%+v", got)
	}
	if data := b.ok("DescribeUserData", id).UserData; data != "aGVsbG8=" {
		t.Errorf("user data %q", data)
	}
	b.ok("ModifyInstanceAttribute", id, "UserData=")
	if data := b.ok("DescribeUserData", id).UserData; data != "" {
		t.Errorf("user data %q", data)
	}
	b.refused(400, "InvalidInstanceName.Malformed", "ModifyInstanceAttribute", id, "InstanceName=x")
	b.refused(400, "InvalidHostName.Malformed", "ModifyInstanceAttribute", id, "HostName=a b")
	b.refused(400, "InvalidUserData.SizeExceeded", "ModifyInstanceAttribute", id, "UserData="+strings.Repeat("#", 32769))
}

// TestAuthorisation: POL-KEY-08 among others.
func TestAuthorisation(t *testing.T) {
	b := newBed(t)
	id := b.run("HttpTokens=required")
	b.policy("harden", `{"Version":"1","Statement":[
		{"Effect":"Allow","Action":"ecs:*","Resource":"*"},
		{"Effect":"Deny","Action":"ecs:ModifyInstanceMetadataOptions","Resource":"*"},
		{"Effect":"Deny","Action":"ecs:RunInstances","Resource":"acs:ecs:*:*:instance/*","Condition":{"StringNotEquals":{"ecs:HttpTokens":"required"}}}]}`)
	b.accessKey("LTAIlimited", "harden")
	b.accessKey("LTAInothing")
	b.key = "LTAIlimited"
	b.refused(403, "Forbidden.RAM", "ModifyInstanceMetadataOptions", "InstanceId="+id, "HttpEndpoint=enabled", "HttpTokens=optional")
	b.refused(403, "Forbidden.RAM", "RunInstances", "ImageId="+good, "InstanceType=ecs.g7.large", "HttpTokens=optional")
	b.refused(403, "Forbidden.RAM", "RunInstances", "ImageId="+good, "InstanceType=ecs.g7.large", "HttpTokens=optional", "DryRun=true")
	b.run("HttpTokens=required")
	last := b.audited[len(b.audited)-1].Caller
	if last.Action != "RunInstances" || last.RequestID == "" || !last.SourceIP.IsValid() || last.AccessKeyID != "LTAIlimited" || last.User != "tester" {
		t.Errorf("audited %+v", last)
	}
	b.key = "LTAInothing"
	for _, action := range []string{"DescribeInstances", "DescribeRegions", "DescribeZones", "DescribeImages"} {
		b.refused(403, "Forbidden.RAM", action)
	}
	b.refused(403, "Forbidden.RAM", "AttachInstanceRamRole", "InstanceIds="+list(id), "RamRoleName=reader")
	if denied := b.audited[len(b.audited)-1]; denied.Allowed || denied.Caller.Action != "AttachInstanceRamRole" {
		t.Errorf("audited %+v", denied)
	}
}
