package control

import (
	"context"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"openimds/internal/instance"
	"openimds/internal/readiness"
	"openimds/internal/state"
	"openimds/internal/store"
	"openimds/internal/store/memstore"
	"openimds/internal/testnet"
)

// plant is a control plane over a store that outlives it, with a clock and
// rejections that a test makes.
type plant struct {
	t        *rapid.T
	store    store.Store
	db       *state.DB
	hardener *Hardener
	now      time.Time
	rejected map[string]uint64 // of each instance, at all times
	since    map[string]uint64 // while it is switched
}

// restart ends the control plane as a crash does, and starts it again.
func (p *plant) restart() {
	if p.db != nil {
		_ = p.db.Close()
	}
	db, err := state.Open(context.Background(), p.store, testnet.Quiet())
	if err != nil {
		p.t.Fatal(err)
	}
	p.db = db
	c := New(Config{DB: db, Now: func() time.Time { return p.now }})
	p.hardener = c.NewHardener(HardenConfig{
		Judge: func(_ context.Context, ids []string, _ time.Duration, _ readiness.Rules) (all []readiness.Result, err error) {
			for _, id := range ids {
				all = append(all, readiness.Result{Evidence: readiness.Evidence{Instance: id}, Verdict: readiness.Ready})
			}
			return all, nil
		},
		Rejected: func(_ context.Context, id string, _ time.Time) (uint64, error) { return p.rejected[id], nil },
		Rejecters: func(string, time.Time) ([]state.HardenedCaller, error) {
			return []state.HardenedCaller{{Agent: "a"}}, nil
		},
		Heard: func(context.Context, string) (time.Time, error) { return p.now, nil },
	})
	p.hardener.step(context.Background(), true)
}

func (p *plant) required(id string) bool {
	in, ok := p.db.Instances.Get(id)
	if !ok {
		p.t.Fatalf("%s is gone", id)
	}
	return in.Spec.Metadata.TokensRequired()
}

// Whatever is rejected when, and whenever the control plane is killed: at the
// end an instance is switched if fewer than the limit of its requests were
// refused and it is no rehearsal, and is not otherwise; and what is in no
// guarded switch stays.
func TestHardenLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &plant{t: t, store: memstore.New(memstore.Config{}), now: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC), rejected: map[string]uint64{}, since: map[string]uint64{}}
		defer func() { _, _ = p.db.Close(), p.store.Close() }()
		p.restart()
		n := rapid.IntRange(1, 8).Draw(t, "instances")
		var ids []string
		for i := range n + 1 {
			id := fmt.Sprint("i-", i)
			err := p.db.Update(context.Background(), func(tx *state.Tx) error {
				return state.Save(tx, p.db.Instances, id, &state.Instance{Spec: instance.Instance{ID: id, Dialect: "ec2", State: "running", Metadata: instance.MetadataOptions{HTTPTokens: "optional"}}})
			})
			if err != nil {
				t.Fatal(err)
			}
			p.rejected[id] = uint64(rapid.IntRange(0, 3).Draw(t, "before"))
			if i < n {
				ids = append(ids, id)
			}
		}
		operator := Caller{Admin: true, Action: "Harden"}
		limit := uint64(rapid.IntRange(0, 3).Draw(t, "limit"))
		plan := HardenPlan{Target: Target{Instances: ids}, Watch: 10 * time.Minute, ReturnAt: limit, Rehearsal: rapid.Bool().Draw(t, "rehearsal"), Shares: rapid.SampledFrom([][]float64{nil, {0.3}, {0.1, 0.5, 1}}).Draw(t, "shares")}
		r, err := p.hardener.Start(context.Background(), operator, plan)
		if err != nil {
			t.Fatal(err)
		}
		aborted := false
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"time", "reject", "step", "kill", "pause", "resume", "abort"}).Draw(t, "what") {
			case "time":
				p.now = p.now.Add(time.Duration(rapid.IntRange(0, 15).Draw(t, "minutes")) * time.Minute)
			case "reject":
				id := rapid.SampledFrom(ids).Draw(t, "instance")
				if p.required(id) {
					p.rejected[id]++
					p.since[id]++
					p.hardener.Reported(map[string]uint64{id: 1})
				}
			case "step":
				p.hardener.step(context.Background(), rapid.Bool().Draw(t, "every"))
			case "kill":
				p.restart()
			case "pause":
				_ = p.hardener.Pause(context.Background(), operator, r.ID)
			case "resume":
				_ = p.hardener.Resume(context.Background(), operator, r.ID)
			case "abort":
				if rapid.IntRange(0, 9).Draw(t, "really") == 0 && p.hardener.Abort(context.Background(), operator, r.ID) == nil {
					aborted = true
				}
			}
			if p.required(fmt.Sprint("i-", n)) {
				t.Fatal("an instance that is not in it was switched")
			}
		}
		// To its end.
		for range 200 {
			p.hardener.step(context.Background(), true)
			_ = p.hardener.Resume(context.Background(), operator, r.ID)
			p.now = p.now.Add(time.Minute)
		}
		end, members, err := p.hardener.Hardening(context.Background(), operator, r.ID)
		if err != nil || end.Ended.IsZero() {
			t.Fatalf("%+v, %v", end, err)
		}
		for _, m := range members {
			// Of a rejection after the watch nobody said that it should be heard.
			tooMany := limit > 0 && m.Rejected >= limit
			want := !plan.Rehearsal && !aborted && !tooMany
			if got := p.required(m.Instance); got != want {
				t.Errorf("%s is %s with %d rejections: required is %v (limit %d, rehearsal %v, aborted %v)", m.Instance, m.State, m.Rejected, got, limit, plan.Rehearsal, aborted)
			}
			if m.State == state.HardenedReturned && (len(m.Callers) == 0 || m.Rejected < limit || limit == 0) {
				t.Errorf("returned: %+v", m)
			}
			if m.Rejected > p.since[m.Instance] {
				t.Errorf("%s: %d rejections are counted of %d", m.Instance, m.Rejected, p.since[m.Instance])
			}
			if m.State == state.HardenedKept && limit > 0 && m.Rejected >= limit {
				t.Errorf("kept: %+v", m)
			}
		}
	})
}
