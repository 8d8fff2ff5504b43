package trace

import (
	"bytes"
	"net/http"
	"net/netip"
	"strings"

	"openimds/internal/trace/finding"
	"openimds/internal/trace/stream"
)

// Addresses of the metadata services that are watched unless others are named.
var (
	ecs4 = netip.MustParseAddr("100.100.100.200")
	ecs6 = netip.MustParseAddr("fd00:100::100:200")
	ec24 = netip.MustParseAddr("169.254.169.254")
	ec26 = netip.MustParseAddr("fd00:ec2::254")
)

// DefaultTargets are the addresses of both clouds.
func DefaultTargets() []netip.Addr { return []netip.Addr{ec24, ecs4, ec26, ecs6} }

func cloudOf(a netip.Addr) string {
	switch a.Unmap() {
	case ecs4, ecs6:
		return "ecs"
	case ec24, ec26:
		return "ec2"
	}
	return ""
}

// classify tells how a request reaches for the service. Whether a token is
// valid, the machine cannot know; the answer's status tells.
func classify(q *stream.Request) (finding.Mode, finding.Level) {
	switch {
	case q.Unreadable:
		return finding.Unreadable, finding.Error
	case q.Method == http.MethodPut && isTokenPath(q.Path):
		return finding.TokenRequest, finding.Info
	case q.TokenHeader != "":
		return finding.Tokened, finding.Info
	default:
		return finding.TokenFree, finding.Warning
	}
}

// isTokenPath: /latest/api/token, or with another version before.
func isTokenPath(path string) bool {
	version, ok := strings.CutSuffix(strings.TrimPrefix(path, "/"), "/api/token")
	return ok && version != "" && !strings.Contains(version, "/")
}

// statusOf reads a status line; 0: it is none.
func statusOf(b []byte) int {
	rest, ok := bytes.CutPrefix(b, []byte("HTTP/1."))
	if !ok || len(rest) < 5 || rest[1] != ' ' {
		return 0
	}
	n := 0
	for _, d := range rest[2:5] {
		if d < '0' || d > '9' {
			return 0
		}
		n = n*10 + int(d-'0')
	}
	return n
}
