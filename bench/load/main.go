//go:build linux

// Command load sends requests at a fixed rate, however fast the answers come
// (an open loop), and measures how long each takes from the moment it was due.
// A server that falls behind is thus charged for the requests that had to
// wait, which a client that sends its next request after the last answer never
// notices.
//
// It reads one request from standard input, and writes one line of JSON.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"time"
)

// result is what is written, times in microseconds.
type result struct {
	Rate   float64 `json:"rate"`   // answers a second
	Answer int     `json:"answer"` // answers
	Failed int     `json:"failed"` // connections or answers that went wrong
	Unsent int     `json:"unsent"` // requests that were due and got no answer in time
	P50    float64 `json:"p50"`
	// P99 is the median of the 99th percentiles of windows of 100 ms: when the
	// machine stands still for some milliseconds, as shared ones do, P999 and
	// Max show it and P99 does not.
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
	// Lag is how late the generator itself was, 99th percentile of all.
	Lag float64 `json:"lag"`
}

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(args []string, stdin io.Reader, stdout io.Writer) error {
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	address := flags.String("address", "127.0.0.1:8169", "IPv4 address and port of the server")
	rate := flags.Float64("rate", 1000, "requests a second, on average: they are spaced like independent clients' (Poisson)")
	duration := flags.Duration("duration", time.Second, "how long to send")
	conns := flags.Int("connections", 64, "connections that are kept open, or at most open at once with -new")
	fresh := flags.Bool("new", false, "open a new connection for each request; the server closes it")
	status := flags.String("status", "200", "status that every answer must have")
	seed := flags.Uint64("seed", 1, "what the spacing of requests is made from")
	if err := flags.Parse(args); err != nil {
		return err
	}
	request, err := io.ReadAll(stdin)
	if err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	at, err := netip.ParseAddrPort(*address)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	debug.SetGCPercent(-1) // the loop allocates nothing; a collection would only be late
	g, err := newGenerator(at, request, *status, *conns, *fresh, schedule(*rate, *duration, *seed))
	if err != nil {
		return err
	}
	if err := g.run(); err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(g.result())
}

// window is the time over which a 99th percentile is taken.
const window = 100 * time.Millisecond

func (g *generator) result() result {
	r := result{Answer: len(g.took), Failed: g.failed, Unsent: len(g.due) - len(g.took) - g.failed}
	if g.elapsed > 0 {
		r.Rate = float64(len(g.took)) / g.elapsed.Seconds()
	}
	all := make([]time.Duration, 0, len(g.took))
	windows := map[time.Duration][]time.Duration{}
	for _, a := range g.took {
		all = append(all, a.took)
		windows[a.due/window] = append(windows[a.due/window], a.took)
	}
	slices.Sort(all)
	slices.Sort(g.lag)
	r.P50, r.P999, r.Max, r.Lag = quantile(all, 0.5), quantile(all, 0.999), quantile(all, 1), quantile(g.lag, 0.99)
	var p99 []float64
	for _, w := range windows {
		slices.Sort(w)
		p99 = append(p99, quantile(w, 0.99))
	}
	slices.Sort(p99)
	if len(p99) > 0 {
		r.P99 = p99[len(p99)/2]
	}
	return r
}

// quantile returns the value below which the share q of the sorted times lies,
// in microseconds.
func quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	i := min(int(q*float64(len(sorted))), len(sorted)-1)
	return float64(sorted[i].Nanoseconds()) / 1e3
}
