package feed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
)

// ClientConfig is what a Client is made of. URL, HTTP, Path and Apply are
// required.
type ClientConfig struct {
	// URL of the control plane, such as https://control.example:8181.
	URL string
	// HTTP makes the requests; its transport holds the node's certificate. It must have no timeout: an answer lasts as long as it is of use.
	HTTP *http.Client
	// Node is the name of this node, as the control plane knows it. A last-good file of another node is not served. Empty: it is not known.
	Node string
	// Path of the last-good file.
	Path string
	// Apply puts a batch in force. An error is logged; the feed goes on, since what is served is still good.
	Apply func(*Batch) error
	// Drop, where set, is told what credentials are void.
	Drop func(Drop)
	// Silence is how long a stream may say nothing before it is given up; 30 s by default.
	Silence time.Duration
	// Backoff is the longest wait between attempts; 30 s by default. The first is a hundredth of it or less.
	Backoff time.Duration
	Now     func() time.Time
	Logger  *slog.Logger
}

// Client follows a feed. What it has got is on disk, and in force before the
// control plane is reached the first time.
type Client struct {
	cfg       ClientConfig
	mirror    *Mirror
	recording *Recording
	status    atomic.Pointer[Status]
	forms     atomic.Pointer[map[string][]string]
}

// Status is how a node stands to its control plane.
type Status struct {
	// Connected tells whether a stream is open, Contact when it last said something.
	Connected bool      `json:"connected"`
	Contact   time.Time `json:"contact,omitzero"`
	// Revision that is in force; 0: nothing was ever received.
	Revision uint64 `json:"revision"`
	// Guests is how many instances are in force.
	Guests int `json:"guests"`
	// Unsaved tells that the last-good file is behind, because it could not be written.
	Unsaved bool `json:"unsaved,omitempty"`
	// Problem is why the last attempt failed.
	Problem string `json:"problem,omitempty"`
}

// NewClient opens the last-good file and puts in force what it holds.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.Silence == 0 {
		cfg.Silence = 30 * time.Second
	}
	if cfg.Backoff == 0 {
		cfg.Backoff = 30 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Client{cfg: cfg, mirror: &Mirror{}}
	var err error
	if c.recording, err = OpenRecording(cfg.Path, c.mirror, cfg.Logger); err != nil {
		return nil, err
	}
	if cfg.Node != "" && c.mirror.node != "" && c.mirror.node != cfg.Node {
		cfg.Logger.Warn("the last-good file is that of another node, and is not served", "file", cfg.Path, "node", c.mirror.node, "this", cfg.Node)
		c.mirror = &Mirror{}
	}
	c.status.Store(&Status{Revision: c.mirror.revision, Guests: c.mirror.Len()})
	c.forms.Store(&c.mirror.forms)
	if c.mirror.revision != 0 {
		if err := cfg.Apply(c.mirror.Everything()); err != nil {
			cfg.Logger.Error("not all of the last-good file is in force", "file", cfg.Path, "err", err)
		}
	}
	return c, nil
}

// Status returns how the client stands.
func (c *Client) Status() Status { return *c.status.Load() }

// Signs reports whether the control plane makes a form of signatures over
// identity documents, as far as it was ever heard of.
func (c *Client) Signs(dialect, form string) bool {
	return slices.Contains((*c.forms.Load())[dialect], form)
}

// note changes the status.
func (c *Client) note(change func(*Status)) {
	s := *c.status.Load()
	change(&s)
	c.status.Store(&s)
}

// Run follows the feed until ctx is done, from one connection to the next.
func (c *Client) Run(ctx context.Context) {
	defer c.recording.Close()
	for tries := 0; ctx.Err() == nil; tries++ {
		began := c.cfg.Now()
		err := c.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		c.note(func(s *Status) { s.Connected, s.Problem = false, err.Error() })
		if c.cfg.Now().Sub(began) > c.cfg.Backoff {
			tries = 0
		}
		wait := c.wait(tries)
		c.cfg.Logger.Warn("the control plane is away; serving the last good state", "url", c.cfg.URL, "retry", wait.Round(time.Millisecond), "err", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// wait returns how long to wait before the next attempt: anything up to a bound
// that doubles, so that a fleet does not come back all at once.
func (c *Client) wait(tries int) time.Duration {
	bound := min(c.cfg.Backoff, c.cfg.Backoff/128<<min(tries, 7))
	return bound/8 + rand.N(bound)
}

// errSilent is why a stream that says nothing is given up.
var errSilent = errors.New("the control plane has fallen silent")

// follow follows one stream to its end, which is an error.
func (c *Client) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(c.cfg.Silence, func() { cancel(errSilent) })
	defer silence.Stop()
	resp, err := c.request(ctx)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	defer resp.Body.Close()
	frames := NewReader(resp.Body)
	c.mirror.Begin()
	for first := true; ; first = false {
		f, err := frames.Next()
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			return fmt.Errorf("read the feed: %w", err)
		}
		silence.Reset(c.cfg.Silence)
		b, err := c.mirror.Add(f)
		if err != nil {
			// What came with this stream and is not in force is forgotten; the
			// next one begins with everything.
			c.mirror.forget()
			return err
		}
		if f.Drop != nil && c.cfg.Drop != nil {
			c.cfg.Drop(*f.Drop)
		}
		if f.Hello != nil {
			forms := f.Hello.Forms
			c.forms.Store(&forms)
		}
		if first {
			c.cfg.Logger.Info("following the control plane", "url", c.cfg.URL, "node", c.mirror.node, "revision", c.mirror.revision)
			c.note(func(s *Status) { s.Connected, s.Contact, s.Problem = true, c.cfg.Now(), "" })
		}
		if b != nil {
			c.commit(b)
		}
	}
}

// commit puts a batch in force, and then on disk: a guest must not wait for a
// disk, and what is served is good.
func (c *Client) commit(b *Batch) {
	unsaved := c.Status().Unsaved
	if !b.Empty() {
		if err := c.cfg.Apply(b); err != nil {
			c.cfg.Logger.Error("a change is not in force", "revision", b.Revision, "err", err)
		}
	}
	if !b.Empty() || unsaved {
		err := c.recording.Append(b, c.mirror)
		if err != nil && !unsaved {
			c.cfg.Logger.Error("what is served is not on disk; trying again with the next change: make room, or mend the disk", "file", c.cfg.Path, "err", err)
		}
		unsaved = err != nil
	}
	c.note(func(s *Status) {
		s.Contact, s.Revision, s.Guests, s.Unsaved = c.cfg.Now(), b.Revision, c.mirror.Len(), unsaved
	})
}

// request asks for a stream that goes on from what the client has.
func (c *Client) request(ctx context.Context) (*http.Response, error) {
	store, revision, epoch := c.mirror.Position()
	q := url.Values{}
	if store != "" {
		q.Set(QueryStore, store)
		q.Set(QueryRevision, strconv.FormatUint(revision, 10))
		q.Set(QueryEpoch, strconv.FormatInt(epoch, 10))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.cfg.URL+Path+"?"+q.Encode(), nil)
	if err != nil {
		return nil, fmt.Errorf("ask for the feed: %w", err)
	}
	resp, err := c.cfg.HTTP.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask for the feed: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 512))
		return nil, fmt.Errorf("ask for the feed: the control plane answers %s: %.512q", resp.Status, why)
	}
	return resp, nil
}
