package record

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// raw builds a record as the kernel's programs do.
type raw struct{ b []byte }

func newRaw(kind Kind, size int) raw {
	r := raw{make([]byte, size)}
	r.b[0], r.b[1], r.b[2], r.b[3] = version, byte(kind), 4, 1
	r.u32(4, 1000).u64(8, 5e9).u64(16, 77)
	copy(r.b[24:], []byte{10, 0, 0, 1})
	copy(r.b[40:], []byte{169, 254, 169, 254})
	binary.LittleEndian.PutUint16(r.b[56:], 40000)
	binary.LittleEndian.PutUint16(r.b[58:], 80)
	r.u64(offWho, 3e9).u64(offWho+8, 42).u32(offWho+16, 4026531833).u32(offWho+20, 100).u32(offWho+24, 101).u32(offWho+28, 1000).u32(offWho+32, NoLogin).u32(offWho+36, 7)
	copy(r.b[offWho+40:], "worker")
	copy(r.b[offWho+56:], "agent")
	return r
}

func (r raw) u32(at int, v uint32) raw { binary.LittleEndian.PutUint32(r.b[at:], v); return r }
func (r raw) u64(at int, v uint64) raw { binary.LittleEndian.PutUint64(r.b[at:], v); return r }

func (r raw) data(size int, data string) raw {
	r.u32(60, uint32(size)).u32(68, uint32(len(data)))
	r.b = append(r.b, data...)
	return r
}

func TestDecodeConnect(t *testing.T) {
	r := newRaw(Connect, richSize)
	r.u64(offParents, 1e9).u32(offParents+8, 50)
	copy(r.b[offParents+16:], "bash")
	copy(r.b[offCgroups:], "docker-x.scope")
	copy(r.b[offCgroups+3*nameSize:], "memory-name")
	args := "curl\x00-s\x00http://x/\x00"
	r.u32(offArgs, uint32(len(args)))
	copy(r.b[offArgs+8:], args)
	got, err := Decode(r.b)
	if err != nil {
		t.Fatal(err)
	}
	w := got.Who
	if got.Conn != 77 || got.Time != 5e9 || got.Dst != netip.MustParseAddrPort("169.254.169.254:80") {
		t.Errorf("%+v", got)
	}
	if w.PID != 100 || w.TID != 101 || w.UID != 1000 || w.NSPID != 7 || w.Start != 3e9 || w.Cgroup != 42 || w.NetNS != 4026531833 || w.Comm != "worker" || w.Leader != "agent" || w.LoginUID != NoLogin {
		t.Errorf("%+v", w)
	}
	if !slices.Equal(w.Args, []string{"curl", "-s", "http://x/"}) || w.ArgsCut {
		t.Errorf("args %q, cut %v", w.Args, w.ArgsCut)
	}
	if len(w.Parents) != 1 || w.Parents[0] != (Parent{50, 1e9, "bash"}) {
		t.Errorf("parents %+v", w.Parents)
	}
	if !slices.Equal(w.Cgroups, []string{"docker-x.scope", "", "", "memory-name"}) {
		t.Errorf("cgroups %q", w.Cgroups)
	}
}

func TestDecodeLongArgs(t *testing.T) {
	r := newRaw(Connect, richSize)
	r.u32(offArgs, 100000)
	for i := range argsSize {
		r.b[offArgs+8+i] = 'a'
	}
	got, err := Decode(r.b)
	if err != nil || !got.Who.ArgsCut || len(got.Who.Args[0]) != argsSize {
		t.Errorf("%v, %+v", err, got.Who)
	}
}

func TestDecodeRequest(t *testing.T) {
	got, err := Decode(newRaw(Request, headSize).data(10, "GET /").b)
	if err != nil || string(got.Data) != "GET /" || got.Size != 10 || got.Seq != 1000 || !got.Who.FromTable {
		t.Errorf("%v, %+v", err, got)
	}
	// The perf buffer appends the packet, headers and all, and pads it.
	r := newRaw(Request, headSize).data(5, "HEADERSGET /pad").u32(68, 5).u32(72, 7)
	if got, err = Decode(r.b); err != nil || string(got.Data) != "GET /" {
		t.Errorf("%v, %q", err, got.Data)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, b := range map[string][]byte{
		"short":               make([]byte, headSize-1),
		"version":             append([]byte{9}, newRaw(Connect, headSize).b[1:]...),
		"kind":                newRaw(9, headSize).b,
		"family":              func() []byte { b := newRaw(Connect, headSize).b; b[2] = 5; return b }(),
		"connect of nobody":   func() []byte { b := newRaw(Connect, headSize).b; b[3] = 0; return b }(),
		"more than there is":  newRaw(Request, headSize).data(100, "x").u32(68, 50).b,
		"huge length":         newRaw(Request, headSize).data(100, "x").u32(68, 0xffffffff).b,
		"huge skip":           newRaw(Request, headSize).data(100, "x").u32(72, 0xffffffff).b,
		"beyond the segment":  newRaw(Request, headSize).data(3, "four").b,
		"offset out of range": newRaw(Request, headSize).data(4, "four").u32(64, 0xfffffff0).b,
	} {
		if r, err := Decode(b); err == nil {
			t.Errorf("%s: no error, %+v", name, r)
		}
	}
}

func TestDecodeSharesNothing(t *testing.T) {
	b := newRaw(Request, headSize).data(5, "GET /").b
	got, _ := Decode(b)
	clear(b)
	if string(got.Data) != "GET /" || got.Who.Comm != "worker" {
		t.Error("a record changed with the buffer that it was read from")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(newRaw(Connect, richSize).b)
	f.Add(newRaw(Request, headSize).data(10, "GET /").b)
	f.Add(newRaw(Answer, headSize).data(20, "HTTP/1.1 200 OK").b)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Decode(b)
		if err == nil && uint64(r.Offset)+uint64(len(r.Data)) > uint64(r.Size) && r.Kind != Connect {
			t.Errorf("%d bytes at %d of a segment of %d", len(r.Data), r.Offset, r.Size)
		}
		if err == nil && r.Who != nil && (strings.ContainsRune(r.Who.Comm, 0) || len(r.Who.Parents) > parents) {
			t.Errorf("%+v", r.Who)
		}
	})
}
