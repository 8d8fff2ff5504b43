package state_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"openimds/internal/instance"
	"openimds/internal/state"
	"openimds/internal/store"
	"openimds/internal/store/memstore"
	"openimds/internal/testnet"
)

// A state of many pages is read at one revision, also while it changes.
func TestOpenWhileItChanges(t *testing.T) {
	s := memstore.New(memstore.Config{})
	defer s.Close()
	writer := open(t, s)
	const instances, batch = 5000, 500
	for first := 0; first < instances; first += batch {
		if err := writer.Update(t.Context(), func(tx *state.Tx) error {
			for i := first; i < first+batch; i++ {
				id := fmt.Sprintf("i-%05d", i)
				if err := state.Save(tx, writer.Instances, id, &state.Instance{Spec: instance.Instance{ID: id}}); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	// Each change moves a name from the first instance to the last or back.
	done := make(chan struct{})
	var changes sync.WaitGroup
	changes.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			err := writer.Update(t.Context(), func(tx *state.Tx) error {
				for n, id := range []string{"i-00000", "i-04999"} {
					in := &state.Instance{Spec: instance.Instance{ID: id}}
					if i%2 == n {
						in.Spec.Name = "here"
					}
					if err := state.Save(tx, writer.Instances, id, in); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 20 {
		db, err := state.Open(t.Context(), s, testnet.Quiet())
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		named := db.Instances.All(func(in *state.Instance) bool { return in.Spec.Name == "here" })
		if n := len(db.Instances.All(nil)); n != instances || len(named) > 1 {
			t.Fatalf("%d instances, %d of them with the name", n, len(named))
		}
	}
	close(done)
	changes.Wait()
}

// One damaged record among many pages is found, and named.
func TestOpenDamaged(t *testing.T) {
	s := memstore.New(memstore.Config{})
	defer s.Close()
	for part := range 5 {
		var tx store.Tx
		for i := range 1000 {
			value := `{}`
			if part == 3 && i == 500 {
				value = `{`
			}
			tx.Put = append(tx.Put, store.Pair{Key: fmt.Sprintf("instances/i-%d-%03d", part, i), Value: []byte(value)})
		}
		if _, err := s.Commit(t.Context(), tx); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := state.Open(t.Context(), s, testnet.Quiet()); err == nil || !strings.Contains(err.Error(), "instances/i-3-500") {
		t.Errorf("%v", err)
	}
}
