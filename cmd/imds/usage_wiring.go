package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"openimds/internal/fault"
	"openimds/internal/node"
	"openimds/internal/state"
	"openimds/internal/usage/history"
	"openimds/internal/usage/ledger"
	"openimds/internal/usage/meter"
	"openimds/internal/usage/series"
)

// usageFile is the file of the state folder that keeps usage.
func usageFile(dir string) string { return filepath.Join(dir, "usage.db") }

// usageBook keeps the usage of instances, and counts that of the data plane of
// this process. The zero value keeps nothing.
type usageBook struct {
	*ledger.Ledger        // nil: nothing is kept
	folder         string // to remove in the end; empty: none
	meter          *meter.Meter
	owners         atomic.Pointer[owners]
	remote         *usageRemote // nil: there is none
	stop           context.CancelFunc
	running        sync.WaitGroup
	log            *slog.Logger
}

// openUsage opens the file in a state folder; without one, it is kept in a
// folder that is removed in the end. On a disk that is read-only nothing is
// kept.
func openUsage(dir string, log *slog.Logger) (*usageBook, error) {
	b := &usageBook{log: log}
	passing := dir == ""
	if passing {
		var err error
		if b.folder, err = os.MkdirTemp("", "imds-usage-"); err != nil {
			return nil, fmt.Errorf("make a folder for usage: %w", err)
		}
		dir = b.folder
	}
	l, err := ledger.Open(ledger.Config{File: history.Config{Path: usageFile(dir), Passing: passing, Logger: log}})
	if errors.Is(err, syscall.EROFS) {
		log.Error("the disk is read-only: usage is not kept", "err", err)
		return b, nil
	}
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	b.Ledger = l
	// The file is there as long as it is open: a process that is killed leaves
	// nothing.
	if passing && os.RemoveAll(b.folder) == nil {
		b.folder = ""
	}
	return b, nil
}

// rejected hears of requests that were refused for want of a token.
func (b *usageBook) rejected(instance string) {
	if b.meter != nil {
		b.meter.Nudge(instance)
	}
}

// count begins to count what a node does. It is called before the node serves
// anybody.
func (b *usageBook) count(n *node.Node) error {
	if b.Ledger == nil {
		return nil
	}
	var err error
	b.meter, err = meter.New(meter.Config{Harvest: n.Harvest, Record: b.Record, Logger: b.log})
	return err
}

// begin begins to report, and to forget what is old. The node has its
// instances by then.
func (b *usageBook) begin(db *state.DB) {
	if b.Ledger == nil {
		return
	}
	b.SetAssigned(func(node, id string) bool {
		in, ok := db.Instances.Get(id)
		return ok && in.Spec.Node == node
	})
	b.noteOwners(db)
	b.FlushWith(b.meter.Flush)
	ctx, stop := context.WithCancel(context.Background())
	b.stop = stop
	b.running.Go(func() { b.meter.Run(ctx) })
	b.running.Go(func() { b.tend(ctx) })
	if b.remote != nil {
		b.running.Go(func() { b.remote.shipper.Run(ctx) })
	}
}

// report takes what another node has counted.
func (b *usageBook) report(ctx context.Context, node string, r series.Report) error {
	if b.Ledger == nil {
		return fault.New(fault.Invalid, "usage is not kept here: the disk is read-only")
	}
	return b.Report(ctx, node, r)
}

// tend sweeps once a day.
func (b *usageBook) tend(ctx context.Context) {
	tick := time.NewTicker(24 * time.Hour)
	defer tick.Stop()
	for {
		if err := b.Sweep(ctx); err != nil && ctx.Err() == nil {
			b.log.Error("old usage was not forgotten; trying again tomorrow", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// close reports the last, once the node serves nobody any more, and closes the
// file.
func (b *usageBook) close() error {
	if b == nil {
		return nil
	}
	if b.stop != nil {
		b.stop()
		b.running.Wait()
	}
	var err error
	if b.Ledger != nil {
		err = b.Close()
	}
	if b.folder != "" {
		err = errors.Join(err, os.RemoveAll(b.folder))
	}
	return err
}
