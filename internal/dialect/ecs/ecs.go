// Package ecs is the dialect of Alibaba Cloud ECS: its addresses, its table of
// metadata items, the exact form of its values and of its answers. The facts
// that it implements stand, with their sources, in docs/spec/ecs.md; what was
// chosen where the vendor is silent, in docs/divergences.md.
package ecs

import (
	"net/http"
	"net/netip"

	"openimds/internal/dialect"
	"openimds/internal/item"
)

// Version is the only dated version of the service (ECS-VER-01); `latest` is
// an alias of it.
const Version = "2016-01-01"

// New returns the dialect. The table is part of the program: a mistake in it
// panics.
func New() *dialect.Dialect {
	return &dialect.Dialect{
		Name: "ecs",
		Addresses: []netip.Addr{
			netip.AddrFrom4([4]byte{100, 100, 100, 200}), // ECS-ADDR-01
			netip.MustParseAddr("fd00:100::100:200"),     // ECS-ADDR-02
		},
		Tree: item.Must(item.Spec{Versions: []string{Version}, Rows: rows(), Dirs: dirs()}),
		Session: dialect.Session{
			TokenHeader: "x-aliyun-ecs-metadata-token",
			TTLHeader:   "x-aliyun-ecs-metadata-token-ttl-seconds",
			Prefix:      [4]byte{1, 0, 4, 0}, // ECS-TOK-14
		},
		Refusals: dialect.Refusals{
			MissingToken:     http.StatusForbidden,       // ECS-TOK-06
			InexactTokenPath: http.StatusNotFound,        // ECS-TOK-17
			Throttled:        http.StatusTooManyRequests, // ECS-THR-02
			ForwardedRead:    0,                          // ECS-TOK-09
			Expect100:        0,                          // ECS-FMT-16
			TokenPathAllow:   http.MethodPut,             // ECS-TOK-05
		},
		CloseByDefault:  false, // ECS-FMT-14
		DefaultHopLimit: 0,     // ECS-HOP-01
		Append:          newWriter().append,
	}
}
