package main

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"openimds/internal/admin"
)

// While a load of known size runs, the node is replaced twice, the second time
// while the control plane is away: what that knows in the end is exactly the
// load, of each instance, and it knows of no gap.
func TestUsageOverReplacements(t *testing.T) {
	b := newBed(t)
	const clients, other = 8, 9
	for n := 1; n <= clients; n++ {
		in := document(n, "a", "m7g.large")
		if n == 2 {
			in["metadata"] = map[string]any{"httpTokens": "required"}
		}
		b.call(http.MethodPut, "/v1/instances/"+guestID(n), in)
	}
	b.put(other, "a", "m7g.last")
	m := newManager(t)
	a := b.node("a", "NOTIFY_SOCKET="+m.socket)
	m.hears(t, "READY")
	b.serves(a, other, "m7g.last") // and with it the others, which nobody has asked yet
	token := b.mint(a, 1)

	var made [clients + 1]struct{ free, rejected, tokened atomic.Uint64 }
	var total atomic.Uint64
	stop := make(chan struct{})
	var group sync.WaitGroup
	for n := 1; n <= clients; n++ {
		group.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				var headers []string
				count, want := &made[n].free, http.StatusOK
				switch {
				case n == 1 && i%2 == 0:
					headers, count = []string{tokenHeader, token}, &made[n].tokened
				case n == 2:
					count, want = &made[n].rejected, http.StatusUnauthorized
				}
				got, err := ask(t.Context(), n, http.MethodGet, a.url("ec2")+"/latest/meta-data/instance-type", headers...)
				if err != nil || got.status != want {
					t.Errorf("instance %d: %v, %v", n, got, err)
					return
				}
				count.Add(1)
				total.Add(1)
			}
		})
	}
	more := func() {
		t.Helper()
		at := total.Load()
		b.eventually("more of the load", func() bool { return total.Load() > at+300 || t.Failed() })
	}
	pid := a.cmd.Process.Pid
	more()
	next := m.replaced(t, pid)
	gone(t, pid)
	more()
	b.control.signal(t, syscall.SIGKILL)
	more()
	pid, next = next, m.replaced(t, next)
	gone(t, pid)
	more()
	close(stop)
	group.Wait()
	b.up()
	if err := syscall.Kill(next, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	gone(t, next)
	for n := 1; n <= clients; n++ {
		want := admin.UsageCounts{TokenFree: made[n].free.Load(), Rejected: made[n].rejected.Load(), Tokened: made[n].tokened.Load()}
		if c := b.counted(n); c != want || want == (admin.UsageCounts{}) {
			t.Errorf("instance %d: %+v is known, %+v was made", n, c, want)
		}
	}
	series := get[admin.UsageSeries](b, http.MethodGet, "/v1/usage/series?instance="+guestID(3), nil)
	if len(series.Gaps) != 0 {
		t.Errorf("no process was killed, and there are gaps: %+v", series.Gaps)
	}
	for line := range strings.Lines(b.control.log.String()) {
		if strings.Contains(line, "not stopped in order") && strings.Contains(line, "node=a") {
			t.Error("the control plane says that the node was not stopped in order")
		}
	}
	t.Logf("%d requests", total.Load())
}
