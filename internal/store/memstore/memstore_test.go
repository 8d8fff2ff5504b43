package memstore_test

import (
	"testing"

	"openimds/internal/store"
	"openimds/internal/store/memstore"
	"openimds/internal/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Suite{
		Open: func(_ testing.TB, l storetest.Limits) store.Store {
			return memstore.New(memstore.Config{Keep: l.Keep, Lag: l.Lag})
		},
	}.Run(t)
}
