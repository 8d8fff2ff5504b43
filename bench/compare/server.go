//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// server is a contestant that runs.
type server struct {
	name string
	// address to ask, by dialect and whether connections are new.
	address func(d *dialect, fresh bool) string
	tokens  map[*dialect]string
	cmd     *exec.Cmd
	pids    []int
	log     string // file with what it writes
}

// launch starts a program on the servers' core.
func (b *bench) launch(name, program string, args ...string) (*server, error) {
	s := &server{name: name, tokens: map[*dialect]string{}, log: filepath.Join(b.work, strings.ReplaceAll(name, ", ", "-")+".log")}
	out, err := os.Create(s.log)
	if err != nil {
		return nil, fmt.Errorf("make a log file: %w", err)
	}
	defer out.Close()
	s.cmd = exec.Command("taskset", append([]string{"-c", strconv.Itoa(b.serverCore), program}, args...)...)
	s.cmd.Stdout, s.cmd.Stderr = out, out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	b.running = append(b.running, s.cmd)
	b.servers[name] = s
	return s, nil
}

// find looks up the processes of s, once it answers: itself and its children.
func (s *server) find() error {
	pid := s.cmd.Process.Pid
	s.pids = []int{pid}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return fmt.Errorf("list the processes of %s: %w", s.name, err)
	}
	for _, f := range strings.Fields(string(text)) {
		child, err := strconv.Atoi(f)
		if err != nil {
			return fmt.Errorf("list the processes of %s: %w", s.name, err)
		}
		s.pids = append(s.pids, child)
	}
	return nil
}

// cpu returns the CPU time that s has used, user and system, of all its
// threads, in nanoseconds' resolution: what /proc/PID/stat shows in ticks.
func (s *server) cpu() (time.Duration, error) {
	var sum time.Duration
	for _, pid := range s.pids {
		const sched = 2 // CPUCLOCK_SCHED of the kernel's posix-timers.h
		var t unix.Timespec
		if err := unix.ClockGettime(int32(^pid<<3|sched), &t); err != nil {
			return 0, fmt.Errorf("read the CPU clock of %s, process %d: %w", s.name, pid, err)
		}
		sum += time.Duration(t.Nano())
	}
	return sum, nil
}

// stop ends all servers and waits for them.
func (b *bench) stop() {
	for _, cmd := range b.running {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	}
	for _, cmd := range b.running {
		kill := time.AfterFunc(8*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait() // how it ends is of no interest
		kill.Stop()
	}
	b.running = nil
}

// start starts all servers and waits until each answers.
func (b *bench) start(ctx context.Context) error {
	b.servers = map[string]*server{}
	for _, start := range []func() error{b.startFloor, b.startNginx, b.startImds} {
		if err := start(); err != nil {
			return err
		}
	}
	for _, s := range b.servers {
		for _, d := range dialects {
			if err := s.await(ctx, s.address(d, true)); err != nil {
				return err
			}
		}
		if err := s.find(); err != nil {
			return err
		}
	}
	return b.fetchTokens()
}

// await waits until s accepts connections.
func (s *server) await(ctx context.Context, address string) error {
	for end := time.Now().Add(60 * time.Second); ; {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(end) || ctx.Err() != nil || !alive(s.cmd.Process.Pid) {
			text, _ := os.ReadFile(s.log) // what there is, is shown
			return fmt.Errorf("%s does not answer on %s: %w\n%s", s.name, address, err, text)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// alive reports whether the child pid has not ended.
func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(after, "Z")
}
