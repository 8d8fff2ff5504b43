package store

import (
	"context"
	"fmt"

	"openimds/internal/fault"
)

// Bounds of one page read and one commit written by Copy. They are far below
// those of Tx, because other makers' stores have lower defaults.
const (
	copyPage  = 64
	copyBytes = 1 << 20
)

// Copy puts every entry of from, as it is at one revision, into to, and
// returns how many there were. The copies are new entries: revisions count on
// in to. The target must be empty, which is fault.Exists otherwise. Copy takes
// several commits: when it returns an error, what is in the target is a part,
// and of no use. ErrCompacted means that the source changed during the copy and
// does not keep old states: stop what writes to it.
func Copy(ctx context.Context, from, to Store) (int, error) {
	switch there, err := to.List(ctx, "", ListOptions{Limit: 1}); {
	case err != nil:
		return 0, fmt.Errorf("look into the target: %w", err)
	case len(there.Entries) > 0:
		return 0, fault.New(fault.Exists, "the target has entries already: copy into an empty store")
	}
	n, page := 0, Listing{More: true}
	o := ListOptions{Limit: copyPage}
	for page.More {
		var err error
		if page, err = from.List(ctx, "", o); err != nil {
			return n, fmt.Errorf("read the source: %w", err)
		}
		o.Revision = page.Revision
		var tx Tx
		for i, e := range page.Entries {
			o.After = e.Key
			tx.If = append(tx.If, Absent(e.Key))
			tx.Put = append(tx.Put, Pair{e.Key, e.Value})
			if last := i == len(page.Entries)-1; last || tx.Size()+2*len(page.Entries[i+1].Key)+len(page.Entries[i+1].Value) > copyBytes {
				if _, err := to.Commit(ctx, tx); err != nil {
					return n, fmt.Errorf("write the target: %w", err)
				}
				n += len(tx.Put)
				tx = Tx{}
			}
		}
	}
	return n, nil
}
