package ec2

import (
	"strings"
	"testing"
	"time"

	"openimds/internal/instance"
)

const documentPath = "latest/dynamic/instance-identity/document"

// TestIdentityDocument: the form of a real document whose signatures were
// verified (EC2-IDENT-01, EC2-IDENT-03).
func TestIdentityDocument(t *testing.T) {
	const want = `{
  "accountId" : "123456789012",
  "architecture" : "x86_64",
  "availabilityZone" : "us-east-1a",
  "billingProducts" : null,
  "devpayProductCodes" : null,
  "marketplaceProductCodes" : null,
  "imageId" : "ami-0abcdef0123456789",
  "instanceId" : "i-0abcdef0123456789",
  "instanceType" : "t2.micro",
  "kernelId" : null,
  "pendingTime" : "2022-02-02T02:02:02Z",
  "privateIp" : "172.31.0.10",
  "ramdiskId" : null,
  "region" : "us-east-1",
  "version" : "2017-09-30"
}`
	got, _ := lookup(t, guest(), documentPath)
	if got != want {
		t.Errorf("want\n%s\ngot\n%s", want, got)
	}
}

// TestIdentityDocumentMembers: what members are when they apply (EC2-IDENT-02,
// EC2-IDENT-04, EC2-IDENT-05, EC2-IDENT-06).
func TestIdentityDocumentMembers(t *testing.T) {
	for want, edit := range map[string]func(*instance.Instance){
		`"architecture" : "arm64",`:                     func(in *instance.Instance) { in.Architecture = "arm64" },
		`"billingProducts" : [ "bp-6ba54002" ],`:        func(in *instance.Instance) { in.Image.BillingProducts = []string{"bp-6ba54002"} },
		`"marketplaceProductCodes" : [ "one", "two" ],`: func(in *instance.Instance) { in.Image.ProductCodes = []string{"one", "two"} },
		`"kernelId" : "aki-1",`:                         func(in *instance.Instance) { in.Image.KernelID = "aki-1" },
		`"ramdiskId" : "ari-1",`:                        func(in *instance.Instance) { in.Image.RAMDiskID = "ari-1" },
		`"privateIp" : "2600:1f16:aeb:b20b::1",`:        v6only,
		`"privateIp" : null,`:                           func(in *instance.Instance) { in.Interfaces = nil },
		`"pendingTime" : null,`:                         func(in *instance.Instance) { in.Started = time.Time{} },
		`"pendingTime" : "2022-02-02T00:02:02Z",`: func(in *instance.Instance) {
			in.Started = time.Date(2022, 2, 2, 2, 2, 2, 999, time.FixedZone("", 2*60*60))
		},
	} {
		got, _ := lookup(t, guest(edit), documentPath)
		if !strings.Contains(got, "\n  "+want+"\n") {
			t.Errorf("want %s in\n%s", want, got)
		}
	}
}
