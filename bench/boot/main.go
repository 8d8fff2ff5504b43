//go:build linux

// Command boot measures what the guests of a host take: memory of each, a
// listener for each, and the boot of many at once. bench/guests starts it in a
// network namespace of its own; it refuses to run elsewhere.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// limit is how long all of it may take.
const limit = 10 * time.Minute

type options struct {
	work, out         string
	guests, listeners int
	booting, rounds   int
	serverCore        int
}

func main() {
	o := options{}
	flag.StringVar(&o.work, "work", "", "folder with the programs; scratch files go there")
	flag.StringVar(&o.out, "out", "bench/results.md", "file whose section is written; - for standard output")
	flag.IntVar(&o.guests, "guests", 10_000, "guests whose memory is measured")
	flag.IntVar(&o.listeners, "listeners", 5000, "listeners that are opened, ten in each namespace")
	flag.IntVar(&o.booting, "booting", 500, "guests that boot at once")
	flag.IntVar(&o.rounds, "rounds", 9, "boots of all of them with each server")
	flag.IntVar(&o.serverCore, "server-core", 0, "core of the servers; bench/guests keeps the guests on core 1")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, limit)
	err := run(ctx, o)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/boot:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	if err := isolated(); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("it makes network namespaces, and addresses in them: run it as root")
	}
	var s report
	fmt.Fprintf(os.Stderr, "memory of %d guests\n", o.guests)
	var err error
	if s.memory, err = measureMemory(o.guests); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%d listeners\n", o.listeners)
	if s.listeners, err = measureListeners(ctx, o.listeners); err != nil {
		return err
	}
	// Servers are told to end when the thread that started them does.
	runtime.LockOSThread()
	if s.boot, err = o.measureBoot(ctx); err != nil {
		return err
	}
	return s.write(o)
}

// isolated returns an error unless the loopback interface is the only one.
func isolated() error {
	all, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	var others []string
	for _, i := range all {
		if i.Flags&net.FlagLoopback == 0 && i.Flags&net.FlagUp != 0 {
			others = append(others, i.Name)
		}
	}
	if len(others) > 0 {
		return fmt.Errorf("interfaces are up: %s: start bench/guests, which makes a network namespace", strings.Join(others, ", "))
	}
	return nil
}
