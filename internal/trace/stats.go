package trace

import (
	"sync"
	"sync/atomic"
	"time"

	"openimds/internal/trace/engine"
	"openimds/internal/trace/finding"
)

// Stats count what the tracer saw and what it could not see. All methods may
// be called by any goroutine.
type Stats struct {
	records, sinkErrors          atomic.Uint64
	suppressed, evicted, unnamed atomic.Uint64
	truncated, conns, unplaced   atomic.Uint64
	lastTokenFree                atomic.Int64 // Unix seconds

	mu        sync.Mutex // guards what follows
	requests  map[RequestKey]uint64
	processes map[who]struct{} // that went without a token
}

// RequestKey says what requests are counted by.
type RequestKey struct {
	Mode  finding.Mode
	Dst   string // address:port
	Cloud string
}

// maxProcesses bounds the processes that are told apart for their number.
const maxProcesses = 4096

func (s *Stats) init() {
	s.requests, s.processes = map[RequestKey]uint64{}, map[who]struct{}{}
}

func (s *Stats) count(f *finding.Finding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Only addresses that are watched get here, so there are few.
	s.requests[RequestKey{f.Mode, f.Dst, f.Cloud}] += f.Count
	if f.Truncated {
		s.truncated.Add(1)
	}
	if f.Mode != finding.TokenFree {
		return
	}
	s.lastTokenFree.Store(f.Time.Unix())
	if len(s.processes) < maxProcesses {
		s.processes[who{f.Process.PID, f.Process.Start.UnixNano(), f.Process.Container}] = struct{}{}
	}
}

// copyStats publishes the counters of parts that one goroutine owns.
func (t *Tracer) copyStats() {
	t.stats.suppressed.Store(t.limiter.Suppressed)
	t.stats.evicted.Store(t.joiner.Evicted)
	t.stats.unnamed.Store(t.joiner.Unnamed)
	t.stats.unplaced.Store(t.joiner.Unplaced)
	t.stats.conns.Store(uint64(t.joiner.Conns()))
}

// Snapshot is the counters at one moment.
type Snapshot struct {
	Requests map[RequestKey]uint64
	// Processes that went without a token, up to a bound.
	Processes     int
	Records       uint64
	SinkErrors    uint64
	Suppressed    uint64 // findings told only in a sum
	Evicted       uint64 // connections forgotten for want of room, with something to come
	Unnamed       uint64 // requests of a process that is not known
	Unplaced      uint64 // requests left out, as their namespace is not known
	Truncated     uint64
	Connections   uint64
	LastTokenFree time.Time
	Engine        engine.Counts
}

// Snapshot reads the counters; those of the engine are given.
func (s *Stats) Snapshot(e engine.Counts) Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := Snapshot{
		Requests: make(map[RequestKey]uint64, len(s.requests)), Processes: len(s.processes),
		Records: s.records.Load(), SinkErrors: s.sinkErrors.Load(), Suppressed: s.suppressed.Load(),
		Evicted: s.evicted.Load(), Unnamed: s.unnamed.Load(), Truncated: s.truncated.Load(),
		Unplaced: s.unplaced.Load(), Connections: s.conns.Load(), Engine: e,
	}
	for k, v := range s.requests {
		n.Requests[k] = v
	}
	if t := s.lastTokenFree.Load(); t != 0 {
		n.LastTokenFree = time.Unix(t, 0)
	}
	return n
}
