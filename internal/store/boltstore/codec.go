package boltstore

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"openimds/internal/store"
)

// An entry's value in the file: a checksum of all that follows and of the key
// (4 bytes), the revisions Created and Modified (8 bytes each), the value. A
// batch's: a checksum of all that follows and of the revision, the number of
// events, and for each event its kind, key, and unless it is a deletion Created
// and value; numbers and lengths as uvarints. Checksums are CRC-32C: they find
// what a disk or a copy has damaged, which bbolt does not look for.
const entryHead = 4 + 8 + 8

const (
	kindPut     = 0
	kindDeleted = 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var (
	errChecksum = errors.New("the checksum does not match")
	errShort    = errors.New("it ends too early")
	errLong     = errors.New("it goes on after its end")
	errForm     = errors.New("it is malformed")
)

func checksum[K string | []byte](key K, rest []byte) uint32 {
	return crc32.Update(crc32.Checksum([]byte(key), castagnoli), castagnoli, rest)
}

func encodeEntry(e store.Entry) []byte {
	b := make([]byte, entryHead, entryHead+len(e.Value))
	binary.BigEndian.PutUint64(b[4:], e.Created)
	binary.BigEndian.PutUint64(b[12:], e.Modified)
	b = append(b, e.Value...)
	binary.BigEndian.PutUint32(b, checksum(e.Key, b[4:]))
	return b
}

// decodeEntry returns an entry that shares no memory with b.
func decodeEntry(key string, b []byte) (store.Entry, error) {
	if len(b) < entryHead {
		return store.Entry{}, errShort
	}
	if binary.BigEndian.Uint32(b) != checksum(key, b[4:]) {
		return store.Entry{}, errChecksum
	}
	return store.Entry{
		Key:      key,
		Value:    append([]byte{}, b[entryHead:]...),
		Created:  binary.BigEndian.Uint64(b[4:]),
		Modified: binary.BigEndian.Uint64(b[12:]),
	}, nil
}

func encodeBatch(batch store.Batch) []byte {
	size := 4 + binary.MaxVarintLen64
	for _, e := range batch.Events {
		size += 1 + 3*binary.MaxVarintLen64 + len(e.Key) + len(e.Value)
	}
	b := make([]byte, 4, size)
	b = binary.AppendUvarint(b, uint64(len(batch.Events)))
	for _, e := range batch.Events {
		kind := byte(kindPut)
		if e.Deleted {
			kind = kindDeleted
		}
		b = append(b, kind)
		b = binary.AppendUvarint(b, uint64(len(e.Key)))
		b = append(b, e.Key...)
		if !e.Deleted {
			b = binary.AppendUvarint(b, e.Created)
			b = binary.AppendUvarint(b, uint64(len(e.Value)))
			b = append(b, e.Value...)
		}
	}
	binary.BigEndian.PutUint32(b, checksum(revisionKey(batch.Revision), b[4:]))
	return b
}

// decodeBatch returns a batch that shares no memory with b.
func decodeBatch(revision uint64, b []byte) (store.Batch, error) {
	if len(b) < 4 {
		return store.Batch{}, errShort
	}
	if binary.BigEndian.Uint32(b) != checksum(revisionKey(revision), b[4:]) {
		return store.Batch{}, errChecksum
	}
	r := reader{rest: b[4:]}
	batch := store.Batch{Revision: revision}
	for n := r.uvarint(); n > 0 && r.err == nil; n-- {
		kind := r.take(1)
		e := store.Event{Entry: store.Entry{Key: string(r.take(r.uvarint())), Modified: revision}}
		switch {
		case r.err != nil:
		case kind[0] == kindDeleted:
			e.Deleted = true
		case kind[0] == kindPut:
			e.Created = r.uvarint()
			e.Value = append([]byte{}, r.take(r.uvarint())...)
		default:
			r.err = errForm
		}
		batch.Events = append(batch.Events, e)
	}
	switch {
	case r.err != nil:
		return store.Batch{}, r.err
	case len(r.rest) > 0:
		return store.Batch{}, errLong
	}
	return batch, nil
}

// reader takes pieces from the front of rest. After an error it gives nothing
// more.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) uvarint() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 || r.err != nil {
		r.fail()
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.rest)) || r.err != nil {
		r.fail()
		return nil
	}
	piece := r.rest[:n]
	r.rest = r.rest[n:]
	return piece
}

func (r *reader) fail() {
	if r.err == nil {
		r.err = errShort
	}
	r.rest = nil
}
