package history

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"openimds/internal/fault"
	"openimds/internal/trace/finding"
)

var (
	batchesBucket = []byte("batches") // by key: its number, when it was taken, and what its text adds up to
	takenBucket   = []byte("taken")   // by number: the key
)

// Bounds of what is remembered of batches, so that one that comes again counts
// once.
const (
	// MostBatches is how many are remembered: the newest.
	MostBatches = 200_000
	// batchesKept is how long.
	batchesKept = 30 * 24 * time.Hour
	sumSize     = 16
)

// Found is what a tracer reports at once.
type Found struct {
	// Key is the same when the batch is sent again, and another's is another. Empty: it counts however often it comes.
	Key string
	// Text that it came as.
	Text []byte
	// Findings by instance.
	Findings map[string][]finding.Finding
}

// PutFound keeps what a tracer has found: all of it, or nothing, and once,
// however often it comes. It tells whether it had come before. A key that came
// with another text is fault.Invalid.
func (f *File) PutFound(batch Found) (repeated bool, err error) {
	now := f.cfg.Now()
	err = f.db.Update(func(tx *bolt.Tx) error {
		if batch.Key != "" {
			sum := sha256.Sum256(batch.Text)
			if repeated, err = noteBatch(tx, batch.Key, sum[:sumSize], now); err != nil || repeated {
				return err
			}
		}
		for _, id := range slices.Sorted(maps.Keys(batch.Findings)) {
			if err := putFindings(tx, id, batch.Findings[id]); err != nil {
				return fmt.Errorf("instance %q: %w", id, err)
			}
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("keep findings: %w", err)
	}
	return repeated, nil
}

// noteBatch remembers a batch, and forgets the oldest beyond the bound.
func noteBatch(tx *bolt.Tx, key string, sum []byte, now time.Time) (repeated bool, err error) {
	b, order := tx.Bucket(batchesBucket), tx.Bucket(takenBucket)
	if v := b.Get([]byte(key)); v != nil {
		if len(v) != 16+sumSize {
			return false, errRecord
		}
		if string(v[16:]) != string(sum) {
			return false, fault.New(fault.Invalid, "the key %.64q was sent with other findings before: each batch needs its own", key)
		}
		return true, nil
	}
	n, err := order.NextSequence()
	if err != nil {
		return false, err
	}
	number := binary.BigEndian.AppendUint64(nil, n)
	v := binary.BigEndian.AppendUint64(slices.Clone(number), uint64(now.Unix()))
	if err := b.Put([]byte(key), append(v, sum...)); err != nil {
		return false, err
	}
	if err := order.Put(number, []byte(key)); err != nil {
		return false, err
	}
	return false, forgetBatches(tx, func(oldest uint64, _ time.Time) bool { return n-oldest >= MostBatches })
}

// forgetBatches forgets the oldest as long as over is true for them.
func forgetBatches(tx *bolt.Tx, over func(number uint64, at time.Time) bool) error {
	b, c := tx.Bucket(batchesBucket), tx.Bucket(takenBucket).Cursor()
	for k, key := c.First(); k != nil; k, key = c.First() {
		var at time.Time
		if v := b.Get(key); len(v) >= 16 {
			at = time.Unix(int64(binary.BigEndian.Uint64(v[8:])), 0)
		}
		if !over(binary.BigEndian.Uint64(k), at) {
			return nil
		}
		if err := b.Delete(key); err != nil {
			return err
		}
		if err := c.Delete(); err != nil {
			return err
		}
	}
	return nil
}

// sweepBatches forgets what was taken before a time.
func sweepBatches(tx *bolt.Tx, limit time.Time) error {
	return forgetBatches(tx, func(_ uint64, at time.Time) bool { return at.Before(limit) })
}
