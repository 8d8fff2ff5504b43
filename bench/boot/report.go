//go:build linux

package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"openimds/bench/section"
)

// Targets.
const (
	mostMemory         = 2048.0 // bytes of a guest above its record
	mostListenerTime   = 150.0  // µs
	mostListenerMemory = 8192.0 // bytes
	mostBoot           = 1.2    // times nginx
)

// report is everything that was measured.
type report struct {
	memory    memory
	listeners listeners
	boot      booted
}

func (r *report) write(o options) error {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	p("# What the guests of a host take\n\nGo %s, %s.\n\n", strings.TrimPrefix(runtime.Version(), "go"), time.Now().UTC().Format(time.DateOnly))
	p("| target | what | | at most | |\n|---|---|--:|--:|---|\n")
	row := func(target, what, unit string, value, most float64) {
		verdict, bound := "", ""
		if most > 0 {
			verdict, bound = "met", fmt.Sprintf("%g %s", most, unit)
			if value > most*1.004 { // as it is shown
				verdict = "**missed**"
			}
		}
		p("| %s | %s | %.2f %s | %s | %s |\n", target, what, value, unit, bound, verdict)
	}
	row("P5", fmt.Sprintf("memory of an idle guest above its record, %d guests", o.guests), "KiB", r.memory.node/1024, mostMemory/1024)
	row("", "its record, with all items", "KiB", r.memory.record/1024, 0)
	row("P6", fmt.Sprintf("opening a listener, %d in %d namespaces", r.listeners.count, r.listeners.spaces), "µs", r.listeners.time, mostListenerTime)
	row("P6", "memory of a listener", "KiB", r.listeners.memory/1024, mostListenerMemory/1024)

	all := r.boot.rounds
	of := func(value func(round) float64) []float64 {
		values := make([]float64, len(all))
		for i, one := range all {
			values[i] = value(one)
		}
		slices.Sort(values)
		return values
	}
	median := func(value func(round) float64) float64 { return of(value)[len(all)/2] }
	nginx := median(func(r round) float64 { return r.nginx.cpu })
	row("P7", fmt.Sprintf("boot of %d at once, processor time against nginx", o.booting), "×", median(round.ratio), mostBoot)
	row("", "the very first boot, which signs two documents for each", "×", r.boot.first.cpu/nginx, 0)

	ratios, others := of(round.ratio), of(round.others)
	p("\nBoots: each guest sends the %d requests that cloud-init sends, each on a connection of its own, one after the other; all\n", r.boot.requests)
	p("guests at once, with each server in turn. Server on one core, guests on the other. The %d quietest rounds count (%.2f–%.2f);\n", len(all), ratios[0], ratios[len(all)-1])
	p("other processes used %.2f–%.2f cores meanwhile. The first boot is against the median of nginx.\n\n", others[0], others[len(all)-1])
	p("| boot | µs of the processor for a request | seconds for all |\n|---|--:|--:|\n")
	p("| nginx | %.1f | %.2f |\n", nginx, median(func(r round) float64 { return r.nginx.took }))
	p("| openimds | %.1f | %.2f |\n", median(func(r round) float64 { return r.openimds.cpu }), median(func(r round) float64 { return r.openimds.took }))
	p("| openimds, the very first | %.1f | %.2f |\n", r.boot.first.cpu, r.boot.first.took)
	return section.Put(o.out, "bench/guests", b.String(), os.Stdout)
}
