//go:build linux

package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

var targets = Options{Targets: []netip.Addr{netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("fd00:ec2::254")}, Ports: []uint16{80}}

func TestOptions(t *testing.T) {
	many := Options{Ports: []uint16{80}}
	for range MaxIPv4 + 1 {
		many.Targets = append(many.Targets, netip.MustParseAddr("10.0.0.1"))
	}
	for name, o := range map[string]Options{
		"nothing": {}, "no port": {Targets: targets.Targets}, "too many": many,
		"too many ports": {Targets: targets.Targets, Ports: []uint16{1, 2, 3, 4, 5}},
	} {
		if o.Check() == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := targets.Check(); err != nil {
		t.Error(err)
	}
	for peer, want := range map[string]bool{"169.254.169.254:80": true, "[::ffff:169.254.169.254]:80": true, "[fd00:ec2::254]:80": true, "169.254.169.254:81": false, "10.0.0.1:80": false} {
		if targets.watched(netip.MustParseAddrPort(peer)) != want {
			t.Errorf("%s: %v", peer, !want)
		}
	}
}

func TestUnavailableSaysWhy(t *testing.T) {
	u := &Unavailable{[]Attempt{{"cgrich", errors.New("no BTF")}, {"afpacket", errors.New("no right")}}}
	if got := u.Error(); !strings.Contains(got, "cgrich: no BTF") || !strings.Contains(got, "afpacket: no right") {
		t.Error(got)
	}
}

func TestExplain(t *testing.T) {
	if os.Geteuid() == 0 {
		if got := explain(unix.EPERM).Error(); !strings.Contains(got, "kernel forbids it") && !strings.Contains(got, "missing") && !strings.Contains(got, "locked down") {
			t.Error(got)
		}
	} else if got := explain(unix.EPERM).Error(); !strings.Contains(got, "missing CAP_BPF") {
		t.Error(got)
	}
	other := errors.New("other")
	if !errors.Is(explain(other), other) || explain(other).Error() != "other" || explain(nil) != nil {
		t.Error("an error was changed that needs no explanation")
	}
}

func TestPlaceOf(t *testing.T) {
	const format = "\tfield:__u16 protocol;\toffset:30;\tsize:2;\tsigned:0;\n\tfield:__u8 saddr[4];\toffset:32;\tsize:4;\tsigned:0;\n\tfield:__u8 saddr_v6[16];\toffset:40;\tsize:16;\tsigned:0;\n"
	if got, err := placeOf([]byte(format), "saddr_v6[16]"); err != nil || got != 40 {
		t.Errorf("%d, %v", got, err)
	}
	if _, err := placeOf([]byte("rubbish"), "saddr_v6[16]"); err == nil {
		t.Error("no error")
	}
}

// packet builds a TCP segment with its IP header.
func packet(v6 bool, options int, payload string) []byte {
	tcp := make([]byte, 20+options)
	binary.BigEndian.PutUint16(tcp, 40000)
	binary.BigEndian.PutUint16(tcp[2:], 80)
	binary.BigEndian.PutUint32(tcp[4:], 1000)
	binary.BigEndian.PutUint32(tcp[8:], 2000)
	tcp[12] = byte((20+options)/4) << 4
	tcp = append(tcp, payload...)
	if v6 {
		ip := make([]byte, 40)
		ip[0], ip[6] = 0x60, unix.IPPROTO_TCP
		binary.BigEndian.PutUint16(ip[4:], uint16(len(tcp)))
		a := netip.MustParseAddr("fd00:ec2::254").As16()
		copy(ip[24:], a[:])
		return append(ip, tcp...)
	}
	ip := make([]byte, 24) // with options
	ip[0], ip[9] = 0x46, unix.IPPROTO_TCP
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)+len(tcp)))
	copy(ip[16:], []byte{169, 254, 169, 254})
	return append(ip, tcp...)
}

func TestParseSegment(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		s, ok := parseSegment(append(packet(v6, 12, "GET /"), "padding"...))
		if !ok || string(s.data) != "GET /" || s.seq != 1000 || s.ack != 2000 || s.src.Port() != 40000 || !targets.watched(s.dst) {
			t.Errorf("IPv6 %v: %v, %+v", v6, ok, s)
		}
	}
	fragment := packet(false, 0, "GET /")
	fragment[7] = 9
	udp := packet(true, 0, "GET /")
	udp[6] = unix.IPPROTO_UDP
	for name, b := range map[string][]byte{"empty": nil, "short": packet(false, 0, "")[:30], "fragment": fragment, "UDP": udp, "version": {0x50}} {
		if s, ok := parseSegment(b); ok {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestFilterJumpsInside(t *testing.T) {
	for n := 1; n <= MaxPorts; n++ {
		p := filter(make([]uint16, n))
		for i, ins := range p {
			if ins.Code&0x07 == unix.BPF_JMP && (i+1+int(ins.Jt) >= len(p) || i+1+int(ins.Jf) >= len(p)) {
				t.Errorf("%d ports: instruction %d jumps out", n, i)
			}
		}
		if p[17].Jt != uint8(n) || p[len(p)-1].K == 0 {
			t.Errorf("%d ports: a port's jump goes to %d", n, 18+p[17].Jt)
		}
	}
}

func FuzzParseSegment(f *testing.F) {
	f.Add(packet(false, 12, "GET /"))
	f.Add(packet(true, 0, "GET /"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := parseSegment(b); ok && len(s.data) > len(b)-40 {
			t.Errorf("%d bytes of %d", len(s.data), len(b))
		}
	})
}

func FuzzReadDiag(f *testing.F) {
	message := make([]byte, unix.SizeofNlMsghdr+sizeofDiagMsg)
	binary.NativeEndian.PutUint32(message, uint32(len(message)))
	binary.NativeEndian.PutUint16(message[4:], unix.SOCK_DIAG_BY_FAMILY)
	f.Add(message)
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		readDiag(b, func(sock) { n++ })
		if n > len(b)/sizeofDiagMsg {
			t.Errorf("%d sockets in %d bytes", n, len(b))
		}
	})
}

// TestOwnSocket: the lookups without eBPF find a socket of this process.
func TestOwnSocket(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var s unix.Stat_t
	if err := unix.Fstat(fd, &s); err != nil {
		t.Fatal(err)
	}
	if w := ownerOf(uint32(s.Ino)); w == nil || w.PID != os.Getpid() || w.UID != uint32(os.Getuid()) || w.Comm == "" {
		t.Errorf("%+v", w)
	}
	if w := owners(map[uint32]bool{uint32(s.Ino): true})[uint32(s.Ino)]; w == nil || w.PID != os.Getpid() {
		t.Errorf("%+v", w)
	}
}

func TestOlderThan(t *testing.T) {
	for release, want := range map[string]bool{"5.4.0-216-generic": true, "5.18.19": true, "5.19.0-rc1": false, "6.1.0-50-cloud-amd64": false, "4.20": true, "(unknown)": true} {
		if olderThan(release, 5, 19) != want {
			t.Errorf("%s: %v", release, !want)
		}
	}
}

// What the verifier of another kernel says is told in one line.
func TestExplainVerifier(t *testing.T) {
	refused := &ebpf.VerifierError{Cause: unix.EACCES, Log: []string{
		"0: (bf) r6 = r1", "R3 type=mem expected=fp", "processed 95 insns (limit 1000000)", "",
	}}
	for _, err := range []error{refused, fmt.Errorf("load: %w", &ebpf.VerifierError{Cause: unix.EINVAL, Log: refused.Log})} {
		got := explain(err).Error()
		if os.Geteuid() == 0 && !strings.Contains(got, "refuses the program (R3 type=mem expected=fp)") || strings.Contains(got, "r6 = r1") {
			t.Error(got)
		}
	}
}
