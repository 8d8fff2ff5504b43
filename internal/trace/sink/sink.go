package sink

import (
	"fmt"
	"io"
	"time"

	"openimds/internal/trace/finding"
)

// Sink takes findings. It is called by one goroutine, and must not keep the
// finding.
type Sink interface {
	// Put takes a finding. An error says that it may be lost; the next is
	// given nevertheless.
	Put(*finding.Finding) error
}

// Ticker is a sink that has something to do from time to time.
type Ticker interface {
	// Tick is called some times a second by the goroutine that calls Put.
	Tick(now time.Time) error
}

// Text writes log lines.
type Text struct {
	W io.Writer
	// Zone of the times; nil: the machine's.
	Zone *time.Location
	// Journal: lines begin with the priority, as systemd reads it, in place of
	// time and level.
	Journal bool
	buf     []byte
}

// priorities of syslog by level.
var priorities = map[finding.Level]int{finding.Info: 6, finding.Warning: 4, finding.Error: 3}

// Put implements Sink.
func (t *Text) Put(f *finding.Finding) error {
	t.buf = t.buf[:0]
	if t.Journal {
		t.buf = fmt.Appendf(t.buf, "<%d>[%s] %s\n", priorities[f.Level], levels[f.Level], Message(f))
	} else {
		zone := t.Zone
		if zone == nil {
			zone = time.Local
		}
		t.buf = append(append(t.buf, Line(f, zone)...), '\n')
	}
	_, err := t.W.Write(t.buf)
	return err
}

// JSON writes lines of JSON.
type JSON struct {
	W   io.Writer
	buf []byte
}

// Put implements Sink.
func (j *JSON) Put(f *finding.Finding) error {
	var err error
	if j.buf, err = finding.Append(j.buf[:0], f); err != nil {
		return err
	}
	_, err = j.W.Write(j.buf)
	return err
}
