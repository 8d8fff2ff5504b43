package imdstest

import (
	"strings"
	"time"

	"openimds/internal/node"
)

// Fault is what goes wrong with an instance's requests.
type Fault struct {
	// Path limits the fault to paths that start with it, such as /latest/api/token; empty: every path.
	Path string
	// Times is how many requests are hit; 0: all until Heal.
	Times int
	// Delay holds the answer back. Alone, the answer is otherwise as always.
	Delay time.Duration
	// Status, such as 500 or 503, is answered instead of the real answer.
	Status int
	// Throttle answers as the dialect does to a caller that is too fast: 503 (EC2) or 429 (ECS), with Retry-After.
	Throttle bool
	// Reset resets the connection instead of answering.
	Reset bool
}

// Inject makes requests of the instance fail. It replaces an earlier fault.
func (in *Instance) Inject(f Fault) {
	in.inject(&node.Fault{
		PathPrefix: strings.Trim(f.Path, "/"), Times: f.Times, Delay: f.Delay,
		Status: f.Status, Throttle: f.Throttle, Reset: f.Reset,
	})
}

// Heal ends the fault.
func (in *Instance) Heal() { in.inject(nil) }

func (in *Instance) inject(f *node.Fault) {
	if err := in.server.node.Inject(in.id, f); err != nil {
		panic("imdstest: " + err.Error()) // the instance is always there
	}
}

// ExpireCredentials makes the role's credentials ones that expired a minute
// ago.
func (in *Instance) ExpireCredentials() error {
	return in.Update(expired(in.now().Add(-time.Minute)))
}
