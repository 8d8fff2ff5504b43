package ec2

import (
	"strings"

	"openimds/internal/instance"
	"openimds/internal/item"
)

// partitionOf is the partition that an instance's region belongs to, unless
// the instance says otherwise (EC2-ITEM-071).
func partitionOf(in *instance.Instance) string {
	switch {
	case in.Services.Partition != "":
		return in.Services.Partition
	case strings.HasPrefix(in.Region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(in.Region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}

// domainOf is the DNS domain of the partition's services (EC2-ITEM-070).
func domainOf(in *instance.Instance) string {
	switch {
	case in.Services.Domain != "":
		return in.Services.Domain
	case partitionOf(in) == "aws-cn":
		return "amazonaws.com.cn"
	}
	return "amazonaws.com"
}

// hostname is the private DNS name of the instance (EC2-ITEM-015).
func hostname(dst []byte, q *item.Query) ([]byte, bool) {
	if q.Instance.Hostname != "" {
		return append(dst, q.Instance.Hostname...), true
	}
	return localHostname(dst, q.Instance, q.Instance.Primary())
}

// localHostname is the private DNS name of an interface: the one that is set,
// or the one that EC2 makes of the address, or of the instance's id where
// there is no IPv4 address (EC2-ITEM-041).
func localHostname(dst []byte, in *instance.Instance, f *instance.Interface) ([]byte, bool) {
	switch {
	case f.Hostname != "":
		return append(dst, f.Hostname...), true
	case in.Hostname != "" && f == in.Primary():
		return append(dst, in.Hostname...), true
	case len(f.IPv4) > 0:
		dst = append(dst, "ip-"...)
		from := len(dst)
		dst = f.IPv4[0].AppendTo(dst)
		for i := from; i < len(dst); i++ {
			if dst[i] == '.' {
				dst[i] = '-'
			}
		}
	default:
		dst = append(dst, in.ID...)
	}
	if in.Region == "us-east-1" {
		return append(dst, ".ec2.internal"...), true
	}
	dst = append(append(dst, '.'), in.Region...)
	return append(dst, ".compute.internal"...), true
}
