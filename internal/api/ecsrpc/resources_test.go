package ecsrpc_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"openimds/internal/api/alisign"
	"openimds/internal/api/ecsrpc"
)

func TestTags(t *testing.T) {
	b := newBed(t)
	one, two := b.run(), b.run()
	on := []string{"ResourceType=instance", "ResourceId.1=" + one, "ResourceId.2=" + two}
	with := func(more ...string) []string { return append(append([]string{}, on...), more...) }
	b.ok("TagResources", with("Tag.1.Key=env", "Tag.1.Value=prod", "Tag.2.Key=team", "Tag.2.Value=a")...)
	b.ok("TagResources", with("Tag.1.Key=env", "Tag.1.Value=test")...)
	if got := b.ok("ListTagResources", on...).TagResources.TagResource; len(got) != 4 || got[0].TagKey != "env" || got[0].TagValue != "test" {
		t.Errorf("%+v", got)
	}
	b.ok("UntagResources", "ResourceType=instance", "ResourceId.1="+one, "TagKey.1=env", "TagKey.2=none")
	if got := b.ok("ListTagResources", "ResourceType=instance", "Tag.1.Key=env").TagResources.TagResource; len(got) != 2 {
		t.Errorf("%+v", got)
	}
	b.ok("UntagResources", with("All=true")...)
	if got := b.ok("ListTagResources", on...).TagResources.TagResource; len(got) != 0 {
		t.Errorf("%+v", got)
	}

	b.refused(404, "InvalidResourceType.NotFound", "TagResources", "ResourceType=disk", "ResourceId.1=d-1", "Tag.1.Key=a")
	b.refused(404, "InvalidResourceId.NotFound", "TagResources", "ResourceType=instance", "ResourceId.1=i-none", "Tag.1.Key=a")
	b.refused(404, "InvalidResourceId.NotFound", "TagResources", "ResourceType=image", "ResourceId.1="+one, "Tag.1.Key=a")
	b.refused(404, "MissingParameter.Tag", "TagResources", on...)
	b.refused(404, "MissingParameter.TagKey", "UntagResources", on...)
	b.refused(404, "MissingParameter.ResourceIds", "TagResources", "ResourceType=instance", "Tag.1.Key=a")
	b.refused(400, "InvalidTagKey.Malformed", "TagResources", with("Tag.1.Key=acs:a")...)
	many := with()
	for n := range 21 {
		many = append(many, fmt.Sprintf("Tag.%d.Key=k%d", n+1, n))
	}
	b.refused(400, "NumberExceed.Tags", "TagResources", many...)
	b.ok("TagResources", many[:len(many)-1]...)
	b.refused(400, "NumberExceed.Tags", "TagResources", with("Tag.1.Key=more")...)
	full := b.ok("ListTagResources", "ResourceType=instance", "Tag.1.Key=k1")
	if len(full.TagResources.TagResource) != 40 || full.NextToken != "" {
		t.Errorf("%d tags, next %q", len(full.TagResources.TagResource), full.NextToken)
	}
	third := "ResourceId.1=" + b.run()
	b.ok("TagResources", append([]string{"ResourceType=instance", third}, many[3:len(many)-1]...)...)
	first := b.ok("ListTagResources", "ResourceType=instance", "Tag.1.Key=k1")
	rest := b.ok("ListTagResources", "ResourceType=instance", "Tag.1.Key=k1", "NextToken="+first.NextToken)
	if len(first.TagResources.TagResource) != 50 || len(rest.TagResources.TagResource) != 10 || rest.NextToken != "" {
		t.Errorf("%d and %d tags", len(first.TagResources.TagResource), len(rest.TagResources.TagResource))
	}
}

// TestImages: ECS-API-04.
func TestImages(t *testing.T) {
	b := newBed(t)
	b.refused(400, "InvalidParameter", "ModifyImageAttribute", "ImageId="+old, "Features.ImdsSupport=v3")
	b.refused(404, "InvalidImageId.NotFound", "ModifyImageAttribute", "ImageId=none", "Features.ImdsSupport=v2")
	b.ok("ModifyImageAttribute", "ImageId="+old, "Features.ImdsSupport=v2", "ImageName=renamed")
	b.refused(400, "OpenImds.ImdsSupportIrreversible", "ModifyImageAttribute", "ImageId="+old, "Features.ImdsSupport=v1")
	id := b.ok("RunInstances", "ImageId="+old, "InstanceType=ecs.g7.large", "HttpTokens=required").InstanceIDSet.ID[0]

	support := func(image string) string {
		found := b.ok("DescribeImages", "ImageId="+image).Images.Image
		if len(found) != 1 {
			return fmt.Sprint(len(found), " images")
		}
		return found[0].Features.ImdsSupport
	}
	if got := support(b.ok("CreateImage", "InstanceId="+id, "ImageName=made").ImageID); got != "v2" {
		t.Errorf("inherited %s", got)
	}
	if got := support(b.ok("CreateImage", "SnapshotId=s-1").ImageID); got != "v1" {
		t.Errorf("of a snapshot: %s", got)
	}
	if got := support(b.ok("CreateImage", "SnapshotId=s-1", "Features.ImdsSupport=v2").ImageID); got != "v2" {
		t.Errorf("asked for: %s", got)
	}
	b.refused(400, "MissingParameter", "CreateImage", "ImageName=made")
	for pairs, want := range map[string]int{
		"": 6, "ImageOwnerAlias=self": 3, "ImageOwnerAlias=system": 3, "OSType=windows": 1, "Status=Creating": 0, "ImageName=ren*": 1,
		"ImageId=" + good + "," + old: 2, "PageSize=4": 4, "Architecture=arm64": 0,
	} {
		var all []string
		if pairs != "" {
			all = []string{pairs}
		}
		if got := len(b.ok("DescribeImages", all...).Images.Image); got != want {
			t.Errorf("%s: %d images, want %d", pairs, got, want)
		}
	}
}

// TestKeyPairsAndRoles: ECS-API-12.
func TestKeyPairsAndRoles(t *testing.T) {
	b := newBed(t)
	id := b.run()
	b.ok("ImportKeyPair", "KeyPairName=mine", "PublicKeyBody="+publicKey)
	b.refused(400, "KeyPair.AlreadyExist", "ImportKeyPair", "KeyPairName=mine", "PublicKeyBody="+publicKey)
	b.refused(400, "InvalidPublicKeyBody.Malformed", "ImportKeyPair", "KeyPairName=other", "PublicKeyBody=ssh-rsa AAAA")
	b.refused(400, "InvalidKeyPairName.Malformed", "ImportKeyPair", "KeyPairName=1", "PublicKeyBody="+publicKey)
	b.refused(400, "DryRunOperation", "CreateKeyPair", "KeyPairName=made", "DryRun=true")
	out := b.ok("AttachKeyPair", "KeyPairName=mine", "InstanceIds="+list(id, "i-none"))
	if out.FailCount != 1 || !out.Results.Result[0].Success || out.Results.Result[1].Code != "InvalidInstanceId.NotFound" {
		t.Errorf("%+v", out.Results)
	}
	if got := b.ok("DescribeInstances", "KeyPairName=mine").TotalCount; got != 1 {
		t.Errorf("%d instances with the key pair", got)
	}
	b.refused(400, "InvalidKeyPairName.NotFound", "AttachKeyPair", "KeyPairName=none", "InstanceIds="+list(id))
	win := b.ok("RunInstances", "ImageId="+windows, "InstanceType=ecs.g7.large").InstanceIDSet.ID[0]
	if out := b.ok("AttachKeyPair", "KeyPairName=mine", "InstanceIds="+list(win)); out.Results.Result[0].Code != "DependencyViolation.WindowsInstance" {
		t.Errorf("%+v", out.Results)
	}

	b.refused(404, "InvalidRamRole.NotFound", "AttachInstanceRamRole", "RamRoleName=none", "InstanceIds="+list(id))
	if out := b.ok("AttachInstanceRamRole", "RamRoleName=reader", "InstanceIds="+list(id)); out.FailCount != 0 {
		t.Errorf("%+v", out.Attached)
	}
	if out := b.ok("AttachInstanceRamRole", "RamRoleName=reader", "InstanceIds="+list(id)); out.FailCount != 1 || out.Attached.Result[0].Success {
		t.Errorf("%+v", out.Attached)
	}
	if out := b.ok("DescribeInstanceRamRole", "RamRoleName=reader"); out.TotalCount != 1 {
		t.Errorf("%d instances with the role", out.TotalCount)
	}
	b.refused(403, "InvalidParameter.AllEmpty", "DescribeInstanceRamRole")
	b.refused(404, "InvalidInstanceId.NotFound", "DescribeInstanceRamRole", "InstanceIds="+list("i-none"))
	if out := b.ok("DetachInstanceRamRole", "RamRoleName=other", "InstanceIds="+list(id)); out.FailCount != 1 {
		t.Errorf("%+v", out.Detached)
	}
	if out := b.ok("DetachInstanceRamRole", "InstanceIds="+list(id)); out.FailCount != 0 {
		t.Errorf("%+v", out.Detached)
	}
}

// TestSignatures: both versions, and what is wrong with a request before it
// has a meaning. Codes and forms are the vendor's (ECS-API-13, ECS-API-21).
func TestSignatures(t *testing.T) {
	b := newBed(t)
	own := alisign.Credentials{AccessKeyID: "LTAItest", AccessKeySecret: secret}
	request := func(method, target, body string) *http.Request {
		r := httptest.NewRequest(method, target, strings.NewReader(body))
		if body != "" {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		return r
	}
	v1 := func(query, body string, c alisign.Credentials, now time.Time) *http.Request {
		r := request(http.MethodPost, "http://ecs.test/?"+query, body)
		b.nonce++
		b.must(alisign.SignV1(r, []byte(body), c, fmt.Sprint(b.nonce), now))
		return r
	}
	v3 := request(http.MethodPost, "http://ecs.test/?MaxResults=10", "InstanceName=x*")
	v3.Header.Set("X-Acs-Action", "DescribeInstances")
	v3.Header.Set("X-Acs-Version", ecsrpc.Version)
	v3.Header.Set("Accept", "application/json")
	b.must(alisign.SignV3(v3, []byte("InstanceName=x*"), own, "v3", b.now))

	tampered := v1("Action=DescribeRegions&Version=2014-05-26&Format=JSON", "", own, b.now)
	tampered.URL.RawQuery += "&DryRun=true"
	for _, tc := range []struct {
		name   string
		r      *http.Request
		status int
		want   string // in the body
		xml    bool
	}{
		{"V1, and a parameter that nobody knows (ECS-API-01)", v1("Action=DescribeRegions&Version=2014-05-26&format=JSON&Format=json", "", own, b.now), 200, `"Regions"`, false},
		{"V1, in a form", v1("", "Action=DescribeRegions&Version=2014-05-26&Format=JSON", own, b.now), 200, `"Regions"`, false},
		{"V1, no format", v1("Action=DescribeRegions&Version=2014-05-26", "", own, b.now), 200, `<Regions>`, true},
		{"V3", v3, 200, `"Instances":{"Instance":[]}`, false},
		{"not signed", request(http.MethodGet, "http://ecs.test/?Action=DescribeRegions&Format=JSON", ""), 400, `"MissingParameter"`, false},
		{"unknown key", v1("Action=DescribeRegions&Version=2014-05-26", "", alisign.Credentials{AccessKeyID: "LTAIx", AccessKeySecret: "x"}, b.now), 404, "<Code>InvalidAccessKeyId.NotFound</Code>", true},
		{"wrong secret", v1("Action=DescribeRegions&Version=2014-05-26&Format=JSON", "", alisign.Credentials{AccessKeyID: own.AccessKeyID, AccessKeySecret: "x"}, b.now), 400, "server string to sign is:POST&%2F&", false},
		{"changed", tampered, 400, "SignatureDoesNotMatch", false},
		{"old", v1("Action=DescribeRegions&Version=2014-05-26&Format=JSON", "", own, b.now.Add(-16*time.Minute)), 400, "InvalidTimeStamp.Expired", false},
		{"method", request(http.MethodPut, "http://ecs.test/?Format=JSON", ""), 403, "UnsupportedHTTPMethod", false},
		{"version", v1("Action=DescribeRegions&Version=2016-11-15&Format=JSON", "", own, b.now), 400, "InvalidParameter", false},
		{"too large", request(http.MethodPost, "http://ecs.test/?Format=JSON", strings.Repeat("x", 1<<20+1)), 413, "InvalidParameter", false},
	} {
		w := b.do(tc.r)
		kind := "application/json;charset=utf-8"
		if tc.xml {
			kind = "application/xml;charset=utf-8"
			if tc.status != 200 {
				kind = "text/xml;charset=utf-8"
			}
		}
		if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.want) || w.Header().Get("Content-Type") != kind {
			t.Errorf("%s: %d %s: %s", tc.name, w.Code, w.Header().Get("Content-Type"), w.Body)
		}
	}

	again := v1("Action=DescribeRegions&Version=2014-05-26&Format=JSON", "", own, b.now)
	if w := b.do(again); w.Code != 200 {
		t.Error(w.Body)
	}
	if w := b.do(again); w.Code != 400 || !strings.Contains(w.Body.String(), "SignatureNonceUsed") {
		t.Errorf("replayed: %d %s", w.Code, w.Body)
	}
}
