// Package seal keeps secrets that are stored from who can read the store: each
// is encrypted and authenticated with AES-256-GCM under a key that is kept
// elsewhere, in a file or a systemd credential. A sealed secret is bound to its
// place, so that nobody can move it to another record, and names its key, so
// that keys can be replaced one after the other.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
)

// KeySize is the size of a key in bytes.
const KeySize = 32

// A sealed secret is: the version of this form (1 byte), the id of its key (8),
// a random nonce (12), the encrypted secret, a tag (16). Version, id and
// context are authenticated with it. The nonces are safe for some 4 thousand
// million secrets under one key, which is far more than a control plane makes.
const (
	version   = 1
	idSize    = 8
	headSize  = 1 + idSize
	nonceSize = 12
	tagSize   = 16
)

// Overhead is how many bytes longer a sealed secret is than the secret.
const Overhead = headSize + nonceSize + tagSize

// Errors of Open.
var (
	// ErrKey: the secret was sealed under a key that the ring does not have.
	ErrKey = errors.New("sealed under another key")
	// ErrDamaged: it was changed, or moved from another place, or never was a
	// sealed secret.
	ErrDamaged = errors.New("the sealed secret is damaged, or belongs elsewhere")
)

// Key seals and opens. It does not show itself: printed, logged or encoded it
// is its id, which is no secret.
type Key struct {
	id   [idSize]byte
	aead cipher.AEAD
}

// NewKey returns the key with the given bytes, KeySize of them.
func NewKey(raw []byte) (Key, error) {
	if len(raw) != KeySize {
		return Key{}, fmt.Errorf("a key has %d bytes, want %d", len(raw), KeySize)
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return Key{}, fmt.Errorf("make a key: %w", err)
	}
	k := Key{}
	if k.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return Key{}, fmt.Errorf("make a key: %w", err)
	}
	sum := sha256.Sum256(append([]byte("openimds seal key id\x00"), raw...))
	copy(k.id[:], sum[:])
	return k, nil
}

// ID returns what tells keys apart: 16 hexadecimal digits.
func (k Key) ID() string { return fmt.Sprintf("%x", k.id[:]) }

// String returns what the key is, and not the key.
func (k Key) String() string { return "seal key " + k.ID() }

// Format writes String for every verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(k.String())) }

// GoString keeps the key out of %#v.
func (k Key) GoString() string { return k.String() }

// LogValue keeps the key out of logs.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText keeps the key out of encodings.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Ring holds the keys in use. It is safe for concurrent use.
type Ring struct{ keys []Key }

// NewRing returns a ring that seals under the newest key, and opens under all.
func NewRing(newest Key, older ...Key) *Ring {
	return &Ring{append([]Key{newest}, older...)}
}

// Newest returns the key that the ring seals under.
func (r *Ring) Newest() Key { return r.keys[0] }

// String names the keys.
func (r *Ring) String() string { return fmt.Sprint(r.keys) }

// Format writes String for every verb.
func (r *Ring) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(r.String())) }

// LogValue keeps the keys out of logs.
func (r *Ring) LogValue() slog.Value { return slog.StringValue(r.String()) }

// Seal returns a secret sealed for a place: the context, such as the key of
// the record and the name of the field.
func (r *Ring) Seal(secret []byte, context string) []byte {
	k := r.keys[0]
	sealed := make([]byte, headSize, len(secret)+Overhead)
	sealed[0] = version
	copy(sealed[1:], k.id[:])
	return k.aead.Seal(sealed, nil, secret, bind(sealed, context))
}

// Open returns the secret that was sealed for a place. The error is ErrKey or
// ErrDamaged.
func (r *Ring) Open(sealed []byte, context string) ([]byte, error) {
	if len(sealed) < Overhead || sealed[0] != version {
		return nil, ErrDamaged
	}
	head := sealed[:headSize]
	for _, k := range r.keys {
		if [idSize]byte(head[1:]) != k.id {
			continue
		}
		secret, err := k.aead.Open(make([]byte, 0, len(sealed)), nil, sealed[headSize:], bind(head, context))
		if err != nil {
			return nil, ErrDamaged
		}
		return secret, nil
	}
	return nil, fmt.Errorf("%w: it needs seal key %x, and there is %v: give that key too", ErrKey, head[1:], r)
}

// Stale reports whether a sealed secret should be sealed anew, because its key
// is not the newest.
func (r *Ring) Stale(sealed []byte) bool {
	return len(sealed) < headSize || sealed[0] != version || [idSize]byte(sealed[1:headSize]) != r.keys[0].id
}

// KeyOf returns the id of the key that a secret is sealed under; it is not ok
// for what is no sealed secret.
func KeyOf(sealed []byte) (id string, ok bool) {
	if len(sealed) < Overhead || sealed[0] != version {
		return "", false
	}
	return fmt.Sprintf("%x", sealed[1:headSize]), true
}

// bind returns what is authenticated beside the secret.
func bind(head []byte, context string) []byte {
	return append(append(make([]byte, 0, headSize+len(context)), head...), context...)
}
