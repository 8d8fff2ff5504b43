package netenv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// OpenNeighbours begins to ask about the neighbours at an interface.
func OpenNeighbours(p Place) (*Neighbours, error) {
	t := &neighbourTable{fd: -1}
	err := Within(p.Namespace, func() error {
		link, err := net.InterfaceByName(p.Interface)
		if err != nil {
			return fmt.Errorf("%s: %w", p.Interface, ErrNoInterface)
		}
		t.index = uint32(link.Index)
		t.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		if err != nil {
			return os.NewSyscallError("netlink socket", err)
		}
		// The kernel answers while it is asked; this is for a kernel that does not.
		return unix.SetsockoptTimeval(t.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1})
	})
	if err != nil {
		t.close()
		return nil, fmt.Errorf("ask about neighbours at %s: %w", p, err)
	}
	return &Neighbours{ask: t.find, end: t.close, now: time.Now, known: map[netip.Addr]neighbour{}}, nil
}

// neighbourTable is the kernel's neighbour table.
type neighbourTable struct {
	index uint32

	mu       sync.Mutex // guards what follows: one question at a time
	fd       int        // -1: closed
	sequence uint32
	buffer   [4096]byte
}

func (t *neighbourTable) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fd >= 0 {
		_ = unix.Close(t.fd) // only asked
		t.fd = -1
	}
}

// find asks for one entry of the table, which takes some microseconds.
func (t *neighbourTable) find(a netip.Addr) (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.fd < 0 {
		return "", false
	}
	t.sequence++
	if err := unix.Sendto(t.fd, t.question(a), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return "", false
	}
	for {
		n, _, err := unix.Recvfrom(t.fd, t.buffer[:], 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return "", false
		}
		messages, err := syscall.ParseNetlinkMessage(t.buffer[:n])
		if err != nil || len(messages) == 0 {
			return "", false
		}
		if m := messages[0]; m.Header.Seq == t.sequence { // else of a question that was given up
			return answerOf(m)
		}
	}
}

// question is RTM_GETNEIGH for one address: header, struct ndmsg, attribute.
func (t *neighbourTable) question(a netip.Addr) []byte {
	family := byte(unix.AF_INET)
	if a.Is6() {
		family = unix.AF_INET6
	}
	address := a.AsSlice()
	b := make([]byte, 0, 64)
	b = binary.NativeEndian.AppendUint32(b, uint32(unix.SizeofNlMsghdr+unix.SizeofNdMsg+unix.SizeofRtAttr+len(address)))
	b = binary.NativeEndian.AppendUint16(b, unix.RTM_GETNEIGH)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST)
	b = binary.NativeEndian.AppendUint32(b, t.sequence)
	b = binary.NativeEndian.AppendUint32(b, 0) // the kernel knows who we are
	b = append(b, family, 0, 0, 0)
	b = binary.NativeEndian.AppendUint32(b, t.index)
	b = append(b, 0, 0, 0, 0) // state, flags, type
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(address)))
	b = binary.NativeEndian.AppendUint16(b, unix.NDA_DST)
	return append(b, address...)
}

// answerOf reads the hardware address of an entry.
func answerOf(m syscall.NetlinkMessage) (string, bool) {
	if m.Header.Type != unix.RTM_NEWNEIGH || len(m.Data) < unix.SizeofNdMsg {
		return "", false
	}
	for b := m.Data[unix.SizeofNdMsg:]; len(b) >= unix.SizeofRtAttr; {
		length, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if length < unix.SizeofRtAttr || length > len(b) {
			return "", false
		}
		if kind == unix.NDA_LLADDR {
			return net.HardwareAddr(b[unix.SizeofRtAttr:length]).String(), true
		}
		b = b[min((length+3)&^3, len(b)):]
	}
	return "", false
}
