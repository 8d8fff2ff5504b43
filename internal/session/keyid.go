package session

import (
	"encoding/base32"
	"strings"
)

// Prefixes of the access key ids of sessions (EC2-STS-01, ECS-STS-01).
const (
	prefixEC2 = "ASIA"
	prefixECS = "STS.N"
)

var letters = base32.StdEncoding.WithPadding(base32.NoPadding)

// newKeyID returns an access key id in the form of a dialect.
func newKeyID(dialect string, random [15]byte) string {
	if dialect == "ecs" {
		return prefixECS + letters.EncodeToString(random[:])
	}
	return prefixEC2 + letters.EncodeToString(random[:10])
}

// IsKeyID reports whether an access key id of a dialect is that of a session.
func IsKeyID(dialect, accessKeyID string) bool {
	if dialect == "ecs" {
		return strings.HasPrefix(accessKeyID, "STS.")
	}
	return strings.HasPrefix(accessKeyID, prefixEC2)
}
