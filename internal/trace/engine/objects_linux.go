package engine

import (
	"bytes"
	_ "embed" // the objects
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf"
)

//go:generate bpf/build

var (
	//go:embed bpf/rich.o
	richObject []byte
	//go:embed bpf/plain.o
	plainObject []byte
	//go:embed bpf/perf.o
	perfObject []byte
)

// objects are the builds of the programs by engine.
var objects = map[string][]byte{"cgrich": richObject, "cgroup": plainObject, "tpcgperf": perfObject}

// Order of the kernel's counters, as in bpf/trace.c.
const (
	countLostConnect = iota
	countLostRequest
	countLostAnswer
	countUnknown
	countCut
)

// spec returns the programs of an engine with what they are to observe.
func spec(o Options, name string) (*ebpf.CollectionSpec, error) {
	s, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(objects[name]))
	if err != nil {
		return nil, fmt.Errorf("read the programs of %s: %w", name, err)
	}
	v4, v6 := o.split()
	var ip4 [MaxIPv4][4]byte
	for i, a := range v4 {
		ip4[i] = a.As4()
	}
	var ip6 [MaxIPv6][16]byte
	for i, a := range v6 {
		ip6[i] = a.As16()
	}
	var ports [MaxPorts][2]byte
	for i, p := range o.Ports {
		binary.BigEndian.PutUint16(ports[i][:], p)
	}
	for variable, value := range map[string]any{
		"n_ip4": uint32(len(v4)), "ip4": ip4,
		"n_ip6": uint32(len(v6)), "ip6": ip6,
		"n_ports": uint32(len(o.Ports)), "ports": ports,
	} {
		if err := s.Variables[variable].Set(value); err != nil {
			return nil, fmt.Errorf("set %s: %w", variable, err)
		}
	}
	if !o.Answers {
		delete(s.Programs, "ingress")
	}
	return s, nil
}
