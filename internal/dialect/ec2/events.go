package ec2

import (
	"openimds/internal/instance"
	"openimds/internal/item"
)

// scheduled lists the maintenance that is still to come, as JSON
// (EC2-ITEM-012).
func scheduled(dst []byte, q *item.Query) ([]byte, bool) {
	return maintenance(dst, q.Instance.Events.Maintenance, false), true
}

// history lists the maintenance that is over, as JSON (EC2-ITEM-011).
func history(dst []byte, q *item.Query) ([]byte, bool) {
	return maintenance(dst, q.Instance.Events.Maintenance, true), true
}

// maintenance appends the events that are over, or those that are not. An
// empty list is there too: clients take a 404 for an error.
func maintenance(dst []byte, all []instance.Maintenance, over bool) []byte {
	dst = append(dst, '[')
	n := 0
	for i := range all {
		if prefix, isOver := outcome(all[i].State); isOver == over {
			dst = append(between(dst, n, ","), '\n')
			dst = event(dst, &all[i], prefix)
			n++
		}
	}
	if n > 0 {
		dst = append(dst, '\n')
	}
	return append(dst, ']')
}

// outcome tells whether an event of that state is over, and what its
// description then begins with.
func outcome(state string) (prefix string, over bool) {
	switch state {
	case instance.EventCompleted:
		return "[Completed] ", true
	case instance.EventCanceled:
		return "[Canceled] ", true
	}
	return "", false
}

func event(dst []byte, e *instance.Maintenance, prefix string) []byte {
	dst = append(dst, outer...)
	dst = append(dst, '{')
	dst = moment(dst, inner, "NotBefore", eventTime, e.NotBefore)
	dst = text(dst, inner, "Code", e.Code)
	dst = append(append(field(dst, inner, "Description"), '"'), prefix...)
	dst = append(item.AppendEscaped(dst, e.Description), '"')
	dst = text(dst, inner, "EventId", e.ID)
	if !e.NotAfter.IsZero() {
		dst = moment(dst, inner, "NotAfter", eventTime, e.NotAfter)
	}
	state := e.State
	if state == "" {
		state = instance.EventActive
	}
	dst = text(dst, inner, "State", state)
	return append(append(append(dst, '\n'), outer...), '}')
}

// rebalance is when a rebalance was recommended; absent until it is
// (EC2-ITEM-013).
func rebalance(dst []byte, q *item.Query) ([]byte, bool) {
	t := q.Instance.Events.Rebalance
	if t.IsZero() {
		return dst, false
	}
	dst = append(dst, `{"noticeTime":"`...)
	return append(t.UTC().AppendFormat(dst, isoTime), `"}`...), true
}

// spotAction is what an announced interruption does and when; absent until one
// is announced (EC2-ITEM-072).
func spotAction(dst []byte, q *item.Query) ([]byte, bool) {
	spot := q.Instance.Events.Spot
	if spot == nil {
		return dst, false
	}
	dst = append(append(dst, `{"action": "`...), spot.SpotAction()...)
	dst = append(dst, `", "time": "`...)
	return append(spot.Time.UTC().AppendFormat(dst, isoTime), `"}`...), true
}

// spotTermination is when an instance that is to be terminated will be: not
// one that is to be stopped (EC2-ITEM-073).
func spotTermination(dst []byte, q *item.Query) ([]byte, bool) {
	spot := q.Instance.Events.Spot
	if spot == nil || spot.SpotAction() != "terminate" {
		return dst, false
	}
	return spot.Time.UTC().AppendFormat(dst, isoTime), true
}
