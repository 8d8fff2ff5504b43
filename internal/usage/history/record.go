// Package history keeps what instances did with their metadata service, minute
// by minute, for more than a year: in one file, at three resolutions, sparse,
// and exact. Whatever arrives twice is kept once.
package history

import (
	"encoding/binary"
	"errors"
	"math/bits"

	"openimds/internal/usage/series"
)

// A record is the points of one instance in one span: for each step that has
// any counts, in order, the step's number in the span, a byte with a bit for
// each kind that was counted, and their numbers, all of them varints.

// errRecord is a record that is not one.
var errRecord = errors.New("a record is damaged")

// The mask of kinds is one byte.
const _ = uint(8 - series.Kinds)

// entry is one step of a record.
type entry struct {
	slot   uint64
	counts series.Counts
}

// decode reads a record.
func decode(data []byte, yield func(entry) bool) error {
	next := func() (uint64, bool) {
		v, n := binary.Uvarint(data)
		if n <= 0 {
			return 0, false
		}
		data = data[n:]
		return v, true
	}
	for len(data) > 0 {
		var e entry
		var ok bool
		if e.slot, ok = next(); !ok || len(data) == 0 {
			return errRecord
		}
		mask := data[0]
		data = data[1:]
		if mask>>series.Kinds != 0 {
			return errRecord
		}
		for ; mask != 0; mask &= mask - 1 {
			if e.counts[bits.TrailingZeros8(mask)], ok = next(); !ok {
				return errRecord
			}
		}
		if !yield(e) {
			return nil
		}
	}
	return nil
}

// encode appends an entry to a record.
func encode(dst []byte, e entry) []byte {
	dst = binary.AppendUvarint(dst, e.slot)
	at := len(dst)
	dst = append(dst, 0)
	for k, n := range e.counts {
		if n != 0 {
			dst[at] |= 1 << k
			dst = binary.AppendUvarint(dst, n)
		}
	}
	return dst
}

// add returns a record with counts added to one of its steps.
func add(data []byte, slot uint64, counts series.Counts) ([]byte, error) {
	out := make([]byte, 0, len(data)+16)
	placed := false
	err := decode(data, func(e entry) bool {
		switch {
		case e.slot == slot:
			e.counts.Add(counts)
			placed = true
		case e.slot > slot && !placed:
			out = encode(out, entry{slot, counts})
			placed = true
		}
		out = encode(out, e)
		return true
	})
	if !placed {
		out = encode(out, entry{slot, counts})
	}
	return out, err
}
