package token

import (
	"errors"
	"fmt"
)

// Lease is what a node of a fleet holds of an instance instead of the masters:
// the keys of three epochs in a row, the first of which is epoch First. With it
// tokens of this instance can be made and verified, and of no other.
type Lease struct {
	First int64        `json:"first"`
	Keys  [held][]byte `json:"keys"` // 32 bytes each
}

// Lease derives the keys of an instance.
func (s *Secrets) Lease(instance string) (Lease, error) {
	l := Lease{First: s.First}
	for i := range l.Keys {
		key, err := s.key(i, instance)
		if err != nil {
			return Lease{}, fmt.Errorf("derive token key: %w", err)
		}
		l.Keys[i] = key
	}
	return l, nil
}

// Check refuses a lease that is damaged.
func (l *Lease) Check() error {
	for i, k := range l.Keys {
		if len(k) != len(Master{}) {
			return fmt.Errorf("token key %d has %d bytes, want %d", i, len(k), len(Master{}))
		}
	}
	return nil
}

// String keeps the keys out of logs.
func (l Lease) String() string { return fmt.Sprintf("token keys from epoch %d", l.First) }

// GoString keeps the keys out of %#v.
func (l Lease) GoString() string { return l.String() }

// NewLeasedKeys returns the keys of an instance whose masters are elsewhere.
// Until the first Set, no token can be made, and none is good.
func NewLeasedKeys(id string) *Keys { return &Keys{id: id} }

// Set puts a lease in force. It must not be changed afterwards, and only leased
// keys have one.
func (k *Keys) Set(l Lease) { k.lease.Store(&l) }

// origin is where the keys of an instance come from: masters or a lease.
type origin struct {
	first   int64
	secrets *Secrets
	lease   *Lease
}

var errNoLease = errors.New("this node has no keys for the instance's session tokens")

func (k *Keys) origin() (origin, error) {
	if k.ring != nil {
		s := k.ring.secrets.Load()
		return origin{first: s.First, secrets: s}, nil
	}
	l := k.lease.Load()
	if l == nil {
		return origin{}, errNoLease
	}
	return origin{first: l.First, lease: l}, nil
}

// key returns the i-th key of an instance.
func (o *origin) key(i int, instance string) ([]byte, error) {
	if o.lease != nil {
		return o.lease.Keys[i], nil
	}
	return o.secrets.key(i, instance)
}
