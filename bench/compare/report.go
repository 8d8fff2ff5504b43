//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// machine is where the figures come from.
type machine struct{ processor, kernel, nginx, wrk, day string }

func newMachine() machine {
	m := machine{day: time.Now().UTC().Format(time.DateOnly)}
	text, _ := os.ReadFile("/proc/cpuinfo") // unknown where there is none
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "model name" {
			m.processor = strings.TrimSpace(value)
		}
	}
	text, _ = os.ReadFile("/proc/sys/kernel/osrelease")
	m.kernel = strings.TrimSpace(string(text))
	// Both write it to standard error or output, and exit as they like.
	out, _ := exec.Command("nginx", "-v").CombinedOutput()
	_, m.nginx, _ = strings.Cut(firstLine(out), "nginx/")
	out, _ = exec.Command("wrk", "-v").CombinedOutput()
	m.wrk, _, _ = strings.Cut(strings.TrimPrefix(firstLine(out), "wrk "), " [")
	return m
}

func firstLine(b []byte) string {
	line, _, _ := strings.Cut(string(b), "\n")
	return line
}

// report writes all that was measured.
func (b *bench) report(m machine) string {
	var w strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&w, format, args...) }
	p("# What a request costs\n\n")
	p("Written by `bench/run`; [README.md](README.md) says how to read it. Only ratios mean something on another machine.\n\n")
	p("| | |\n|---|---|\n| date | %s |\n| processor | %s |\n| kernel | Linux %s |\n| Go | %s |\n| nginx | %s |\n| wrk | %s |\n",
		m.day, m.processor, m.kernel, strings.TrimPrefix(runtime.Version(), "go"), m.nginx, m.wrk)
	p("| measured | %d rounds of %d s, %d connections, %d instances |\n", b.rounds, b.seconds, b.connections, b.instances)
	others := spreadOf(b.noise, func(v float64) float64 { return v })
	p("| noise | others used %.2f of the two cores, at most %.2f |\n", others.median, others.max)

	p("\n## Server CPU for an answer\n\n")
	p("| test | server | µs | min–max | answers/s | bytes |\n|---|---|--:|--:|--:|--:|\n")
	for _, t := range b.tests {
		for _, s := range t.servers {
			k := key{t.name, s}
			median, span := b.figures.cpu(k).text(2)
			p("| %s | %s | %s | %s | %.0f | %d |\n", t.name, s, median, span, b.figures.rate(t.name, s), b.sizes[k])
		}
	}

	p("\n## Ratios of CPU, each within one round\n\n")
	p("| target | test | server | against | × | min–max | at most | |\n|---|---|---|---|--:|--:|--:|---|\n")
	for _, t := range b.tests {
		for _, g := range t.goals {
			k := key{t.name, g.server}
			ratio := b.figures.against(k, g.base)
			median, span := ratio.text(2)
			p("| %s | %s | %s | %s | %s | %s | %s |\n", g.id, t.name, g.server, short(k, g.base), median, span, verdict(ratio.median, g.most))
		}
	}
	b.reportLatency(p)
	b.reportInstructions(p)
	return w.String()
}

// short names base as far as it differs from k.
func short(k, base key) string {
	if k.test == base.test {
		return base.server
	}
	return base.test
}

// verdict is the last two columns of a ratio.
func verdict(ratio, most float64) string {
	switch {
	case most == 0:
		return " | "
	case ratio <= most+0.005: // as it is shown
		return fmt.Sprintf("%.2f | met", most)
	default:
		return fmt.Sprintf("%.2f | **missed**", most)
	}
}

func (b *bench) reportLatency(p func(string, ...any)) {
	if len(b.latencies) == 0 {
		return
	}
	p("\n## Latency at half of the slower one's rate\n\n")
	p("In µs, from the moment a request was due. p99: median of windows of 100 ms; p50 and p99.9: of all.\n")
	p("Lag: how late the generator itself was, 99th percentile of all.\n\n")
	p("| test | server | requests/s | p50 | p99 | min–max | p99.9 | lag |\n|---|---|--:|--:|--:|--:|--:|--:|\n")
	column := func(k key, of func(latency) float64) spread { return spreadOf(b.latencies[k], of) }
	p99 := func(l latency) float64 { return l.P99 }
	for _, t := range b.tests {
		for _, s := range latencyServers {
			k := key{t.name, s}
			if len(b.latencies[k]) == 0 {
				continue
			}
			median, span := column(k, p99).text(0)
			p("| %s | %s | %.0f | %.0f | %s | %s | %.0f | %.1f |\n", t.name, s,
				column(k, func(l latency) float64 { return l.Rate }).median, column(k, func(l latency) float64 { return l.P50 }).median,
				median, span, column(k, func(l latency) float64 { return l.P999 }).median, column(k, func(l latency) float64 { return l.Lag }).median)
		}
	}
	p("\n| target | test | p50 × | p99 × | min–max | at most | | p99.9 × |\n|---|---|--:|--:|--:|--:|---|--:|\n")
	for _, t := range b.tests {
		ours, base := b.latencies[key{t.name, openimds}], b.latencies[key{t.name, nginx}]
		if len(ours) == 0 || len(base) == 0 {
			continue
		}
		ratio := ratios(ours, base, p99)
		median, span := ratio.text(2)
		p("| P4 | %s | %.2f | %s | %s | %s | %.2f |\n", t.name, ratios(ours, base, func(l latency) float64 { return l.P50 }).median,
			median, span, verdict(ratio.median, mostLatency), ratios(ours, base, func(l latency) float64 { return l.P999 }).median)
	}
}

func (b *bench) reportInstructions(p func(string, ...any)) {
	if len(b.instructions) == 0 {
		return
	}
	p("\n## Instructions for an answer, outside the kernel\n\n")
	p("Counted by callgrind, one request at a time.\n\n")
	p("| test | server | instructions |\n|---|---|--:|\n")
	for _, t := range b.tests {
		for _, s := range latencyServers {
			if n, ok := b.instructions[key{t.name, s}]; ok {
				p("| %s | %s | %.0f |\n", t.name, s, n)
			}
		}
	}
}
