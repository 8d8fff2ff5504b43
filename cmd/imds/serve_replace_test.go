package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// takenOver waits until a successor has taken over for the nth time, and
// returns its process id.
func (p *process) takenOver(t *testing.T, nth int) (pid int) {
	t.Helper()
	waitFor(t, fmt.Sprintf("a process takes over, the %dth", nth), func() bool {
		all := regexp.MustCompile(`has taken over" pid=(\d+)`).FindAllStringSubmatch(p.err.String(), -1)
		if len(all) < nth {
			return false
		}
		pid, _ = strconv.Atoi(all[nth-1][1])
		return true
	})
	return pid
}

// says waits until the log has a text for the nth time.
func (p *process) says(t *testing.T, text string, nth int) {
	t.Helper()
	waitFor(t, "the log says "+text, func() bool { return strings.Count(p.err.String(), text) >= nth })
}

// hangUp asks a process for its successor.
func hangUp(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// slowest is the longest that anybody waited for an answer.
type slowest struct{ atomic.Int64 }

func (s *slowest) note(since time.Time) {
	for took := int64(time.Since(since)); ; {
		if old := s.Load(); took <= old || s.CompareAndSwap(old, took) {
			return
		}
	}
}

// While clients ask for metadata and change instances of both clouds without a
// pause, imds serve is replaced, and one that is to replace it cannot: nobody
// is refused, nobody is cut off, everybody gets an answer, and what was
// acknowledged is there, once.
func TestServeReplace(t *testing.T) {
	h := newHost(t)
	h.seed(t)
	p := h.start(t)
	t.Cleanup(func() { // whoever is the last
		for _, m := range regexp.MustCompile(`has taken over" pid=(\d+)`).FindAllStringSubmatch(p.err.String(), -1) {
			pid, _ := strconv.Atoi(m[1])
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		}
	})
	api := ec2Client{http.DefaultClient, p.addr["control"]}
	id, status, err := api.launch(t.Context(), "first", "me")
	if err != nil || status != http.StatusOK {
		t.Fatalf("launch: %d, %v", status, err)
	}
	guest := "http://" + p.addr["ec2"] + "/latest/"
	_, token := get(t, "127.0.0.1", "PUT", guest+"api/token", "X-aws-ec2-metadata-token-ttl-seconds", "600")

	work, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	t.Cleanup(func() { stop(); group.Wait() })
	var asked atomic.Int64
	var guestWaits, apiWaits slowest
	dial := func(ctx context.Context, network, to string) (net.Conn, error) {
		return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}}).DialContext(ctx, network, to)
	}
	for i := range 4 {
		client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: i > 0, DialContext: dial}}
		group.Go(func() {
			for work.Err() == nil {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, guest+"meta-data/instance-id", nil)
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("X-aws-ec2-metadata-token", token)
				begin := time.Now()
				res, err := client.Do(req)
				if err != nil {
					t.Errorf("metadata: %v", err)
					return
				}
				body, err := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if err != nil || string(body) != id {
					t.Errorf("metadata: %s %q, %v, want %s", res.Status, body, err, id)
					return
				}
				guestWaits.note(begin)
				asked.Add(1)
				time.Sleep(time.Millisecond)
			}
		})
	}
	writers := make([]*writer, 4)
	for i := range writers {
		w := &writer{owner: fmt.Sprintf("client-%d", i), have: map[string]seen{}, ended: map[string]bool{}}
		w.connect(p, []string{"ec2", "ecs"}[i%2], &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}})
		writers[i] = w
		group.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			for work.Err() == nil {
				c, begin := w.next(r), time.Now()
				if alive, err := w.do(t.Context(), c, false); err != nil || !alive {
					t.Errorf("%s: %+v was not answered: %v", w.owner, c, errors.Join(err, w.why))
					return
				}
				apiWaits.note(begin)
			}
		})
	}
	answers := func() {
		t.Helper()
		before := asked.Load()
		waitFor(t, "there are answers", func() bool { return asked.Load() > before+100 || t.Failed() })
	}
	answers()
	hangUp(t, p.cmd.Process.Pid)
	pid := p.takenOver(t, 1)
	answers()

	// One that cannot read its settings is not waited for; one that cannot
	// serve gives everything back.
	const refused, begins = "no new process takes over; this one goes on", "the new process did not take over; this one begins anew"
	good, err := os.ReadFile(h.config)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, h.config, string(good)+"nonsense: 1\n")
	hangUp(t, pid)
	p.says(t, refused, 1)
	answers()
	writeFile(t, h.config, strings.Replace(string(good), "listeners:\n", "listeners:\n  - {dialect: ec2, address: \"192.0.2.1:80\"}\n", 1))
	for n := range 2 {
		hangUp(t, pid)
		p.says(t, begins, n+1)
		answers()
	}
	writeFile(t, h.config, string(good))
	hangUp(t, pid)
	pid = p.takenOver(t, 2)
	answers()
	stop()
	group.Wait()

	acked := 0
	for _, w := range writers {
		acked += w.acked
		if err := w.verify(t.Context()); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d answers to instances, the slowest after %v; %d changes acknowledged, the slowest after %v",
		asked.Load(), time.Duration(guestWaits.Load()), acked, time.Duration(apiWaits.Load()))
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.done: // the last that has the output open is gone
	case <-time.After(20 * time.Second):
		t.Fatal("the last process does not end")
	}
	h.run(t, 0, "store", "check", h.storeAt())
	h.checkRecorded(t, acked)
	if t.Failed() {
		t.Logf("the log:\n%s", p.err)
	}
}
