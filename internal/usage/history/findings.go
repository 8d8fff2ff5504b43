package history

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"encoding/json"

	bolt "go.etcd.io/bbolt"

	"openimds/internal/trace/finding"
)

var findingsBucket = []byte("findings")

// mostFindings is how many findings of an instance are kept: one for each
// process, way and item, those without a token before the others, the newest
// first.
const mostFindings = 64

// alike tells which findings are of one process and one way.
type alike struct {
	mode                       finding.Mode
	exe, comm, container, unit string
	agent, path                string
}

func alikeOf(f *finding.Finding) alike {
	p := &f.Process
	return alike{f.Mode, p.Exe, p.Comm, p.Container, p.Unit, f.UserAgent, f.Path}
}

// putFindings adds findings of an instance to those that are known. Findings of
// one process and one way are added up, and the newest is kept.
func putFindings(tx *bolt.Tx, instance string, fresh []finding.Finding) error {
	b := tx.Bucket(findingsBucket)
	known, err := decodeFindings(b.Get([]byte(instance)))
	if err != nil {
		return err
	}
	return putJSON(b, instance, mergeFindings(known, fresh))
}

func mergeFindings(known, fresh []finding.Finding) []finding.Finding {
	at := map[alike]int{}
	for i := range known {
		at[alikeOf(&known[i])] = i
	}
	for _, n := range fresh {
		i, ok := at[alikeOf(&n)]
		if !ok {
			at[alikeOf(&n)] = len(known)
			known = append(known, n)
			continue
		}
		count := known[i].Count + n.Count
		if !n.Time.Before(known[i].Time) {
			known[i] = n
		}
		known[i].Count = count
	}
	free := func(f finding.Finding) int {
		if f.Mode == finding.TokenFree {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(known, func(a, b finding.Finding) int { return cmp.Or(free(a)-free(b), b.Time.Compare(a.Time)) })
	return known[:min(len(known), mostFindings)]
}

func decodeFindings(data []byte) (all []finding.Finding, err error) {
	if data == nil {
		return nil, nil
	}
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("%w: %w", errRecord, err)
	}
	return all, nil
}

// Findings returns what tracers in an instance have found since a time.
func (f *File) Findings(instance string, since time.Time) ([]finding.Finding, error) {
	var all []finding.Finding
	err := f.db.View(func(tx *bolt.Tx) (err error) {
		all, err = decodeFindings(tx.Bucket(findingsBucket).Get([]byte(instance)))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("findings of instance %q: %w", instance, err)
	}
	return slices.DeleteFunc(all, func(f finding.Finding) bool { return f.Time.Before(since) }), nil
}

// sweepFindings forgets what is long ago.
func sweepFindings(tx *bolt.Tx, limit time.Time) error {
	return forget(tx.Bucket(findingsBucket), func(v []byte) (bool, error) {
		all, err := decodeFindings(v)
		return !slices.ContainsFunc(all, func(f finding.Finding) bool { return f.Time.After(limit) }), err
	})
}
