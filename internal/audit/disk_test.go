package audit

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"openimds/internal/fault"
	"openimds/internal/testnet"
)

// disk is a file on a disk with little room, and with faults.
type disk struct {
	*os.File
	room       *atomic.Int64 // bytes that can still be written
	noTruncate *atomic.Bool
	noSync     *atomic.Bool
	syncs      *atomic.Int64
}

func (d disk) Write(p []byte) (int, error) {
	fit := max(min(int64(len(p)), d.room.Load()), 0)
	n, err := d.File.Write(p[:fit])
	d.room.Add(-int64(n))
	if err == nil && n < len(p) {
		err = &os.PathError{Op: "write", Path: d.Name(), Err: syscall.ENOSPC}
	}
	return n, err
}

func (d disk) Truncate(size int64) error {
	if d.noTruncate.Load() {
		return errors.New("cannot truncate")
	}
	info, err := d.Stat()
	if err != nil {
		return err
	}
	d.room.Add(info.Size() - size)
	return d.File.Truncate(size)
}

func (d disk) Sync() error {
	if d.noSync.Load() {
		return syscall.EIO
	}
	d.syncs.Add(1)
	return d.File.Sync()
}

// newDisk returns a log on such a disk.
func newDisk(t *testing.T, c Config) (*Log, disk) {
	t.Helper()
	d := disk{room: new(atomic.Int64), noTruncate: new(atomic.Bool), noSync: new(atomic.Bool), syncs: new(atomic.Int64)}
	d.room.Store(1 << 30)
	c.Path = filepath.Join(t.TempDir(), "audit.log")
	c.open = func(path string, flag int) (file, error) {
		f, err := os.OpenFile(path, flag, 0o600)
		return disk{f, d.room, d.noTruncate, d.noSync, d.syncs}, err
	}
	l, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return l, d
}

func entry(i int) Record {
	return Record{Time: time.Date(2026, 3, 1, 10, 0, i, 0, time.UTC), API: EC2, Action: "ec2:RunInstances", Decision: Allow, Resources: []string{"i-1"}}
}

// A full disk is an error of the call, and leaves no trace: the log goes on
// when there is room again.
func TestDiskFull(t *testing.T) {
	for _, noTruncate := range []bool{false, true} {
		for room := range int64(200) {
			l, d := newDisk(t, Config{})
			d.noTruncate.Store(noTruncate)
			if err := l.Append(entry(0)); err != nil {
				t.Fatal(err)
			}
			d.room.Store(room)
			line, err := entry(1).encode()
			if err != nil {
				t.Fatal(err)
			}
			err = l.Append(entry(1))
			fits := room >= int64(len(line))
			if fits != (err == nil) || !fits && (fault.KindOf(err) != fault.Unavailable || !errors.Is(err, syscall.ENOSPC)) {
				t.Fatalf("room for %d bytes of %d: %v", room, len(line), err)
			}
			d.room.Store(1 << 20)
			if err := l.Append(entry(2)); err != nil {
				t.Fatal(err)
			}
			r, err := l.Query(t.Context(), Filter{})
			want := 2
			if fits || noTruncate && room == int64(len(line))-1 { // all but the line end was written
				want = 3
			}
			damaged := 0
			if noTruncate && room > 0 && want == 2 {
				damaged = 1
			}
			if err != nil || len(r.Records) != want || r.Damaged != damaged {
				t.Fatalf("room for %d bytes of %d: %d records, %d damaged, %v", room, len(line), len(r.Records), r.Damaged, err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// What was appended is synced within SyncEvery, and not otherwise.
func TestSyncs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, d := newDisk(t, Config{RotateSize: 300})
		wait := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		wait(10 * time.Second)
		if n := d.syncs.Load(); n != 0 {
			t.Errorf("%d syncs of nothing", n)
		}
		if err := l.Append(entry(0)); err != nil {
			t.Fatal(err)
		}
		if err := l.Append(entry(1)); err != nil {
			t.Fatal(err)
		}
		if n := d.syncs.Load(); n != 0 {
			t.Errorf("%d syncs at once", n)
		}
		wait(time.Second + time.Millisecond)
		if n := d.syncs.Load(); n != 1 {
			t.Errorf("%d syncs after a second, want 1", n)
		}
		if err := l.Append(entry(2)); err != nil { // which rotates
			t.Fatal(err)
		}
		if n := d.syncs.Load(); n != 2 {
			t.Errorf("%d syncs after a rotation, want 2", n)
		}
		wait(10 * time.Second)
		if err := l.Close(); err != nil || d.syncs.Load() != 4 {
			t.Errorf("%d syncs in the end, want 4 (%v)", d.syncs.Load(), err)
		}
	})
}

// When the disk does not take what was written, nothing more is promised.
func TestSyncFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said strings.Builder
		l, d := newDisk(t, Config{Logger: textLogger(&said)})
		if err := l.Append(entry(0)); err != nil {
			t.Fatal(err)
		}
		d.noSync.Store(true)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		for range 2 {
			if err := l.Append(entry(1)); fault.KindOf(err) != fault.Unavailable || !errors.Is(err, syscall.EIO) {
				t.Errorf("Append after a sync that failed: %v", err)
			}
		}
		if !strings.Contains(said.String(), "cannot be synced") {
			t.Errorf("the log said %q", said.String())
		}
		d.noSync.Store(false)
		if err := l.Append(entry(2)); err != nil {
			t.Errorf("Append after a sync that succeeds: %v", err)
		}
		if r, err := l.Query(t.Context(), Filter{}); err != nil || len(r.Records) != 2 {
			t.Errorf("%d records, %v", len(r.Records), err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Opening the next file fails: the old one goes on.
func TestRotationOpenFails(t *testing.T) {
	l, _ := newDisk(t, Config{RotateSize: 300})
	defer l.Close()
	good := l.config.open
	l.config.open = func(string, int) (file, error) { return nil, syscall.EMFILE }
	for i := range 10 {
		if err := l.Append(entry(i)); err != nil {
			t.Fatal(err)
		}
	}
	if older, err := rotated(l.config.Path); err != nil || len(older) != 0 {
		t.Errorf("older %v, %v: the file was not put back", older, err)
	}
	l.config.open = good
	for i := range 2 {
		if err := l.Append(entry(10 + i)); err != nil {
			t.Fatal(err)
		}
	}
	older, err := rotated(l.config.Path)
	r, qerr := l.Query(t.Context(), Filter{})
	if err != nil || qerr != nil || len(older) != 1 || len(r.Records) != 12 || r.Damaged != 0 {
		t.Errorf("older %v, %d records, %v, %v", older, len(r.Records), err, qerr)
	}
}

func textLogger(w io.Writer) *slog.Logger { return testnet.Logger(w, nil) }
