// Package deliver brings the messages of alarms from the outbox in the store to
// webhooks: each at least once, in order at each address, signed, tried again
// with growing pauses, and never in the way of who wrote them.
package deliver

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"

	"openimds/internal/state"
)

// Config is what a Courier is made of. DB is required.
type Config struct {
	DB *state.DB
	// Secret signs messages. Empty: they are not signed.
	Secret []byte
	// Loopback lets messages go to this machine, for tests and `imds dev`.
	Loopback bool
	// Keep is how long a message is tried; a day by default.
	Keep time.Duration
	// Poll is how often the outbox is looked at; a second by default.
	Poll   time.Duration
	Now    func() time.Time
	Logger *slog.Logger
}

// Pauses between tries: the first, and the longest.
const (
	firstPause = 2 * time.Second
	mostPause  = 10 * time.Minute
	// tryTime is how long an address may take to answer.
	tryTime = 10 * time.Second
	// together is how many addresses are sent to at once.
	together = 16
)

// Courier delivers messages.
type Courier struct {
	cfg    Config
	client *http.Client

	mu   sync.Mutex // guards busy
	busy map[string]bool
	slot chan struct{}
	all  sync.WaitGroup
}

// New returns a courier.
func New(cfg Config) *Courier {
	if cfg.Keep == 0 {
		cfg.Keep = 24 * time.Hour
	}
	if cfg.Poll == 0 {
		cfg.Poll = time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Courier{cfg: cfg, client: newClient(cfg.Loopback), busy: map[string]bool{}, slot: make(chan struct{}, together)}
}

// Run delivers until ctx is done. What is under way then is broken off, and
// sent again by the next who runs.
func (c *Courier) Run(ctx context.Context) {
	defer c.all.Wait()
	tick := time.NewTicker(c.cfg.Poll)
	defer tick.Stop()
	for {
		c.look(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// look starts a delivery to each address that has a message due.
func (c *Courier) look(ctx context.Context) {
	now := c.cfg.Now()
	seen := map[string]bool{}
	// They are in the order of their ids: the first of an address is its oldest.
	for _, n := range c.cfg.DB.Notices.All(nil) {
		if seen[n.URL] {
			continue
		}
		seen[n.URL] = true
		if n.Next.After(now) || !c.take(n.URL) {
			continue
		}
		c.all.Go(func() {
			defer c.leave(n.URL)
			c.drain(ctx, n.URL)
		})
	}
}

func (c *Courier) take(address string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy[address] {
		return false
	}
	select {
	case c.slot <- struct{}{}:
		c.busy[address] = true
		return true
	default:
		return false // at the next look
	}
}

func (c *Courier) leave(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.busy, address)
	<-c.slot
}

// drain sends the messages of an address until one does not arrive.
func (c *Courier) drain(ctx context.Context, address string) {
	for ctx.Err() == nil {
		due := c.cfg.DB.Notices.All(func(n *state.Notice) bool { return n.URL == address })
		if len(due) == 0 || due[0].Next.After(c.cfg.Now()) {
			return
		}
		n := due[0]
		err := c.send(ctx, n)
		if ctx.Err() != nil && err != nil {
			return // it was broken off: nobody knows whether it arrived
		}
		if err := c.settle(ctx, n, err); err != nil {
			c.cfg.Logger.Error("what became of a message of an alarm was not stored; it is sent again", "message", n.ID, "err", err)
			return
		}
	}
}

// settle takes a message that arrived out of the outbox, and plans the next try
// of one that did not.
func (c *Courier) settle(ctx context.Context, n *state.Notice, problem error) error {
	now := c.cfg.Now().UTC()
	log := c.cfg.Logger.With("message", n.ID, "alarm", n.Alarm, "host", host(n.URL), "tries", n.Tries+1)
	// Of an alarm that was deleted, a message is tried once: nobody wants it any more.
	_, there := c.cfg.DB.Alarms.Get(n.Alarm)
	over := problem != nil && (now.Sub(n.Made) >= c.cfg.Keep || n.Alarm != "" && !there)
	switch {
	case problem == nil:
		log.Info("a message of an alarm was delivered")
	case over:
		log.Error("a message of an alarm was not delivered and is given up", "err", problem)
	default:
		log.Warn("a message of an alarm was not delivered; trying again", "err", problem)
	}
	return c.cfg.DB.Update(ctx, func(tx *state.Tx) error {
		now, ok, err := state.Load(tx, c.cfg.DB.Notices, n.ID)
		if err != nil || !ok {
			return err
		}
		if over {
			if err := c.giveUp(tx, n); err != nil {
				return err
			}
		}
		if problem == nil || over {
			state.Remove(tx, c.cfg.DB.Notices, n.ID)
			return nil
		}
		now.Tries++
		now.Problem = problem.Error()
		now.Next = c.cfg.Now().UTC().Add(Pause(now.Tries))
		return state.Save(tx, c.cfg.DB.Notices, n.ID, now)
	})
}

// giveUp notes in the history of an alarm that nobody was told.
func (c *Courier) giveUp(tx *state.Tx, n *state.Notice) error {
	a, ok, err := state.Load(tx, c.cfg.DB.Alarms, n.Alarm)
	if err != nil || !ok {
		return err
	}
	a.GivenUp++
	a.Note(state.AlarmEvent{At: c.cfg.Now().UTC(), Type: state.AlarmActed, Instance: n.Instance, Summary: "Message for " + host(n.URL) + " was not delivered and is given up"})
	return state.Save(tx, c.cfg.DB.Alarms, n.Alarm, a)
}

// Pause is how long to wait after a number of tries: twice as long each time,
// give or take a quarter.
func Pause(tries int) time.Duration {
	p := mostPause
	if tries < 16 {
		p = min(mostPause, firstPause<<max(0, tries-1))
	}
	return p - p/4 + rand.N(p/2) //nolint:gosec // it keeps senders apart, and is no secret
}

// host is what may be said of an address: its path may hold a secret.
func host(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

var errStatus = errors.New("the address did not answer with success")
