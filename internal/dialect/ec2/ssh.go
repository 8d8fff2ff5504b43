package ec2

import (
	"slices"
	"strconv"
	"strings"

	"openimds/internal/instance"
	"openimds/internal/item"
)

// keyNumbers are the numbers of the key pairs, from 0.
func keyNumbers(dst []string, q *item.Query) []string {
	for i := range q.Instance.KeyPairs {
		dst = append(dst, strconv.Itoa(i)) // makes no string below 100
	}
	return dst
}

// keyLabel is how a key pair is listed: 0=name, without a slash (EC2-LIST-05).
func keyLabel(dst []byte, q *item.Query, key string) []byte {
	dst = append(append(dst, key...), '=')
	for i := range q.Instance.KeyPairs {
		if strconv.Itoa(i) == key {
			return append(dst, q.Instance.KeyPairs[i].Name...)
		}
	}
	return dst
}

// opensshKey is a public key as a line of authorized_keys, line end included
// (EC2-ITEM-067).
func opensshKey(dst []byte, q *item.Query) ([]byte, bool) {
	return line(dst, q.Instance.KeyPairs[q.Index(0)].PublicKey), true
}

// line appends text with one line end after it.
func line(dst []byte, text string) []byte {
	return append(append(dst, strings.TrimRight(text, "\r\n")...), '\n')
}

// keyUsers are the users who may log in with a pushed key now.
func keyUsers(dst []string, q *item.Query) []string {
	from := len(dst)
	for i := range q.Instance.ManagedSSH.Keys {
		k := &q.Instance.ManagedSSH.Keys[i]
		if valid(k, q.Now) && !slices.Contains(dst[from:], k.User) {
			dst = append(dst, k.User)
		}
	}
	return dst
}

// activeKeys are the keys that were pushed for the user the path names, with a
// blank line between them. Its reader drops a last line that has no end
// (EC2-ITEM-030).
func activeKeys(dst []byte, q *item.Query) ([]byte, bool) {
	user := q.Key(0)
	n := 0
	for i := range q.Instance.ManagedSSH.Keys {
		if k := &q.Instance.ManagedSSH.Keys[i]; k.User == user && valid(k, q.Now) {
			dst = line(between(dst, n, "\n"), k.Text)
			n++
		}
	}
	return dst, n > 0
}

// valid reports whether a pushed key is still served at now.
func valid(k *instance.ManagedKey, now int64) bool {
	return k.Expires.IsZero() || now < k.Expires.Unix()
}

// signerCertificate is the chain that vouches for the pushed keys.
func signerCertificate(dst []byte, q *item.Query) ([]byte, bool) {
	chain := strings.TrimRight(q.Instance.ManagedSSH.SignerCertificate, "\r\n")
	return append(dst, chain...), chain != ""
}
