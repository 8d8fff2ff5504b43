package sink

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"openimds/internal/testnet"
	"openimds/internal/trace/finding"
)

// receiver is a control plane that can be away.
type receiver struct {
	mu     sync.Mutex
	status int
	tokens []string
	keys   []string
	got    []finding.Finding
}

func (r *receiver) set(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.got)
}

// ServeHTTP takes batches as the control plane does.
func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tokens = append(r.tokens, q.Header.Get("Authorization")+" "+q.Header.Get("Content-Type"))
	r.keys = append(r.keys, q.Header.Get("Idempotency-Key"))
	if r.status != 0 {
		w.WriteHeader(r.status)
		return
	}
	if err := finding.Read(q.Body, func(f *finding.Finding) error { r.got = append(r.got, *f); return nil }); err != nil {
		w.WriteHeader(http.StatusBadRequest)
	}
}

func newReport(t *testing.T, url string, spool int64) *Report {
	t.Helper()
	dir := t.TempDir()
	s, err := OpenSpool(filepath.Join(dir, "spool"), spool)
	if err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(dir, "token")
	os.WriteFile(token, []byte("t0ken\n"), 0o600)
	return &Report{URL: url, TokenFile: token, Spool: s, Every: 10 * time.Millisecond, Client: &http.Client{}, Machine: finding.Machine{Instance: "i-1"}, Log: testnet.Quiet()}
}

func TestReport(t *testing.T) {
	r := &receiver{}
	s := httptest.NewServer(r)
	defer s.Close()
	p := newReport(t, s.URL, 1<<20)
	for range 3 {
		p.Put(sample())
	}
	r.set(http.StatusServiceUnavailable)
	p.Tick(time.Now())
	if err := p.drain(t.Context()); err == nil {
		t.Error("no error though nobody takes it")
	}
	p.Put(sample())
	p.Cut()
	r.set(0)
	if err := p.drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(r.got) != 4 || r.got[0].Machine.Instance != "i-1" || p.Sent() != 4 || p.Lost() != 0 {
		t.Errorf("%d came, %d sent, %d lost", len(r.got), p.Sent(), p.Lost())
	}
	if r.tokens[0] != "Bearer t0ken application/x-ndjson" {
		t.Error(r.tokens)
	}
	if names, _ := p.Spool.names(); len(names) != 0 {
		t.Errorf("left in the spool: %q", names)
	}
}

func TestReportOutlivesTheProcess(t *testing.T) {
	r := &receiver{}
	s := httptest.NewServer(r)
	defer s.Close()
	p := newReport(t, s.URL, 1<<20)
	p.Put(sample())
	p.Cut()
	again, err := OpenSpool(p.Spool.dir, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	q := newReport(t, s.URL, 1<<20)
	q.Spool = again
	q.Put(sample())
	q.Cut()
	if err := q.drain(t.Context()); err != nil || len(r.got) != 2 {
		t.Errorf("%v, %d came", err, len(r.got))
	}
}

// A batch has the same key at every try, over a restart too, and another one has
// another, also where the numbers of the spool begin anew.
func TestBatchKey(t *testing.T) {
	r := &receiver{status: http.StatusServiceUnavailable}
	s := httptest.NewServer(r)
	defer s.Close()
	p := newReport(t, s.URL, 1<<20)
	f := sample()
	p.Put(f)
	p.Cut()
	for range 2 {
		if err := p.drain(t.Context()); err == nil {
			t.Fatal("it was taken")
		}
		again, err := OpenSpool(p.Spool.dir, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		p.Spool = again
	}
	r.set(0)
	for range 2 {
		if err := p.drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		again, err := OpenSpool(p.Spool.dir, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		p.Spool = again
		p.Put(f) // the same text
		p.Cut()
	}
	if len(r.keys) != 4 || r.keys[0] == "" || r.keys[0] != r.keys[1] || r.keys[0] != r.keys[2] || r.keys[0] == r.keys[3] {
		t.Errorf("the keys are %q", r.keys)
	}
}

func TestReportDropsWhatIsRefused(t *testing.T) {
	r := &receiver{status: http.StatusBadRequest}
	s := httptest.NewServer(r)
	defer s.Close()
	p := newReport(t, s.URL, 1<<20)
	p.Put(sample())
	p.Cut()
	if err := p.drain(t.Context()); err != nil || p.Lost() != 1 {
		t.Errorf("%v, %d lost", err, p.Lost())
	}
}

func TestSpoolIsBounded(t *testing.T) {
	s, err := OpenSpool(filepath.Join(t.TempDir(), "spool"), 1000)
	if err != nil {
		t.Fatal(err)
	}
	dropped := 0
	for range 20 {
		n, err := s.Add([]byte(strings.Repeat("x", 149) + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		dropped += n
	}
	names, _ := s.names()
	if dropped != 14 || len(names) != 6 {
		t.Errorf("%d dropped, %d left", dropped, len(names))
	}
	if name, _, err := s.First(); err != nil || name != names[0] {
		t.Errorf("%v, %s", err, name)
	}
}

func TestReportRuns(t *testing.T) {
	r := &receiver{}
	s := httptest.NewServer(r)
	defer s.Close()
	p := newReport(t, s.URL, 1<<20)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx) }()
	p.Put(sample())
	p.Cut()
	for end := time.Now().Add(10 * time.Second); r.count() == 0 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-done
	if r.count() != 1 {
		t.Error("the report was not sent")
	}
}

// The end of a tracer sends what is left, and what is not taken waits.
func TestReportFinish(t *testing.T) {
	r := &receiver{}
	s := httptest.NewServer(r)
	defer s.Close()
	p := newReport(t, s.URL, 1<<20)
	p.Put(sample())
	if err := p.Finish(t.Context()); err != nil || r.count() != 1 {
		t.Errorf("%v, %d taken", err, r.count())
	}
	r.set(http.StatusServiceUnavailable)
	p.Put(sample())
	if err := p.Finish(t.Context()); err == nil || !strings.Contains(err.Error(), "they wait in the spool") {
		t.Errorf("nobody takes it: %v", err)
	}
	r.set(0)
	if err := p.Finish(t.Context()); err != nil || r.count() != 2 {
		t.Errorf("%v, %d taken", err, r.count())
	}
}
