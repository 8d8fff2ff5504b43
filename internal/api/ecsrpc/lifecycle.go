package ecsrpc

import (
	"context"
	"net/http"

	"openimds/internal/control"
)

// moveOne changes the state of one instance. That it has the new state already
// is an error here.
func (r *request) moveOne(ctx context.Context, to control.Verb, id string) (any, error) {
	done, err := r.Control.Move(ctx, r.caller, control.Move{IDs: []string{id}, To: to})
	if err == nil && to != control.ToReboot && done[0].Before == done[0].After {
		err = &control.Error{Reason: control.IncorrectState, Subject: id, Detail: done[0].Before}
	}
	return nil, err
}

func startInstance(ctx context.Context, r *request, in oneInstance) (any, error) {
	return r.moveOne(ctx, control.ToStart, in.ID)
}

// stopping is what can be said of a stop. It changes nothing that is shown but
// hibernation, which the instance must be made for.
type stopping struct {
	Force     bool   `p:"ForceStop"`
	Confirm   bool   `p:"ConfirmStop"`
	Hibernate bool   `p:"Hibernate"`
	Mode      string `p:"StoppedMode"`
}

func (s stopping) check() error {
	switch s.Mode {
	case "", "KeepCharging", "StopCharging", "Not-applicable":
		return nil
	}
	return invalid("StoppedMode")
}

func stopInstance(ctx context.Context, r *request, in struct {
	oneInstance
	stopping
}) (any, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	done, err := r.Control.Move(ctx, r.caller, control.Move{IDs: []string{in.ID}, To: control.ToStop, Hibernate: in.Hibernate, StoppedMode: in.Mode})
	if err == nil && done[0].Before == done[0].After {
		err = &control.Error{Reason: control.IncorrectState, Subject: in.ID, Detail: done[0].Before}
	}
	return nil, err
}

func rebootInstance(ctx context.Context, r *request, in struct {
	oneInstance
	Force bool `p:"ForceStop"`
}) (any, error) {
	return r.moveOne(ctx, control.ToReboot, in.ID)
}

type someInstances struct {
	IDs          []string `p:"InstanceId,required"`
	Optimization string   `p:"BatchOptimization"`
}

const maxBatch = 100

func checkBatch(ids []string) error {
	if len(ids) > maxBatch {
		return invalid("InstanceId")
	}
	return checkOnce(ids, "InstanceId")
}

// checkOnce refuses an instance that is named twice.
func checkOnce(ids []string, parameter string) error {
	seen := map[string]bool{}
	for _, id := range ids {
		if seen[id] {
			return invalid(parameter)
		}
		seen[id] = true
	}
	return nil
}

type moved struct {
	ID       string `p:"InstanceId"`
	Code     string `p:"Code"`
	Message  string `p:"Message"`
	Previous string `p:"PreviousStatus"`
	Current  string `p:"CurrentStatus"`
}

// moveSome changes the states of several instances, in one commit: all or none
// of them, or with SuccessFirst those that can be changed.
func (r *request) moveSome(ctx context.Context, m control.Move, in someInstances) (any, error) {
	if err := checkBatch(in.IDs); err != nil {
		return nil, err
	}
	m.IDs = in.IDs
	switch in.Optimization {
	case "", "AllTogether":
	case "SuccessFirst":
		m.Lenient = true
	default:
		return nil, refuse(http.StatusBadRequest, "InvalidBatchOptimization.NotSupported", "The specified BatchOptimization is not supported.")
	}
	done, err := r.Control.Move(ctx, r.caller, m)
	if err != nil {
		return nil, err
	}
	var reply struct {
		Responses []moved `p:"InstanceResponses>InstanceResponse"`
	}
	for _, t := range done {
		one := moved{t.ID, "200", "success", statuses[t.Before], statuses[t.After]}
		if t.Err != nil {
			e, _ := toWire(t.Err)
			one.Code, one.Message = e.code, e.message
		}
		if t.Before == "" {
			one.Previous, one.Current = "", "" // there is no such instance
		}
		reply.Responses = append(reply.Responses, one)
	}
	return reply, nil
}

func startInstances(ctx context.Context, r *request, in someInstances) (any, error) {
	return r.moveSome(ctx, control.Move{To: control.ToStart}, in)
}

func stopInstances(ctx context.Context, r *request, in struct {
	someInstances
	stopping
}) (any, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	return r.moveSome(ctx, control.Move{To: control.ToStop, Hibernate: in.Hibernate, StoppedMode: in.Mode}, in.someInstances)
}

func rebootInstances(ctx context.Context, r *request, in struct {
	someInstances
	Force bool `p:"ForceReboot"`
}) (any, error) {
	return r.moveSome(ctx, control.Move{To: control.ToReboot}, in.someInstances)
}

func deleteInstance(ctx context.Context, r *request, in struct {
	oneInstance
	Force bool `p:"Force"`
}) (any, error) {
	_, err := r.Control.Terminate(ctx, r.caller, []string{in.ID}, in.Force)
	return nil, err
}

func deleteInstances(ctx context.Context, r *request, in struct {
	IDs   []string `p:"InstanceId,required"`
	Force bool     `p:"Force"`
}) (any, error) {
	if err := checkBatch(in.IDs); err != nil {
		return nil, err
	}
	_, err := r.Control.Terminate(ctx, r.caller, in.IDs, in.Force)
	return nil, err
}
