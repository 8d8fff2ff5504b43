package seal

import (
	"encoding/binary"
	"os"
	"strconv"
	"syscall"
)

// An access list as the kernel gives it: a version (4 bytes), then entries of
// tag (2), permissions (2) and id (4), least significant byte first.
const (
	aclName    = "system.posix_acl_access"
	aclVersion = 2

	aclOwner     = 0x01
	aclUser      = 0x02
	aclOwnGroup  = 0x04
	aclGroup     = 0x08
	aclMask      = 0x10
	aclOther     = 0x20
	aclEntrySize = 8
)

// ownerOnly reports whether a file, although the bits of its mode for the group
// are set, is for its owner and for the user of this process alone. With an
// access list, those bits are the mask of all that the list grants: systemd
// gives a credential to the user of a service this way.
func ownerOnly(f *os.File, info os.FileInfo) bool {
	if info.Mode().Perm()&0o007 != 0 {
		return false
	}
	// Through /proc the file is surely the one that is open.
	list := make([]byte, 1024)
	n, err := syscall.Getxattr("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), aclName, list)
	if err != nil {
		return false // no list: the bits mean the group
	}
	return grantsNobodyElse(list[:n], uint32(os.Geteuid()))
}

// grantsNobodyElse reads an access list. What it does not understand it takes
// for a grant.
func grantsNobodyElse(list []byte, user uint32) bool {
	if len(list) < 4 || len(list)%aclEntrySize != 4 || binary.LittleEndian.Uint32(list) != aclVersion {
		return false
	}
	mask := uint16(0o7)
	for e := list[4:]; len(e) > 0; e = e[aclEntrySize:] {
		if binary.LittleEndian.Uint16(e) == aclMask {
			mask = binary.LittleEndian.Uint16(e[2:])
		}
	}
	for e := list[4:]; len(e) > 0; e = e[aclEntrySize:] {
		granted := binary.LittleEndian.Uint16(e[2:])
		switch binary.LittleEndian.Uint16(e) {
		case aclOwner, aclMask:
		case aclUser:
			if binary.LittleEndian.Uint32(e[4:]) != user && granted&mask != 0 {
				return false
			}
		case aclOwnGroup, aclGroup:
			if granted&mask != 0 {
				return false
			}
		case aclOther:
			if granted != 0 {
				return false
			}
		default:
			return false
		}
	}
	return true
}
