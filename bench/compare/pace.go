//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"time"
)

// latency is one measurement at a fixed rate, times in microseconds.
type latency struct {
	Rate, P50, P99, P999, Lag float64
	Answer, Failed, Unsent    int
}

// pace is one measurement: requests at half the rate that the slower of the
// contestants can keep up, and how long each takes.
func (b *bench) pace(ctx context.Context, t test, s *server, round int) error {
	k := key{t.name, s.name}
	l, err := quietest(b, func() (latency, error) { return b.paceOnce(ctx, t, s, round) })
	if err != nil {
		return fmt.Errorf("latency of %s, round %d: %w", k, round+1, err)
	}
	if l.Unsent > 0 {
		fmt.Fprintf(b.log, "bench: %s: the generator was %.0f µs late, and left out %d requests: others use its core\n", k, l.Lag, l.Unsent)
	}
	b.latencies[k] = append(b.latencies[k], l)
	return nil
}

func (b *bench) paceOnce(ctx context.Context, t test, s *server, round int) (latency, error) {
	var l latency
	if err := from(t.source); err != nil {
		return l, err
	}
	out, err := output(ctx, time.Duration(b.seconds+6)*time.Second, []byte(t.text(s)),
		"taskset", "-c", strconv.Itoa(b.loadCore), filepath.Join(b.work, "load"),
		"-address", s.address(t.dialect, t.fresh),
		"-rate", strconv.FormatFloat(b.rates[t.name], 'f', 0, 64),
		"-duration", strconv.Itoa(b.seconds)+"s",
		"-connections", strconv.Itoa(b.connections),
		"-new="+strconv.FormatBool(t.fresh),
		"-status", strconv.Itoa(t.status),
		"-seed", strconv.Itoa(round+1)) // the same requests at the same moments for all
	if err != nil {
		return l, err
	}
	if err := json.Unmarshal(out, &l); err != nil {
		return l, fmt.Errorf("read the generator's figures: %w", err)
	}
	if l.Answer == 0 || l.Failed*1000 > l.Answer {
		return l, fmt.Errorf("%d requests failed, %d were answered", l.Failed, l.Answer)
	}
	return l, nil
}
