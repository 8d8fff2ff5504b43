package ec2

import (
	"slices"
	"strings"

	"openimds/internal/instance"
	"openimds/internal/item"
)

// dirs returns the directories of the table that list keys or are printed in
// a way of their own.
func dirs() []item.Dir {
	return []item.Dir{
		// EC2-LIST-02: the folders of a version are listed without a slash.
		{Path: "dynamic", Bare: true},
		{Path: "meta-data", Bare: true},

		{Path: "meta-data/block-device-mapping/{device}", Keys: deviceNames()},
		{Path: "meta-data/elastic-gpus/associations/{id}", Keys: keysOf(elasticGPUs)},
		{Path: "meta-data/elastic-inference/associations/{id}", Keys: keysOf(elasticInference)},
		{Path: "meta-data/iam/security-credentials/{role}", Keys: roles},
		{Path: "meta-data/managed-ssh-keys/active-keys/{user}", Keys: keyUsers},
		{Path: "meta-data/managed-ssh-keys/signer-ocsp/{fingerprint}", Keys: keysOf(signerOCSP)},
		{Path: "meta-data/network/interfaces/macs/{mac}", Keys: macs},
		{Path: "meta-data/network/interfaces/macs/{mac}/ipv4-associations/{public-ipv4}", Keys: publicAddresses},
		{Path: "meta-data/public-keys/{number}", Keys: keyNumbers, Label: keyLabel},
		{Path: "meta-data/tags/instance/{tag}", Keys: tagKeys},
	}
}

// macs are the interfaces' hardware addresses, in the order of the interfaces.
func macs(dst []string, q *item.Query) []string {
	for i := range q.Instance.Interfaces {
		dst = append(dst, q.Instance.Interfaces[i].MAC)
	}
	return dst
}

// roles is the name of the one role, if there is one.
func roles(dst []string, q *item.Query) []string {
	if q.Instance.Role == nil {
		return dst
	}
	return append(dst, q.Instance.Role.Name)
}

// table is a part of an instance that is served key by key.
type table = func(*instance.Instance) map[string]string

func elasticGPUs(in *instance.Instance) map[string]string      { return in.ElasticGPUs }
func elasticInference(in *instance.Instance) map[string]string { return in.ElasticInference }
func signerOCSP(in *instance.Instance) map[string]string       { return in.ManagedSSH.SignerOCSP }
func tags(in *instance.Instance) map[string]string             { return in.Tags }

// keysOf lists the keys of a table.
func keysOf(of table) func(dst []string, q *item.Query) []string {
	return func(dst []string, q *item.Query) []string {
		from := len(dst)
		for key := range of(q.Instance) {
			dst = append(dst, key)
		}
		slices.Sort(dst[from:])
		return dst
	}
}

// entry is the value that a table has for the path's first key.
func entry(of table) getter {
	return func(dst []byte, q *item.Query) ([]byte, bool) {
		value, ok := of(q.Instance)[q.Key(0)]
		return append(dst, value...), ok
	}
}

// tagKeys are the keys of the tags that are shown: none unless the instance
// shows its tags, and only those that a path can hold (EC2-ITEM-075).
func tagKeys(dst []string, q *item.Query) []string {
	if !q.Instance.Metadata.TagsShown() {
		return dst
	}
	from := len(dst)
	for key := range q.Instance.Tags {
		if tagShown(key) {
			dst = append(dst, key)
		}
	}
	slices.Sort(dst[from:])
	return dst
}

// maxTagKey is how long the key of a shown tag may be.
const maxTagKey = 255

// tagShown tells which keys can be shown (EC2-TAG-02).
func tagShown(key string) bool {
	switch key {
	case "", ".", "..", "_index":
		return false
	}
	for i := range len(key) {
		c := key[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		digit := '0' <= c && c <= '9'
		if !letter && !digit && strings.IndexByte("+-=.,_:@", c) < 0 {
			return false
		}
	}
	return len(key) <= maxTagKey
}
