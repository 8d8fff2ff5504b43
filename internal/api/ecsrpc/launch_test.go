package ecsrpc_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"openimds/internal/control"
	"openimds/internal/state"
)

// TestLaunchEffects: what an item or a reply shows of a launch is kept
// (ECS-API-15).
func TestLaunchEffects(t *testing.T) {
	b := newBed(t)
	id := b.run("SpotStrategy=SpotWithPriceLimit", "SpotPriceLimit=0.5", "SpotDuration=1", "InstanceChargeType=PostPaid", "InternetChargeType=PayByBandwidth",
		"InternetMaxBandwidthOut=5", "InternetMaxBandwidthIn=10", "AutoReleaseTime=2026-07-01T00:00:00Z", "ResourceGroupId=rg-1", "DeploymentSetId=ds-1",
		"CreditSpecification=Standard", "CpuOptions.Core=1", "CpuOptions.ThreadsPerCore=2", "HibernationOptions.Configured=true",
		"SystemDisk.DiskName=root", "SystemDisk.Category=cloud_essd", "DataDisk.1.DiskName=data", "DataDisk.1.Size=20",
		"Ipv6AddressCount=1", "NetworkInterface.1.VSwitchId=vsw-bp1test", "NetworkInterface.1.SecurityGroupId=sg-bp1test", "NetworkInterface.1.PrimaryIpAddress=172.16.0.77",
		"SecurityGroupId=sg-bp1test", "Password=Secret-1", "SecurityEnhancementStrategy=Active", "NobodyKnows=this")
	w := b.send("DescribeInstances", "JSON", "InstanceIds="+list(id))
	var out struct {
		Instances struct{ Instance []map[string]any }
	}
	b.must(json.Unmarshal(w.Body.Bytes(), &out))
	shown := out.Instances.Instance[0]
	for name, want := range map[string]any{
		"SpotStrategy": "SpotWithPriceLimit", "SpotPriceLimit": 0.5, "SpotDuration": 1.0, "InternetChargeType": "PayByBandwidth",
		"InternetMaxBandwidthOut": 5.0, "InternetMaxBandwidthIn": 10.0, "AutoReleaseTime": "2026-07-01T00:00:00Z", "ResourceGroupId": "rg-1",
		"DeploymentSetId": "ds-1", "CreditSpecification": "Standard",
	} {
		if shown[name] != want {
			t.Errorf("%s = %v, want %v", name, shown[name], want)
		}
	}
	in, _ := b.db.Instances.Get(id)
	s := in.Spec
	if len(s.Disks) != 2 || s.Disks[0].Name != "root" || s.Disks[1].Name != "data" || s.Disks[1].ID == "" || !s.Machine.Hibernation {
		t.Errorf("%+v", s.Disks)
	}
	if len(s.Interfaces) != 2 || len(s.Interfaces[0].IPv6) != 1 || s.Interfaces[1].IPv4[0].String() != "172.16.0.77" || len(s.Primary().Public) != 1 {
		t.Errorf("%+v", s.Interfaces)
	}

	image, kind := "ImageId="+good, "InstanceType=ecs.g7.large"
	for _, tc := range []struct {
		status int
		code   string
		pair   string
	}{
		{400, "InvalidSpotStrategy", "SpotStrategy=Cheap"},
		{400, "InvalidSpotPriceLimit", "SpotPriceLimit=-1"},
		{400, "InvalidParameter", "SpotPriceLimit=NaN"},
		{400, "InvalidParameter", "SpotDuration=7"},
		{400, "InvalidParameter", "SpotInterruptionBehavior=Explode"},
		{404, "InvalidInstanceChargeType.NotFound", "InstanceChargeType=Free"},
		{400, "InvalidInternetChargeType.ValueNotSupported", "InternetChargeType=Free"},
		{400, "InvalidParameter", "InternetMaxBandwidthOut=101"},
		{400, "InvalidAutoReleaseTime.Malformed", "AutoReleaseTime=tomorrow"},
		{400, "InvalidParameter", "CreditSpecification=Endless"},
		{400, "InvalidParameter", "CpuOptions.Core=many"},
		{400, "InvalidDataDiskSize.ValueNotSupported", "DataDisk.1.Size=0"},
		{400, "InvalidParameter", "Ipv6AddressCount=0"},
		{400, "InvalidIpv6Address.Malformed", "Ipv6Address.1=172.16.0.1"},
		{400, "InvalidParameter", "NetworkInterface.1.InstanceType=Third"},
		{404, "InvalidVSwitchId.NotFound", "NetworkInterface.1.VSwitchId=vsw-none"},
		{400, "UnsupportedParameter", "LaunchTemplateId=lt-1"}, // ECS-API-17
		{400, "UnsupportedParameter", "ImageFamily=acs:alinux"},
		{400, "UnsupportedParameter", "NetworkInterface.1.NetworkInterfaceId=eni-1"},
	} {
		b.refused(tc.status, tc.code, "RunInstances", image, kind, tc.pair)
	}
	b.refused(403, "IncorrectInstanceStatus", "StartInstance", "InstanceId="+id)
	b.refused(400, "InvalidParameter", "StopInstance", "InstanceId="+id, "StoppedMode=Half")
	b.ok("StopInstance", "InstanceId="+id, "StoppedMode=StopCharging", "ForceStop=true")
	if w := b.send("DescribeInstances", "JSON", "InstanceIds="+list(id)); !strings.Contains(w.Body.String(), `"StoppedMode":"StopCharging"`) {
		t.Error(w.Body)
	}
	b.ok("StartInstance", "InstanceId="+id)
	if w := b.send("DescribeInstances", "JSON", "InstanceIds="+list(id)); !strings.Contains(w.Body.String(), `"StoppedMode":"Not-applicable"`) {
		t.Error(w.Body)
	}
}

// TestAtRestart: what is changed of an instance that runs is served after its
// restart, and shown at once (ECS-API-16).
func TestAtRestart(t *testing.T) {
	b := newBed(t)
	id := b.run("UserData="+base64.StdEncoding.EncodeToString([]byte("old")), "HostName=old-name")
	b.ok("ImportKeyPair", "KeyPairName=mine", "PublicKeyBody="+publicKey)
	served := func(want string) {
		t.Helper()
		in, _ := b.db.Instances.Get(id)
		got := string(in.Spec.UserData) + " " + in.Spec.Hostname
		if len(in.Spec.KeyPairs) > 0 {
			got += " " + in.Spec.KeyPairs[0].Name
		}
		if got != want {
			t.Errorf("served %q, want %q", got, want)
		}
	}
	b.ok("ModifyInstanceAttribute", "InstanceId="+id, "UserData="+base64.StdEncoding.EncodeToString([]byte("new")), "HostName=new-name")
	b.ok("AttachKeyPair", "KeyPairName=mine", "InstanceIds="+list(id))
	served("old old-name")
	if got := b.ok("DescribeUserData", "InstanceId="+id).UserData; got != "bmV3" {
		t.Errorf("described %q", got)
	}
	if got := b.ok("DescribeInstances").Instances.Instance[0]; got.HostName != "new-name" || got.KeyPairName != "mine" {
		t.Errorf("described %+v", got)
	}
	b.ok("RebootInstance", "InstanceId="+id)
	served("new new-name mine")
	b.ok("DetachKeyPair", "KeyPairName=mine", "InstanceIds="+list(id))
	b.ok("ModifyInstanceAttribute", "InstanceId="+id, "UserData=")
	served("new new-name mine")
	b.ok("StopInstance", "InstanceId="+id)
	b.ok("StartInstance", "InstanceId="+id)
	served(" new-name")
}

// TestOneLine: a call is recorded once, whatever it reads before it writes and
// however many instances it is about; all of them are in its line.
func TestOneLine(t *testing.T) {
	b := newBed(t)
	one, two := b.run(), b.run("RamRoleName=reader")
	b.ok("ImportKeyPair", "KeyPairName=mine", "PublicKeyBody="+publicKey)
	for _, call := range [][]string{
		{"AttachInstanceRamRole", "RamRoleName=reader", "InstanceIds=" + list(one, two)},
		{"DetachInstanceRamRole", "InstanceIds=" + list(one, two)},
		{"AttachKeyPair", "KeyPairName=mine", "InstanceIds=" + list(one, two)},
		{"DetachKeyPair", "KeyPairName=mine", "InstanceIds=" + list(one, two)},
		{"StopInstances", "InstanceId.1=" + one, "InstanceId.2=" + two, "BatchOptimization=SuccessFirst"},
		{"StartInstances", "InstanceId.1=" + one, "InstanceId.2=" + two},
		{"CreateImage", "InstanceId=" + one, "ImageName=made"},
		{"DeleteInstances", "InstanceId.1=" + one, "InstanceId.2=" + two, "Force=true"},
	} {
		before, revision := len(b.audited), b.db.Revision()
		b.ok(call[0], call[1:]...)
		if lines := b.audited[before:]; len(lines) != 1 || !strings.Contains(strings.Join(lines[0].Resources, " "), one) {
			t.Errorf("%s: recorded %+v", call[0], lines)
		}
		if b.db.Revision() != revision+1 {
			t.Errorf("%s: %d commits", call[0], b.db.Revision()-revision)
		}
	}
	b.refused(400, "InvalidImageName.Duplicated", "CreateImage", "SnapshotId=s-1", "ImageName=made")
	b.refused(400, "InvalidParameter", "AttachInstanceRamRole", "RamRoleName=reader", "InstanceIds="+list(one, one))
}

// TestPassRole: a role is given only by who may pass it (POL-KEY-14).
func TestPassRole(t *testing.T) {
	b := newBed(t)
	id := b.run()
	b.policy("no roles", `{"Version":"1","Statement":[{"Effect":"Allow","Action":"ecs:*","Resource":"*"}]}`)
	b.accessKey("LTAInoroles", "no roles")
	b.key = "LTAInoroles"
	b.refused(403, "InvalidUser.PassRoleForbidden", "AttachInstanceRamRole", "RamRoleName=reader", "InstanceIds="+list(id))
	b.refused(403, "InvalidUser.PassRoleForbidden", "RunInstances", "ImageId="+good, "InstanceType=ecs.g7.large", "RamRoleName=reader")
	b.run()
}

// TestSamplePolicies: every sample does what its page says, through the API,
// as a guard over a key that may do everything.
func TestSamplePolicies(t *testing.T) {
	run := func(action string, more ...string) []string {
		return append([]string{action, "ImageId=" + good, "InstanceType=ecs.g7.large"}, more...)
	}
	modify := func(more ...string) []string {
		return append([]string{"ModifyInstanceMetadataOptions", "InstanceId=$", "HttpEndpoint=enabled"}, more...)
	}
	for _, tc := range []struct {
		sample string
		call   []string
		denied bool
	}{
		{"ecs-require-hardening", run("RunInstances"), true},
		{"ecs-require-hardening", run("RunInstances", "HttpTokens=optional"), true},
		{"ecs-require-hardening", run("RunInstances", "HttpTokens=required"), false},
		{"ecs-require-hardening", run("CreateInstance"), true},
		{"ecs-require-hardening", modify("HttpTokens=optional"), false},
		{"ecs-forbid-opt-out", modify("HttpTokens=optional"), true},
		{"ecs-forbid-opt-out", modify("HttpTokens=required"), false},
		{"ecs-forbid-opt-out", modify(), false},
		{"ecs-limit-hops", run("RunInstances", "HttpPutResponseHopLimit=3"), true},
		{"ecs-limit-hops", run("CreateInstance", "HttpPutResponseHopLimit=2"), false},
		{"ecs-limit-hops", modify("HttpPutResponseHopLimit=64"), true},
		{"ecs-admins-only", modify("HttpTokens=required"), true},
		{"ecs-admins-only", run("RunInstances"), false},
	} {
		b := newBed(t)
		id := b.run()
		document, err := os.ReadFile("../../../docs/policies/" + tc.sample + ".json")
		b.must(err)
		b.must(b.PutPolicy(t.Context(), control.Caller{Dialect: "ecs", Admin: true, Action: "PutPolicy"}, state.Policy{Name: tc.sample, Dialect: "ecs", Guard: true, Document: string(document)}))
		var pairs []string
		for _, p := range tc.call[1:] {
			pairs = append(pairs, strings.Replace(p, "$", id, 1))
		}
		if tc.denied {
			b.refused(403, "Forbidden.RAM", tc.call[0], pairs...)
		} else {
			b.ok(tc.call[0], pairs...)
		}
	}
}

// TestBadRequests: bodies and parameters that are none (ECS-API-18).
func TestBadRequests(t *testing.T) {
	b := newBed(t)
	for name, c := range map[string]struct {
		query, kind, body string
		status            int
		code              string
	}{
		"a parameter twice":         {"Action=DescribeRegions&Version=2014-05-26&Format=JSON&PageSize=1&PageSize=2", "", "", 400, "InvalidParameter"},
		"in the query and the form": {"Action=DescribeRegions&Version=2014-05-26&Format=JSON&PageSize=1", "application/x-www-form-urlencoded", "PageSize=2", 400, "InvalidParameter"},
		"a bad escape":              {"Action=DescribeRegions&Version=2014-05-26&Format=JSON", "application/x-www-form-urlencoded", "a=%zz", 400, "InvalidParameter"},
		"JSON":                      {"Action=DescribeRegions&Version=2014-05-26&Format=JSON", "application/json", `{"PageSize":1}`, 400, ""},
	} {
		r := httptest.NewRequest(http.MethodPost, "http://ecs.test/?"+c.query, strings.NewReader(c.body))
		if c.kind != "" {
			r.Header.Set("Content-Type", c.kind)
		}
		w := b.do(r)
		var out reply
		b.must(json.Unmarshal(w.Body.Bytes(), &out))
		if w.Code != c.status || out.RequestID == "" || out.HostID == "" || c.code != "" && out.Code != c.code {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	b.refused(403, "InvalidAction", "DescribeImageAttribute", "ImageId="+good) // ECS-API-19
}
