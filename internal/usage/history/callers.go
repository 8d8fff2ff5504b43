package history

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"openimds/internal/usage"
	"openimds/internal/usage/series"
)

// mostCallers is how many callers of an instance are kept: those without a
// token before those with one, and of each those who came last.
const mostCallers = 32

var callersBucket = []byte("callers")

// who tells one caller from another.
type who struct{ agent, item, access string }

func whoOf(c usage.Caller) who { return who{c.Agent, c.Item, c.Access} }

// putCallers adds a report's callers to those that are known.
func putCallers(tx *bolt.Tx, callers []series.Caller) error {
	b := tx.Bucket(callersBucket)
	byInstance := map[string][]usage.Caller{}
	for _, c := range callers {
		if c.Instance != "" {
			byInstance[c.Instance] = append(byInstance[c.Instance], c.Caller)
		}
	}
	for id, fresh := range byInstance {
		known, err := decodeCallers(b.Get([]byte(id)))
		if err != nil {
			return fmt.Errorf("callers of instance %q: %w", id, err)
		}
		data, err := json.Marshal(merge(known, fresh))
		if err != nil {
			return fmt.Errorf("callers of instance %q: %w", id, err)
		}
		if err := b.Put([]byte(id), data); err != nil {
			return err
		}
	}
	return nil
}

func decodeCallers(data []byte) ([]usage.Caller, error) {
	if data == nil {
		return nil, nil
	}
	var all []usage.Caller
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("%w: %w", errRecord, err)
	}
	return all, nil
}

// merge adds callers to others and drops those beyond the bound.
func merge(known, fresh []usage.Caller) []usage.Caller {
	at := map[who]int{}
	for i, c := range known {
		at[whoOf(c)] = i
	}
	for _, c := range fresh {
		i, ok := at[whoOf(c)]
		if !ok {
			at[whoOf(c)] = len(known)
			known = append(known, c)
			continue
		}
		k := &known[i]
		k.Count += c.Count
		k.Over += c.Over
		if c.First.Before(k.First) {
			k.First = c.First
		}
		if !c.Last.Before(k.Last) {
			k.Last, k.Source = c.Last, c.Source
		}
	}
	slices.SortStableFunc(known, func(a, b usage.Caller) int {
		if byAccess := cmp.Compare(tokened(a), tokened(b)); byAccess != 0 {
			return byAccess
		}
		return b.Last.Compare(a.Last)
	})
	return known[:min(len(known), mostCallers)]
}

func tokened(c usage.Caller) int {
	if c.Access == usage.AskedTokened {
		return 1
	}
	return 0
}

// Callers returns who asked of an instance since a time: first without a token,
// then with one, each with the newest first.
func (f *File) Callers(instance string, since time.Time) ([]usage.Caller, error) {
	var all []usage.Caller
	err := f.db.View(func(tx *bolt.Tx) (err error) {
		all, err = decodeCallers(tx.Bucket(callersBucket).Get([]byte(instance)))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("callers of instance %q: %w", instance, err)
	}
	return slices.DeleteFunc(all, func(c usage.Caller) bool { return c.Last.Before(since) }), nil
}

// sweepCallers forgets instances that nobody has asked of for long.
func sweepCallers(tx *bolt.Tx, limit time.Time) error {
	return forget(tx.Bucket(callersBucket), func(v []byte) (bool, error) {
		all, err := decodeCallers(v)
		return !slices.ContainsFunc(all, func(c usage.Caller) bool { return c.Last.After(limit) }), err
	})
}

// forget deletes the records for which over is true.
func forget(b *bolt.Bucket, over func(v []byte) (bool, error)) error {
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		gone, err := over(v)
		if err != nil {
			return fmt.Errorf("forget %q: %w", k, err)
		}
		if gone {
			if err := c.Delete(); err != nil {
				return err
			}
		}
	}
	return nil
}
