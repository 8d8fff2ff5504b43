package ecs

import "openimds/internal/item"

// systemEvents lists the active system events as JSON, and is the word None
// when there are none (ECS-ITEM-064). The vendor does not document the list;
// its members are named as in DescribeInstancesFullStatus.
func systemEvents(dst []byte, q *item.Query) ([]byte, bool) {
	list := q.Instance.Events.System
	if len(list) == 0 {
		return append(dst, "None"...), true
	}
	dst = append(dst, '[')
	for i := range list {
		e := &list[i]
		dst = append(between(dst, i, ","), `{"EventId":`...)
		dst = item.AppendString(dst, e.ID)
		dst = append(dst, `,"EventType":`...)
		dst = item.AppendString(dst, e.Type)
		dst = append(dst, `,"EventCycleStatus":`...)
		dst = item.AppendString(dst, e.Status)
		dst = append(dst, `,"NotBefore":"`...)
		dst = e.NotBefore.UTC().AppendFormat(dst, isoTime)
		dst = append(dst, `"}`...)
	}
	return append(dst, ']'), true
}

// termination is when a preemptible instance is taken back; absent until that
// is announced (ECS-ITEM-024).
func termination(dst []byte, q *item.Query) ([]byte, bool) {
	spot := q.Instance.Events.Spot
	if spot == nil {
		return dst, false
	}
	return spot.Time.UTC().AppendFormat(dst, isoTime), true
}
