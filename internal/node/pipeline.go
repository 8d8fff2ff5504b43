package node

import (
	"net/http"
	"time"

	"openimds/internal/dialect"
	"openimds/internal/item"
	"openimds/internal/token"
	"openimds/internal/wire"
)

// scratch is the memory that one connection's requests are answered with.
type scratch struct {
	query item.Query
	token token.Scratch
	body  []byte
	reply dialect.Reply
	marks dialect.Marks
	call  call
	// later: this request was let through by the limits, and is asked again.
	later bool
}

// call is what is known of the request at hand.
type call struct {
	*endpoint
	guest  *guest
	snap   *snapshot
	now    time.Time
	access dialect.Access
	item   int // node id of the item asked for
}

// pipeline is a Node as a wire.Handler.
type pipeline struct{ *Node }

// keepScratch is the largest body buffer that is kept for the next request.
const keepScratch = 64 << 10

// Open admits a connection, up to the caller's share.
func (n pipeline) Open(c *wire.Conn) bool {
	e := c.Listener.(*endpoint)
	g, known := e.find(c)
	held, most := &n.strangers.conns, int32(strangerConns)
	if known && !e.genuine(g, c) {
		c.Caller, known = impostor{}, false
	}
	if known {
		c.Caller = g
		held, most = &g.conns, int32(n.cfg.ConnectionsPerInstance)
	}
	if held.Add(1) > most {
		held.Add(-1)
		n.overShare.Add(1)
		return false
	}
	return true
}

// Closed gives the share back.
func (n pipeline) Closed(c *wire.Conn) {
	if g, ok := c.Caller.(*guest); ok {
		g.conns.Add(-1)
		return
	}
	n.strangers.conns.Add(-1)
}

// Unacknowledged counts a token that did not arrive.
func (n pipeline) Unacknowledged(c *wire.Conn) {
	if g, ok := c.Caller.(*guest); ok {
		g.usage.Suspect()
		n.suspects.Add(1)
	}
}

// Serve answers one request (SEC-O1 to SEC-O9).
func (n pipeline) Serve(x *wire.Exchange) {
	s, ok := x.Scratch.(*scratch)
	if !ok {
		s = &scratch{}
		x.Scratch = s
	}
	e := x.Conn.Listener.(*endpoint)
	now := n.cfg.Now()
	s.reply = dialect.Reply{TokenTTL: -1, Date: n.clock.date(now), Head: x.Request.Method == wire.HEAD}
	s.call = call{endpoint: e, now: now, item: item.Nowhere}
	c := &s.call

	// SEC-O1: who is calling, before anything that was said.
	c.guest, ok = e.find(x.Conn)
	if _, forged := x.Conn.Caller.(impostor); forged {
		c.guest, ok = nil, false
	}
	if !ok {
		n.spoof(e, now)
		n.strangers.note(now, e, x.Conn)
		s.reply.Status, s.reply.Outcome = http.StatusNotFound, dialect.UnknownCaller
		n.finish(x, s)
		return
	}
	c.snap = c.guest.snap.Load()
	s.reply.Modified = c.snap.modified[:]
	n.decide(x, s)
	if x.Later {
		// It is asked again, on a goroutine that may wait, and is one request.
		s.later = true
		return
	}
	s.later = false
	n.finish(x, s)
}

// finish gives the reply its form and counts it.
func (n pipeline) finish(x *wire.Exchange, s *scratch) {
	c, r := &s.call, &s.reply
	req := &x.Request
	// A refusal of the message, or of the caller, says nothing that a client
	// could go on from. An HTTP/1.0 client must be told that its connection
	// stays, which a dialect that closes by default never says.
	r.Close = x.Malformed != 0 || r.Outcome == dialect.UnknownCaller || req.Close ||
		!req.KeepAlive && (req.HTTP10 || c.CloseByDefault) || req.HTTP10 && c.CloseByDefault
	r.KeepAlive = req.HTTP10 && !r.Close
	x.CloseAfter = r.Close
	if !x.Abort {
		x.Out = c.Append(x.Out, r)
	}
	c.totals.Count(c.item, c.access, r.Outcome)
	if c.guest != nil {
		asked := c.item
		if r.Outcome == dialect.NoToken && req.PathOK {
			// It was refused before its path was looked at (SEC-O8); who asks why is to know what for.
			asked = c.Tree.Locate(req.Path).ID
		}
		// What is counted has a name by then.
		c.guest.callers.Note(s.marks.Agent, asked, c.access, r.Outcome, x.Conn.Peer.Addr(), c.now.Unix())
		c.guest.usage.Count(c.access, r.Outcome, c.now.Unix())
		if r.Outcome == dialect.NoToken && n.cfg.Rejected != nil {
			n.cfg.Rejected(c.snap.in.ID)
		}
	}
	// What the scratch points to must not outlive the request.
	r.Body, s.query.Instance, s.query.RawQuery, s.query.Signer, s.query.Credentials = nil, nil, nil, nil, nil
	s.marks = dialect.Marks{}
	s.call = call{}
	if cap(s.body) > keepScratch {
		s.body = nil
	}
}

// refuse makes the reply a refusal.
func (s *scratch) refuse(status int, o dialect.Outcome) {
	s.reply.Status, s.reply.Outcome, s.reply.Content = status, o, dialect.Error
}

// decide goes through the decisions in their order and fills in the reply.
func (n pipeline) decide(x *wire.Exchange, s *scratch) {
	c, req := &s.call, &x.Request
	// SEC-O2: the message.
	if x.Malformed != 0 {
		s.refuse(x.Malformed, dialect.Malformed)
		return
	}
	// SEC-O3: method, then Host.
	target := c.TokenTargetOf(req)
	switch {
	case target == dialect.ExactToken && req.Method != wire.PUT:
		s.reply.Allow = c.Refusals.TokenPathAllow
	case target == dialect.NotToken && req.Method != wire.GET && req.Method != wire.HEAD,
		req.Method == wire.Other:
		s.reply.Allow = "GET, HEAD"
	}
	if s.reply.Allow != "" {
		s.refuse(http.StatusMethodNotAllowed, dialect.MethodRefused)
		return
	}
	if len(req.Host) > 0 && !c.owns(req.Host) || req.Absolute && len(req.HostHeader) > 0 && !c.owns(req.HostHeader) {
		s.refuse(http.StatusForbidden, dialect.HostRefused)
		return
	}
	if req.Expect100 && c.Refusals.Expect100 != 0 {
		s.refuse(c.Refusals.Expect100, dialect.ExpectRefused)
		return
	}
	// SEC-O4: the endpoint.
	if c.snap.disabled || c.snap.noIPv6 && c.overLinkLocalIPv6(x.Conn) {
		s.refuse(http.StatusForbidden, dialect.EndpointDisabled)
		return
	}
	if f := c.guest.fault.Load(); f != nil && !s.later && f.hit(req.Path) {
		x.Delay, x.Abort = f.Delay, f.Reset
		switch {
		case f.Throttle:
			s.reply.RetryAfter = 1
			s.refuse(c.Refusals.Throttled, dialect.Throttled)
			return
		case f.Reset || f.Status != 0:
			s.refuse(f.Status, dialect.Injected)
			return
		}
	}
	// SEC-O5: the rate.
	if wait, ok := n.allow(s); !ok {
		s.reply.RetryAfter = int((wait + time.Second - 1) / time.Second)
		s.refuse(c.Refusals.Throttled, dialect.Throttled)
		return
	}
	// SEC-O6: forwarding headers.
	s.marks = c.Mark(req)
	m := &s.marks
	if m.Browser {
		s.refuse(http.StatusForbidden, dialect.Browser)
		return
	}
	if req.Method == wire.PUT {
		n.mint(x, s, target)
		return
	}
	if m.Forwarded && m.Tokens > 0 && c.forwardedRead != 0 {
		s.refuse(c.forwardedRead, dialect.Forwarded)
		return
	}
	// SEC-O7: the token. One that was presented is good or refused.
	c.access = dialect.TokenFree
	if m.Tokens > 0 {
		c.access = dialect.Tokened
		left, ok := time.Duration(0), false
		if m.Tokens == 1 {
			left, ok = c.guest.keys.Verify(&s.token, c.Session.Prefix, c.snap.in.Generation, c.now, m.Token)
		}
		if !ok {
			s.refuse(http.StatusUnauthorized, dialect.BadToken)
			return
		}
		s.reply.TokenTTL = int((left + time.Second - 1) / time.Second)
	}
	// SEC-O8: the mode.
	if c.snap.required && c.access == dialect.TokenFree {
		s.refuse(c.Refusals.MissingToken, dialect.NoToken)
		return
	}
	// SEC-O9: only now the path.
	n.read(x, s)
}

// allow asks the guest's limiter, once for each request.
func (n pipeline) allow(s *scratch) (time.Duration, bool) {
	if s.later {
		return 0, true
	}
	return s.call.guest.limiter.Allow(n.cfg.Throttle, s.call.now.UnixNano())
}

// mint answers PUT.
func (n pipeline) mint(x *wire.Exchange, s *scratch, target dialect.TokenTarget) {
	c, m := &s.call, &s.marks
	if m.Forwarded || m.Proxied && n.cfg.StrictForwarding {
		s.refuse(http.StatusForbidden, dialect.Forwarded)
		return
	}
	if target != dialect.ExactToken {
		s.refuse(c.Refusals.InexactTokenPath, dialect.TokenPathRefused)
		return
	}
	ttl, ok := dialect.ParseTTL(m)
	if !ok {
		s.refuse(http.StatusBadRequest, dialect.BadTTL)
		return
	}
	body, err := c.guest.keys.Mint(s.body[:0], &s.token, c.Session.Prefix, c.snap.in.Generation, c.now, time.Duration(ttl)*time.Second, n.cfg.Random)
	if err != nil {
		n.log.Error("no session token could be made", "dialect", c.Name, "instance", c.snap.in.ID, "err", err)
		s.refuse(http.StatusServiceUnavailable, dialect.Failed)
		return
	}
	s.body = body
	s.reply.Status, s.reply.Outcome, s.reply.Content = http.StatusOK, dialect.Minted, dialect.Text
	s.reply.Body, s.reply.TokenTTL = body, ttl
	// EC2-HOP-01: the hop limit applies to the token's answer alone.
	x.HopLimit = c.snap.hopLimit
}

// read answers GET and HEAD.
func (n pipeline) read(x *wire.Exchange, s *scratch) {
	c, req := &s.call, &x.Request
	s.query.Instance, s.query.Now = c.snap.in, c.now.Unix()
	s.query.Tokened, s.query.RawQuery = c.access == dialect.Tokened, req.Query
	s.query.Credentials, s.query.Signer = c.guest.creds, nil
	if c.guest.notary != nil {
		s.query.Signer = c.guest.notary
	}
	s.query.Prompt = x.Inline && (s.query.Credentials != nil || s.query.Signer != nil)
	found := item.Result{Node: c.Tree.Nodes()[item.Nowhere]}
	if req.PathOK {
		s.body, found = c.Tree.Resolve(s.body[:0], &s.query, req.Path)
	}
	c.item = found.Node.ID
	if s.query.Refusal == item.NotPrompt {
		x.Later = true
		return
	}
	if found.Kind == item.Absent {
		n.absent(s)
		return
	}
	s.reply.Status, s.reply.Outcome, s.reply.Content = http.StatusOK, dialect.Served, dialect.Text
	if row := found.Node.Row(); row != nil && row.Class == item.Opaque {
		s.reply.Content = dialect.Binary
	}
	s.reply.Body = s.body
}

// absent refuses a path that gave no value.
func (n pipeline) absent(s *scratch) {
	switch s.query.Refusal {
	case item.TooMany:
		s.reply.RetryAfter = 1
		s.refuse(s.call.Refusals.Throttled, dialect.Throttled)
	case item.Unavailable:
		s.refuse(http.StatusServiceUnavailable, dialect.Failed)
	default:
		s.refuse(http.StatusNotFound, dialect.Absent)
	}
}

// overLinkLocalIPv6 tells that the request came to the dialect's own IPv6
// address.
func (c *call) overLinkLocalIPv6(conn *wire.Conn) bool {
	local := conn.Local.Addr()
	if !local.Is6() {
		return false
	}
	for _, a := range c.Addresses {
		if a == local {
			return true
		}
	}
	return false
}
