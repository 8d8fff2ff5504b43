package procs

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// tick is a unit of start times in /proc, in ns: USER_HZ is 100 on every
// architecture that this runs on.
const tick = 10_000_000

// stat is what is needed of /proc/PID/stat.
type stat struct {
	comm  string
	ppid  int
	start uint64 // ticks since boot
}

func (r *Reader) stat(pid int) (stat, error) {
	b, err := readFile(r.path(pid, "stat"), 1024)
	if err != nil {
		return stat{}, err
	}
	return parseStat(b)
}

// parseStat reads the line. The name is in parentheses and may have some, and
// spaces, in it.
func parseStat(b []byte) (stat, error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return stat{}, fmt.Errorf("%q is no process state", b)
	}
	fields := strings.Fields(string(b[end+1:]))
	if len(fields) < 20 {
		return stat{}, fmt.Errorf("process state of %d fields", len(fields))
	}
	ppid, err := strconv.Atoi(fields[1])
	if err != nil {
		return stat{}, fmt.Errorf("parent's number: %w", err)
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return stat{}, fmt.Errorf("start time: %w", err)
	}
	return stat{string(b[open+1 : end]), ppid, start}, nil
}

// readFile reads at most limit bytes of a file.
func readFile(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}
