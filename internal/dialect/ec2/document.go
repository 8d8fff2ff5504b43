package ec2

import (
	"openimds/internal/instance"
	"openimds/internal/item"
)

// documentVersion is the version of the document's form, not of the service.
const documentVersion = "2017-09-30"

// identityDocument is the instance identity document: these members, in this
// order and with these blanks, because signatures cover its bytes
// (EC2-IDENT-01).
func identityDocument(dst []byte, q *item.Query) ([]byte, bool) {
	in := q.Instance
	architecture := in.Architecture
	if architecture == "" {
		architecture = "x86_64"
	}
	dst = text(append(dst, '{'), outer, "accountId", in.Account)
	dst = text(dst, outer, "architecture", architecture)
	dst = text(dst, outer, "availabilityZone", in.Zone)
	dst = list(dst, outer, "billingProducts", in.Image.BillingProducts)
	dst = list(dst, outer, "devpayProductCodes", nil)
	dst = list(dst, outer, "marketplaceProductCodes", in.Image.ProductCodes)
	dst = text(dst, outer, "imageId", in.Image.ID)
	dst = text(dst, outer, "instanceId", in.ID)
	dst = text(dst, outer, "instanceType", in.Type)
	dst = textOrNull(dst, outer, "kernelId", in.Image.KernelID)
	dst = pendingTime(dst, in)
	dst = privateIP(dst, in.Primary())
	dst = textOrNull(dst, outer, "ramdiskId", in.Image.RAMDiskID)
	dst = text(dst, outer, "region", in.Region)
	dst = text(dst, outer, "version", documentVersion)
	return append(dst, "\n}"...), true
}

// pendingTime is the last start; null while it is not known (EC2-IDENT-05).
func pendingTime(dst []byte, in *instance.Instance) []byte {
	if in.Started.IsZero() {
		return textOrNull(dst, outer, "pendingTime", "")
	}
	return moment(dst, outer, "pendingTime", isoTime, in.Started)
}

// privateIP is the first private address: IPv6 where there is no IPv4
// (EC2-IDENT-04).
func privateIP(dst []byte, f *instance.Interface) []byte {
	addresses := f.IPv4
	if len(addresses) == 0 {
		addresses = f.IPv6
	}
	if len(addresses) == 0 {
		return textOrNull(dst, outer, "privateIp", "")
	}
	dst = append(field(dst, outer, "privateIp"), '"')
	return append(addresses[0].AppendTo(dst), '"')
}
