package ec2

import (
	"strconv"

	"openimds/internal/instance"
	"openimds/internal/item"
)

// getter renders one item: the Get of a row.
type getter = func(dst []byte, q *item.Query) ([]byte, bool)

// given is an item that exists when it is not empty.
func given(get func(*instance.Instance) string) getter {
	return func(dst []byte, q *item.Query) ([]byte, bool) {
		s := get(q.Instance)
		return append(dst, s...), s != ""
	}
}

// or is an item that every instance has: a default stands for an empty one.
func or(get func(*instance.Instance) string, otherwise string) getter {
	return func(dst []byte, q *item.Query) ([]byte, bool) {
		s := get(q.Instance)
		if s == "" {
			s = otherwise
		}
		return append(dst, s...), true
	}
}

// constant is an item that is the same on every instance.
func constant(text string) getter {
	return func(dst []byte, _ *item.Query) ([]byte, bool) { return append(dst, text...), true }
}

// linesOf is an item of one text a line that exists when there is one.
func linesOf(get func(*instance.Instance) []string) getter {
	return func(dst []byte, q *item.Query) ([]byte, bool) {
		values := get(q.Instance)
		return lines(dst, values), len(values) > 0
	}
}

// launchIndex is 0 or more; every instance has one.
func launchIndex(dst []byte, q *item.Query) ([]byte, bool) {
	return strconv.AppendInt(dst, int64(q.Instance.LaunchIndex), 10), true
}

// partitionNumber counts from 1.
func partitionNumber(dst []byte, q *item.Query) ([]byte, bool) {
	n := q.Instance.Placement.Partition
	return strconv.AppendInt(dst, int64(n), 10), n != 0
}

func hibernation(dst []byte, q *item.Query) ([]byte, bool) {
	return strconv.AppendBool(dst, q.Instance.Machine.Hibernation), true
}

func monitoring(dst []byte, q *item.Query) ([]byte, bool) {
	if q.Instance.Machine.Monitoring {
		return append(dst, "enabled"...), true
	}
	return append(dst, "disabled"...), true
}

// reservation is the id of the launch request. An instance that came without
// one gets its own digits (EC2-ITEM-068): clients take the item for granted.
func reservation(dst []byte, q *item.Query) ([]byte, bool) {
	in := q.Instance
	if in.ReservationID != "" {
		return append(dst, in.ReservationID...), true
	}
	return append(append(dst, "r-"...), digits(in.ID)...), true
}

// digits returns an id without its prefix: i-0a1b is 0a1b.
func digits(id string) string {
	for i := range len(id) {
		if id[i] == '-' {
			return id[i+1:]
		}
	}
	return id
}

func userData(dst []byte, q *item.Query) ([]byte, bool) {
	data := q.Instance.UserData
	return append(dst, data...), len(data) > 0
}

// nicGetter renders one item of a network interface.
type nicGetter func(dst []byte, in *instance.Instance, f *instance.Interface) ([]byte, bool)

// primary is an item of the primary interface.
func primary(get nicGetter) getter {
	return func(dst []byte, q *item.Query) ([]byte, bool) {
		return get(dst, q.Instance, q.Instance.Primary())
	}
}

// nic is an item of the interface that the path names. The keys of {mac} are
// the interfaces in their order.
func nic(get nicGetter) getter {
	return func(dst []byte, q *item.Query) ([]byte, bool) {
		return get(dst, q.Instance, &q.Instance.Interfaces[q.Index(0)])
	}
}

// nicText is an item of an interface that exists when it is not empty.
func nicText(get func(*instance.Interface) string) nicGetter {
	return func(dst []byte, _ *instance.Instance, f *instance.Interface) ([]byte, bool) {
		s := get(f)
		return append(dst, s...), s != ""
	}
}
