package meter

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"openimds/internal/usage/series"
)

// mostPending bounds the reports that wait: a day's.
const mostPending = 1440

// spool holds reports that were not taken yet, in order, and in a folder where
// there is one, so that they outlive the process.
type spool struct {
	dir     string
	next    uint64 // number of the next file
	waiting []spooled
}

type spooled struct {
	file   string    // empty: in memory only
	made   time.Time // by the clock of this run, which does not jump; zero: in an earlier run
	report series.Report
}

// halfWritten is after how long a file that is not whole was cut off by a crash:
// until then another process that hands over may be writing it.
const halfWritten = time.Minute

// openSpool reads what an earlier run left. A file that a crash cut off is
// removed: its report was never complete.
func openSpool(dir string) (*spool, error) {
	s := &spool{dir: dir}
	if dir == "" {
		return s, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, spoolError(err)
	}
	return s, s.adopt("")
}

// adopt takes the reports that other runs left, besides those that wait here
// already: of a process that handed over, the last come when this one has long
// begun. Those of the run with the given boot are its own.
func (s *spool) adopt(boot string) error {
	if s.dir == "" {
		return nil
	}
	entries, err := os.ReadDir(s.dir) // sorted by name
	if err != nil {
		return spoolError(err)
	}
	known := map[string]bool{}
	for _, w := range s.waiting {
		known[w.file] = true
	}
	for _, e := range entries {
		path := filepath.Join(s.dir, e.Name())
		if known[path] || !strings.HasPrefix(e.Name(), "report-") {
			continue
		}
		number, of, whole := reportName(e.Name())
		if !whole {
			if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > halfWritten {
				_ = os.Remove(path)
			}
			continue
		}
		s.next = max(s.next, number+1)
		if boot != "" && of == boot || len(s.waiting) >= mostPending {
			continue
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // its process has just sent it
		}
		if err != nil {
			return spoolError(err)
		}
		var r series.Report
		if json.Unmarshal(data, &r) != nil {
			_ = os.Remove(path)
			continue
		}
		s.waiting = append(s.waiting, spooled{file: path, report: r})
	}
	return nil
}

// reportName reads the name of a file: its number, and the boot of its run.
func reportName(name string) (number uint64, boot string, whole bool) {
	digits, boot, ok := strings.Cut(strings.TrimPrefix(name, "report-"), "-")
	number, err := strconv.ParseUint(digits, 16, 64)
	return number, boot, ok && err == nil && len(digits) == 16 && !strings.HasSuffix(name, ".new")
}

// add keeps a report that is made now. It tells whether the oldest had to go
// for it. An error means that it is kept in memory alone.
func (s *spool) add(r series.Report, now time.Time) (dropped bool, err error) {
	if len(s.waiting) >= mostPending {
		err = s.drop()
		dropped = true
	}
	e := spooled{report: r, made: now}
	if s.dir != "" {
		path := filepath.Join(s.dir, fmt.Sprintf("report-%016x-%s", s.next, r.Boot))
		werr := write(path, r)
		if werr == nil {
			e.file = path
		}
		err = errors.Join(err, werr)
		s.next++
	}
	s.waiting = append(s.waiting, e)
	return dropped, err
}

// write writes a report so that after a crash it is there as a whole or not at
// all.
func write(path string, r series.Report) error {
	data, err := json.Marshal(r)
	if err != nil {
		return spoolError(err)
	}
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return spoolError(err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	return spoolError(err)
}

// drop gives the oldest report up. The next one says so, if it is of the same
// run; and what began and ended is told by it, too.
func (s *spool) drop() error {
	gone, next := s.waiting[0].report, &s.waiting[1].report
	if gone.Boot == next.Boot {
		next.Skipped, next.Lost = 1+gone.Skipped, gone.From
		if !gone.Lost.IsZero() {
			next.Lost = gone.Lost
		}
		next.Began, next.Ended = append(gone.Began, next.Began...), append(gone.Ended, next.Ended...)
	}
	var err error
	if file := s.waiting[1].file; file != "" {
		err = write(file, *next)
	}
	s.remove(0)
	return err
}

// remove forgets a report.
func (s *spool) remove(i int) {
	if file := s.waiting[i].file; file != "" {
		_ = os.Remove(file) // what stays is sent again, and counts once
	}
	s.waiting = slices.Delete(s.waiting, i, i+1)
}

// drain sends the reports in order until one is not taken.
func (s *spool) drain(now time.Time, send func(series.Report) error) error {
	for len(s.waiting) > 0 {
		first := s.waiting[0]
		if !first.made.IsZero() {
			first.report.Age = max(now.Sub(first.made), 1)
		}
		if err := send(first.report); err != nil {
			return err
		}
		s.remove(0)
	}
	return nil
}
