package control

import (
	"crypto/md5" //nolint:gosec // the form of the vendors' fingerprints, not a protection
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"io"
	"math/big"
	"strings"

	"openimds/internal/instance"
	"openimds/internal/state"
)

// readyKey seals the secret that is given. Without one, a key keeps the secret
// it has, and a new key gets one, which it returns.
func readyKey(b *batch, next, old *state.AccessKey, given Resource) (string, error) {
	secret := given.Secret
	var wrong problems
	wrong.match(anyID, "id", next.ID, "an access key id, such as AKIA or LTAI and letters and digits")
	wrong.dialect(next.Dialect)
	wrong.account(next.Dialect, next.Account)
	wrong.match(anyName, "user", next.User, "a user name: letters, digits and _ + = , . @ - only")
	wrong.policies(b, next.Dialect, next.Policies)
	if secret != "" && (len(secret) < 8 || len(secret) > 256 || strings.ContainsFunc(secret, func(r rune) bool { return r <= ' ' || r > '~' })) {
		wrong.addf("secret: expected 8 to 256 printable ASCII characters without spaces")
	}
	if err := wrong.err(); err != nil {
		return "", err
	}
	next.Created, next.Sealed = b.now(), nil
	if old != nil {
		next.Created = old.Created
		if plain, err := b.cfg.Secrets.Open(old.Sealed, keyContext(old.ID)); secret == "" || err == nil && string(plain) == secret {
			next.Sealed = old.Sealed
			return "", nil
		}
	}
	made := ""
	if secret == "" {
		random := make([]byte, 30)
		if _, err := io.ReadFull(b.cfg.Random, random); err != nil {
			return "", err
		}
		made = base64.RawURLEncoding.EncodeToString(random)
		secret = made
	}
	next.Sealed = b.cfg.Secrets.Seal([]byte(secret), keyContext(next.ID))
	return made, nil
}

func readyKeyPair(b *batch, next, old *state.KeyPair, _ Resource) (string, error) {
	var wrong problems
	wrong.dialect(next.Dialect)
	wrong.account(next.Dialect, next.Account)
	wrong.region(next.Region)
	wrong.text("name", next.Name, 255)
	if next.Name == "" || strings.Contains(next.Name, "/") {
		wrong.addf("name: found %.80q, expected a name without /", next.Name)
	}
	wrong.tags(next.Dialect, next.Tags)
	var ok bool
	if next.Fingerprint, ok = fingerprint(next.Dialect, next.PublicKey); !ok {
		// The text is not shown: a private key may have been pasted.
		wrong.addf("publicKey: found something else, expected a public key in one line, such as: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5… name")
	}
	next.Created = b.now()
	if old != nil {
		next.ID, next.Created = old.ID, old.Created
		if next.PublicKey == old.PublicKey {
			next.Fingerprint = old.Fingerprint
		}
	} else if next.Dialect == instance.DialectECS {
		next.ID = "skp-bp1" + b.hex(17)
	} else {
		next.ID = "key-" + b.hex(17)
	}
	return "", wrong.err()
}

// fingerprint returns that of a line of authorized_keys, as the dialect's API
// shows it.
func fingerprint(dialect, line string) (string, bool) {
	fields := strings.Fields(line)
	if len(fields) < 2 || strings.ContainsAny(line, "\r\n") {
		return "", false
	}
	blob, err := base64.StdEncoding.DecodeString(fields[1])
	kind, rest, ok := sshString(blob)
	if err != nil || !ok || string(kind) != fields[0] {
		return "", false
	}
	switch {
	case dialect == instance.DialectECS:
		return md5Print(blob), true
	case fields[0] != "ssh-rsa":
		sum := sha256.Sum256(blob)
		return base64.StdEncoding.EncodeToString(sum[:]), true
	}
	e, rest, okE := sshString(rest)
	n, _, okN := sshString(rest)
	if !okE || !okN || len(e) == 0 || len(e) > 4 || len(n) < 128 || len(n) > 1025 {
		return "", false
	}
	der, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())})
	return md5Print(der), err == nil
}

func md5Print(data []byte) string {
	sum := md5.Sum(data) //nolint:gosec // as above
	pairs := make([]string, len(sum))
	for i, b := range sum {
		pairs[i] = hex.EncodeToString([]byte{b})
	}
	return strings.Join(pairs, ":")
}

// sshString takes a string of the SSH protocol from the front (RFC 4251).
func sshString(b []byte) (s, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if b = b[4:]; uint64(n) > uint64(len(b)) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}
