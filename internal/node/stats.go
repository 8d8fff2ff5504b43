package node

// Stats are figures of the node as a whole.
type Stats struct {
	// Instances is how many instances are served.
	Instances int
	// Open is how many connections are open.
	Open int
	// Accepted counts connections.
	Accepted uint64
	// RefusedTotal counts connections closed because too many were open in total.
	RefusedTotal uint64
	// RefusedShare counts connections closed because their instance held its share.
	RefusedShare uint64
	// Strangers counts requests of callers that no instance owns.
	Strangers uint64
}

// Stats reads the figures.
func (n *Node) Stats() Stats {
	w := n.server.Stats()
	n.mu.Lock()
	instances := len(n.guests)
	n.mu.Unlock()
	return Stats{
		Instances: instances,
		Open:      int(w.Open), Accepted: w.Accepted, RefusedTotal: w.Refused,
		RefusedShare: n.overShare.Load(), Strangers: n.strangers.count.Load(),
	}
}
