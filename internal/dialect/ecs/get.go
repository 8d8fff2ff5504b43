package ecs

import (
	"strconv"
	"time"

	"openimds/internal/instance"
	"openimds/internal/item"
)

// getter renders one item: the Get of a row.
type getter = func(dst []byte, q *item.Query) ([]byte, bool)

// always is an item that every instance has, though it may be empty.
func always(get func(*instance.Instance) string) getter {
	return func(dst []byte, q *item.Query) ([]byte, bool) {
		return append(dst, get(q.Instance)...), true
	}
}

// given is an item that exists when it is not empty.
func given(get func(*instance.Instance) string) getter {
	return func(dst []byte, q *item.Query) ([]byte, bool) {
		s := get(q.Instance)
		return append(dst, s...), s != ""
	}
}

// on is an item of one platform only.
func on(platform string, get getter) getter {
	return func(dst []byte, q *item.Query) ([]byte, bool) {
		if q.Instance.Platform != platform {
			return dst, false
		}
		return get(dst, q)
	}
}

// Platforms of an instance.
const (
	linux   = "linux"
	windows = "windows"
)

// number is an item that exists when it is not zero.
func number(get func(*instance.Instance) int) getter {
	return func(dst []byte, q *item.Query) ([]byte, bool) {
		n := get(q.Instance)
		return strconv.AppendInt(dst, int64(n), 10), n != 0
	}
}

// moment is an item that exists when its time is known. All times are UTC.
func moment(layout string, get func(*instance.Instance) time.Time) getter {
	return func(dst []byte, q *item.Query) ([]byte, bool) {
		t := get(q.Instance)
		if t.IsZero() {
			return dst, false
		}
		return t.UTC().AppendFormat(dst, layout), true
	}
}

// Layouts of times.
const (
	isoTime   = "2006-01-02T15:04:05Z"
	plainTime = "2006-01-02 15:04:05" // ECS-ITEM-024
)

// nicGetter renders one item of a network interface.
type nicGetter func(dst []byte, f *instance.Interface) ([]byte, bool)

// primary is an item of the primary interface.
func primary(get nicGetter) getter {
	return func(dst []byte, q *item.Query) ([]byte, bool) { return get(dst, q.Instance.Primary()) }
}

// nic is an item of the interface that the path names. The keys of {mac} are
// the interfaces in their order.
func nic(get nicGetter) getter {
	return func(dst []byte, q *item.Query) ([]byte, bool) {
		return get(dst, &q.Instance.Interfaces[q.Index(0)])
	}
}

// nicText is an item of an interface that exists when it is not empty.
func nicText(get func(*instance.Interface) string) nicGetter {
	return func(dst []byte, f *instance.Interface) ([]byte, bool) {
		s := get(f)
		return append(dst, s...), s != ""
	}
}

// raw is an item of bytes that exists when it is not empty.
func raw(get func(*instance.Instance) []byte) getter {
	return func(dst []byte, q *item.Query) ([]byte, bool) {
		b := get(q.Instance)
		return append(dst, b...), len(b) > 0
	}
}
