package token

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"io"
	"sync/atomic"
	"time"
)

// Length is the length of a token's text (EC2-TOK-02).
const Length = 56

// Layout of the 40 bytes that the text encodes: a prefix that names the
// dialect, a nonce, and the sealed expiry with its tag.
const (
	prefixLen = 4
	nonceLen  = 12
	sealedLen = 8 + 16
	rawLen    = prefixLen + nonceLen + sealedLen
)

// Keys are the keys of one instance. They are made ready when they are first
// needed, so that an instance that never asks for a token costs nothing. Keys
// is safe for concurrent use.
type Keys struct {
	ring  *Ring // nil: leased
	lease atomic.Pointer[Lease]
	id    string
	slots [held]atomic.Pointer[epochKey]
}

type epochKey struct {
	epoch int64
	lease *Lease // that it is of; nil: of masters
	aead  cipher.AEAD
}

// NewKeys returns the keys of the instance with the given identifier.
func NewKeys(ring *Ring, id string) *Keys { return &Keys{ring: ring, id: id} }

// Scratch is memory that Mint and Verify need besides their results. One
// Scratch serves one goroutine at a time.
type Scratch struct {
	// raw has room for what 56 characters without padding would decode to.
	raw   [Length / 4 * 3]byte
	plain [8]byte
	bound []byte
}

// Mint appends a token that is valid for ttl from now to dst. The generation
// is the instance's: raising it ends every older token. An error means that
// random could not be read.
func (k *Keys) Mint(dst []byte, s *Scratch, prefix [4]byte, generation uint64, now time.Time, ttl time.Duration, random io.Reader) ([]byte, error) {
	from, err := k.origin()
	if err != nil {
		return dst, err
	}
	aead, err := k.aead(from, current(from.first, now))
	if err != nil {
		return dst, err
	}
	raw := s.raw[:rawLen]
	copy(raw, prefix[:])
	nonce := raw[prefixLen : prefixLen+nonceLen]
	if _, err := io.ReadFull(random, nonce); err != nil {
		return dst, err
	}
	binary.BigEndian.PutUint64(s.plain[:], uint64(now.Add(ttl).UnixMilli()))
	aead.Seal(raw[:prefixLen+nonceLen], nonce, s.plain[:], k.bind(s, prefix, generation))
	return base64.URLEncoding.AppendEncode(dst, raw), nil
}

// Verify reports whether text is a token of this instance and generation that
// has not expired, and how long it still lives. Whatever is wrong with a token,
// the answer is the same.
func (k *Keys) Verify(s *Scratch, prefix [4]byte, generation uint64, now time.Time, text []byte) (time.Duration, bool) {
	if len(text) != Length {
		return 0, false
	}
	n, err := strict.Decode(s.raw[:], text)
	raw := s.raw[:n]
	if err != nil || n != rawLen || [4]byte(raw) != prefix {
		return 0, false
	}
	nonce, sealed := raw[prefixLen:prefixLen+nonceLen], raw[prefixLen+nonceLen:]
	bound := k.bind(s, prefix, generation)
	from, err := k.origin()
	if err != nil {
		return 0, false
	}
	first := current(from.first, now)
	for i := range held {
		// The current epoch, then the previous one, then the next.
		aead, err := k.aead(from, (first+held-i)%held)
		if err != nil {
			return 0, false
		}
		if plain, err := aead.Open(s.plain[:0], nonce, sealed, bound); err == nil {
			left := int64(binary.BigEndian.Uint64(plain)) - now.UnixMilli()
			return time.Duration(left) * time.Millisecond, left > 0
		}
	}
	return 0, false
}

// strict refuses what a lenient decoder would take for the same token: a
// second spelling of its last bits.
var strict = base64.URLEncoding.Strict()

// current returns which of the held epochs now falls into, or the nearest one
// when a clock jump has left them all behind and the ring's owner has not yet
// caught up.
func current(first int64, now time.Time) int {
	return int(max(0, min(held-1, Epoch(now)-first)))
}

// bind returns the associated data: what a token is bound to.
func (k *Keys) bind(s *Scratch, prefix [4]byte, generation uint64) []byte {
	s.bound = append(s.bound[:0], prefix[:]...)
	s.bound = binary.BigEndian.AppendUint64(s.bound, generation)
	s.bound = append(s.bound, k.id...)
	return s.bound
}

// aead returns the cipher of the i-th held epoch.
func (k *Keys) aead(from origin, i int) (cipher.AEAD, error) {
	epoch := from.first + int64(i)
	slot := &k.slots[epoch%held]
	if e := slot.Load(); e != nil && e.epoch == epoch && e.lease == from.lease {
		return e.aead, nil
	}
	key, err := from.key(i, k.id)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	slot.Store(&epochKey{epoch, from.lease, aead})
	return aead, nil
}
