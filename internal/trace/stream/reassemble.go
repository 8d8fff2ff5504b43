package stream

// How far ahead of what is missing segments are kept.
const (
	maxAhead      = 16 << 10
	maxAheadCount = 8
)

// order puts the bytes of one direction of a connection into the order of
// their TCP sequence numbers: repeated bytes are dropped, early ones wait.
type order struct {
	started bool
	next    uint32 // the sequence number that comes next
	early   []segment
	held    int // bytes in early
}

type segment struct {
	seq  uint32
	data []byte
}

// end is the sequence number after the segment.
func (s segment) end() uint32 { return s.seq + uint32(len(s.data)) }

// before compares sequence numbers, which wrap around.
func before(a, b uint32) bool { return int32(a-b) < 0 }

// add takes a segment and hands what is in order now to take, and the length
// of what will never come to gap.
func (o *order) add(seq uint32, data []byte, take func(seq uint32, data []byte), gap func(n uint32)) {
	if len(data) == 0 {
		return
	}
	if !o.started {
		o.started, o.next = true, seq
	}
	s := segment{seq, data}
	if before(o.next, s.seq) {
		o.hold(s)
		if o.held > maxAhead || len(o.early) > maxAheadCount {
			o.skip(gap)
			o.drain(take)
		}
		return
	}
	o.pass(s, take)
	o.drain(take)
}

// hold keeps an early segment, in order.
func (o *order) hold(s segment) {
	at := len(o.early)
	for at > 0 && before(s.seq, o.early[at-1].seq) {
		at--
	}
	o.early = append(o.early, segment{})
	copy(o.early[at+1:], o.early[at:])
	o.early[at] = s
	o.held += len(s.data)
}

// pass hands on what is new in a segment that begins at next or before.
func (o *order) pass(s segment, take func(uint32, []byte)) {
	known := o.next - s.seq
	if known >= uint32(len(s.data)) {
		return
	}
	o.next = s.end()
	take(s.seq+known, s.data[known:])
}

func (o *order) drain(take func(uint32, []byte)) {
	for len(o.early) > 0 && !before(o.next, o.early[0].seq) {
		s := o.early[0]
		o.early = o.early[1:]
		o.held -= len(s.data)
		o.pass(s, take)
	}
	if len(o.early) == 0 {
		o.early = nil
	}
}

// skip gives up what is missing before the first early segment.
func (o *order) skip(gap func(uint32)) {
	if len(o.early) == 0 {
		return
	}
	n := o.early[0].seq - o.next
	o.next = o.early[0].seq
	gap(n)
}
