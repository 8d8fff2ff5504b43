package creds

import (
	"errors"
	"sync"
	"time"

	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/throttle"
)

// roleKey is which role.
type roleKey struct{ dialect, account, name string }

func keyOf(in *instance.Instance) roleKey { return roleKey{in.Dialect, in.Account, in.Role.Name} }

// role is what the instances of a role have in common.
type role struct {
	limiter throttle.Limiter // of calls to its source
	turn    chan struct{}    // to look at the limiter

	mu      sync.Mutex    // guards what follows
	problem string        // that was logged, until a call is answered again
	ending  map[*set]bool // sets that end soon and have no successor
}

// mostRoles bounds the memory of roles: those that instances of files name
// may be any number, one after the other.
const mostRoles = 100_000

func (b *Broker) role(k roleKey) *role {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.roles[k]
	if r == nil {
		if len(b.roles) >= mostRoles {
			clear(b.roles)
		}
		r = &role{turn: make(chan struct{}, 1)}
		b.roles[k] = r
	}
	return r
}

// report counts what came of a call, and logs it where it is news: a problem
// once for its role and cause, however many instances have it, and its end.
func (b *Broker) report(id string, choice Choice, in *instance.Instance, err error, held *set) {
	k := keyOf(in)
	r := b.role(k)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		b.count.made.Add(1)
		if r.problem != "" {
			r.problem = ""
			b.log.Info("role credentials can be had again", "role", k, "source", choice.Name)
		}
		return
	}
	kind := fault.KindOf(err)
	refused := kind == fault.Denied || kind == fault.NotFound
	if refused {
		b.count.refused.Add(1)
	} else {
		b.count.failed.Add(1)
	}
	problem := kind.String()
	if f, ok := errors.AsType[*fault.Error](err); ok && !refused {
		problem += " " + f.Msg // without its cause, which may name a request
	}
	if problem == r.problem {
		return
	}
	r.problem = problem
	attrs := []any{"role", k, "source", choice.Name, "instance", id, "kind", kind.String(), "err", err}
	if held != nil && held.role == k && held.until > b.cfg.Now().Unix() {
		b.log.Warn("role credentials could not be refreshed: the set that is held is served",
			append(attrs, "until", held.Expires.UTC(), "left", held.Expires.Sub(b.cfg.Now()).Round(time.Second))...)
		return
	}
	b.log.Error("role credentials cannot be had: the instance is told so", attrs...)
}
