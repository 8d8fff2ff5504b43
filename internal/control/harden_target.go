package control

// Meant returns the identifiers of the instances that a target means, sorted.
// Those of a filter are alive.
func (c *Control) Meant(caller Caller, t Target) ([]string, error) {
	ids, err := c.find(t, alive)
	if err != nil {
		return nil, err
	}
	return ids, c.permit(caller, about(ids))
}
