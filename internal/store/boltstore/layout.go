package boltstore

import (
	"encoding/binary"

	bolt "go.etcd.io/bbolt"

	"openimds/internal/fault"
)

// The file has three buckets: what is known about it, the entries by key, and
// the history by revision.
var (
	bucketMeta    = []byte("openimds")
	bucketEntries = []byte("entries")
	bucketHistory = []byte("history")
)

// In the first bucket there are numbers of eight bytes, the most significant
// first.
var (
	keyFormat       = []byte("format")
	keyRevision     = []byte("revision")
	keyCompacted    = []byte("compacted")    // history up to here is forgotten
	keyHistoryBytes = []byte("historyBytes") // of the values in the bucket
)

// format is the version of this layout. A program reads its own format only;
// a later one brings older files up to date when it opens them.
const format = 1

// initialize makes the layout in an empty file.
func initialize(tx *bolt.Tx) error {
	for _, name := range [][]byte{bucketMeta, bucketEntries, bucketHistory} {
		if _, err := tx.CreateBucket(name); err != nil {
			return err
		}
	}
	for _, key := range [][]byte{keyRevision, keyCompacted, keyHistoryBytes} {
		if err := setNumber(tx, key, 0); err != nil {
			return err
		}
	}
	return setNumber(tx, keyFormat, format)
}

// checkFormat refuses what this program cannot read.
func checkFormat(tx *bolt.Tx, path string) error {
	meta := tx.Bucket(bucketMeta)
	if meta == nil || len(meta.Get(keyFormat)) != 8 {
		return fault.New(fault.Unsupported, "%s is no state file of this program: name another file", path)
	}
	if found := number(tx, keyFormat); found != format {
		return fault.New(fault.Unsupported, "state file %s has format %d and this program knows format %d: use the program that wrote it, or a newer one", path, found, format)
	}
	for _, name := range [][]byte{bucketEntries, bucketHistory} {
		if tx.Bucket(name) == nil {
			return fault.New(fault.Internal, "state file %s is damaged, it has no %s: restore a backup", path, name)
		}
	}
	return nil
}

// number reads a number of the first bucket, 0 if it is not there.
func number(tx *bolt.Tx, key []byte) uint64 {
	if v := tx.Bucket(bucketMeta).Get(key); len(v) == 8 {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}

func setNumber(tx *bolt.Tx, key []byte, n uint64) error {
	return tx.Bucket(bucketMeta).Put(key, revisionKey(n))
}

// revisionKey is the key of a revision in the history.
func revisionKey(revision uint64) []byte { return binary.BigEndian.AppendUint64(nil, revision) }
