package admin

import (
	"openimds/internal/fault"
	"openimds/internal/feed/hub"
)

// AllNodes is the answer to a question for the nodes of the fleet.
type AllNodes struct {
	// Nodes that follow, or that instances are assigned to, by name.
	Nodes []hub.Node `json:"nodes"`
}

func (c *call) nodes() (AllNodes, error) {
	if c.Nodes == nil {
		return AllNodes{}, fault.New(fault.Unsupported, "there is no fleet here: imds serve has one with feed in its settings")
	}
	return AllNodes{c.Nodes()}, nil
}
