package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
)

// sealer seals secrets for as long as the process lives: the state of `imds
// dev` is in memory.
type sealer struct{ cipher.AEAD }

func newSealer() (sealer, error) {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return sealer{}, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return sealer{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return sealer{aead}, err
}

// Seal implements control.Sealer.
func (s sealer) Seal(plain []byte, context string) ([]byte, error) {
	return s.AEAD.Seal(nil, nil, plain, []byte(context)), nil
}

// Open implements control.Sealer.
func (s sealer) Open(sealed []byte, context string) ([]byte, error) {
	plain, err := s.AEAD.Open(nil, nil, sealed, []byte(context))
	if err != nil {
		return nil, errors.New("it is damaged, or sealed for another record")
	}
	return plain, nil
}
