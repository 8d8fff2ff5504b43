package history

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"openimds/internal/usage/series"
)

// Gap is a time in which a node may have counted what is lost: it was killed
// before it reported, or could not report for too long; or has not reported
// yet.
type Gap struct {
	// Node whose instances it concerns; empty: those of the control plane's own data plane.
	Node string    `json:"node"`
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// quiet is how long a node that runs may say nothing: it reports each minute.
const quiet = 3 * time.Minute

// run is one run of a node.
type run struct {
	node     string
	from, to time.Time
	final    bool
}

// runs returns those of all nodes, by node and start.
func runs(tx *bolt.Tx) ([]run, error) {
	var all []run
	err := tx.Bucket(nodesBucket).ForEach(func(k, v []byte) error {
		node, _, _ := bytes.Cut(k, []byte{0})
		s, err := decodeSeen(v)
		if err != nil {
			return fmt.Errorf("reports of node %q: %w", node, err)
		}
		if s.from != 0 {
			all = append(all, run{string(node), time.UnixMilli(s.from).UTC(), time.UnixMilli(s.to).UTC(), s.final})
		}
		return nil
	})
	slices.SortFunc(all, func(a, b run) int { return cmp.Or(cmp.Compare(a.node, b.node), a.from.Compare(b.from)) })
	return all, err
}

// Gaps returns the gaps that reach into a window, in order.
func (f *File) Gaps(from, to time.Time) ([]Gap, error) {
	var all []Gap
	keep := func(g Gap) {
		if g.To.After(g.From) && g.To.After(from) && g.From.Before(to) {
			all = append(all, g)
		}
	}
	err := f.db.View(func(tx *bolt.Tx) error {
		known, err := runs(tx)
		if err != nil {
			return err
		}
		for i, r := range known {
			switch last := i+1 == len(known) || known[i+1].node != r.node; {
			case r.final:
			case !last:
				keep(Gap{r.node, r.to, known[i+1].from})
			case f.cfg.Now().Sub(r.to) > quiet:
				keep(Gap{r.node, r.to, f.cfg.Now().UTC()})
			}
		}
		return tx.Bucket(gapsBucket).ForEach(func(_, v []byte) error {
			var g Gap
			if err := json.Unmarshal(v, &g); err != nil {
				return fmt.Errorf("a gap is damaged: %w", err)
			}
			keep(g)
			return nil
		})
	})
	slices.SortStableFunc(all, func(a, b Gap) int { return a.From.Compare(b.From) })
	return all, err
}

// Heard returns until when a node has reported; zero: never.
func (f *File) Heard(node string) (time.Time, error) {
	var until time.Time
	err := f.db.View(func(tx *bolt.Tx) error {
		known, err := runs(tx)
		for _, r := range known {
			if r.node == node && r.to.After(until) {
				until = r.to
			}
		}
		return err
	})
	return until, err
}

// missed says what a run before this one did not report.
func (f *File) missed(tx *bolt.Tx, r series.Report) {
	if r.From.IsZero() || r.Sequence != 1 || r.Overlaps {
		return
	}
	known, err := runs(tx)
	if err != nil {
		return // whoever asks for it is told
	}
	var before *run
	for i, k := range known {
		if k.node == r.Node && k.from.Before(r.From) {
			before = &known[i]
		}
	}
	if before != nil && !before.final {
		f.log.Warn("a node was not stopped in order: what it counted since its last report is lost, a minute's worth at most", "node", r.Node, "from", before.to, "to", r.From)
	}
}

// putGap notes a gap.
func putGap(tx *bolt.Tx, g Gap) error {
	data, err := json.Marshal(g)
	if err != nil {
		return err
	}
	return tx.Bucket(gapsBucket).Put(append(binary.BigEndian.AppendUint64(nil, uint64(g.From.UnixMilli())), g.Node...), data)
}

// sweepRuns forgets runs that were over before a time.
func sweepRuns(tx *bolt.Tx, limit time.Time) error {
	return forget(tx.Bucket(nodesBucket), func(v []byte) (bool, error) {
		s, err := decodeSeen(v)
		return s.at < limit.Unix(), err
	})
}

// Of returns those gaps that concern an instance.
func (s Served) Of(gaps []Gap) []Gap {
	var own []Gap
	for _, g := range gaps {
		if (slices.Contains(s.Nodes, g.Node) || len(s.Nodes) >= mostNodes) && g.To.After(s.Since) {
			own = append(own, g)
		}
	}
	return own
}
