package engine

import (
	"bytes"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/perf"
	"golang.org/x/sys/unix"

	"openimds/internal/trace/record"
)

// perCPU is the size of each processor's buffer, in bytes.
const perCPU = 1 << 20

// settle is how long a record waits for earlier ones of other processors.
const settle = 20 * time.Millisecond

// loadPerf loads the programs of kernels that have a tracepoint in place of
// connect hooks with a process, and a buffer for each processor.
func (e *bpf) loadPerf(s *ebpf.CollectionSpec) error {
	dir, err := tracefs()
	if err != nil {
		return err
	}
	defer dir.Close()
	id, at, err := tracepoint(filepath.Join(fdPath(dir), "events/sock/inet_sock_set_state"))
	if err != nil {
		return err
	}
	if err := s.Variables["tp_saddr6"].Set(at); err != nil {
		return fmt.Errorf("set the place of addresses: %w", err)
	}
	if e.all, err = ebpf.NewCollection(s); err != nil {
		return err
	}
	r, err := perf.NewReader(e.all.Maps["events"], perCPU)
	if err != nil {
		return fmt.Errorf("read the perf buffers: %w", err)
	}
	e.source = &sorted{reader: r}
	hook, err := attachTracepoint(id, e.all.Programs["set_state"])
	if err != nil {
		return err
	}
	e.close = append(e.close, hook)
	return nil
}

// tracefs opens tracefs where it is mounted, or for this process alone.
func tracefs() (*os.File, error) {
	points, err := mountPoints("tracefs")
	if err != nil {
		return nil, err
	}
	for _, p := range points {
		if f, err := os.Open(p); err == nil {
			return f, nil
		}
	}
	f, err := mount("tracefs")
	if err != nil {
		return nil, fmt.Errorf("tracefs is mounted nowhere, and mounting it: %w", err)
	}
	return f, nil
}

// tracepoint reads a tracepoint's id, and where its record has IPv6 addresses.
func tracepoint(dir string) (id uint64, saddr6 uint32, err error) {
	b, err := os.ReadFile(filepath.Join(dir, "id"))
	if err != nil {
		return 0, 0, fmt.Errorf("the kernel has no tracepoint inet_sock_set_state: %w", err)
	}
	if id, err = strconv.ParseUint(string(bytes.TrimSpace(b)), 10, 64); err != nil {
		return 0, 0, fmt.Errorf("id of the tracepoint: %w", err)
	}
	format, err := os.ReadFile(filepath.Join(dir, "format"))
	if err != nil {
		return 0, 0, fmt.Errorf("form of the tracepoint: %w", err)
	}
	saddr6, err = placeOf(format, "saddr_v6[16]")
	return id, saddr6, err
}

// placeOf finds where a field is in a tracepoint's record.
func placeOf(format []byte, field string) (uint32, error) {
	for line := range bytes.Lines(format) {
		_, after, ok := bytes.Cut(line, []byte(field+";\toffset:"))
		if !ok {
			continue
		}
		digits, _, _ := bytes.Cut(after, []byte(";"))
		n, err := strconv.ParseUint(string(digits), 10, 16)
		return uint32(n), err
	}
	return 0, fmt.Errorf("the tracepoint has no field %s", field)
}

// attachTracepoint runs a program at a tracepoint until the file is closed.
func attachTracepoint(id uint64, p *ebpf.Program) (io.Closer, error) {
	attr := unix.PerfEventAttr{
		Type: unix.PERF_TYPE_TRACEPOINT, Config: id, Size: uint32(binary.Size(unix.PerfEventAttr{})),
		Sample_type: unix.PERF_SAMPLE_RAW, Sample: 1, Wakeup: 1,
	}
	fd, err := unix.PerfEventOpen(&attr, -1, 0, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open the tracepoint: %w", os.NewSyscallError("perf_event_open", err))
	}
	f := os.NewFile(uintptr(fd), "tracepoint")
	if err := unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_SET_BPF, p.FD()); err != nil {
		f.Close()
		return nil, fmt.Errorf("attach to the tracepoint: %w", err)
	}
	if err := unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_ENABLE, 0); err != nil {
		f.Close()
		return nil, fmt.Errorf("switch the tracepoint on: %w", err)
	}
	runtime.KeepAlive(p)
	return f, nil
}

// sorted reads the processors' buffers and puts the records of all in order:
// each waits a little for earlier ones of another processor.
type sorted struct {
	reader  *perf.Reader
	waiting samples
	missed  atomic.Uint64
	ended   bool
}

// sample is a record's bytes with its time.
type sample struct {
	time  uint64
	due   time.Time
	bytes []byte
}

// Where a record has its kind and time.
const (
	kindAt = 1
	timeAt = 8
)

func (s *sorted) next() ([]byte, error) {
	for {
		if len(s.waiting) > 0 && (s.ended || len(s.waiting) > 4096 || !time.Now().Before(s.waiting[0].due)) {
			return heap.Pop(&s.waiting).(sample).bytes, nil
		}
		if s.ended {
			return nil, os.ErrClosed
		}
		deadline := time.Time{}
		if len(s.waiting) > 0 {
			deadline = s.waiting[0].due
		}
		s.reader.SetDeadline(deadline)
		r, err := s.reader.Read()
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
		case errors.Is(err, perf.ErrFlushed), errors.Is(err, os.ErrClosed):
			s.ended = true
		case err != nil:
			return nil, err
		default:
			s.missed.Add(r.LostSamples)
			if len(r.RawSample) > kindAt && record.Kind(r.RawSample[kindAt]) == record.Connect {
				return r.RawSample, nil // at once: the process may not live long
			}
			if len(r.RawSample) >= timeAt+8 {
				t := binary.LittleEndian.Uint64(r.RawSample[timeAt:])
				heap.Push(&s.waiting, sample{t, time.Now().Add(settle), r.RawSample})
			}
		}
	}
}

func (s *sorted) lost() uint64 { return s.missed.Load() }
func (s *sorted) stop() error  { return s.reader.Flush() }
func (s *sorted) Close() error { return s.reader.Close() }

// samples is a heap by time.
type samples []sample

func (h samples) Len() int           { return len(h) }
func (h samples) Less(i, j int) bool { return h[i].time < h[j].time }
func (h samples) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *samples) Push(x any) { *h = append(*h, x.(sample)) }

// Pop implements heap.Interface.
func (h *samples) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	(*h)[last] = sample{}
	*h = (*h)[:last]
	return x
}
