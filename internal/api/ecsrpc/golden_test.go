package ecsrpc_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// publicKey is a line of authorized_keys, of a key that nobody has.
const publicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f somebody"

// scenario calls every action (ECS-API-06, ECS-API-10). A $ in a parameter stands for the instance.
var scenario = [][]string{
	{"DescribeRegions"},
	{"DescribeZones"},
	{"ImportKeyPair", "KeyPairName=mine", "PublicKeyBody=" + publicKey, "Tag.1.Key=a", "Tag.1.Value=b"},
	{"CreateKeyPair", "KeyPairName=made"},
	{"DescribeKeyPairs", "IncludePublicKey=true", "KeyPairName=mi*"},
	{"RunInstances", "ImageId=" + good, "InstanceType=ecs.g7.large", "VSwitchId=vsw-bp1test", "SecurityGroupId=sg-bp1test",
		"HttpTokens=required", "HttpEndpoint=enabled", "HttpPutResponseHopLimit=2", "InstanceName=web <1>", "HostName=web-1",
		"Description=a & b", "UserData=IyEvYmluL3NoCg==", "KeyPairName=mine", "RamRoleName=reader",
		"Tag.1.Key=env", "Tag.1.Value=prod", "Tag.2.Key=é", "Tag.2.Value=", "ClientToken=once"},
	{"DescribeInstances"},
	{"DescribeInstances", "AdditionalAttributes.1=META_OPTIONS", "HttpTokens=required", "MaxResults=10"},
	{"DescribeInstanceAttribute", "InstanceId=$"},
	{"DescribeUserData", "InstanceId=$"},
	{"ModifyInstanceMetadataOptions", "InstanceId=$", "HttpEndpoint=enabled", "HttpTokens=optional", "InstanceMetadataTags=enabled"},
	{"ModifyInstanceAttribute", "InstanceId=$", "InstanceName=other", "Description="},
	{"DescribeInstanceRamRole", `InstanceIds=["$"]`},
	{"AttachInstanceRamRole", `InstanceIds=["$","i-none"]`, "RamRoleName=reader"},
	{"DetachInstanceRamRole", `InstanceIds=["$"]`, "RamRoleName=reader"},
	{"DetachKeyPair", `InstanceIds=["$"]`, "KeyPairName=mine"},
	{"AttachKeyPair", `InstanceIds=["$"]`, "KeyPairName=mine"},
	{"DeleteKeyPairs", `KeyPairNames=["mine","made"]`},
	{"TagResources", "ResourceType=instance", "ResourceId.1=$", "Tag.1.Key=env", "Tag.1.Value=test"},
	{"ListTagResources", "ResourceType=instance", "ResourceId.1=$"},
	{"UntagResources", "ResourceType=instance", "ResourceId.1=$", "TagKey.1=env"},
	{"DescribeImages", "OSType=linux"},
	{"CreateImage", "InstanceId=$", "ImageName=snap"},
	{"ModifyImageAttribute", "ImageId=" + old, "Features.ImdsSupport=v2"},
	{"StopInstance", "InstanceId=$"},
	{"StartInstance", "InstanceId=$"},
	{"RebootInstance", "InstanceId=$"},
	{"StopInstances", "InstanceId.1=$"},
	{"StartInstances", "InstanceId.1=$"},
	{"RebootInstances", "InstanceId.1=$"},
	{"DeleteInstance", "InstanceId=$", "Force=true"},
	{"CreateInstance", "ImageId=" + good, "InstanceType=ecs.c7.2xlarge"},
	{"DeleteInstances", "InstanceId.1=i-none"},
	{"NoSuchAction"},
}

// secrets are made anew in every run.
var secrets = regexp.MustCompile(`(?s)-----BEGIN.*KEY-----(\\n|&#xA;)|[0-9a-f]{2}(:[0-9a-f]{2}){15}`)

func TestGolden(t *testing.T) {
	for _, format := range []string{"json", "xml"} {
		t.Run(format, func(t *testing.T) {
			b := newBed(t)
			var all bytes.Buffer
			id := ""
			for _, step := range scenario {
				pairs := []string{"RegionId=cn-hangzhou"}
				for _, p := range step[1:] {
					pairs = append(pairs, strings.ReplaceAll(p, "$", id))
				}
				w := b.send(step[0], format, pairs...)
				if step[0] == "RunInstances" {
					id = regexp.MustCompile(`i-bp1[0-9a-f]{17}`).FindString(w.Body.String())
				}
				fmt.Fprintf(&all, "> %s\n< %d %s\n%s\n\n", strings.Join(step, " "), w.Code, w.Header().Get("Content-Type"), pretty(t, format, w.Body.Bytes()))
			}
			golden(t, "replies."+format, secrets.ReplaceAll(all.Bytes(), []byte("…")))
		})
	}
}

func pretty(t *testing.T, format string, body []byte) []byte {
	if format == "xml" {
		return bytes.ReplaceAll(body, []byte("><"), []byte(">\n<"))
	}
	var b bytes.Buffer
	if err := json.Indent(&b, body, "", " "); err != nil {
		t.Errorf("%v in %s", err, body)
	}
	return b.Bytes()
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run the test with -update)", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got); if that is right, run the test with -update:\n%s", name, diff)
	}
}
