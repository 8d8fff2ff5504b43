package history

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"openimds/internal/usage/series"
)

var servedBucket = []byte("served")

// Served is since when, and where, an instance is counted.
type Served struct {
	// Since is when it was served for the first time by a node that reports.
	Since time.Time `json:"since"`
	// Nodes that serve it or have served it, the newest last.
	Nodes []string `json:"nodes"`
	// Ended is when the last of them stopped; zero: it is served.
	Ended time.Time `json:"ended,omitzero"`
}

// mostNodes bounds the nodes of an instance that are remembered.
const mostNodes = 16

// putServed notes which instances a node serves now, and no longer.
func putServed(tx *bolt.Tx, r series.Report) error {
	b := tx.Bucket(servedBucket)
	for _, id := range r.Began {
		s, err := decodeServed(b.Get([]byte(id)))
		if err != nil {
			return fmt.Errorf("instance %q: %w", id, err)
		}
		old := s
		if s.Since.IsZero() || r.From.Before(s.Since) {
			s.Since = r.From.UTC()
		}
		s.Ended = time.Time{}
		if n := len(s.Nodes); n == 0 || s.Nodes[n-1] != r.Node {
			s.Nodes = append(slices.DeleteFunc(slices.Clone(s.Nodes), func(n string) bool { return n == r.Node }), r.Node)
			s.Nodes = s.Nodes[max(0, len(s.Nodes)-mostNodes):]
		}
		if s.Since.Equal(old.Since) && old.Ended.IsZero() && slices.Equal(s.Nodes, old.Nodes) {
			continue
		}
		if err := putJSON(b, id, s); err != nil {
			return err
		}
	}
	for _, id := range r.Ended {
		s, err := decodeServed(b.Get([]byte(id)))
		if err != nil {
			return fmt.Errorf("instance %q: %w", id, err)
		}
		if n := len(s.Nodes); n > 0 && s.Nodes[n-1] == r.Node { // it may be elsewhere by now
			s.Ended = r.To.UTC()
			if err := putJSON(b, id, s); err != nil {
				return err
			}
		}
	}
	return nil
}

func putJSON(b *bolt.Bucket, key string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("instance %q: %w", key, err)
	}
	return b.Put([]byte(key), data)
}

func decodeServed(data []byte) (s Served, err error) {
	if data == nil {
		return s, nil
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("%w: %w", errRecord, err)
	}
	return s, nil
}

// Served tells since when an instance is counted; a zero Since: it never was.
func (f *File) Served(instance string) (s Served, err error) {
	err = f.db.View(func(tx *bolt.Tx) (err error) {
		s, err = decodeServed(tx.Bucket(servedBucket).Get([]byte(instance)))
		return err
	})
	if err != nil {
		err = fmt.Errorf("instance %q: %w", instance, err)
	}
	return s, err
}

// sweepServed forgets instances that are gone for long.
func sweepServed(tx *bolt.Tx, limit time.Time) error {
	return forget(tx.Bucket(servedBucket), func(v []byte) (bool, error) {
		s, err := decodeServed(v)
		return !s.Ended.IsZero() && s.Ended.Before(limit), err
	})
}
