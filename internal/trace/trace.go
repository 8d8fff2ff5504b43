// Package trace is the tracer: it takes what an engine observes of metadata
// connections and tells which process made each request, and whether it came
// with a session token.
package trace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"openimds/internal/trace/engine"
	"openimds/internal/trace/finding"
	"openimds/internal/trace/procs"
	"openimds/internal/trace/record"
	"openimds/internal/trace/sink"
)

// Config is what a Tracer works with.
type Config struct {
	// Engine observes. The tracer reads from it, and stops it.
	Engine engine.Engine
	// Answers: the engine was told to observe answers.
	Answers bool
	// Cmdline says how much of command lines is told.
	Cmdline procs.Cmdline
	// Allow lists processes that may do without tokens, by pattern (see
	// path.Match) of name, program, unit, cgroup or container id.
	Allow []string
	// Here reports whether a network namespace, by inode, is to be told of; nil:
	// all are. What is not known (0) it should refuse: it may be another's.
	Here func(netns uint32) bool
	// Sinks get what the limiter lets through.
	Sinks []sink.Sink
	// Watch gets every finding, before the limiter; nil: nobody.
	Watch func(*finding.Finding)
	// Each and Rate bound what sinks get, see Limiter; 0: 5 and 200.
	Each, Rate int
	// Clocks reads the kernel's clocks.
	Clocks func() procs.Clocks
	Log    *slog.Logger
}

// queue is how many records may wait between the engine and the joiner. The
// kernel's buffer is behind it.
const queue = 1024

// tickEvery is how often time is looked at when nothing happens.
const tickEvery = 250 * time.Millisecond

// Tracer makes findings of what an engine observes.
type Tracer struct {
	cfg     Config
	joiner  *Joiner
	limiter Limiter
	stats   Stats
	broken  atomic.Uint64
	failing map[sink.Sink]bool
}

// New returns a tracer.
func New(cfg Config) (*Tracer, error) {
	allowed, err := allow(cfg.Allow)
	if err != nil {
		return nil, err
	}
	if cfg.Each == 0 {
		cfg.Each = 5
	}
	if cfg.Rate == 0 {
		cfg.Rate = 200
	}
	t := &Tracer{cfg: cfg, limiter: Limiter{Each: cfg.Each, Rate: cfg.Rate}, failing: map[sink.Sink]bool{}}
	t.joiner = &Joiner{
		Answers: cfg.Answers, Engine: cfg.Engine.Name(), Allowed: allowed, Here: cfg.Here,
		Describe: procs.New("/proc", cfg.Cmdline).Describe,
	}
	t.stats.init()
	return t, nil
}

// Stats are the tracer's counters. They may be read at any time.
func (t *Tracer) Stats() *Stats { return &t.stats }

// Run works until ctx is done; then it stops the engine and tells what that has
// left. Closing the engine is left to the caller.
func (t *Tracer) Run(ctx context.Context) error {
	records := make(chan record.Record, queue)
	go t.read(records)
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	for {
		select {
		case r, ok := <-records:
			if !ok {
				t.finish()
				return nil
			}
			t.handle(&r)
		case <-ticker.C:
			t.tick()
		case <-ctx.Done():
			err := t.cfg.Engine.Stop()
			for r := range records {
				t.handle(&r)
			}
			t.finish()
			return err
		}
	}
}

// read takes records from the engine until it is stopped.
func (t *Tracer) read(to chan<- record.Record) {
	defer close(to)
	for {
		r, err := t.cfg.Engine.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			if t.broken.Add(1) == 1 {
				t.cfg.Log.Error("a record cannot be read; further ones are counted only", "err", err)
			}
			continue
		}
		to <- r
	}
}

func (t *Tracer) handle(r *record.Record) {
	c := t.cfg.Clocks()
	t.stats.records.Add(1)
	for _, f := range t.joiner.Handle(*r, c) {
		t.found(&f, c.Now)
	}
	t.copyStats()
}

func (t *Tracer) tick() {
	now := t.cfg.Clocks().Now
	for _, f := range t.joiner.Tick(now) {
		t.found(&f, now)
	}
	t.put(t.limiter.Tick(now))
	t.copyStats()
	for _, s := range t.cfg.Sinks {
		if c, ok := s.(sink.Ticker); ok {
			t.said(s, c.Tick(now))
		}
	}
}

func (t *Tracer) finish() {
	now := t.cfg.Clocks().Now
	for _, f := range t.joiner.Flush() {
		t.found(&f, now)
	}
	t.put(t.limiter.Flush(now))
	t.copyStats()
}

// found counts a finding and hands it on.
func (t *Tracer) found(f *finding.Finding, now time.Time) {
	t.stats.count(f)
	if t.cfg.Watch != nil {
		t.cfg.Watch(f)
	}
	t.put(t.limiter.Add(*f, now))
}

func (t *Tracer) put(all []finding.Finding) {
	for i := range all {
		for _, s := range t.cfg.Sinks {
			t.said(s, s.Put(&all[i]))
		}
	}
}

// said logs the first of a row of errors of a sink, and counts all.
func (t *Tracer) said(s sink.Sink, err error) {
	if err == nil {
		t.failing[s] = false
		return
	}
	t.stats.sinkErrors.Add(1)
	if !t.failing[s] {
		t.failing[s] = true
		t.cfg.Log.Error("findings cannot be written", "to", fmt.Sprintf("%T", s), "err", err)
	}
}
