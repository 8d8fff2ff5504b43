// Command follow measures a fleet: how long a change takes from the call of an
// API to the node of another host. bench/fleet runs it.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// limit is how long all of it may take.
const limit = 10 * time.Minute

type options struct {
	programs, work, out       string
	instances, nodes, changes int
}

func main() {
	o := options{}
	flag.StringVar(&o.programs, "programs", "", "folder of imds and imds-node")
	flag.StringVar(&o.work, "work", "", "an empty folder to work in")
	flag.StringVar(&o.out, "out", "bench/results.md", "file whose section is written; - for standard output")
	flag.IntVar(&o.instances, "instances", 2000, "how many instances there are")
	flag.IntVar(&o.nodes, "nodes", 4, "how many nodes they are on")
	flag.IntVar(&o.changes, "changes", 1000, "how many changes are made, one after the other")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, limit)
	err := run(ctx, o)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/follow:", err)
		os.Exit(1)
	}
}

// sample is one change, in milliseconds from its call: until the answer came,
// and until the other node answered accordingly.
type sample struct{ answered, inForce float64 }

func run(ctx context.Context, o options) (err error) {
	f := &fleet{options: o}
	defer f.stop()
	if err := f.start(ctx); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "making %d instances on %d nodes\n", o.instances, o.nodes)
	if err := f.fill(ctx); err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(1, 2))
	modes := map[int]string{}
	var all []sample
	for i := range o.changes + 20 {
		n := random.IntN(o.instances)
		mode := "required"
		if modes[n] == mode {
			mode = "optional"
		}
		modes[n] = mode
		s, err := f.change(ctx, n, mode)
		if err != nil {
			return err
		}
		if i >= 20 { // the first ones make connections
			all = append(all, s)
		}
	}
	return report(o.out, section(o, all))
}

// begin starts the section of the report, which ends where another begins.
const (
	begin   = "<!-- Written by bench/fleet from here on. -->\n"
	another = "<!-- Written by "
)

func section(o options, all []sample) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n# How long a change takes to another node\n\n", begin)
	fmt.Fprintf(&b, "`imds serve` and %d `imds-node` with %d instances, on one machine with %d cores, Go %s, %s. "+
		"The access mode of an instance, chosen at random, is changed through the admin API, and its node is asked, on a new connection each time, until it answers accordingly; "+
		"%d changes, one after the other. The time of the network between hosts comes on top.\n\n",
		o.nodes, o.instances, runtime.NumCPU(), strings.TrimPrefix(runtime.Version(), "go"), time.Now().Format(time.DateOnly), len(all))
	b.WriteString("| target | from the call until | median | p99 | most | at most | |\n|---|---|--:|--:|--:|--:|---|\n")
	row := func(target, what string, of func(sample) float64, bound float64) {
		values := make([]float64, len(all))
		for i, s := range all {
			values[i] = of(s)
		}
		slices.SortFunc(values, cmp.Compare)
		at := func(share float64) float64 { return values[min(len(values)-1, int(share*float64(len(values))))] }
		verdict, most := "", ""
		if bound > 0 {
			verdict, most = "met", fmt.Sprintf("%g ms", bound)
			if at(0.99) > bound {
				verdict = "**missed**"
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %.2f ms | %.2f | %.2f | %s | %s |\n", target, what, at(0.5), at(0.99), at(1), most, verdict)
	}
	row("P8", "it is in force on the other node", func(s sample) float64 { return s.inForce }, 1000)
	row("", "it is answered", func(s sample) float64 { return s.answered }, 0)
	return b.String()
}

// report replaces the section in a file.
func report(path, section string) error {
	if path == "-" {
		_, err := fmt.Print(section)
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, after, _ := strings.Cut(string(text), begin)
	rest := ""
	if i := strings.Index(after, another); i >= 0 {
		rest = "\n" + after[i:]
	}
	return os.WriteFile(path, []byte(strings.TrimRight(before, "\n")+"\n\n"+section+rest), 0o644)
}
