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
	// ForwardersRefused counts connections to a listener for forwarders that could not prove for whom they were.
	ForwardersRefused uint64
	// HopLimitSuspects counts session tokens that were given out and did not arrive.
	HopLimitSuspects uint64
	// Spoofed counts those of them that came over an interface of the host that a listener is bound to.
	Spoofed uint64
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
		RefusedShare: n.overShare.Load(), Strangers: n.strangers.count.Load(), Spoofed: n.spoofed.Load(), HopLimitSuspects: n.suspects.Load(), ForwardersRefused: n.badForwards.Load(),
	}
}
