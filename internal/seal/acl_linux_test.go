package seal

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

type aclEntry struct {
	tag, granted uint16
	id           uint32
}

func aclList(entries ...aclEntry) []byte {
	b := binary.LittleEndian.AppendUint32(nil, aclVersion)
	for _, e := range entries {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.granted)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
}

const none = 0xffffffff

func TestGrantsNobodyElse(t *testing.T) {
	owner, group, mask, other := aclEntry{aclOwner, 4, none}, aclEntry{aclOwnGroup, 0, none}, aclEntry{aclMask, 4, none}, aclEntry{aclOther, 0, none}
	for name, tc := range map[string]struct {
		list []byte
		want bool
	}{
		"as systemd does it":      {aclList(owner, aclEntry{aclUser, 4, 1000}, group, mask, other), true},
		"the owner alone":         {aclList(owner, group, other), true},
		"another user":            {aclList(owner, aclEntry{aclUser, 4, 1001}, group, mask, other), false},
		"us and another":          {aclList(owner, aclEntry{aclUser, 4, 1000}, aclEntry{aclUser, 2, 1001}, group, aclEntry{aclMask, 6, none}, other), false},
		"another, masked":         {aclList(owner, aclEntry{aclUser, 2, 1001}, group, mask, other), true},
		"the group":               {aclList(owner, aclEntry{aclUser, 4, 1000}, aclEntry{aclOwnGroup, 4, none}, mask, other), false},
		"the group, masked":       {aclList(owner, aclEntry{aclUser, 4, 1000}, aclEntry{aclOwnGroup, 2, none}, mask, other), true},
		"a group":                 {aclList(owner, group, aclEntry{aclGroup, 4, 5}, mask, other), false},
		"a group, without a mask": {aclList(owner, group, aclEntry{aclGroup, 4, 5}, other), false},
		"all":                     {aclList(owner, group, mask, aclEntry{aclOther, 4, none}), false},
		"something new":           {aclList(owner, group, mask, other, aclEntry{0x40, 4, none}), false},
		"a mask at the end":       {aclList(owner, aclEntry{aclUser, 4, 1001}, group, other, aclEntry{aclMask, 0, none}), true},
		"empty":                   {nil, false},
		"half an entry":           {aclList(owner, group, other)[:10], false},
		"a version to come":       {append([]byte{3, 0, 0, 0}, aclList(owner)[4:]...), false},
	} {
		if got := grantsNobodyElse(tc.list, 1000); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

// A real file with a real list, as systemd makes it for a service with a user.
func TestCredential(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(base64.StdEncoding.EncodeToString(make([]byte, KeySize))), 0o400); err != nil {
		t.Fatal(err)
	}
	us := uint32(os.Geteuid())
	for _, tc := range []struct {
		user uint32
		ok   bool
	}{{us, true}, {us + 1, false}} {
		list := aclList(aclEntry{aclOwner, 4, none}, aclEntry{aclUser, 4, tc.user}, aclEntry{aclOwnGroup, 0, none}, aclEntry{aclMask, 4, none}, aclEntry{aclOther, 0, none})
		if err := syscall.Setxattr(path, aclName, list, 0); errors.Is(err, syscall.ENOTSUP) {
			t.Skip("the file system of the temporary folder has no access lists")
		} else if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o440 {
			t.Fatalf("mode %v, %v; the test means to see 0440", info.Mode(), err)
		}
		_, err := ReadKey(path)
		if (err == nil) != tc.ok || err != nil && !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("granted to user %d, and we are %d: %v", tc.user, us, err)
		}
	}
}
