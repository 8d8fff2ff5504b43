package engine

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"openimds/internal/trace/record"
)

// Bounds of the engine without eBPF.
const (
	packetBuffer = 4 << 20  // bytes, in each namespace
	maxFlows     = 4096     // and as many that were seen before
	maxCopied    = 16 << 10 // bytes of a segment
	lookEvery    = time.Second
	rest         = 5 * time.Second // how long what is waiting is read at most when it stops
)

// packets is the engine of packet sockets: one in each network namespace,
// which sees what leaves and what comes. Who holds a socket is looked up when
// its first packet is seen; a process that has ended by then has no name.
type packets struct {
	o       Options
	records chan record.Record
	done    chan struct{}
	last    time.Time      // until when what is waiting is read; written before done is closed
	wait    sync.WaitGroup // the readers and the one that looks for namespaces
	stop    sync.Once

	mu   sync.Mutex // guards what follows
	taps map[uint32]*tap

	unknown, cut, lost atomic.Uint64
	next               atomic.Uint64 // of the ids of connections that have no cookie
}

// tap is the packet socket of one namespace, with one to ask for sockets.
type tap struct {
	netns uint32
	raw   int
	diag  int
	quit  atomic.Bool

	// flows are the connections that were seen lately, and old those before:
	// when flows is full it becomes old, and what is used moves over.
	flows, old map[flow]*flowState
}

type flow struct{ src, dst netip.AddrPort }

type flowState struct {
	id    uint64
	first uint32 // sequence number of its SYN, by which one that is repeated is known
	named bool
	tries int
}

// unnamedIDs begin here, far from socket cookies.
const unnamedIDs = 1 << 62

func openPacket(o Options) (Engine, error) {
	e := &packets{o: o, records: make(chan record.Record, 256), done: make(chan struct{}), taps: map[uint32]*tap{}}
	own, _ := netnsOf(os.Getpid())
	if err := e.tap(own, os.Getpid()); err != nil {
		if missing := missingCapabilities(unix.CAP_NET_RAW, unix.CAP_NET_ADMIN); missing != "" {
			return nil, fmt.Errorf("missing %s (run as root, or grant them): %w", missing, err)
		}
		return nil, err
	}
	e.look()
	e.wait.Go(func() {
		ticker := time.NewTicker(lookEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				e.look()
			case <-e.done:
				return
			}
		}
	})
	return e, nil
}

// look opens a tap in new namespaces, and closes those where nobody is left,
// which an open socket would keep alive.
func (e *packets) look() {
	now := namespaces()
	for n, pid := range now {
		e.mu.Lock()
		known := e.taps[n] != nil
		e.mu.Unlock()
		if known {
			continue
		}
		if err := e.tap(n, pid); err != nil && e.o.Log != nil {
			e.o.Log.Debug("a network namespace cannot be observed", "netns", n, "err", err)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for n, t := range e.taps {
		if _, ok := now[n]; !ok {
			t.quit.Store(true)
			delete(e.taps, n)
		}
	}
}

// tap begins to observe a namespace.
func (e *packets) tap(netns uint32, pid int) error {
	t := &tap{netns: netns, raw: -1, diag: -1, flows: map[flow]*flowState{}}
	open := func() error { return t.open(e.o.Ports) }
	var err error
	if own, _ := netnsOf(os.Getpid()); own == netns {
		err = open()
	} else {
		err = inNamespace(pid, open)
	}
	if err != nil {
		t.close()
		return err
	}
	e.mu.Lock()
	e.taps[netns] = t
	e.mu.Unlock()
	e.wait.Go(func() { e.watch(t) })
	return nil
}

func (t *tap) open(ports []uint16) (err error) {
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // in network byte order
	// Without a protocol nothing is received until the filter is in place.
	if t.raw, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return fmt.Errorf("open a packet socket: %w", err)
	}
	program := filter(ports)
	if err := unix.SetsockoptSockFprog(t.raw, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}); err != nil {
		return fmt.Errorf("filter a packet socket: %w", err)
	}
	_ = unix.SetsockoptInt(t.raw, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, packetBuffer)
	pause := unix.NsecToTimeval(int64(200 * time.Millisecond)) // after which it is looked whether to go on
	if err := unix.SetsockoptTimeval(t.raw, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &pause); err != nil {
		return fmt.Errorf("set up a packet socket: %w", err)
	}
	if err := unix.Bind(t.raw, &unix.SockaddrLinklayer{Protocol: all}); err != nil {
		return fmt.Errorf("bind a packet socket: %w", err)
	}
	if t.diag, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG); err != nil {
		return fmt.Errorf("open a socket to ask for sockets: %w", err)
	}
	return nil
}

func (t *tap) close() {
	for _, fd := range []int{t.raw, t.diag} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// watch reads the packets of a namespace.
func (e *packets) watch(t *tap) {
	defer e.untap(t)
	buf := make([]byte, 128<<10)
	for !t.quit.Load() {
		n, from, err := unix.Recvfrom(t.raw, buf, 0)
		select {
		case <-e.done:
			if n <= 0 || err != nil || time.Now().After(e.last) {
				return // what was waiting is read
			}
		default:
		}
		if err != nil {
			if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENETDOWN) {
				continue
			}
			return
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		s, parsed := parseSegment(buf[:n])
		if !ok || !parsed {
			continue
		}
		if link.Pkttype == unix.PACKET_OUTGOING {
			e.outgoing(t, s)
		} else {
			e.incoming(t, s)
		}
	}
}

// outgoing sees a segment towards a service.
func (e *packets) outgoing(t *tap, s segment) {
	if !e.o.watched(s.dst) {
		return
	}
	key := flow{s.src, s.dst}
	f := t.find(key)
	if f == nil || s.syn && s.seq != f.first {
		f = &flowState{id: unnamedIDs + e.next.Add(1), first: s.seq}
		t.keep(key, f)
		r := e.name(t, s, f)
		r.Seeded = !s.syn
		e.emit(r)
	}
	if len(s.data) == 0 {
		return
	}
	if !f.named && f.tries < 3 {
		// Perhaps the process was not to be found yet.
		if r := e.name(t, s, f); r.Who != nil {
			e.emit(r)
		}
	}
	if !f.named {
		e.unknown.Add(1)
	}
	r := record.Record{
		Kind: record.Request, Time: monotonic(), Conn: f.id, Src: s.src, Dst: s.dst,
		Seq: s.seq, Ack: s.ack, Size: uint32(len(s.data)), Data: s.copied(maxCopied), NetNS: t.netns,
	}
	if len(r.Data) < len(s.data) {
		e.cut.Add(1)
	}
	e.emit(r)
}

// find returns a connection that was seen lately.
func (t *tap) find(key flow) *flowState {
	if f := t.flows[key]; f != nil {
		return f
	}
	f := t.old[key]
	if f != nil {
		t.keep(key, f)
	}
	return f
}

func (t *tap) keep(key flow, f *flowState) {
	if len(t.flows) >= maxFlows {
		t.flows, t.old = map[flow]*flowState{}, t.flows
	}
	t.flows[key] = f
}

// incoming sees a segment from a service.
func (e *packets) incoming(t *tap, s segment) {
	if !e.o.Answers || !e.o.watched(s.src) || len(s.data) < 4 || string(s.data[:4]) != "HTTP" {
		return
	}
	if f := t.find(flow{s.dst, s.src}); f != nil {
		e.emit(record.Record{
			Kind: record.Answer, Time: monotonic(), Conn: f.id, Src: s.src, Dst: s.dst,
			Seq: s.seq, Ack: s.ack, Size: uint32(len(s.data)), Data: s.copied(64),
		})
	}
}

// name looks for the process that a segment comes from.
func (e *packets) name(t *tap, s segment, f *flowState) record.Record {
	r := record.Record{Kind: record.Connect, Time: monotonic(), Conn: f.id, Dst: s.dst, NetNS: t.netns}
	f.tries++
	inode := t.inode(s)
	if inode == 0 {
		return r
	}
	if w := ownerOf(inode); w != nil {
		w.NetNS, f.named = t.netns, true
		r.Who = w
	}
	return r
}

// inode asks for the socket between two addresses.
func (t *tap) inode(s segment) (inode uint32) {
	family := uint8(unix.AF_INET6)
	if s.src.Addr().Is4() {
		family = unix.AF_INET
	}
	of := sock{src: s.src, dst: s.dst}
	for range 2 {
		_ = dump(t.diag, diagRequest(family, ^uint32(0), 0, of), func(found sock) { inode = found.inode })
		if inode != 0 || family == unix.AF_INET6 {
			return inode
		}
		// An IPv6 socket may speak IPv4.
		family = unix.AF_INET6
		of.src = netip.AddrPortFrom(netip.AddrFrom16(s.src.Addr().As16()), s.src.Port())
		of.dst = netip.AddrPortFrom(netip.AddrFrom16(s.dst.Addr().As16()), s.dst.Port())
	}
	return inode
}

func (e *packets) emit(r record.Record) { e.records <- r }

// Name implements Engine.
func (e *packets) Name() string { return "afpacket" }

// Read implements Engine.
func (e *packets) Read() (record.Record, error) {
	r, ok := <-e.records
	if !ok {
		return record.Record{}, io.EOF
	}
	return r, nil
}

// Counts implements Engine.
func (e *packets) Counts() Counts {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range e.taps {
		e.drops(t)
	}
	return Counts{LostRequests: e.lost.Load(), Unknown: e.unknown.Load(), Cut: e.cut.Load()}
}

// drops counts what the kernel had no room for. Reading the statistics resets
// them.
func (e *packets) drops(t *tap) {
	if s, err := unix.GetsockoptTpacketStats(t.raw, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
		e.lost.Add(uint64(s.Drops))
	}
}

// untap ends a tap, after which nobody asks its sockets anything.
func (e *packets) untap(t *tap) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.drops(t)
	if e.taps[t.netns] == t {
		delete(e.taps, t.netns)
	}
	t.close()
}

// Stop implements Engine.
func (e *packets) Stop() error {
	e.stop.Do(func() {
		e.last = time.Now().Add(rest)
		close(e.done)
		go func() {
			e.wait.Wait()
			close(e.records)
		}()
	})
	return nil
}

// Close implements Engine. What was not read is dropped.
func (e *packets) Close() error {
	err := e.Stop()
	for range e.records { // so that the readers can end
	}
	return err
}

func monotonic() uint64 {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) != nil {
		return 0
	}
	return uint64(t.Nano())
}
