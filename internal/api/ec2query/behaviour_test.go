package ec2query_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"openimds/internal/api/ec2query"
	"openimds/internal/control"
	"openimds/internal/instance"
	"openimds/internal/state"
)

// TestReasons: every reason of the use cases has words.
func TestReasons(t *testing.T) {
	names := reasonNames(t)
	if len(names) < 20 {
		t.Fatalf("found %d reasons", len(names))
	}
	for name, value := range names {
		if w, ok := ec2query.Wordings[control.Reason(value)]; !ok || fmt.Sprint(w) == "" {
			t.Errorf("control.%s has no words", name)
		}
	}
}

// TestPrecedence is the table of EC2-API-09: request over template over the
// account's default over the image over the service's default, each option by
// itself.
func TestPrecedence(t *testing.T) {
	for name, c := range map[string]struct {
		image              string
		account, tmpl, ask []string
		tokens, hops       string
	}{
		"service":                      {plain, nil, nil, nil, "optional", "1"},
		"image":                        {supported, nil, nil, nil, "required", "2"},
		"account over image":           {supported, []string{"HttpPutResponseHopLimit", "1"}, nil, nil, "required", "1"},
		"account optional over image":  {supported, []string{"HttpTokens", "optional"}, nil, nil, "optional", "2"},
		"no preference":                {supported, []string{"HttpTokens", "no-preference", "HttpPutResponseHopLimit", "-1"}, nil, nil, "required", "2"},
		"template over account":        {plain, []string{"HttpTokens", "required", "HttpPutResponseHopLimit", "3"}, []string{"HttpTokens", "optional"}, nil, "optional", "3"},
		"request over template":        {plain, nil, []string{"HttpTokens", "required", "HttpPutResponseHopLimit", "7"}, []string{"HttpTokens", "optional"}, "optional", "7"},
		"request over image":           {supported, nil, nil, []string{"HttpTokens", "optional"}, "optional", "2"},
		"request, template and others": {supported, []string{"HttpPutResponseHopLimit", "5"}, []string{"HttpTokens", "optional"}, []string{"HttpPutResponseHopLimit", "9"}, "optional", "9"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			if c.account != nil {
				b.ok("ModifyInstanceMetadataDefaults", c.account...)
			}
			run := []string{"ImageId", c.image, "MinCount", "1", "MaxCount", "1"}
			for i := 0; i < len(c.ask); i += 2 {
				run = append(run, "MetadataOptions."+c.ask[i], c.ask[i+1])
			}
			if c.tmpl != nil {
				data := []string{"LaunchTemplateName", "lt1"}
				for i := 0; i < len(c.tmpl); i += 2 {
					data = append(data, "LaunchTemplateData.MetadataOptions."+c.tmpl[i], c.tmpl[i+1])
				}
				b.ok("CreateLaunchTemplate", data...)
				run = append(run, "LaunchTemplate.LaunchTemplateName", "lt1")
			}
			out := b.ok("RunInstances", run...)
			is(t, out, "httpTokens", c.tokens)
			is(t, out, "httpPutResponseHopLimit", c.hops)
		})
	}
}

func TestEnforcement(t *testing.T) {
	b := newBench(t)
	old := b.launch()
	b.ok("ModifyInstanceMetadataDefaults", "HttpTokensEnforced", "enabled")
	// EC2-API-10: it is the outcome that counts.
	if m := b.refused(400, "UnsupportedOperation", "RunInstances", "ImageId", plain, "MinCount", "1", "MaxCount", "1"); !strings.HasPrefix(m, "You can't launch instances with IMDSv1 because httpTokensEnforced is enabled for this account.") {
		t.Error(m)
	}
	b.refused(400, "UnsupportedOperation", "RunInstances", "ImageId", supported, "MinCount", "1", "MaxCount", "1", "MetadataOptions.HttpTokens", "optional")
	fresh := b.launch("MetadataOptions.HttpTokens", "required")
	b.ok("RunInstances", "ImageId", supported, "MinCount", "1", "MaxCount", "1")
	b.refused(400, "UnsupportedOperation", "ModifyInstanceMetadataOptions", "InstanceId", fresh, "HttpTokens", "optional")
	b.ok("StopInstances", "InstanceId.1", old)
	b.ok("StartInstances", "InstanceId.1", old)
	is(t, b.ok("DescribeInstances", "InstanceId.1", old), "httpTokens", "optional")
}

func TestModifyOptions(t *testing.T) {
	b := newBench(t)
	id := b.launch("MetadataOptions.HttpPutResponseHopLimit", "5", "MetadataOptions.HttpTokens", "required")
	state := func(want ...string) {
		t.Helper()
		d := b.ok("DescribeInstances", "InstanceId.1", id)
		_, v, _ := strings.Cut(d, "<metadataOptions>")
		v, _, _ = strings.Cut(v, "</metadataOptions>")
		is(t, "<x>"+v+"</x>", "state", want...)
	}
	out := b.ok("ModifyInstanceMetadataOptions", "InstanceId", id, "HttpEndpoint", "disabled") // EC2-API-02
	is(t, out, "state", "pending")
	is(t, out, "httpTokens", "required") // EC2-API-01
	is(t, out, "httpPutResponseHopLimit", "5")
	is(t, out, "httpEndpoint", "disabled")
	state("applied")
	b.ok("StopInstances", "InstanceId.1", id)
	state("applied")
	b.ok("ModifyInstanceMetadataOptions", "InstanceId", id, "HttpEndpoint", "enabled")
	state("pending")
	b.ok("StartInstances", "InstanceId.1", id)
	state("applied")
}

// TestGiven: an instance that was not launched here shows the service's
// defaults.
func TestGiven(t *testing.T) {
	b := newBench(t)
	in := &state.Instance{Spec: instance.Instance{ID: "i-0abcdef0123456789", Dialect: "ec2", Account: account, Region: region, Zone: "us-east-1a", Type: "m1.small"}}
	if err := b.db.Update(t.Context(), func(tx *state.Tx) error { return state.Save(tx, b.db.Instances, in.Spec.ID, in) }); err != nil {
		t.Fatal(err)
	}
	out := b.ok("DescribeInstances", "Filter.1.Name", "metadata-options.http-put-response-hop-limit", "Filter.1.Value.1", "1")
	is(t, out, "httpTokens", "optional")
	is(t, out, "httpEndpoint", "enabled")
	is(t, out, "reservationId", "r-0abcdef0123456789")
}

func TestFilters(t *testing.T) {
	b := newBench(t)
	one := b.launch("MetadataOptions.HttpTokens", "required", "TagSpecification.1.ResourceType", "instance", "TagSpecification.1.Tag.1.Key", "Name", "TagSpecification.1.Tag.1.Value", "web-1", "IamInstanceProfile.Name", "app")
	two := b.launch("InstanceMarketOptions.MarketType", "spot", "TagSpecification.1.ResourceType", "instance", "TagSpecification.1.Tag.1.Key", "Name", "TagSpecification.1.Tag.1.Value", "db", "PrivateIpAddress", "10.0.1.77", "MetadataOptions.HttpEndpoint", "disabled")
	three := b.launch("InstanceType", "t3.micro", "MetadataOptions.InstanceMetadataTags", "enabled", "MetadataOptions.HttpProtocolIpv6", "enabled")
	b.ok("StopInstances", "InstanceId.1", three)
	b.ok("ModifyInstanceMetadataOptions", "InstanceId", three, "HttpPutResponseHopLimit", "7")
	everyone := []string{one, two, three}
	for _, c := range []struct {
		filter []string // name, values …; "&" starts another
		want   []string
	}{
		{[]string{"metadata-options.http-tokens", "required"}, []string{one}},
		{[]string{"metadata-options.http-tokens", "optional", "required", "&", "instance-state-name", "running"}, []string{one, two}},
		{[]string{"metadata-options.http-tokens", "Required"}, nil},
		{[]string{"metadata-options.http-endpoint", "disabled"}, []string{two}},
		{[]string{"metadata-options.http-protocol-ipv4", "enabled"}, []string{one, three}},
		{[]string{"metadata-options.http-protocol-ipv6", "enabled"}, []string{three}},
		{[]string{"metadata-options.http-put-response-hop-limit", "7"}, []string{three}},
		{[]string{"metadata-options.instance-metadata-tags", "enabled"}, []string{three}},
		{[]string{"metadata-options.state", "pending"}, []string{three}},
		{[]string{"metadata-options.state", "app*"}, []string{one, two}},
		{[]string{"instance-state-name", "stopped"}, []string{three}},
		{[]string{"instance-state-code", "16"}, []string{one, two}},
		{[]string{"instance-id", two}, []string{two}},
		{[]string{"image-id", plain}, everyone},
		{[]string{"instance-type", "t3.*"}, []string{three}},
		{[]string{"instance-type", "m7g.?arge"}, []string{one, two}},
		{[]string{"tag:Name", "web-*", "db"}, []string{one, two}},
		{[]string{"tag:Name", "WEB-*"}, nil},
		{[]string{"tag-key", "Name"}, []string{one, two}},
		{[]string{"vpc-id", "vpc-0123456789abcdef0"}, everyone},
		{[]string{"subnet-id", "subnet-x"}, nil},
		{[]string{"private-ip-address", "10.0.1.77"}, []string{two}},
		{[]string{"availability-zone", "us-east-1a"}, everyone},
		{[]string{"key-name", "*"}, nil},
		{[]string{"iam-instance-profile.arn", "arn:aws:iam::123456789012:instance-profile/app"}, []string{one}},
		{[]string{"platform", "windows"}, nil},
		{[]string{"instance-lifecycle", "spot"}, []string{two}},
		{[]string{"instance-lifecycle", "spot", "&", "tag:Name", "web-1"}, nil},
	} {
		var pairs []string
		n, v := 1, 0
		for i, word := range c.filter {
			switch {
			case word == "&":
				n, v = n+1, 0
			case i == 0 || c.filter[i-1] == "&":
				pairs = append(pairs, fmt.Sprintf("Filter.%d.Name", n), word)
			default:
				v++
				pairs = append(pairs, fmt.Sprintf("Filter.%d.Value.%d", n, v), word)
			}
		}
		got := all(t, b.ok("DescribeInstances", pairs...), "instanceId")
		slices.Sort(got)
		want := slices.Sorted(slices.Values(c.want))
		if !slices.Equal(got, want) {
			t.Errorf("%q = %q, want %q", c.filter, got, want)
		}
	}
	first := all(t, b.ok("DescribeInstances", "InstanceId.1", one), "reservationId")[0]
	is(t, b.ok("DescribeInstances", "Filter.1.Name", "reservation-id", "Filter.1.Value.1", first), "instanceId", one)
}

func TestPaging(t *testing.T) {
	b := newBench(t)
	want := all(t, b.ok("RunInstances", "ImageId", plain, "MinCount", "13", "MaxCount", "13"), "instanceId")
	var got []string
	pairs := []string{"MaxResults", "5"}
	for range 4 {
		out := b.ok("DescribeInstances", pairs...)
		got = append(got, all(t, out, "instanceId")...)
		next := all(t, out, "nextToken")
		if len(next) == 0 {
			break
		}
		pairs = []string{"MaxResults", "5", "NextToken", next[0]}
	}
	if !slices.Equal(got, want) {
		t.Errorf("pages show %q, want %q", got, want)
	}
}

func TestTagRules(t *testing.T) {
	b := newBench(t)
	shown := b.launch("MetadataOptions.InstanceMetadataTags", "enabled")
	hidden := b.launch()
	// EC2-API-11.
	const want = `'k8s.io/cluster-autoscaler/enabled' is not a valid tag key. Tag keys must match pattern ([0-9a-zA-Z\\-_+=,.@:]{1,255}), and must not be a reserved name ('.', '..', '_index')`
	bad := []string{"Tag.1.Key", "k8s.io/cluster-autoscaler/enabled", "Tag.1.Value", "true"}
	if got := b.refused(400, "InvalidParameterValue", "CreateTags", append([]string{"ResourceId.1", shown}, bad...)...); got != want {
		t.Errorf("%q", got)
	}
	// All of the resources, or none.
	b.refused(400, "InvalidParameterValue", "CreateTags", append([]string{"ResourceId.1", hidden, "ResourceId.2", shown}, bad...)...)
	is(t, b.ok("DescribeTags"), "key")
	b.ok("CreateTags", append([]string{"ResourceId.1", hidden}, bad...)...)
	if got := b.refused(400, "InvalidParameterValue", "ModifyInstanceMetadataOptions", "InstanceId", hidden, "InstanceMetadataTags", "enabled"); got != want {
		t.Errorf("%q", got)
	}
	b.refused(400, "InvalidParameterValue", "RunInstances", "ImageId", plain, "MinCount", "1", "MaxCount", "1", "MetadataOptions.InstanceMetadataTags", "enabled",
		"TagSpecification.1.ResourceType", "instance", "TagSpecification.1.Tag.1.Key", "_index", "TagSpecification.1.Tag.1.Value", "x")

	b.ok("CreateTags", "ResourceId.1", shown, "Tag.1.Key", "a", "Tag.1.Value", "1", "Tag.2.Key", "b", "Tag.2.Value", "")
	b.ok("DeleteTags", "ResourceId.1", shown, "Tag.1.Key", "a", "Tag.1.Value", "2", "Tag.2.Key", "b", "Tag.2.Value", "") // EC2-API-12
	is(t, b.ok("DescribeTags", "Filter.1.Name", "resource-id", "Filter.1.Value.1", shown), "key", "a")
	b.ok("DeleteTags", "ResourceId.1", shown, "Tag.1.Key", "a")
	is(t, b.ok("DescribeTags", "Filter.1.Name", "resource-id", "Filter.1.Value.1", shown), "key")

	var many []string
	for i := range 51 {
		many = append(many, fmt.Sprintf("Tag.%d.Key", i+1), fmt.Sprint("k", i))
	}
	b.refused(400, "TagLimitExceeded", "CreateTags", append([]string{"ResourceId.1", shown}, many...)...)
	is(t, b.ok("DescribeTags", "Filter.1.Name", "resource-id", "Filter.1.Value.1", shown), "key")
}

func TestIdempotency(t *testing.T) {
	b := newBench(t)
	run := []string{"ImageId", plain, "MinCount", "2", "MaxCount", "2", "ClientToken", "same"}
	first, again := b.ok("RunInstances", run...), b.ok("RunInstances", run...) // EC2-API-07
	is(t, again, "instanceId", all(t, first, "instanceId")...)
	is(t, again, "reservationId", all(t, first, "reservationId")...)
	is(t, b.ok("DescribeInstances"), "instanceId", all(t, first, "instanceId")...)
	b.refused(400, "IdempotentParameterMismatch", "RunInstances", append(run, "InstanceType", "m7g.large")...)
	b.now = b.now.Add(25 * time.Hour)
	if fresh := all(t, b.ok("RunInstances", run...), "instanceId"); slices.Contains(all(t, first, "instanceId"), fresh[0]) {
		t.Error("a token is remembered for too long")
	}
	lt := []string{"LaunchTemplateName", "lt1", "LaunchTemplateData.ImageId", plain, "ClientToken", "same"}
	is(t, b.ok("CreateLaunchTemplate", lt...), "launchTemplateId", all(t, b.ok("CreateLaunchTemplate", lt...), "launchTemplateId")...)
}

func TestDryRun(t *testing.T) {
	b := newBench(t)
	id := b.launch()
	calls := [][]string{
		{"RunInstances", "ImageId", plain, "MinCount", "1", "MaxCount", "1"},
		{"ModifyInstanceMetadataOptions", "InstanceId", id, "HttpTokens", "required"},
		{"ModifyInstanceMetadataDefaults", "HttpTokens", "required"},
		{"TerminateInstances", "InstanceId.1", id},
		{"CreateTags", "ResourceId.1", id, "Tag.1.Key", "a"},
		{"DescribeInstances"},
		{"DescribeRegions"},
		{"CreateLaunchTemplate", "LaunchTemplateName", "lt1", "LaunchTemplateData.ImageId", plain},
	}
	before := b.db.Revision()
	for _, c := range calls {
		b.refused(412, "DryRunOperation", c[0], append(c[1:], "DryRun", "true")...)
	}
	b.policy(`{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}`)
	after := b.db.Revision()
	for _, c := range calls {
		b.refused(403, "UnauthorizedOperation", c[0], append(c[1:], "DryRun", "true")...)
	}
	if after != before+1 || b.db.Revision() != after {
		t.Error("a dry run changed something")
	}
}

func TestAuthorisation(t *testing.T) {
	b := newBench(t)
	b.policy(`{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"*","Resource":"*"},
		{"Effect":"Deny","Action":"ec2:RunInstances","Resource":"arn:aws:ec2:*:*:instance/*","Condition":{"StringNotEquals":{"ec2:MetadataHttpTokens":"required"}}},
		{"Effect":"Deny","Action":"ec2:ModifyInstanceMetadataOptions","Resource":"*","Condition":{"StringEquals":{"ec2:Attribute/HttpTokens":"optional"}}}]}`)
	run := []string{"ImageId", plain, "MinCount", "1", "MaxCount", "1", "MetadataOptions.HttpTokens"}
	if m := b.refused(403, "UnauthorizedOperation", "RunInstances", append(run, "optional")...); !strings.Contains(m, "Encoded authorization failure message: ") {
		t.Error(m)
	}
	id := all(t, b.ok("RunInstances", append(run, "required")...), "instanceId")[0]
	b.refused(403, "UnauthorizedOperation", "ModifyInstanceMetadataOptions", "InstanceId", id, "HttpTokens", "optional")
	b.ok("ModifyInstanceMetadataOptions", "InstanceId", id, "HttpPutResponseHopLimit", "3")
	is(t, b.ok("DescribeInstances"), "httpTokens", "required")
}

func TestOtherRegion(t *testing.T) {
	b := newBench(t)
	id := b.launch()
	b.region = "eu-west-1"
	is(t, b.ok("DescribeInstances"), "instanceId")
	b.refused(400, "InvalidInstanceID.NotFound", "TerminateInstances", "InstanceId.1", id)
	is(t, b.ok("GetInstanceMetadataDefaults"), "managedBy", "account")
}

func TestUserData(t *testing.T) {
	b := newBench(t)
	id := b.launch()
	b.ok("StopInstances", "InstanceId.1", id)
	for _, c := range [][]string{{"UserData.Value", "Zmlyc3Q="}, {"Attribute", "userData", "Value", "c2Vjb25k"}} { // EC2-API-05
		b.ok("ModifyInstanceAttribute", append([]string{"InstanceId", id}, c...)...)
		is(t, b.ok("DescribeInstanceAttribute", "InstanceId", id, "Attribute", "userData"), "value", c[len(c)-1])
	}
	b.ok("ModifyInstanceAttribute", "InstanceId", id, "InstanceType.Value", "t3.micro")
	is(t, b.ok("DescribeInstanceAttribute", "InstanceId", id, "Attribute", "instanceType"), "value", "t3.micro")
	b.ok("ModifyInstanceAttribute", "InstanceId", id, "Attribute", "disableApiTermination", "Value", "true")
	is(t, b.ok("DescribeInstanceAttribute", "InstanceId", id, "Attribute", "disableApiTermination"), "value", "true")
	b.refused(400, "OperationNotPermitted", "TerminateInstances", "InstanceId.1", id)
}

func TestTransitions(t *testing.T) {
	b := newBench(t)
	id := b.launch()
	for _, c := range []struct{ action, current, previous, then string }{ // EC2-API-06
		{"StartInstances", "running", "running", "running"},
		{"StopInstances", "stopping", "running", "stopped"},
		{"StopInstances", "stopped", "stopped", "stopped"},
		{"StartInstances", "pending", "stopped", "running"},
		{"TerminateInstances", "shutting-down", "running", "terminated"},
		{"TerminateInstances", "terminated", "terminated", "terminated"},
	} {
		is(t, b.ok(c.action, "InstanceId.1", id), "name", c.current, c.previous)
		got := all(t, b.ok("DescribeInstances", "InstanceId.1", id), "name")
		if got[0] != c.then {
			t.Errorf("after %s: %q", c.action, got)
		}
	}
	b.now = b.now.Add(2 * time.Hour)
	b.refused(400, "InvalidInstanceID.NotFound", "DescribeInstances", "InstanceId.1", id)
}

// TestTemplateUnderRequest: what a request names replaces what the template
// says; tags are merged.
func TestTemplateUnderRequest(t *testing.T) {
	b := newBench(t)
	b.ok("CreateLaunchTemplate", "LaunchTemplateName", "lt1", "LaunchTemplateData.ImageId", plain, "LaunchTemplateData.InstanceType", "t3.micro",
		"LaunchTemplateData.UserData", base64.StdEncoding.EncodeToString([]byte("of the template")), "LaunchTemplateData.IamInstanceProfile.Name", "app",
		"LaunchTemplateData.NetworkInterface.1.DeviceIndex", "0", "LaunchTemplateData.NetworkInterface.1.SubnetId", "subnet-1", "LaunchTemplateData.BlockDeviceMapping.1.DeviceName", "/dev/xvda",
		"LaunchTemplateData.TagSpecification.1.ResourceType", "instance", "LaunchTemplateData.TagSpecification.1.Tag.1.Key", "a", "LaunchTemplateData.TagSpecification.1.Tag.1.Value", "1",
		"LaunchTemplateData.TagSpecification.1.Tag.2.Key", "b", "LaunchTemplateData.TagSpecification.1.Tag.2.Value", "2")
	out := b.ok("RunInstances", "LaunchTemplate.LaunchTemplateName", "lt1", "MinCount", "1", "MaxCount", "1", "InstanceType", "m7g.large", "SubnetId", "subnet-2",
		"IamInstanceProfile.Arn", "arn:aws:iam::123456789012:instance-profile/other",
		"TagSpecification.1.ResourceType", "instance", "TagSpecification.1.Tag.1.Key", "b", "TagSpecification.1.Tag.1.Value", "3")
	is(t, out, "instanceType", "m7g.large")
	is(t, out, "arn", "arn:aws:iam::123456789012:instance-profile/other")
	is(t, out, "subnetId", "subnet-2", "subnet-2")
	is(t, out, "value", "1", "3")
	is(t, b.ok("DescribeInstanceAttribute", "InstanceId", all(t, out, "instanceId")[0], "Attribute", "userData"), "value", base64.StdEncoding.EncodeToString([]byte("of the template")))
}

// TestAccepted: parameters without effect are taken by name (EC2-API-08).
func TestAccepted(t *testing.T) {
	b := newBench(t)
	b.launch("Monitoring.Enabled", "true", "CreditSpecification.CpuCredits", "standard", "CpuOptions.CoreCount", "2", "EnclaveOptions.Enabled", "true",
		"HibernationOptions.Configured", "true", "InstanceInitiatedShutdownBehavior", "terminate", "PrivateDnsNameOptions.HostnameType", "ip-name",
		"MaintenanceOptions.AutoRecovery", "default", "Placement.Tenancy", "default", "NetworkInterface.1.DeviceIndex", "0", "NetworkInterface.1.AssociatePublicIpAddress", "true")
}

func TestRSAKeyPair(t *testing.T) {
	b := newBench(t)
	made := b.ok("CreateKeyPair", "KeyName", "made")
	if m := all(t, made, "keyMaterial")[0]; !strings.HasPrefix(m, "-----BEGIN RSA PRIVATE KEY-----\n") {
		t.Errorf("%.40q", m)
	}
	if f := all(t, made, "keyFingerprint")[0]; strings.Count(f, ":") != 19 {
		t.Errorf("fingerprint %q", f)
	}
	line := all(t, b.ok("DescribeKeyPairs", "KeyName.1", "made", "IncludePublicKey", "true"), "publicKey")[0]
	taken := b.ok("ImportKeyPair", "KeyName", "taken", "PublicKeyMaterial", base64.StdEncoding.EncodeToString([]byte(line)))
	if f := all(t, taken, "keyFingerprint")[0]; strings.Count(f, ":") != 15 {
		t.Errorf("fingerprint %q", f)
	}
	b.refused(400, "InvalidKeyPair.Duplicate", "CreateKeyPair", "KeyName", "made")
	id := all(t, taken, "keyPairId")[0]
	b.ok("DeleteKeyPair", "KeyPairId", id)
	is(t, b.ok("DescribeKeyPairs"), "keyName", "made")
}

// TestNamedNetwork: subnets and groups are taken as they are named (EC2-API-13).
func TestNamedNetwork(t *testing.T) {
	b := newBench(t)
	id := b.launch("SubnetId", "subnet-0fffffffffffffff0", "SecurityGroupId.1", "sg-0fffffffffffffff0", "SecurityGroupId.2", "sg-0123456789abcdef0")
	out := b.ok("DescribeInstances", "InstanceId.1", id)
	is(t, out, "groupName", "", "sg-0fffffffffffffff0", "default", "sg-0fffffffffffffff0", "default")
	if all(t, out, "subnetId")[0] != "subnet-0fffffffffffffff0" {
		t.Error(out)
	}
	b.ok("ModifyInstanceAttribute", "InstanceId", id, "GroupId.1", "sg-0123456789abcdef0")
	is(t, b.ok("DescribeInstanceAttribute", "InstanceId", id, "Attribute", "groupSet"), "groupId", "sg-0123456789abcdef0")
}

// TestTemplateID: a template's id follows from its name (EC2-API-14).
func TestTemplateID(t *testing.T) {
	b := newBench(t)
	lt := []string{"LaunchTemplateName", "lt1", "LaunchTemplateData.ImageId", plain}
	id := all(t, b.ok("CreateLaunchTemplate", lt...), "launchTemplateId")
	b.ok("DeleteLaunchTemplate", "LaunchTemplateId", id[0])
	is(t, b.ok("DescribeLaunchTemplates"), "launchTemplateId")
	is(t, b.ok("CreateLaunchTemplate", lt...), "launchTemplateId", id...)
	b.region = "us-west-2"
	is(t, b.ok("DescribeLaunchTemplates"), "launchTemplateId")
	b.refused(400, "InvalidLaunchTemplateId.NotFound", "DeleteLaunchTemplate", "LaunchTemplateId", id[0])
}

// TestLaunchesAtOnce: no two instances get the same address.
func TestLaunchesAtOnce(t *testing.T) {
	b := newBench(t)
	b.together = true
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if status, body := b.call("RunInstances", "ImageId", plain, "MinCount", "2", "MaxCount", "2"); status != 200 {
				t.Errorf("%d %s", status, body)
			}
		})
	}
	wg.Wait()
	interfaces := all(t, b.ok("DescribeInstances"), "attachmentId")
	addresses := map[string]bool{}
	for _, a := range all(t, b.ok("DescribeInstances"), "privateIpAddress") {
		addresses[a] = true
	}
	if len(interfaces) != 16 || len(addresses) != 16 {
		t.Errorf("%d interfaces have %d addresses", len(interfaces), len(addresses))
	}
}
