package node

import (
	"openimds/internal/usage"
)

// Activity is what an instance has done so far, and who asked since the last
// harvest.
type Activity struct {
	usage.Report
	Callers []usage.Caller
	// Departed: the node no longer serves the instance, and its counters end here.
	Departed bool
}

// Harvest returns the activity of all instances, those first that departed
// since the last harvest. Counters go on; callers are drained. One of several
// harvesters would miss what the others took.
func (n *Node) Harvest() []Activity {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := n.departed
	n.departed = nil
	for i := range all {
		all[i].Departed = true
	}
	for id, g := range n.guests {
		all = append(all, n.activity(id, g))
	}
	return all
}

// mostDeparted bounds what is kept for a harvester that does not come.
const mostDeparted = 10_000

// depart keeps the activity of an instance that is no longer served. The lock
// is held.
func (n *Node) depart(a Activity) {
	if len(n.departed) < mostDeparted {
		n.departed = append(n.departed, a)
	}
}

// activity reads what an instance did. The lock is held.
func (n *Node) activity(id string, g *guest) Activity {
	in := g.snap.Load().in
	a := Activity{Report: g.usage.Report(id, in.Dialect)}
	if svc, err := n.service(in.Dialect); err == nil {
		a.Callers = g.callers.Drain(svc.Dialect)
	}
	return a
}
