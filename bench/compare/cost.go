//go:build linux

package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

//go:embed wrk.lua
var wrkScript []byte

// cost is one measurement: as many requests as wrk can send, and the CPU time
// that the server used meanwhile.
func (b *bench) cost(ctx context.Context, t test, s *server, round int) error {
	k := key{t.name, s.name}
	f, err := quietest(b, func() (figure, error) { return b.costOnce(ctx, t, s) })
	if err != nil {
		return fmt.Errorf("%s, round %d: %w", k, round+1, err)
	}
	b.figures.add(k, f)
	return nil
}

func (b *bench) costOnce(ctx context.Context, t test, s *server) (figure, error) {
	var f figure
	if err := from(t.source); err != nil {
		return f, err
	}
	script := filepath.Join(b.work, "wrk.lua")
	if err := os.WriteFile(script, wrkScript, 0o600); err != nil {
		return f, err
	}
	args := []string{
		"-c", strconv.Itoa(b.loadCore), "wrk", "-t1", "-c" + strconv.Itoa(b.connections),
		"-d" + strconv.Itoa(b.seconds) + "s", "-s", script,
	}
	for _, h := range t.head(s) {
		args = append(args, "-H", h)
	}
	args = append(args, "http://"+s.address(t.dialect, t.fresh)+t.path, "--", t.method)

	before, err := s.cpu()
	if err != nil {
		return f, err
	}
	out, err := output(ctx, time.Duration(b.seconds+5)*time.Second, nil, "taskset", args...)
	if err != nil {
		return f, err
	}
	after, err := s.cpu()
	if err != nil {
		return f, err
	}
	w, err := parseWrk(out)
	if err != nil {
		return f, err
	}
	if err := w.check(t.status, b.seconds); err != nil {
		return f, err
	}
	f.cpu = (after - before).Seconds() * 1e6 / float64(w.answers)
	f.rate = float64(w.answers) / w.took.Seconds()
	return f, nil
}

// output runs a program to its end, or for some time, and returns what it
// writes.
func output(ctx context.Context, most time.Duration, stdin []byte, program string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	var problems bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(stdin), &problems
	out, err := cmd.Output()
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("run %s: %w", program, context.Cause(ctx))
	case err != nil:
		return nil, fmt.Errorf("run %s: %w: %s", program, err, problems.Bytes())
	}
	return out, nil
}

// wrk is what wrk counted.
type wrk struct {
	answers, broken, refused int // refused: status 400 and above
	took                     time.Duration
}

func parseWrk(out []byte) (wrk, error) {
	i := bytes.LastIndex(out, []byte("figures "))
	if i < 0 {
		return wrk{}, fmt.Errorf("wrk wrote no figures: %s", out)
	}
	var w wrk
	var us int64
	if _, err := fmt.Fscanf(bytes.NewReader(out[i:]), "figures %d %d %d %d", &w.answers, &us, &w.broken, &w.refused); err != nil {
		return wrk{}, fmt.Errorf("read wrk's figures: %w", err)
	}
	w.took = time.Duration(us) * time.Microsecond
	return w, nil
}

// check returns an error when what was measured is not what was meant.
func (w wrk) check(status, seconds int) error {
	switch served := w.answers - w.refused; {
	case w.answers < 100*seconds:
		return fmt.Errorf("only %d answers came", w.answers)
	case w.broken*1000 > w.answers:
		return fmt.Errorf("%d connections failed for %d answers", w.broken, w.answers)
	case status < 400 && w.refused > 0:
		return fmt.Errorf("%d of %d answers have a status of 400 or above", w.refused, w.answers)
	case status >= 400 && served > 2*seconds+4: // what a throttle lets through
		return fmt.Errorf("%d of %d answers have a status below 400", served, w.answers)
	}
	return nil
}
