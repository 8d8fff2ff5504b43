package history

import (
	"encoding/binary"
	"math/bits"
)

// seen tells which reports of one run of a node have been taken: all up to and
// including upTo, and of the next ones those whose bit is set.
type seen struct {
	at     int64 // when the newest was taken, Unix time
	upTo   uint64
	window [16]uint64 // bit i: report upTo+1+i
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

func (s *seen) encode() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(s.at))
	b = binary.BigEndian.AppendUint64(b, s.upTo)
	for _, w := range s.window {
		b = binary.BigEndian.AppendUint64(b, w)
	}
	return b
}

func decodeSeen(data []byte) (seen, error) {
	var s seen
	if len(data) == 0 {
		return s, nil
	}
	if len(data) != 16+len(s.window)*8 {
		return s, errRecord
	}
	s.at = int64(binary.BigEndian.Uint64(data))
	s.upTo = binary.BigEndian.Uint64(data[8:])
	for i := range s.window {
		s.window[i] = binary.BigEndian.Uint64(data[16+8*i:])
	}
	return s, nil
}
