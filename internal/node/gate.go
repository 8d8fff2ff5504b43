package node

import (
	"context"
	"sync"
)

// gate lets in what is done about interfaces and namespaces that come and go,
// unless it is shut. The zero value is open.
type gate struct {
	mu     sync.Mutex    // guards shut, and that nobody comes in while it is set
	shut   chan struct{} // closed when it opens again; nil: it is open
	inside sync.WaitGroup
}

// enter waits until the gate is open. It is false if ctx is done before that;
// else leave is owed.
func (g *gate) enter(ctx context.Context) bool {
	for {
		g.mu.Lock()
		shut := g.shut
		if shut == nil {
			g.inside.Add(1)
			g.mu.Unlock()
			return true
		}
		g.mu.Unlock()
		select {
		case <-ctx.Done():
			return false
		case <-shut:
		}
	}
}

func (g *gate) leave() { g.inside.Done() }

// Hold makes every Follow wait with what it does about interfaces and
// namespaces that come and go, and returns when nothing of it is under way: so
// long, which listeners are open, and which addresses are attached, is what
// another process can take over. A Follow that is ended meanwhile still closes
// its own.
func (n *Node) Hold() {
	n.gate.mu.Lock()
	if n.gate.shut == nil {
		n.gate.shut = make(chan struct{})
	}
	n.gate.mu.Unlock()
	n.gate.inside.Wait()
}

// Resume takes back Hold. What came and went since is made up for.
func (n *Node) Resume() {
	n.gate.mu.Lock()
	defer n.gate.mu.Unlock()
	if n.gate.shut != nil {
		close(n.gate.shut)
		n.gate.shut = nil
	}
}
