package history

import (
	"encoding/json"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"openimds/internal/usage/series"
)

var ownersBucket = []byte("owners")

// Owner is whose an instance is, or was: who may read what it did when it is
// gone.
type Owner struct {
	Dialect string `json:"dialect"`
	Account string `json:"account"`
	Region  string `json:"region,omitempty"`
}

// owned is an owner, and when it was last known that it did anything.
type owned struct {
	Owner
	Last time.Time `json:"last"`
}

// freshOwner is how long an owner is not noted again.
const freshOwner = 24 * time.Hour

// SetOwner makes the file note whose the instances of reports are. What is asked
// must not ask the file.
func (f *File) SetOwner(owner func(instance string) (Owner, bool)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.owner = owner
}

// putOwners notes whose the instances of a report are. Of one that nobody knows
// any more, what was noted stays.
func (f *File) putOwners(tx *bolt.Tx, r series.Report, now time.Time) error {
	f.mu.Lock()
	ask := f.owner
	f.mu.Unlock()
	if ask == nil {
		return nil
	}
	b, done := tx.Bucket(ownersBucket), map[string]bool{}
	note := func(id string) error {
		if id == "" || done[id] {
			return nil
		}
		done[id] = true
		before, err := decodeOwned(b.Get([]byte(id)))
		if err != nil {
			return fmt.Errorf("instance %q: %w", id, err)
		}
		o, known := ask(id)
		if !known {
			o = before.Owner
		}
		if o == (Owner{}) || o == before.Owner && now.Sub(before.Last) < freshOwner {
			return nil
		}
		return putJSON(b, id, owned{o, now.UTC()})
	}
	for _, s := range r.Samples {
		if err := note(s.Instance); err != nil {
			return err
		}
	}
	for _, id := range r.Began {
		if err := note(id); err != nil {
			return err
		}
	}
	return nil
}

func decodeOwned(data []byte) (o owned, err error) {
	if data == nil {
		return o, nil
	}
	if err := json.Unmarshal(data, &o); err != nil {
		return o, fmt.Errorf("%w: %w", errRecord, err)
	}
	return o, nil
}

// Owner tells whose an instance is, or was; false: that was never noted.
func (f *File) Owner(instance string) (Owner, bool, error) {
	var o owned
	err := f.db.View(func(tx *bolt.Tx) (err error) {
		o, err = decodeOwned(tx.Bucket(ownersBucket).Get([]byte(instance)))
		return err
	})
	if err != nil {
		return Owner{}, false, fmt.Errorf("owner of instance %q: %w", instance, err)
	}
	return o.Owner, o.Owner != (Owner{}), nil
}

// sweepOwners forgets owners of instances of which nothing is kept any more.
func sweepOwners(tx *bolt.Tx, limit time.Time) error {
	return forget(tx.Bucket(ownersBucket), func(v []byte) (bool, error) {
		o, err := decodeOwned(v)
		return o.Last.Before(limit.Add(-freshOwner)), err
	})
}
