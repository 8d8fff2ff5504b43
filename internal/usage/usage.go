// Package usage counts requests: per instance, to tell who still uses normal
// mode, and in total, by dialect, item, access mode and outcome. Counting takes
// no lock and never labels anything with what a caller sent.
package usage

import (
	"sync/atomic"
	"time"

	"openimds/internal/dialect"
)

// Counters are the counters of one instance. The zero value is ready.
type Counters struct {
	tokenFree [2]cell // served, absent
	tokened   [2]cell
	rejected  cell
	badToken  cell
	minted    cell
	throttled cell
	refused   cell // every other refusal
	suspects  cell
	last      atomic.Int64
	lastFree  atomic.Int64
}

type cell struct{ atomic.Uint64 }

// Count adds one request at now, in Unix seconds.
func (c *Counters) Count(access dialect.Access, outcome dialect.Outcome, now int64) {
	c.last.Store(now)
	switch outcome {
	case dialect.Served, dialect.Absent:
		i := outcome - dialect.Served
		if access == dialect.Tokened {
			c.tokened[i].Add(1)
			return
		}
		c.tokenFree[i].Add(1)
		c.lastFree.Store(now)
	case dialect.NoToken:
		c.rejected.Add(1)
		c.lastFree.Store(now)
	case dialect.BadToken:
		c.badToken.Add(1)
	case dialect.Minted:
		c.minted.Add(1)
	case dialect.Throttled:
		c.throttled.Add(1)
	default:
		c.refused.Add(1)
	}
}

// Suspect adds a token that was given out and did not arrive.
func (c *Counters) Suspect() { c.suspects.Add(1) }

// Report is the usage of one instance since the process began to serve it.
type Report struct {
	// Instance is the instance's identifier.
	Instance string `json:"instance"`
	// Dialect is ecs or ec2.
	Dialect string `json:"dialect"`
	// TokenFreeServed counts requests without a token that got a value or a listing.
	TokenFreeServed uint64 `json:"tokenFreeServed"`
	// TokenFreeAbsent counts requests without a token for items the instance does not have (404): normal mode was used.
	TokenFreeAbsent uint64 `json:"tokenFreeAbsent"`
	// TokenFreeRejected counts requests without a token that were refused because tokens are required.
	TokenFreeRejected uint64 `json:"tokenFreeRejected"`
	// TokenedServed counts requests with a valid token that got a value or a listing.
	TokenedServed uint64 `json:"tokenedServed"`
	// TokenedAbsent counts requests with a valid token for items the instance does not have (404).
	TokenedAbsent uint64 `json:"tokenedAbsent"`
	// BadToken counts requests whose token was not valid.
	BadToken uint64 `json:"badToken"`
	// TokensMinted counts session tokens given out.
	TokensMinted uint64 `json:"tokensMinted"`
	// Throttled counts requests over the instance's rate.
	Throttled uint64 `json:"throttled"`
	// Refused counts all other refusals: malformed, forwarded, wrong Host, endpoint disabled and the like.
	Refused uint64 `json:"refused"`
	// HopLimitSuspects counts session tokens given out whose packets nobody acknowledged: so it looks when a container, or a machine behind the instance, is further away than the hop limit.
	HopLimitSuspects uint64 `json:"hopLimitSuspects"`
	// LastRequest is when the instance last sent anything; absent if it never did.
	LastRequest time.Time `json:"lastRequest,omitzero"`
	// LastTokenFree is when it last sent a request without a token, served or rejected; absent if it never did.
	LastTokenFree time.Time `json:"lastTokenFree,omitzero"`
}

// Report reads the counters. Each figure is exact; taken together they may be
// from instants a few requests apart.
func (c *Counters) Report(instance, dialect string) Report {
	return Report{
		Instance: instance, Dialect: dialect,
		TokenFreeServed: c.tokenFree[0].Load(), TokenFreeAbsent: c.tokenFree[1].Load(), TokenFreeRejected: c.rejected.Load(),
		TokenedServed: c.tokened[0].Load(), TokenedAbsent: c.tokened[1].Load(),
		BadToken: c.badToken.Load(), TokensMinted: c.minted.Load(), Throttled: c.throttled.Load(), Refused: c.refused.Load(),
		HopLimitSuspects: c.suspects.Load(),
		LastRequest:      unix(c.last.Load()), LastTokenFree: unix(c.lastFree.Load()),
	}
}

func unix(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}
