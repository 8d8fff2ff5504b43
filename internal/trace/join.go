package trace

import (
	"cmp"
	"container/list"
	"time"

	"openimds/internal/trace/finding"
	"openimds/internal/trace/procs"
	"openimds/internal/trace/record"
	"openimds/internal/trace/redact"
	"openimds/internal/trace/stream"
)

// Bounds of what is remembered, and for how long.
const (
	maxConns     = 8192
	maxRecent    = 2048
	maxHeld      = 8 << 20         // bytes of unfinished requests, of all connections
	maxPending   = 64              // requests of a connection that wait for their answer
	attemptAfter = 5 * time.Second // a connection without a request is told then
	answerWithin = time.Second     // a request is told without status then
	partWithin   = time.Minute     // a request that has begun is given up then
	idleAfter    = 5 * time.Minute // a connection is forgotten then
	sameProcess  = 30 * time.Second
)

// Joiner makes findings of records: it knows the connections, puts the bytes
// of each in order, and finds the process and the answer of each request. It
// is used by one goroutine; time comes with each call.
type Joiner struct {
	// Answers: the engine tells of answers, so requests wait for theirs.
	Answers bool
	// Engine is written into findings.
	Engine string
	// Describe describes a process at the time of a record.
	Describe func(w *record.Who, at uint64, c procs.Clocks) finding.Process
	// Allowed processes may do without tokens: no warning.
	Allowed func(*finding.Process) bool
	// Here reports whether a network namespace, by inode, is one that is told of;
	// nil: all are, and those that are not known.
	Here func(netns uint32) bool
	// Unplaced counts what was not told because its namespace is not known.
	Unplaced uint64
	// Evicted counts connections that were forgotten for want of room while
	// something was still to come.
	Evicted uint64
	// Unnamed counts requests whose process is not known.
	Unnamed uint64

	conns  map[uint64]*list.Element // of *conn
	order  list.List                // least recently used first
	recent map[recentKey]recentProcess
	held   int // of unfinished requests, in bytes
	out    []finding.Finding
}

// recentKey names a process; where the kernel does not tell the start, a new
// connect of the same number replaces what was known.
type recentKey struct {
	pid   int
	start uint64
}

type recentProcess struct {
	process finding.Process
	args    string // what the description was made from
	comm    string
	at      time.Time
}

type conn struct {
	id       uint64
	dst      string
	cloud    string
	process  finding.Process
	stream   stream.Conn
	opened   time.Time
	used     time.Time
	asked    bool // there was a request, or an attempt was told
	pending  []waiting
	firstNew bool
}

type waiting struct {
	finding finding.Finding
	end     uint32
	until   time.Time
}

// Handle takes a record and returns the findings that are complete with it.
func (j *Joiner) Handle(r record.Record, c procs.Clocks) []finding.Finding {
	if j.conns == nil {
		j.conns, j.recent = map[uint64]*list.Element{}, map[recentKey]recentProcess{}
	}
	j.out = nil
	switch r.Kind {
	case record.Connect:
		j.connect(&r, c)
	case record.Request:
		j.request(&r, c)
	case record.Answer:
		j.answer(&r, c.Now)
	}
	return j.out
}

func (j *Joiner) connect(r *record.Record, c procs.Clocks) {
	var p finding.Process
	if r.Who != nil {
		p = j.describe(r, c)
	}
	if r.Conn == 0 {
		return // the requests will say whose they are
	}
	n := j.open(r.Conn, c.Now)
	if !n.firstNew && n.process.PID == 0 {
		n.process = placed(p, r) // found now
		return
	}
	j.held -= n.stream.Held()
	*n = newConn(r, c.Now)
	n.process = placed(p, r)
	n.asked = r.Seeded // how could it be known
	n.stream.Joined = r.Seeded
}

// placed is a process with the namespace of its packet, where it has none.
func placed(p finding.Process, r *record.Record) finding.Process {
	p.NetNS = cmp.Or(p.NetNS, r.NetNS)
	return p
}

func newConn(r *record.Record, now time.Time) conn {
	return conn{id: r.Conn, opened: now, used: now, dst: r.Dst.String(), cloud: cloudOf(r.Dst.Addr())}
}

// open returns the connection of an id, a new one if there is none, and makes
// it the one that was used last.
func (j *Joiner) open(id uint64, now time.Time) *conn {
	if e := j.conns[id]; e != nil {
		j.order.MoveToBack(e)
		n := e.Value.(*conn)
		n.used = now
		return n
	}
	if len(j.conns) >= maxConns {
		if n := j.order.Front().Value.(*conn); !n.done() {
			j.Evicted++
		}
		j.forget(j.order.Front())
	}
	n := &conn{id: id, opened: now, used: now, firstNew: true}
	j.conns[id] = j.order.PushBack(n)
	return n
}

// done: nothing more is to be told of it, unless another request comes, which
// brings its process along.
func (n *conn) done() bool { return n.asked && len(n.pending) == 0 && n.stream.Idle() }

// forget tells what is left of a connection.
func (j *Joiner) forget(e *list.Element) {
	n := e.Value.(*conn)
	j.end(n)
	j.flush(n, len(n.pending))
	j.order.Remove(e)
	delete(j.conns, n.id)
}

func (j *Joiner) request(r *record.Record, c procs.Clocks) {
	n := j.open(r.Conn, c.Now)
	if n.firstNew {
		// Its connect was lost, or was long ago.
		*n = newConn(r, c.Now)
		n.stream.Joined = r.Who == nil || j.Engine != "tpcgperf"
		n.process = placed(n.process, r)
	}
	if n.process.PID == 0 && r.Who != nil {
		n.process = placed(j.describe(r, c), r)
	}
	n.asked = true
	before := n.stream.Held()
	complete := n.stream.Add(r.Seq, r.Offset, r.Data, r.Time)
	j.held += n.stream.Held() - before
	defer j.shrink()
	for _, q := range complete {
		f := j.finding(n, &q, c.Wall(q.Time))
		f.Src = r.Src.String()
		if !j.Answers {
			j.emit(f)
			continue
		}
		if len(n.pending) >= maxPending {
			j.flush(n, 1)
		}
		n.pending = append(n.pending, waiting{f, q.End, c.Now.Add(answerWithin)})
	}
}

// shrink gives up the unfinished requests of the connections that were used
// longest ago, while there are too many bytes of them.
func (j *Joiner) shrink() {
	for e := j.order.Front(); e != nil && j.held > maxHeld; e = e.Next() {
		if n := e.Value.(*conn); n.stream.Held() > 0 {
			j.end(n)
			j.Evicted++
		}
	}
}

// end tells of a request that began and does not end.
func (j *Joiner) end(n *conn) {
	j.held -= n.stream.Held()
	if q, ok := n.stream.Close(); ok {
		j.emit(j.finding(n, &q, n.used))
	}
	j.held += n.stream.Held()
}

// answer gives the status to the request that it answers.
func (j *Joiner) answer(r *record.Record, now time.Time) {
	e := j.conns[r.Conn]
	status := statusOf(r.Data)
	if e == nil || status < 200 {
		return
	}
	n := e.Value.(*conn)
	n.used = now
	answered := 0
	for answered < len(n.pending) && int32(r.Ack-n.pending[answered].end) >= 0 {
		answered++
	}
	if answered == 0 {
		return
	}
	f := &n.pending[0].finding
	f.Status = status
	f.Refused = f.Mode == finding.TokenFree && (status == 401 || status == 403)
	// Of several answers in a segment only the first is seen: whose the next
	// would be cannot be known.
	j.flush(n, answered)
}

// flush emits the first requests that wait.
func (j *Joiner) flush(n *conn, count int) {
	for _, w := range n.pending[:count] {
		j.emit(w.finding)
	}
	n.pending = n.pending[count:]
	if len(n.pending) == 0 {
		n.pending = nil
	}
}

func (j *Joiner) emit(f finding.Finding) {
	if j.Here != nil && !j.Here(f.Process.NetNS) {
		if f.Process.NetNS == 0 {
			j.Unplaced++
		}
		return
	}
	if f.Process.PID == 0 {
		j.Unnamed++
	}
	j.out = append(j.out, f)
}

// Tick returns the findings that time completes. It is to be called every few
// hundred milliseconds.
func (j *Joiner) Tick(now time.Time) []finding.Finding {
	j.out = nil
	for e := j.order.Front(); e != nil; {
		next := e.Next()
		n := e.Value.(*conn)
		late := 0
		for late < len(n.pending) && now.After(n.pending[late].until) {
			late++
		}
		j.flush(n, late)
		if !n.asked && now.Sub(n.opened) > attemptAfter {
			n.asked = true
			f := j.base(n, n.opened)
			f.Mode, f.Level = finding.Attempt, finding.Info
			j.emit(f)
		}
		if !n.stream.Idle() && now.Sub(n.used) > partWithin {
			j.end(n)
		}
		if now.Sub(n.used) > idleAfter {
			j.forget(e)
		}
		e = next
	}
	return j.out
}

// Flush returns what is left when there will be no more records.
func (j *Joiner) Flush() []finding.Finding {
	j.out = nil
	for e := j.order.Front(); e != nil; e = j.order.Front() {
		j.forget(e)
	}
	return j.out
}

// Conns is how many connections are remembered.
func (j *Joiner) Conns() int { return len(j.conns) }

// describe describes the process of a record, or remembers it.
func (j *Joiner) describe(r *record.Record, c procs.Clocks) finding.Process {
	w := r.Who
	key := recentKey{w.PID, w.Start}
	args := ""
	for _, a := range w.Args {
		args += a + "\x00"
	}
	known, ok := j.recent[key]
	if ok = ok && known.comm == cmp.Or(w.Leader, w.Comm); ok {
		fresh := c.Now.Sub(known.at) < sameProcess && known.args == args && w.Start != 0
		if w.FromTable || fresh {
			p := known.process
			p.TID = w.TID
			return p
		}
	}
	p := j.Describe(w, r.Time, c)
	if ok && w.Start == 0 && p.Start.IsZero() && c.Now.Sub(known.at) < sameProcess {
		return known.process // it has ended meanwhile
	}
	if len(j.recent) >= maxRecent {
		clear(j.recent)
	}
	j.recent[key] = recentProcess{p, args, cmp.Or(w.Leader, w.Comm), c.Now}
	return p
}

// base is a finding of a connection.
func (j *Joiner) base(n *conn, at time.Time) finding.Finding {
	return finding.Finding{
		V: finding.Version, Time: at.UTC(), Count: 1, Cloud: n.cloud, Dst: n.dst, Conn: n.id,
		Process: n.process, Engine: j.Engine,
	}
}

func (j *Joiner) finding(n *conn, q *stream.Request, at time.Time) finding.Finding {
	f := j.base(n, at)
	f.Mode, f.Level = classify(q)
	f.Method, f.Path = redact.Text(q.Method), redact.Text(q.Path)
	f.Host, f.UserAgent = redact.Text(q.Host), redact.Text(q.UserAgent)
	f.TokenHeader, f.Segments, f.Truncated = q.TokenHeader, q.Segments, q.Truncated
	switch q.TokenHeader {
	case stream.TokenECS:
		f.Cloud = "ecs"
	case stream.TokenEC2:
		f.Cloud = "ec2"
	}
	if f.Level == finding.Warning && j.Allowed != nil && j.Allowed(&f.Process) {
		f.Level = finding.Info
	}
	return f
}
