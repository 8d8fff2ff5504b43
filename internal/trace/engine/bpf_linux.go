package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"

	"openimds/internal/trace/record"
)

// attachments are the hooks of cgroup programs by the programs' names, in the
// order in which they are attached: whoever connects is known before it sends.
var attachments = []struct {
	program string
	hook    ebpf.AttachType
}{
	{"connect4", ebpf.AttachCGroupInet4Connect},
	{"connect6", ebpf.AttachCGroupInet6Connect},
	{"egress", ebpf.AttachCGroupInetEgress},
	{"ingress", ebpf.AttachCGroupInetIngress},
}

// source is a buffer that the kernel writes records to.
type source interface {
	// next returns a record's bytes, which are good until it is called again.
	next() ([]byte, error)
	// lost counts the records for which the buffer had no room.
	lost() uint64
	// stop lets next return os.ErrClosed once the buffer is empty.
	stop() error
	io.Closer
}

// bpf is an engine of kernel programs.
type bpf struct {
	name   string
	all    *ebpf.Collection
	source source
	close  []io.Closer     // what is attached
	seed   []record.Record // connections that were open before
	// unbound: the kernel does not take the programs away when the process ends.
	unbound bool
}

// Needs says what an engine needs rights for once it runs: taking its programs
// away, where the kernel does not do that when the process ends (before Linux
// 5.7), and reading its counters, where the kernel refuses bpf to those who
// have none (before 5.19, unless kernel.unprivileged_bpf_disabled is 0).
func Needs(e Engine) (detach, maps bool) {
	b, ok := e.(*bpf)
	if !ok {
		return false, false
	}
	setting, err := os.ReadFile("/proc/sys/kernel/unprivileged_bpf_disabled")
	guarded := err != nil || strings.TrimSpace(string(setting)) != "0"
	return b.unbound, guarded && olderThan(release(), 5, 19)
}

// olderThan compares a kernel's release with a version. One that is not
// understood is taken for an old one.
func olderThan(release string, major, minor int) bool {
	var a, b int
	if n, _ := fmt.Sscanf(release, "%d.%d", &a, &b); n < 2 {
		return true
	}
	return a < major || a == major && b < minor
}

func openBPF(o Options, name string) (_ Engine, err error) {
	// Before 5.11 maps count as locked memory. Without the right to raise the
	// limit, making the maps says so.
	_ = rlimit.RemoveMemlock()
	s, err := spec(o, name)
	if err != nil {
		return nil, err
	}
	root, err := cgroupRoot()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	e := &bpf{name: name}
	defer func() {
		if err != nil {
			err = errors.Join(explain(err), e.Close())
		}
	}()
	if name == "tpcgperf" {
		err = e.loadPerf(s)
	} else {
		err = e.loadRing(s)
	}
	if err != nil {
		return nil, err
	}
	for _, a := range attachments {
		p := e.all.Programs[a.program]
		if p == nil {
			continue
		}
		l, err := link.AttachCgroup(link.CgroupOptions{Path: fdPath(root), Attach: a.hook, Program: p})
		if err != nil {
			return nil, fmt.Errorf("attach %s to the root of cgroup v2: %w", a.program, err)
		}
		e.close = append(e.close, l)
		if _, err := l.Info(); errors.Is(err, ebpf.ErrNotSupported) {
			e.unbound = true
		}
	}
	// Only now, so that no connection falls between the two.
	e.seed = openConnections(o)
	return e, nil
}

func (e *bpf) loadRing(s *ebpf.CollectionSpec) error {
	c, err := ebpf.NewCollection(s)
	if err != nil {
		return err
	}
	e.all = c
	r, err := ringbuf.NewReader(c.Maps["events"])
	if err != nil {
		return fmt.Errorf("read the ring buffer: %w", err)
	}
	e.source = &ring{reader: r}
	return nil
}

// Name implements Engine.
func (e *bpf) Name() string { return e.name }

// Read implements Engine.
func (e *bpf) Read() (record.Record, error) {
	if len(e.seed) > 0 {
		r := e.seed[0]
		e.seed = slices.Delete(e.seed, 0, 1)
		return r, nil
	}
	b, err := e.source.next()
	if errors.Is(err, os.ErrClosed) {
		return record.Record{}, io.EOF
	} else if err != nil {
		return record.Record{}, fmt.Errorf("read a record: %w", err)
	}
	return record.Decode(b)
}

// Counts implements Engine.
func (e *bpf) Counts() Counts {
	var sums [countCut + 1]uint64
	for i := range sums {
		var perCPU []uint64
		if e.all.Maps["counts"].Lookup(uint32(i), &perCPU) == nil {
			for _, n := range perCPU {
				sums[i] += n
			}
		}
	}
	return Counts{
		LostConnects: sums[countLostConnect],
		LostRequests: sums[countLostRequest] + e.source.lost(),
		LostAnswers:  sums[countLostAnswer],
		Unknown:      sums[countUnknown], Cut: sums[countCut],
	}
}

// Stop implements Engine.
func (e *bpf) Stop() error { return errors.Join(e.detach(), e.source.stop()) }

func (e *bpf) detach() error {
	var errs []error
	for _, c := range slices.Backward(e.close) {
		errs = append(errs, c.Close())
	}
	e.close = nil
	return errors.Join(errs...)
}

// Close implements Engine.
func (e *bpf) Close() error {
	errs := []error{e.detach()}
	if e.source != nil {
		errs = append(errs, e.source.Close())
	}
	if e.all != nil {
		e.all.Close()
	}
	return errors.Join(errs...)
}

// ring reads a ring buffer.
type ring struct {
	reader *ringbuf.Reader
	record ringbuf.Record
}

func (r *ring) next() ([]byte, error) {
	switch err := r.reader.ReadInto(&r.record); {
	case errors.Is(err, ringbuf.ErrFlushed): // which happens on stop alone
		return nil, os.ErrClosed
	case err != nil:
		return nil, err
	}
	return r.record.RawSample, nil
}

func (r *ring) lost() uint64 { return 0 } // the programs count
func (r *ring) stop() error  { return r.reader.Flush() }
func (r *ring) Close() error { return r.reader.Close() }
