package main

import (
	"context"
	"sync"
	"time"

	"openimds/internal/config"
	"openimds/internal/instance"
)

// follower gives the instances of a file to the control plane, whenever it
// changes, until they are taken.
type follower struct {
	*service
	file string

	mu   sync.Mutex // held while instances are given; guards owed
	owed []*instance.Instance
}

// retryGive is how often instances are given again that were not taken.
const retryGive = 10 * time.Second

// follow applies the instances file whenever it changes.
func (s *service) follow(w *config.Watcher) *follower {
	f := &follower{service: s, file: w.Path}
	w.OnError = f.complain
	s.tasks = append(s.tasks,
		func(ctx context.Context) {
			w.OnChange = func(instances []*instance.Instance) { f.give(ctx, instances) }
			w.Run(ctx)
		},
		f.retry,
	)
	return f
}

func (f *follower) complain(err error) {
	f.log.Error("the instances are not changed: the last good ones are served until the file is mended", "file", f.file, "err", err)
}

// give makes the instances those of the control plane, now or later.
func (f *follower) give(ctx context.Context, instances []*instance.Instance) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.owed = nil
	if err := f.plane.control.Give(ctx, instances); err != nil {
		f.owed = instances
		if ctx.Err() == nil {
			f.complain(err)
		}
		return
	}
	f.log.Info("instances changed", "file", f.file, "instances", len(instances))
}

// retry gives what was not taken again, until ctx is done: the disk may have
// room again, or an address be free.
func (f *follower) retry(ctx context.Context) {
	tick := time.NewTicker(retryGive)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		f.mu.Lock()
		if f.owed != nil && f.plane.control.Give(ctx, f.owed) == nil {
			f.log.Info("instances changed", "file", f.file, "instances", len(f.owed))
			f.owed = nil
		}
		f.mu.Unlock()
	}
}
