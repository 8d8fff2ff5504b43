package fanout_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"openimds/internal/store"
	"openimds/internal/store/fanout"
)

func batch(revision uint64, key string) store.Batch {
	return store.Batch{Revision: revision, Events: []store.Event{{Entry: store.Entry{Key: key, Value: []byte(key), Modified: revision}}}}
}

func watch(t *testing.T, h *fanout.Hub, prefix string, after uint64) store.Watcher {
	t.Helper()
	w, err := h.Watch(prefix, after)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// waiting starts something and returns when it waits, with what it will end
// with. It is for a bubble.
func waiting(t *testing.T, f func() error) func() error {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- f() }()
	synctest.Wait()
	select {
	case err := <-ended:
		t.Errorf("it does not wait: %v", err)
		return func() error { return err }
	default:
		return func() error {
			synctest.Wait()
			select {
			case err := <-ended:
				return err
			default:
				return errors.New("still waiting")
			}
		}
	}
}

// Whatever a reader waits for, it wakes up when that comes.
func TestWaiting(t *testing.T) {
	for name, tc := range map[string]struct {
		happens func(h *fanout.Hub, w store.Watcher, cancel func())
		want    error
		again   error // of the next call, if want is not nil
	}{
		"a batch":    {func(h *fanout.Hub, _ store.Watcher, _ func()) { h.Publish(batch(1, "a")) }, nil, nil},
		"a bookmark": {func(h *fanout.Hub, _ store.Watcher, _ func()) { h.Publish(batch(1, "b")) }, nil, nil},
		"Close":      {func(_ *fanout.Hub, w store.Watcher, _ func()) { w.Close() }, store.ErrClosed, store.ErrClosed},
		"the end":    {func(h *fanout.Hub, _ store.Watcher, _ func()) { h.Close() }, store.ErrClosed, store.ErrClosed},
		"context":    {func(_ *fanout.Hub, _ store.Watcher, cancel func()) { cancel() }, context.Canceled, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := fanout.New(fanout.Config{})
				w := watch(t, h, "a", 0)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				next := func(ctx context.Context) error {
					b, err := w.Next(ctx)
					if err == nil && b.Revision != 1 {
						t.Errorf("revision %d, want 1", b.Revision)
					}
					return err
				}
				ended := waiting(t, func() error { return next(ctx) })
				tc.happens(h, w, cancel)
				if err := ended(); !errors.Is(err, tc.want) {
					t.Errorf("Next: %v, want %v", err, tc.want)
				}
				if tc.want == nil {
					return
				}
				if h.Head() == 0 && tc.again == nil {
					h.Publish(batch(1, "a"))
				}
				if err := next(t.Context()); !errors.Is(err, tc.again) {
					t.Errorf("Next again: %v, want %v", err, tc.again)
				}
			})
		})
	}
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := fanout.New(fanout.Config{Head: 5})
		if err := h.Wait(t.Context(), 5); err != nil {
			t.Errorf("Wait for what is there: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		seven := waiting(t, func() error { return h.Wait(t.Context(), 7) })
		eight := waiting(t, func() error { return h.Wait(t.Context(), 8) })
		nine := waiting(t, func() error { return h.Wait(ctx, 9) })
		h.Publish(batch(6, "a"))
		if err := seven(); err == nil {
			t.Error("Wait for revision 7 ends at 6")
		}
		h.Publish(batch(7, "a"))
		if err := seven(); err != nil {
			t.Errorf("Wait: %v", err)
		}
		cancel()
		if err := nine(); !errors.Is(err, context.Canceled) {
			t.Errorf("Wait: %v", err)
		}
		h.Close()
		if err := eight(); !errors.Is(err, store.ErrClosed) {
			t.Errorf("Wait: %v", err)
		}
	})
}

// A gap would be a lost commit for every watch: it is a defect of the store.
func TestPublishInOrder(t *testing.T) {
	for _, revision := range []uint64{0, 5, 7} {
		h := fanout.New(fanout.Config{Head: 5})
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("revision %d after 5 is taken", revision)
				}
			}()
			h.Publish(batch(revision, "a"))
		}()
	}
}

// The window is bounded in bytes too, but has always the newest batch.
func TestWindow(t *testing.T) {
	w := fanout.Window{Count: 3, Bytes: 1000}
	big := func(revision uint64, size int) store.Batch {
		b := batch(revision, "k")
		b.Events[0].Value = make([]byte, size)
		return b
	}
	head := uint64(0)
	for _, step := range []struct{ size, left int }{{1, 1}, {1, 2}, {1, 3}, {1, 3}, {600, 3}, {600, 1}, {5000, 1}, {1, 1}, {1, 2}} {
		head++
		w.Push(big(head, step.size))
		for back := range head + 1 {
			got, ok := w.After(head-back, head)
			if want := int(back) <= step.left; ok != want || ok && len(got) != int(back) {
				t.Errorf("revision %d: %d batches after %d, %v; %d are there", head, len(got), head-back, ok, step.left)
			}
			for i, b := range got {
				if b.Revision != head-back+uint64(i)+1 {
					t.Errorf("revision %d: batch %d after %d has revision %d", head, i, head-back, b.Revision)
				}
			}
		}
	}
	w.Forget(head - 1)
	if got, ok := w.After(head-1, head); !ok || len(got) != 1 {
		t.Errorf("after Forget: %d batches, %v", len(got), ok)
	}
	if _, ok := w.After(head-2, head); ok {
		t.Error("what was forgotten is there")
	}
}
