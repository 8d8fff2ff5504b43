package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"openimds/internal/fault"
	"openimds/internal/store"
	"openimds/internal/store/memstore"
)

// hooked does something before each listing or commit.
type hooked struct {
	store.Store
	list, commit func() error
}

func (h hooked) List(ctx context.Context, prefix string, o store.ListOptions) (store.Listing, error) {
	if h.list != nil {
		if err := h.list(); err != nil {
			return store.Listing{}, err
		}
	}
	return h.Store.List(ctx, prefix, o)
}

func (h hooked) Commit(ctx context.Context, tx store.Tx) (uint64, error) {
	if h.commit != nil {
		if err := h.commit(); err != nil {
			return 0, err
		}
	}
	return h.Store.Commit(ctx, tx)
}

// A copy is of one revision, or it is none.
func TestCopyFails(t *testing.T) {
	broken := errors.New("broken")
	for name, tc := range map[string]struct {
		from, to func(from, to store.Store) hooked
		want     func(error) bool
	}{
		"the source changes": {
			from: func(from, _ store.Store) hooked {
				return hooked{Store: from, list: func() error {
					_, err := from.Commit(t.Context(), store.Tx{Put: []store.Pair{{Key: "000"}}})
					return err
				}}
			},
			want: func(err error) bool { return errors.Is(err, store.ErrCompacted) },
		},
		"the source is broken": {
			from: func(from, _ store.Store) hooked { return hooked{Store: from, list: func() error { return broken }} },
			want: func(err error) bool { return errors.Is(err, broken) },
		},
		"the target is broken": {
			to:   func(_, to store.Store) hooked { return hooked{Store: to, list: func() error { return broken }} },
			want: func(err error) bool { return errors.Is(err, broken) },
		},
		"the target is full": {
			to:   func(_, to store.Store) hooked { return hooked{Store: to, commit: func() error { return broken }} },
			want: func(err error) bool { return errors.Is(err, broken) },
		},
		"somebody writes to the target": {
			to: func(_, to store.Store) hooked {
				return hooked{Store: to, commit: func() error {
					_, err := to.Commit(t.Context(), store.Tx{Put: []store.Pair{{Key: "150"}}})
					return err
				}}
			},
			want: func(err error) bool { return err != nil && fault.KindOf(err) == fault.Conflict },
		},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := memstore.New(memstore.Config{}), memstore.New(memstore.Config{})
			var tx store.Tx
			for i := range 200 {
				tx.Put = append(tx.Put, store.Pair{Key: fmt.Sprintf("%03d", i)})
			}
			if _, err := from.Commit(t.Context(), tx); err != nil {
				t.Fatal(err)
			}
			a, b := hooked{Store: from}, hooked{Store: to}
			if tc.from != nil {
				a = tc.from(from, to)
			}
			if tc.to != nil {
				b = tc.to(from, to)
			}
			if n, err := store.Copy(t.Context(), a, b); !tc.want(err) {
				t.Errorf("Copy: %d, %v", n, err)
			}
		})
	}
}

// An error of a condition says which, for logs; clients see no keys.
func TestConditionError(t *testing.T) {
	s := memstore.New(memstore.Config{})
	_, err := s.Commit(t.Context(), store.Tx{If: []store.Condition{store.Unchanged("k", 7)}})
	if want := `the state has changed meanwhile: condition 0 does not hold: "k" is unchanged since revision 7`; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	var f *fault.Error
	if !errors.As(err, &f) || f.Msg != "the state has changed meanwhile" {
		t.Errorf("clients see %q", f.Msg)
	}
}
