package ec2query

import (
	"openimds/internal/control"
)

type instancesIn struct {
	InstanceIDs []string `q:"InstanceId,required"`
}

type transitionsOut struct {
	head
	Instances []transitionXML `xml:"instancesSet>item"`
}

type transitionXML struct {
	InstanceID string   `xml:"instanceId"`
	Current    stateXML `xml:"currentState"`
	Previous   stateXML `xml:"previousState"`
}

// transitions shows what was begun. It is over by then: whoever describes the
// instance next sees the state that follows (EC2-API-06).
func transitions(all []control.Transition, err error, meanwhile string) (response, error) {
	if err != nil {
		return nil, err
	}
	out := &transitionsOut{}
	for _, t := range all {
		current := t.After
		if t.Before != t.After {
			current = meanwhile
		}
		out.Instances = append(out.Instances, transitionXML{t.ID, stateView(current), stateView(t.Before)})
	}
	return out, nil
}

func startInstances(c *call, p *instancesIn) (response, error) {
	if err := checkInstanceIDs(p.InstanceIDs...); err != nil {
		return nil, err
	}
	all, err := c.cfg.Control.Start(c.ctx, c.caller, p.InstanceIDs)
	return transitions(all, err, "pending")
}

func stopInstances(c *call, p *instancesIn) (response, error) {
	if err := checkInstanceIDs(p.InstanceIDs...); err != nil {
		return nil, err
	}
	all, err := c.cfg.Control.Stop(c.ctx, c.caller, p.InstanceIDs)
	return transitions(all, err, "stopping")
}

func terminateInstances(c *call, p *instancesIn) (response, error) {
	if err := checkInstanceIDs(p.InstanceIDs...); err != nil {
		return nil, err
	}
	all, err := c.cfg.Control.Terminate(c.ctx, c.caller, p.InstanceIDs, true)
	return transitions(all, err, "shutting-down")
}

func rebootInstances(c *call, p *instancesIn) (response, error) {
	if err := checkInstanceIDs(p.InstanceIDs...); err != nil {
		return nil, err
	}
	if _, err := c.cfg.Control.Reboot(c.ctx, c.caller, p.InstanceIDs); err != nil {
		return nil, err
	}
	return &done{Return: true}, nil
}
