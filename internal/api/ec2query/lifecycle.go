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

// move moves all the instances, or none.
func (c *call) move(m control.Move, meanwhile string) (response, error) {
	if err := checkInstanceIDs(m.IDs...); err != nil {
		return nil, err
	}
	all, err := c.cfg.Control.Move(c.ctx, c.caller, m)
	return transitions(all, err, meanwhile)
}

func startInstances(c *call, p *instancesIn) (response, error) {
	return c.move(control.Move{IDs: p.InstanceIDs, To: control.ToStart}, "pending")
}

type stopIn struct {
	instancesIn
	Hibernate bool     `q:"Hibernate"`
	Force     bool     `q:"Force"` // there is no system that could hang
	SkipOS    anything `q:"SkipOsShutdown"`
}

func stopInstances(c *call, p *stopIn) (response, error) {
	if p.Hibernate && p.Force {
		return nil, invalid("InvalidParameterCombination", "The parameters Hibernate and Force may not be used together")
	}
	return c.move(control.Move{IDs: p.InstanceIDs, To: control.ToStop, Hibernate: p.Hibernate}, "stopping")
}

func terminateInstances(c *call, p *instancesIn) (response, error) {
	return c.move(control.Move{IDs: p.InstanceIDs, To: control.ToTerminate}, "shutting-down")
}

func rebootInstances(c *call, p *instancesIn) (response, error) {
	if _, err := c.move(control.Move{IDs: p.InstanceIDs, To: control.ToReboot}, ""); err != nil {
		return nil, err
	}
	return &done{Return: true}, nil
}
