package history

import (
	"encoding/binary"
	"math/bits"

	"openimds/internal/usage/series"
)

// seen tells which reports of one run of a node have been taken: all up to and
// including upTo, and of the next ones those whose bit is set.
type seen struct {
	at int64 // when the newest was taken, Unix time
	// from and to are what its reports cover, Unix time in milliseconds; 0: they do not say.
	// They are those of the reports with the least and the greatest numbers: the clock may have gone back between.
	from, to      int64
	first, newest uint64 // these numbers
	final         bool   // the run ended in order
	upTo          uint64
	window        [16]uint64 // bit i: report upTo+1+i
}

// windowBits is how far a report may be ahead of one that has not come.
const windowBits = 16 * 64

// take notes a report. It is false for one that was taken before, or that is so
// far ahead that it would have to be forgotten which ones were.
func (s *seen) take(sequence uint64) bool {
	if sequence <= s.upTo || sequence > s.upTo+windowBits {
		return false
	}
	at := sequence - s.upTo - 1
	if s.window[at/64]&(1<<(at%64)) != 0 {
		return false
	}
	s.window[at/64] |= 1 << (at % 64)
	for s.window[0]&1 != 0 {
		n := bits.TrailingZeros64(^s.window[0])
		s.upTo += uint64(n)
		s.shift(n)
	}
	return true
}

// shift drops the lowest n bits of the window, at most 64.
func (s *seen) shift(n int) {
	for i := range s.window {
		s.window[i] >>= n
		if i+1 < len(s.window) {
			s.window[i] |= s.window[i+1] << (64 - n)
		}
	}
}

// behind reports whether a report is of those that were taken.
func (s *seen) behind(sequence uint64) bool {
	if sequence <= s.upTo {
		return true
	}
	at := sequence - s.upTo - 1
	return at < windowBits && s.window[at/64]&(1<<(at%64)) != 0
}

// skip notes that the reports just before one will never come.
func (s *seen) skip(sequence, skipped uint64) {
	if skipped = min(skipped, sequence-1); sequence-1 > s.upTo+windowBits {
		// Those that are further back than can be remembered are over, too.
		s.upTo, s.window = sequence-1, [16]uint64{}
		return
	}
	for n := sequence - skipped; n < sequence; n++ {
		s.take(n)
	}
}

// cover notes of when a report is.
func (s *seen) cover(r series.Report) {
	if r.From.IsZero() || r.To.IsZero() {
		return
	}
	if s.first == 0 || r.Sequence < s.first {
		s.from, s.first = r.From.UnixMilli(), r.Sequence
	}
	if r.Sequence > s.newest {
		s.to, s.newest = r.To.UnixMilli(), r.Sequence
	}
	s.final = s.final || r.Final
}

func (s *seen) encode() []byte {
	var final uint64
	if s.final {
		final = 1
	}
	var b []byte
	for _, v := range append([]uint64{uint64(s.at), uint64(s.from), uint64(s.to), s.first, s.newest, final, s.upTo}, s.window[:]...) {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return b
}

func decodeSeen(data []byte) (seen, error) {
	var s seen
	if len(data) == 0 {
		return s, nil
	}
	if len(data) != 7*8+len(s.window)*8 {
		return s, errRecord
	}
	next := func() uint64 {
		v := binary.BigEndian.Uint64(data)
		data = data[8:]
		return v
	}
	s.at, s.from, s.to = int64(next()), int64(next()), int64(next())
	s.first, s.newest, s.final, s.upTo = next(), next(), next() != 0, next()
	for i := range s.window {
		s.window[i] = next()
	}
	return s, nil
}
