package history

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"openimds/internal/fault"
	"openimds/internal/usage/series"
)

// What a file hands on to another place, minute by minute, is counters that only
// grow. A minute is handed on once it is frozen: what it has then is noted with
// the counters, in one transaction, so that it is sent the same however often.
// What comes later of such a minute goes with the next that is frozen, and both
// minutes remember the difference.
var (
	sentBucket  = []byte("sent")  // by instance: its counters
	lateBucket  = []byte("late")  // by minute and instance: what came after the minute was frozen, and is not in the counters yet
	movedBucket = []byte("moved") // by minute and instance: what the minute has more, or less, than the counters say
	shippingKey = []byte("shipping")
	frozenKey   = []byte("frozen")
)

// Bounds of handing on.
const (
	// mostLate is how much of what came late goes with one minute.
	mostLate = 20_000
	// mostDropped is how many stretches of minutes that were refused are told apart.
	mostDropped = 256
	// countersKept is how long the counters of an instance are kept that is gone.
	countersKept = 63 * 24 * time.Hour
)

// Minutes is a stretch of minutes, both ends included; Last before First: none.
type Minutes struct {
	First int64 `json:"first"`
	Last  int64 `json:"last"`
}

// Shipping is how far a file has been handed on.
type Shipping struct {
	// To is where, and as what: another To begins anew.
	To string `json:"to"`
	// Writers are the names under which this file was ever handed on; the last one is in use.
	Writers []string `json:"writers"`
	// Begin is the first minute of the last writer.
	Begin int64 `json:"begin"`
	// Dropped are minutes since then that the place did not take, in order.
	Dropped []Minutes `json:"dropped,omitempty"`
	// Before: what the counters were before the frozen minute has been sent.
	Before bool `json:"before,omitempty"`
	// Frozen is the last minute that is frozen; Begin-1: none is.
	Frozen int64 `json:"-"`
}

// Writer is the name that is in use.
func (s Shipping) Writer() string { return s.Writers[len(s.Writers)-1] }

// Counter is what an instance has done since the writer's begin.
type Counter struct {
	Instance string
	// Total is at the end of the frozen minute, Delta what the last minute with any counts added.
	Total, Delta series.Counts
	// First is the first minute with any counts, Last the last one.
	First, Last int64
}

// FrozenMinute is a minute whose figures do not change any more.
type FrozenMinute struct {
	Shipping
	// Changed are the counters that it raised, Idle those that were raised shortly before, at the end of an hour those of all instances that are served; both by instance.
	Changed, Idle []Counter
}

// ShipTo begins to hand on, or goes on with it, and returns how far that has
// come. It begins anew, from a minute on and under another name, where to is
// another than before, and where the clock has gone far back.
func (f *File) ShipTo(to, writer string, begin int64) (Shipping, error) {
	s, known, err := f.Shipping()
	if err == nil && known && s.goesOn(to, begin) {
		return s, nil
	}
	err = f.db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{sentBucket, lateBucket, movedBucket} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		if s, _, err = shipping(tx); err != nil {
			return err
		}
		for _, name := range [][]byte{sentBucket, lateBucket, movedBucket} {
			if err := errors.Join(tx.DeleteBucket(name), ignore(tx.CreateBucket(name))); err != nil {
				return err
			}
		}
		s = Shipping{To: to, Writers: append(s.Writers, writer), Begin: begin, Frozen: begin - 1}
		return putShipping(tx, s)
	})
	if err != nil {
		return s, fmt.Errorf("begin to hand on usage: %w", err)
	}
	return s, nil
}

// goesOn reports whether what was begun can be gone on with at a minute.
func (s Shipping) goesOn(to string, minute int64) bool { return s.To == to && s.Frozen <= minute+60 }

// Shipping tells how far the file has been handed on; false: it never was.
func (f *File) Shipping() (s Shipping, known bool, err error) {
	err = f.db.View(func(tx *bolt.Tx) (err error) {
		s, known, err = shipping(tx)
		return err
	})
	return s, known, err
}

func ignore(_ *bolt.Bucket, err error) error { return err }

// shipping is false where nothing was ever handed on.
func shipping(tx *bolt.Tx) (s Shipping, known bool, err error) {
	meta := tx.Bucket(metaBucket)
	data := meta.Get(shippingKey)
	if data == nil {
		return s, false, nil
	}
	if err := json.Unmarshal(data, &s); err != nil || len(s.Writers) == 0 {
		return s, false, fmt.Errorf("how far usage was handed on: %w", errors.Join(errRecord, err))
	}
	s.Frozen = frozen(tx)
	return s, true, nil
}

// frozen is the last minute that is frozen; 0: none is.
func frozen(tx *bolt.Tx) int64 {
	v := tx.Bucket(metaBucket).Get(frozenKey)
	if len(v) != 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(v))
}

func putShipping(tx *bolt.Tx, s Shipping) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	meta := tx.Bucket(metaBucket)
	return errors.Join(meta.Put(shippingKey, data), meta.Put(frozenKey, binary.BigEndian.AppendUint64(nil, uint64(s.Frozen))))
}

// Freeze freezes the next minute, and returns it. Idle has those that were
// raised in the last so many minutes. A minute may be skipped: it is dropped.
func (f *File) Freeze(minute, idle int64) (b FrozenMinute, err error) {
	err = f.db.Update(func(tx *bolt.Tx) error {
		s, known, err := shipping(tx)
		if err != nil {
			return err
		}
		if !known || minute <= s.Frozen {
			return fault.New(fault.Conflict, "minute %d is frozen already", minute)
		}
		if minute > s.Frozen+1 {
			s.drop(Minutes{s.Frozen + 1, minute - 1})
		}
		s.Frozen, s.Before = minute, false
		deltas, recent, err := countedIn(tx, minute, idle)
		if err != nil {
			return err
		}
		if err := takeLate(tx, minute, deltas); err != nil {
			return err
		}
		b = FrozenMinute{Shipping: s}
		sent := tx.Bucket(sentBucket)
		for id, delta := range deltas {
			c, err := decodeCounter(id, sent.Get([]byte(id)))
			if err != nil {
				return err
			}
			c.Total.Add(delta)
			c.Delta, c.Last = delta, minute
			if c.First == 0 {
				c.First = minute
			}
			if err := sent.Put([]byte(id), c.encode()); err != nil {
				return err
			}
			b.Changed = append(b.Changed, c)
		}
		if hourEnds(minute) {
			if err := b.rest(tx, idle); err != nil {
				return err
			}
			return putShipping(tx, s)
		}
		for _, id := range recent {
			if _, changed := deltas[id]; changed {
				continue
			}
			c, err := decodeCounter(id, sent.Get([]byte(id)))
			if err != nil {
				return err
			}
			if c.Last >= minute-idle && c.Last >= s.Begin {
				b.Idle = append(b.Idle, c)
			}
		}
		return putShipping(tx, s)
	})
	if err != nil {
		return b, fmt.Errorf("freeze usage of minute %d: %w", minute, err)
	}
	b.sort()
	return b, nil
}

// hourEnds reports whether an hour ends with a minute.
func hourEnds(minute int64) bool { return (minute+1)%60 == 0 }

// rest adds the counters that a minute did not raise.
func (b *FrozenMinute) rest(tx *bolt.Tx, idle int64) error {
	served := tx.Bucket(servedBucket)
	return tx.Bucket(sentBucket).ForEach(func(k, v []byte) error {
		c, err := decodeCounter(string(k), v)
		if err != nil || c.Last == b.Frozen {
			return err
		}
		if c.Last >= b.Frozen-idle {
			b.Idle = append(b.Idle, c)
			return nil
		}
		if !hourEnds(b.Frozen) {
			return nil
		}
		s, err := decodeServed(served.Get(k))
		if err != nil {
			return fmt.Errorf("instance %q: %w", k, err)
		}
		if s.Ended.IsZero() {
			b.Idle = append(b.Idle, c)
		}
		return nil
	})
}

func (b *FrozenMinute) sort() {
	for _, all := range [][]Counter{b.Changed, b.Idle} {
		slices.SortFunc(all, func(x, y Counter) int {
			if x.Instance < y.Instance {
				return -1
			}
			return 1
		})
	}
}

// countedIn returns what instances did in a minute, and which of them did
// anything in those before.
func countedIn(tx *bolt.Tx, minute, idle int64) (map[string]series.Counts, []string, error) {
	t := tiers[0]
	span := int64(t.span / time.Minute)
	deltas := map[string]series.Counts{}
	seen := map[string]bool{}
	var recent []string
	c := tx.Bucket(t.bucket).Cursor()
	for k, v := c.Seek(recordKey((minute-idle)/span, "")); k != nil; k, v = c.Next() {
		at := int64(binary.BigEndian.Uint64(k)) * span
		if at > minute {
			break
		}
		id := string(k[8:])
		err := decode(v, func(e entry) bool {
			switch m := at + int64(e.slot); {
			case m == minute:
				deltas[id] = e.counts
			case m >= minute-idle && m < minute && !seen[id]:
				seen[id] = true
				recent = append(recent, id)
			}
			return true
		})
		if err != nil {
			return nil, nil, fmt.Errorf("usage of instance %q: %w", id, err)
		}
	}
	// What came late was counted in minutes that it is not of.
	c = tx.Bucket(movedBucket).Cursor()
	for k, _ := c.Seek(recordKey(minute-idle, "")); k != nil && int64(binary.BigEndian.Uint64(k)) < minute; k, _ = c.Next() {
		if id := string(k[8:]); !seen[id] {
			seen[id] = true
			recent = append(recent, id)
		}
	}
	return deltas, recent, nil
}

// addLate notes what came of a frozen minute.
func addLate(tx *bolt.Tx, s series.Sample) error {
	b := tx.Bucket(lateBucket)
	if b == nil {
		return nil // nothing is handed on
	}
	key := recordKey(s.Minute, s.Instance)
	data, err := add(b.Get(key), 0, s.Counts)
	if err != nil {
		return err
	}
	return b.Put(key, data)
}

// takeLate adds what came late to the figures of a minute, and notes for both
// minutes what is different.
func takeLate(tx *bolt.Tx, minute int64, deltas map[string]series.Counts) error {
	c := tx.Bucket(lateBucket).Cursor()
	taken := 0
	for k, v := c.First(); k != nil && taken < mostLate; k, v = c.First() {
		at, id := int64(binary.BigEndian.Uint64(k)), string(k[8:])
		var counts series.Counts
		if err := decode(v, func(e entry) bool { counts.Add(e.counts); return true }); err != nil {
			return fmt.Errorf("late usage of instance %q: %w", id, err)
		}
		d := deltas[id]
		d.Add(counts)
		deltas[id] = d
		var there, back Moved
		for k, n := range counts {
			there[k], back[k] = int64(n), -int64(n)
		}
		if err := errors.Join(addMoved(tx, at, id, there), addMoved(tx, minute, id, back), c.Delete()); err != nil {
			return err
		}
		taken++
	}
	return nil
}

// Moved is what a minute has more, or less, than counters say.
type Moved [series.Kinds]int64

func addMoved(tx *bolt.Tx, minute int64, instance string, m Moved) error {
	b := tx.Bucket(movedBucket)
	key := recordKey(minute, instance)
	known, err := decodeMoved(b.Get(key))
	if err != nil {
		return err
	}
	var out []byte
	for k := range m {
		out = binary.AppendVarint(out, known[k]+m[k])
	}
	return b.Put(key, out)
}

func decodeMoved(data []byte) (m Moved, err error) {
	if data == nil {
		return m, nil
	}
	for k := range m {
		v, n := binary.Varint(data)
		if n <= 0 {
			return m, errRecord
		}
		m[k], data = v, data[n:]
	}
	return m, nil
}

func (c Counter) encode() []byte {
	out := binary.AppendVarint(binary.AppendVarint(nil, c.First), c.Last)
	for _, counts := range []series.Counts{c.Total, c.Delta} {
		for _, n := range counts {
			out = binary.AppendUvarint(out, n)
		}
	}
	return out
}

func decodeCounter(id string, data []byte) (Counter, error) {
	c := Counter{Instance: id}
	if data == nil {
		return c, nil
	}
	damaged := fmt.Errorf("counters of instance %q: %w", id, errRecord)
	for _, at := range []*int64{&c.First, &c.Last} {
		v, n := binary.Varint(data)
		if n <= 0 {
			return c, damaged
		}
		*at, data = v, data[n:]
	}
	for _, counts := range []*series.Counts{&c.Total, &c.Delta} {
		for k := range counts {
			v, n := binary.Uvarint(data)
			if n <= 0 {
				return c, damaged
			}
			counts[k], data = v, data[n:]
		}
	}
	return c, nil
}

// Refrozen returns the minute that was frozen last, as it was then.
func (f *File) Refrozen(idle int64) (b FrozenMinute, err error) {
	err = f.db.View(func(tx *bolt.Tx) error {
		s, known, err := shipping(tx)
		if err != nil || !known {
			return err
		}
		b.Shipping = s
		err = tx.Bucket(sentBucket).ForEach(func(k, v []byte) error {
			c, err := decodeCounter(string(k), v)
			if err == nil && c.Last == s.Frozen {
				b.Changed = append(b.Changed, c)
			}
			return err
		})
		return errors.Join(err, b.rest(tx, idle))
	})
	b.sort()
	return b, err
}

// Counters calls yield for the counters of all instances, as they are after the
// minute that was frozen last.
func (f *File) Counters(yield func(Counter)) error {
	return f.db.View(func(tx *bolt.Tx) error {
		b := tx.Bucket(sentBucket)
		if b == nil {
			return nil
		}
		return b.ForEach(func(k, v []byte) error {
			c, err := decodeCounter(string(k), v)
			if err == nil {
				yield(c)
			}
			return err
		})
	})
}

// SentBefore notes that what the counters were before the frozen minute has
// been taken, or refused for good.
func (f *File) SentBefore() error {
	return f.reship(func(s *Shipping) { s.Before = true })
}

// Dropped notes that the frozen minute was refused for good.
func (f *File) Dropped() error {
	return f.reship(func(s *Shipping) { s.drop(Minutes{s.Frozen, s.Frozen}) })
}

func (f *File) reship(change func(*Shipping)) error {
	return f.db.Update(func(tx *bolt.Tx) error {
		s, known, err := shipping(tx)
		if err != nil || !known {
			return err
		}
		change(&s)
		return putShipping(tx, s)
	})
}

// drop adds a stretch to those that were dropped. Where they are too many, the
// two that are nearest become one: what lies between is then thought to be
// dropped as well.
func (s *Shipping) drop(m Minutes) {
	if n := len(s.Dropped); n > 0 && s.Dropped[n-1].Last >= m.First-1 {
		s.Dropped[n-1].Last = max(s.Dropped[n-1].Last, m.Last)
		return
	}
	s.Dropped = append(s.Dropped, m)
	if len(s.Dropped) <= mostDropped {
		return
	}
	near := 1
	for i := 2; i < len(s.Dropped); i++ {
		if s.Dropped[i].First-s.Dropped[i-1].Last < s.Dropped[near].First-s.Dropped[near-1].Last {
			near = i
		}
	}
	s.Dropped[near-1].Last = s.Dropped[near].Last
	s.Dropped = slices.Delete(s.Dropped, near, near+1)
}

// Corrections calls yield for what minutes of a stretch have more, or less,
// than counters say: of one instance, or where it is empty of all.
func (f *File) Corrections(instance string, in Minutes, yield func(instance string, minute int64, m Moved)) error {
	return f.db.View(func(tx *bolt.Tx) error {
		moved, late := tx.Bucket(movedBucket), tx.Bucket(lateBucket)
		if moved == nil {
			return nil
		}
		each := func(b *bolt.Bucket, read func([]byte) (Moved, error)) error {
			c := b.Cursor()
			for k, v := c.Seek(recordKey(in.First, "")); k != nil; k, v = c.Next() {
				at, id := int64(binary.BigEndian.Uint64(k)), string(k[8:])
				if at > in.Last {
					break
				}
				if instance != "" && id != instance {
					continue
				}
				m, err := read(v)
				if err != nil {
					return fmt.Errorf("late usage of instance %q: %w", id, err)
				}
				yield(id, at, m)
			}
			return nil
		}
		return errors.Join(each(moved, decodeMoved), each(late, func(v []byte) (m Moved, err error) {
			err = decode(v, func(e entry) bool {
				for k, n := range e.counts {
					m[k] += int64(n)
				}
				return true
			})
			return m, err
		}))
	})
}

// Oldest is the first minute whose figures by the minute are still kept.
func (f *File) Oldest() int64 {
	return f.cfg.Now().Add(-tiers[0].Keep).Unix()/60 + 60
}

// sweepShipping forgets corrections, and counters of instances that are gone,
// which are long ago.
func sweepShipping(tx *bolt.Tx, limit, now time.Time) error {
	moved, sent := tx.Bucket(movedBucket), tx.Bucket(sentBucket)
	if moved == nil {
		return nil
	}
	drop(moved, recordKey(limit.Unix()/60, ""), 1000)
	served := tx.Bucket(servedBucket)
	c := sent.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		counter, err := decodeCounter(string(k), v)
		if err != nil {
			return err
		}
		s, err := decodeServed(served.Get(k))
		if err != nil {
			return err
		}
		old := now.Add(-countersKept)
		if counter.Last < old.Unix()/60 && !s.Ended.IsZero() && s.Ended.Before(old) {
			if err := c.Delete(); err != nil {
				return err
			}
		}
	}
	return nil
}
