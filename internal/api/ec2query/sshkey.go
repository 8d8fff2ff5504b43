package ec2query

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"strings"
)

// Names of the kinds of keys that EC2 takes.
const (
	rsaName     = "ssh-rsa"
	ed25519Name = "ssh-ed25519"
)

// publicKey is a key in the form of OpenSSH.
type publicKey struct {
	kind string
	blob []byte
	rsa  *rsa.PublicKey // nil: it is not an RSA key
}

// line returns the key as it stands in authorized_keys.
func (k *publicKey) line() string { return k.kind + " " + base64.StdEncoding.EncodeToString(k.blob) }

func badKey() *failure {
	return invalid("InvalidKey.Format", "Key is not in valid OpenSSH public key format")
}

// parsePublicKey reads a line of authorized_keys without options.
func parsePublicKey(text string) (*publicKey, error) {
	parts := strings.Fields(text)
	if len(parts) < 2 {
		return nil, badKey()
	}
	blob, err := base64.StdEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, badKey()
	}
	kind, rest, ok := cutString(blob)
	if !ok || string(kind) != parts[0] {
		return nil, badKey()
	}
	k := &publicKey{kind: parts[0], blob: blob}
	switch k.kind {
	case ed25519Name:
		point, rest, ok := cutString(rest)
		if !ok || len(point) != ed25519.PublicKeySize || len(rest) > 0 {
			return nil, badKey()
		}
		return k, nil
	case rsaName:
		e, rest, okE := cutString(rest)
		n, rest, okN := cutString(rest)
		if !okE || !okN || len(rest) > 0 || len(e) == 0 || len(e) > 4 || len(n) < 128 || len(n) > 1025 {
			return nil, badKey()
		}
		k.rsa = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
		return k, nil
	}
	return nil, badKey()
}

// cutString takes a string of the SSH protocol from the front (RFC 4251).
func cutString(b []byte) (s, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if b = b[4:]; uint64(n) > uint64(len(b)) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

// wireString appends strings of the SSH protocol.
func wireString(dst []byte, all ...[]byte) []byte {
	for _, s := range all {
		dst = append(binary.BigEndian.AppendUint32(dst, uint32(len(s))), s...)
	}
	return dst
}

// wireInt is a number of the SSH protocol: no sign, so a zero byte goes before
// a high bit.
func wireInt(n *big.Int) []byte {
	b := n.Bytes()
	if len(b) > 0 && b[0]&0x80 != 0 {
		return append([]byte{0}, b...)
	}
	return b
}

func rsaKey(k *rsa.PublicKey) *publicKey {
	return &publicKey{rsaName, wireString(nil, []byte(rsaName), wireInt(big.NewInt(int64(k.E))), wireInt(k.N)), k}
}

// newEd25519 makes a key and returns its private half in OpenSSH's form, not
// encrypted (PROTOCOL.key).
func newEd25519(random io.Reader) (*publicKey, string, error) {
	var entropy [ed25519.SeedSize + 4]byte
	if _, err := io.ReadFull(random, entropy[:]); err != nil {
		return nil, "", fmt.Errorf("make key pair: %w", err)
	}
	private := ed25519.NewKeyFromSeed(entropy[:ed25519.SeedSize])
	public := private.Public().(ed25519.PublicKey)
	key := &publicKey{kind: ed25519Name, blob: wireString(nil, []byte(ed25519Name), public)}

	check := entropy[ed25519.SeedSize:]
	inner := append(bytes.Clone(check), check...)
	inner = wireString(inner, []byte(ed25519Name), public, private, nil)
	for i := byte(1); len(inner)%8 != 0; i++ {
		inner = append(inner, i)
	}
	outer := wireString([]byte("openssh-key-v1\x00"), []byte("none"), []byte("none"), nil)
	outer = binary.BigEndian.AppendUint32(outer, 1)
	outer = wireString(outer, key.blob, inner)
	return key, string(pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: outer})), nil
}

// colons writes a fingerprint of bytes.
func colons(sum []byte) string {
	parts := make([]string, len(sum))
	for i, b := range sum {
		parts[i] = hex.EncodeToString([]byte{b})
	}
	return strings.Join(parts, ":")
}

// sha256Print is the fingerprint of ED25519 keys.
func sha256Print(blob []byte) string {
	sum := sha256.Sum256(blob)
	return base64.StdEncoding.EncodeToString(sum[:])
}
