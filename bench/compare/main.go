//go:build linux

// Command compare measures what a request costs a server: openimds, nginx, and
// a floor that does nothing but move bytes. bench/run builds the programs and
// starts it in a network namespace of its own; it refuses to run elsewhere.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	work        string // directory with the programs; scratch files go there
	out         string // file of the report; empty: standard output
	rounds      int
	seconds     int
	connections int
	instances   int
	serverCore  int
	loadCore    int
	quick       bool
	only        string
	patience    time.Duration // that is left for measurements done again
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("bench/run", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.work, "work", "", "directory with the programs (set by bench/run)")
	flags.StringVar(&o.out, "out", "bench/results.md", "file to write the report to; - for standard output")
	flags.IntVar(&o.rounds, "rounds", 6, "rounds; each measures everything once, in another order")
	flags.IntVar(&o.seconds, "seconds", 2, "seconds of each measurement")
	flags.IntVar(&o.connections, "connections", 64, "connections at a time")
	flags.IntVar(&o.instances, "instances", 10000, "instances that openimds serves")
	flags.IntVar(&o.serverCore, "server-core", 0, "core of the servers")
	flags.IntVar(&o.loadCore, "load-core", 1, "core of the load generator")
	flags.BoolVar(&o.quick, "quick", false, "one round of one second, to see that it works; the report goes to standard output")
	flags.DurationVar(&o.patience, "patience", 2*time.Minute, "time, in all, to wait for quiet and to measure again what others disturbed")
	flags.StringVar(&o.only, "only", "", "only the tests whose name has this in it, and what they are compared with")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("no argument %q is expected: see bench/run -help", flags.Arg(0))
	}
	if o.quick {
		o.rounds, o.seconds, o.out, o.patience = 1, 1, "-", min(o.patience, 5*time.Second)
	}
	if o.rounds < 1 || o.seconds < 1 || o.connections < 1 || o.connections > 256 || o.instances < 8 {
		return o, errors.New("want rounds and seconds from 1, connections from 1 to 256, instances from 8")
	}
	return o, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	if err := isolated(); err != nil {
		return err
	}
	// Servers are told to end when the thread that started them does.
	runtime.LockOSThread()
	widen()

	m := newMachine()
	b := &bench{options: o, tests: pick(tests(), o.only), log: stderr, figures: figures{}, latencies: map[key][]latency{}}
	// A measurement needs its seconds and a little more; no run goes on for
	// ever, whatever hangs.
	bound := time.Duration(b.count()*(o.seconds+3))*time.Second + o.patience + 3*time.Minute
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	expect := time.Duration(b.count())*(time.Duration(o.seconds)*time.Second+200*time.Millisecond) + 10*time.Second
	fmt.Fprintf(stderr, "bench: about %v, and up to %v more when others use the cores\n", expect.Round(time.Second), o.patience)

	defer b.stop()
	if err := b.start(ctx); err != nil {
		return err
	}
	if err := b.measure(ctx); err != nil {
		return err
	}
	b.stop()
	if !o.quick {
		if err := b.countInstructions(ctx); err != nil {
			return err
		}
	}
	report := b.report(m)
	if o.out == "-" {
		_, err := io.WriteString(stdout, report)
		return err
	}
	if err := os.WriteFile(o.out, []byte(report+others(o.out)), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	fmt.Fprintf(stderr, "bench: wrote %s\n", o.out)
	return nil
}

// others returns the end of a report, which others have written.
func others(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	if at := strings.Index(string(text), "<!-- Written by "); at >= 0 {
		return "\n" + string(text[at:])
	}
	return ""
}

// isolated returns an error unless the loopback interface is the only one.
func isolated() error {
	all, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	for _, i := range all {
		if i.Flags&net.FlagLoopback == 0 && i.Flags&net.FlagUp != 0 {
			return fmt.Errorf("interface %s is up: start bench/run, which makes a network namespace", i.Name)
		}
	}
	return nil
}

// widen gives the namespace room for many short connections. Where that is
// forbidden, the tests of new connections may fail for want of ports, and say
// so.
func widen() {
	for name, value := range map[string]string{
		"ip_local_port_range": "1024 65535", "tcp_tw_reuse": "1", "tcp_max_syn_backlog": "4096",
	} {
		_ = os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0o644)
	}
	_ = os.WriteFile("/proc/sys/net/core/somaxconn", []byte("4096"), 0o644)
}

// bench is a run.
type bench struct {
	options
	tests     []test
	log       io.Writer
	running   []*exec.Cmd
	servers   map[string]*server
	figures   figures
	latencies map[key][]latency
	noise     []float64          // of each measurement, in cores
	rates     map[string]float64 // of the latency tests, by test
	sizes     map[key]int        // of answers, in bytes
	// instructions of an answer outside the kernel; empty when not counted
	instructions map[key]float64
}

// key is a test on a server.
type key struct{ test, server string }

func (k key) String() string { return k.test + ", " + k.server }

// count is how many measurements there are.
func (b *bench) count() int {
	n := 0
	for _, t := range b.tests {
		n += len(t.servers)
		if t.latency {
			n += len(latencyServers)
		}
	}
	return n * b.rounds
}

// measure goes through all rounds: first of CPU, then, at rates that follow
// from these, of latency.
func (b *bench) measure(ctx context.Context) error {
	b.sizes = map[key]int{}
	for _, t := range b.tests {
		for _, s := range t.servers {
			n, err := b.probe(t, b.servers[s])
			if err != nil {
				return fmt.Errorf("%s: %w", key{t.name, s}, err)
			}
			b.sizes[key{t.name, s}] = n
		}
	}
	var work, paced []func(round int) error
	for _, t := range b.tests {
		for _, s := range t.servers {
			work = append(work, func(round int) error { return b.cost(ctx, t, b.servers[s], round) })
		}
		for _, s := range latencyServers {
			if t.latency {
				paced = append(paced, func(round int) error { return b.pace(ctx, t, b.servers[s], round) })
			}
		}
	}
	if err := b.shuffled("CPU", work); err != nil {
		return err
	}
	b.rates = map[string]float64{}
	for _, t := range b.tests {
		if t.latency {
			slower := b.figures.rate(t.name, nginx)
			b.rates[t.name] = min(slower, b.figures.rate(t.name, openimds)) / 2
		}
	}
	return b.shuffled("latency", paced)
}

// shuffled does all of work once a round.
func (b *bench) shuffled(what string, work []func(round int) error) error {
	for round := range b.rounds {
		if len(work) > 0 {
			fmt.Fprintf(b.log, "bench: %s, round %d of %d, load average %s\n", what, round+1, b.rounds, loadAverage())
		}
		rand.Shuffle(len(work), func(i, j int) { work[i], work[j] = work[j], work[i] })
		for _, do := range work {
			if err := do(round); err != nil {
				return err
			}
		}
	}
	return nil
}

func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg") // for the eye only
	one, _, _ := strings.Cut(string(text), " ")
	return one
}
