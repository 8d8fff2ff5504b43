package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"openimds/internal/audit"
)

var kills = flag.Int("kills", 200, "how many times TestKill kills imds serve")

// writer is a client that changes instances of its own, one call after the
// other, and knows what it was told.
type writer struct {
	cloud  cloud
	owner  string
	values int

	have    map[string]seen
	ended   map[string]bool
	unknown *change // sent, and not answered
	n       int
	acked   int
	why     error // of the last call that was not answered
}

// change is one call.
type change struct {
	kind  string // launch, modify, tag or terminate
	id    string
	token string
	n     int
}

// next chooses what to do.
func (w *writer) next(r *rand.Rand) change {
	w.n++
	var ids []string
	for id := range w.have {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	switch choice := r.IntN(10); {
	case len(ids) == 0 || choice < 2 && len(ids) < 5:
		return change{kind: "launch", token: fmt.Sprintf("%s-%d", w.owner, w.n)}
	case choice < 3 && len(ids) > 2:
		return change{kind: "terminate", id: ids[r.IntN(len(ids))]}
	case choice < 7:
		return change{kind: "modify", id: ids[r.IntN(len(ids))], n: w.n}
	default:
		return change{kind: "tag", id: ids[r.IntN(len(ids))], n: w.n}
	}
}

// do makes a change and notes its outcome. The error is nil if the process was
// killed meanwhile. Again says that the change may have been made before.
func (w *writer) do(ctx context.Context, c change, again bool) (alive bool, err error) {
	w.unknown = &c
	var status int
	id := c.id
	switch c.kind {
	case "launch":
		id, status, err = w.cloud.launch(ctx, c.token, w.owner)
	case "modify":
		status, err = w.cloud.modify(ctx, id, c.n)
	case "tag":
		status, err = w.cloud.tag(ctx, id, c.n)
	case "terminate":
		status, err = w.cloud.terminate(ctx, id)
	}
	switch {
	case err != nil:
		w.why = err
		return false, nil // the connection broke: nobody knows
	case status == http.StatusServiceUnavailable:
		w.why = errors.New("status 503")
		return false, nil // it is ending
	case status == http.StatusNotFound && again && c.kind == "terminate": // ECS: it has been
	case status != http.StatusOK:
		return false, fmt.Errorf("%s: %+v: status %d", w.owner, c, status)
	}
	if c.kind == "launch" && w.ended[id] {
		return false, fmt.Errorf("%s: %+v gave %s, which was terminated", w.owner, c, id)
	}
	w.apply(c, id)
	w.unknown = nil
	w.acked++
	return true, nil
}

// apply notes that a change was made.
func (w *writer) apply(c change, id string) {
	s := w.have[id]
	switch c.kind {
	case "modify":
		s.value = c.n % w.values
	case "tag":
		s.count = c.n
	case "terminate":
		delete(w.have, id)
		w.ended[id] = true
		return
	}
	w.have[id] = s
}

// verify holds what the API shows against what the writer was told. What was
// not answered may have been done, once, or not.
func (w *writer) verify(ctx context.Context) error {
	found, err := w.cloud.running(ctx, w.owner)
	if err != nil {
		return err
	}
	made := "" // by the launch that was not answered
	for id, s := range found {
		want, known := w.have[id]
		u := w.unknown
		switch {
		case w.ended[id]:
			return fmt.Errorf("%s: the end of %s is lost", w.owner, id)
		case !known && u != nil && u.kind == "launch" && made == "":
			made = id
		case !known:
			return fmt.Errorf("%s: %s was never launched, or twice (%+v)", w.owner, id, u)
		case s == want:
		case u != nil && u.id == id && u.kind == "modify" && s == seen{u.n % w.values, want.count}:
		case u != nil && u.id == id && u.kind == "tag" && s == seen{want.value, u.n}:
		default:
			return fmt.Errorf("%s: %s is %+v, and was acknowledged as %+v (%+v)", w.owner, id, s, want, u)
		}
	}
	for id := range w.have {
		if _, ok := found[id]; !ok && (w.unknown == nil || w.unknown.kind != "terminate" || w.unknown.id != id) {
			return fmt.Errorf("%s: the launch of %s is lost", w.owner, id)
		}
	}
	if w.unknown == nil {
		return nil
	}
	// The call is made again, as a client does.
	if alive, err := w.do(ctx, *w.unknown, true); err != nil || !alive {
		return errors.Join(err, errors.New("the call that was made again was not answered"))
	}
	if _, kept := w.have[made]; made != "" && !kept {
		return fmt.Errorf("%s: a launch was made twice: of %s nobody knows", w.owner, made)
	}
	return nil
}

// connect gives a writer a client of a new process.
func (w *writer) connect(p *process, dialect string, client *http.Client) {
	if dialect == "ec2" {
		w.cloud, w.values = ec2Client{client, p.addr["control"]}, valuesEC2
		return
	}
	w.cloud = ecsClient{client, p.addr["control"], &nonces{prefix: fmt.Sprintf("%s-%d-", w.owner, time.Now().UnixNano())}}
	w.values = valuesECS
}

// TestKill kills imds serve again and again while clients of both clouds change
// what they have: nothing that was acknowledged is lost, and nothing is done
// twice.
func TestKill(t *testing.T) {
	if testing.Short() {
		*kills = min(*kills, 10)
	}
	h := newHost(t)
	h.seed(t)
	writers := make([]*writer, 8)
	for i := range writers {
		writers[i] = &writer{owner: fmt.Sprintf("client-%d", i), have: map[string]seen{}, ended: map[string]bool{}}
	}
	random := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	for round := range *kills + 1 {
		p := h.start(t)
		client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: len(writers)}}
		work, stop := context.WithCancel(t.Context())
		failures := make(chan error, 2*len(writers))
		var verified, group sync.WaitGroup
		verified.Add(len(writers))
		for i, w := range writers {
			w.connect(p, []string{"ec2", "ecs"}[i%2], client)
			r := rand.New(rand.NewPCG(uint64(round), uint64(i)))
			group.Go(func() {
				err := w.verify(work)
				verified.Done()
				for alive := err == nil; alive && work.Err() == nil; {
					alive, err = w.do(t.Context(), w.next(r), false)
				}
				if err != nil {
					failures <- err
				}
			})
		}
		verified.Wait()
		if round < *kills {
			time.Sleep(time.Duration(10+random.IntN(120)) * time.Millisecond)
			p.signal(t, syscall.SIGKILL)
			stop()
			group.Wait()
		} else {
			stop()
			group.Wait()
			if code := p.signal(t, syscall.SIGTERM); code != 0 {
				t.Errorf("after SIGTERM: exit code %d\n%s", code, p.err)
			}
		}
		client.CloseIdleConnections()
		close(failures)
		for err := range failures {
			t.Errorf("after kill %d: %v", round, err)
		}
		if t.Failed() {
			t.Fatalf("the log of the last process:\n%s", p.err)
		}
		if round%10 == 9 || round == *kills {
			h.run(t, 0, "store", "check", h.storeAt())
		}
	}
	acked := 0
	for _, w := range writers {
		acked += w.acked
	}
	t.Logf("%d kills, %d calls acknowledged", *kills, acked)
	if acked < 10**kills {
		t.Errorf("only %d calls were acknowledged", acked)
	}
	h.checkRecorded(t, acked)
}

// checkRecorded wants a record of each acknowledged change in the audit log.
func (h host) checkRecorded(t *testing.T, acked int) {
	t.Helper()
	files, err := filepath.Glob(auditFile(h.state()) + "*")
	if err != nil {
		t.Fatal(err)
	}
	recorded := 0
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(text) {
			var r audit.Record
			if json.Unmarshal(line, &r) == nil && r.Decision == audit.Allow && !strings.Contains(r.Action, ":Describe") {
				recorded++
			}
		}
	}
	if recorded < acked {
		t.Errorf("%d calls were acknowledged, and the audit log has %d", acked, recorded)
	}
}
