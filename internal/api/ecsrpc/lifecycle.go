package ecsrpc

import (
	"context"
	"net/http"

	"openimds/internal/control"
)

// mover is Control.Start and its kin.
type mover func(context.Context, control.Caller, []string) ([]control.Transition, error)

// moveOne changes the state of one instance. That it has the new state already
// is an error here.
func (r *request) moveOne(ctx context.Context, move mover, id string) (any, error) {
	done, err := move(ctx, r.caller, []string{id})
	if err == nil && done[0].Before == done[0].After {
		err = &control.Error{Reason: control.IncorrectState, Subject: id, Detail: done[0].Before}
	}
	return nil, err
}

func startInstance(ctx context.Context, r *request, in oneInstance) (any, error) {
	return r.moveOne(ctx, r.Control.Start, in.ID)
}

func stopInstance(ctx context.Context, r *request, in oneInstance) (any, error) {
	return r.moveOne(ctx, r.Control.Stop, in.ID)
}

// rebootInstance leaves a running instance running.
func rebootInstance(ctx context.Context, r *request, in oneInstance) (any, error) {
	_, err := r.Control.Reboot(ctx, r.caller, []string{in.ID})
	return nil, err
}

type someInstances struct {
	IDs          []string `p:"InstanceId,required"`
	Optimization string   `p:"BatchOptimization"`
}

const maxBatch = 100

func checkBatch(ids []string) error {
	seen := map[string]bool{}
	for _, id := range ids {
		if seen[id] {
			return invalid("InstanceId")
		}
		seen[id] = true
	}
	if len(ids) > maxBatch {
		return invalid("InstanceId")
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

// moveSome changes the states of several instances: all or none of them, or
// with SuccessFirst those that can be changed.
func (r *request) moveSome(ctx context.Context, move mover, in someInstances) (any, error) {
	if err := checkBatch(in.IDs); err != nil {
		return nil, err
	}
	var reply struct {
		Responses []moved `p:"InstanceResponses>InstanceResponse"`
	}
	var batches [][]string
	switch in.Optimization {
	case "", "AllTogether":
		batches = [][]string{in.IDs}
	case "SuccessFirst":
		for _, id := range in.IDs {
			batches = append(batches, []string{id})
		}
	default:
		return nil, refuse(http.StatusBadRequest, "InvalidBatchOptimization.NotSupported", "The specified BatchOptimization is not supported.")
	}
	for _, ids := range batches {
		done, err := move(ctx, r.caller, ids)
		if err != nil {
			if len(ids) > 1 || in.Optimization != "SuccessFirst" || !ofItem(err) {
				return nil, err
			}
			e, _ := toWire(err)
			reply.Responses = append(reply.Responses, moved{ID: ids[0], Code: e.code, Message: e.message})
			continue
		}
		for _, t := range done {
			reply.Responses = append(reply.Responses, moved{t.ID, "200", "success", statuses[t.Before], statuses[t.After]})
		}
	}
	return reply, nil
}

// ofItem reports whether an error is about one of several instances and does
// not end the whole call.
func ofItem(err error) bool {
	return isReason(err, control.InstanceNotFound, control.IncorrectState, control.RoleAttached, control.DeletionProtected)
}

func startInstances(ctx context.Context, r *request, in someInstances) (any, error) {
	return r.moveSome(ctx, r.Control.Start, in)
}

func stopInstances(ctx context.Context, r *request, in someInstances) (any, error) {
	return r.moveSome(ctx, r.Control.Stop, in)
}

func rebootInstances(ctx context.Context, r *request, in someInstances) (any, error) {
	return r.moveSome(ctx, r.Control.Reboot, in)
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
