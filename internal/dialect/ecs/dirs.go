package ecs

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
		// ECS-LIST-06: the upper directories are listed without a slash.
		{Path: "dynamic", Bare: true},
		{Path: "dynamic/instance-identity", Bare: true},
		{Path: "global-config", Bare: true},
		{Path: "maintenance", Bare: true},
		{Path: "meta-data", Bare: true},

		{Path: "meta-data/disks/{disk}", Keys: diskSerials},
		{Path: "meta-data/network/interfaces/macs/{mac}", Keys: macs},
		{Path: "meta-data/public-keys/{key}", Keys: keyNames},
		{Path: "meta-data/ram", Aliases: []string{"Ram"}}, // ECS-CRED-08
		{Path: "meta-data/ram/security-credentials/{role}", Keys: roles},
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

// diskSerials are the serial numbers of the disks, in the order of the disks.
func diskSerials(dst []string, q *item.Query) []string {
	for i := range q.Instance.Disks {
		dst = append(dst, q.Instance.Disks[i].Serial)
	}
	return dst
}

// disk is an item of the disk that the path names.
func disk(get func(*instance.Disk) string) getter {
	return func(dst []byte, q *item.Query) ([]byte, bool) {
		return append(dst, get(&q.Instance.Disks[q.Index(0)])...), true
	}
}

// ordinals are the names of the first ten keys by number; an ECS instance has
// one key pair.
const ordinals = "0123456789"

// keyNames are the names of the public keys: each has its number and, if it
// has one, the id of its key pair (ECS-ITEM-053).
func keyNames(dst []string, q *item.Query) []string {
	for i := range min(len(q.Instance.KeyPairs), len(ordinals)) {
		dst = append(dst, ordinals[i:i+1])
		if id := q.Instance.KeyPairs[i].ID; id != "" {
			dst = append(dst, id)
		}
	}
	return dst
}

// opensshKey is the public key that goes by the path's name.
func opensshKey(dst []byte, q *item.Query) ([]byte, bool) {
	name := q.Key(0)
	for i := range min(len(q.Instance.KeyPairs), len(ordinals)) {
		if k := &q.Instance.KeyPairs[i]; name == ordinals[i:i+1] || name == k.ID {
			return append(dst, k.PublicKey...), true
		}
	}
	return dst, false
}

// roles is the name of the one role, if there is one.
func roles(dst []string, q *item.Query) []string {
	if q.Instance.Role == nil {
		return dst
	}
	return append(dst, q.Instance.Role.Name)
}

// tagKeys are the keys of the tags that are shown: none unless the instance
// shows its tags, and only those that a path can hold (ECS-ITEM-009).
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

func tagShown(key string) bool {
	for i := range len(key) {
		c := key[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		digit := '0' <= c && c <= '9'
		if !letter && !digit && strings.IndexByte("@:_-.=,", c) < 0 {
			return false
		}
	}
	return key != "" && key != "." && key != ".."
}

func tagValue(dst []byte, q *item.Query) ([]byte, bool) {
	return append(dst, q.Instance.Tags[q.Key(0)]...), true
}
