// Command restart measures a control plane with many instances: how long
// `imds serve` takes from its start until it is ready, and how long one
// instance takes to be described. bench/control runs it.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"openimds/bench/section"
)

// limit is how long all of it may take.
const limit = 10 * time.Minute

type options struct {
	imds, work, out                string
	instances, starts, description int
}

func main() {
	o := options{}
	flag.StringVar(&o.imds, "imds", "", "the program")
	flag.StringVar(&o.work, "work", "", "an empty folder to work in")
	flag.StringVar(&o.out, "out", "bench/results.md", "file whose section is written; - for standard output")
	flag.IntVar(&o.instances, "instances", 100_000, "how many instances there are")
	flag.IntVar(&o.starts, "starts", 7, "how often the program is started")
	flag.IntVar(&o.description, "describe", 2000, "how often an instance is described through each API")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, limit)
	err := run(ctx, o)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/restart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	h := host{dir: o.work}
	fmt.Fprintf(os.Stderr, "making %d instances\n", o.instances)
	ids, size, err := h.fill(ctx, o.instances)
	if err != nil {
		return err
	}
	var all []sample
	for len(quiet(all)) < o.starts && len(all) < tries*o.starts {
		m, err := o.start(ctx, h, nil)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "start %d: ready after %.2f s, %.2f s of processors, others used %.2f cores\n", len(all)+1, m.ready, m.work, m.others)
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b sample) int { return cmp.Compare(a.others, b.others) })
	all = all[:o.starts]
	described, err := o.start(ctx, h, ids)
	if err != nil {
		return err
	}
	return section.Put(o.out, "bench/control", results(o, size, all, described.times), os.Stdout)
}

// sample is one start.
type sample struct {
	ready, work float64 // seconds until it was ready, and of all processors
	memory      float64 // the most that was held, MiB
	others      float64 // cores that other processes used meanwhile
	times       map[string][]float64
}

// Starts during which others used more than noise cores are done again, up to
// tries times as many; the quietest count.
const (
	noise = 0.15
	tries = 5
)

func quiet(all []sample) []sample {
	return slices.DeleteFunc(slices.Clone(all), func(m sample) bool { return m.others > noise })
}

// start starts the program, describes instances if there are ids, and ends it.
func (o options) start(ctx context.Context, h host, ids map[string][]string) (m sample, err error) {
	before, err := busy()
	if err != nil {
		return m, err
	}
	took, p, err := start(ctx, o.imds, h.config())
	if err != nil {
		return m, err
	}
	defer func() { err = p.stop(err) }()
	m.ready = took.Seconds()
	if m.work, err = p.spent(); err != nil {
		return m, err
	}
	after, err := busy()
	if err != nil {
		return m, err
	}
	m.others = max(0, after-before-m.work) / m.ready
	m.times = map[string][]float64{}
	for dialect, some := range ids {
		if m.times[dialect], err = describe(ctx, p.control, dialect, some, o.description); err != nil {
			return m, err
		}
	}
	m.memory, err = p.peak()
	return m, err
}

// busy returns the time that all processors have worked, in seconds.
func busy() (float64, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	// cpu user nice system idle iowait irq softirq steal …, in hundredths.
	fields := strings.Fields(strings.SplitN(string(text), "\n", 2)[0])
	sum := 0
	for _, i := range []int{1, 2, 3, 6, 7, 8} {
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return float64(sum) / 100, nil
}

// process is a running `imds serve`.
type process struct {
	cmd     *exec.Cmd
	control string
}

// start starts the program and waits until it is ready.
func start(ctx context.Context, program, config string) (time.Duration, *process, error) {
	cmd := exec.CommandContext(ctx, program, "serve", "-c", config)
	cmd.Env = []string{}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, nil, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, nil, err
	}
	p := &process{cmd: cmd}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if lines.Text() == "ready" {
			took := time.Since(began)
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return took, p, nil
		}
		if value, ok := strings.CutPrefix(lines.Text(), "control "); ok {
			p.control = strings.TrimSpace(value)
		}
	}
	return 0, nil, p.stop(fmt.Errorf("imds serve ended before it was ready"))
}

// stop ends the process, and adds to an error what it says of its end.
func (p *process) stop(err error) error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	if ended := p.cmd.Wait(); err == nil && ended != nil {
		err = fmt.Errorf("imds serve: %w", ended)
	}
	return err
}

// spent returns the processor time that the process has used, in seconds.
func (p *process) spent() (float64, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "stat"))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold anything. User and system time are the
	// 14th and 15th field, in hundredths.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[12])
	return float64(user+system) / 100, err
}

// peak returns the most memory that the process has held, in MiB.
func (p *process) peak() (float64, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "status"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(value)[0], 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("no VmHWM in the status of the process")
}

// quantile returns the value that a share of all values is not above.
func quantile(values []float64, share float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

// results is the section of the report.
func results(o options, size int64, starts []sample, times map[string][]float64) string {
	var ready, work, memory, others []float64
	for _, m := range starts {
		ready, work, memory, others = append(ready, m.ready), append(work, m.work), append(memory, m.memory), append(others, m.others)
	}
	var b strings.Builder
	b.WriteString("# What a control plane takes\n\n")
	fmt.Fprintf(&b, "`imds serve` with %d instances in its store (%d MiB), on %d cores, Go %s, %s. ",
		o.instances, size>>20, runtime.NumCPU(), strings.TrimPrefix(runtime.Version(), "go"), time.Now().Format(time.DateOnly))
	fmt.Fprintf(&b, "A start is from exec to `ready`, when all instances are answered and the APIs accept; %d of them, the quietest, with the file in the page cache; "+
		"other processes used %.2f–%.2f cores meanwhile. "+
		"Descriptions are of one instance by its id, signed, one after the other on one connection, %d through each API.\n\n", len(ready), slices.Min(others), slices.Max(others), o.description)
	b.WriteString("| target | what | median | p99 | min–max | at most | |\n|---|---|--:|--:|--:|--:|---|\n")
	row := func(target, what, unit string, values []float64, limit, judged float64) {
		verdict := ""
		if limit > 0 {
			verdict = "met"
			if judged > limit {
				verdict = "**missed**"
			}
		}
		bound := ""
		if limit > 0 {
			bound = fmt.Sprintf("%g %s", limit, unit)
		}
		fmt.Fprintf(&b, "| %s | %s | %.2f %s | %.2f | %.2f–%.2f | %s | %s |\n", target, what, quantile(values, 0.5), unit, quantile(values, 0.99),
			slices.Min(values), slices.Max(values), bound, verdict)
	}
	row("P9", "start", "s", ready, 2, quantile(ready, 0.5))
	for _, dialect := range []string{"ec2", "ecs"} {
		row("P9", "describe by id, "+dialect, "ms", times[dialect], 5, quantile(times[dialect], 0.99))
	}
	row("", "start, time of all processors", "s", work, 0, 0)
	row("", "most memory held", "MiB", memory, 0, 0)
	return b.String()
}
