//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"openimds/internal/testnet"
)

// shell is a bash that a test types commands into. What one of them sets, the
// next ones see.
type shell struct {
	cmd      *exec.Cmd
	commands *os.File      // what it reads
	statuses chan string   // what it answers: the status of each
	outputs  string        // directory with the output of each
	n        int           // commands so far
	slow     time.Duration // how long one may take
	logs     []string      // the outputs of what was left running
}

// startShell starts a shell in a directory, which ends with the test, and with
// it whatever it has left running.
func startShell(t *testing.T, dir string, env []string) *shell {
	t.Helper()
	reads, commands, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	statuses, answers, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := &shell{commands: commands, outputs: t.TempDir(), statuses: make(chan string), slow: 2 * time.Minute}
	s.cmd = exec.Command("bash", "--noprofile", "--norc", "/dev/fd/3")
	s.cmd.Dir, s.cmd.Env = dir, env
	s.cmd.ExtraFiles = []*os.File{reads, answers}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = reads.Close()
	_ = answers.Close()
	go func() {
		defer close(s.statuses)
		for lines := bufio.NewScanner(statuses); lines.Scan(); {
			s.statuses <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		s.endRunning(t)
		_ = commands.Close()
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		for _, log := range s.logs {
			testnet.SaidFile(t, log)
		}
		for range s.statuses { // to its end
		}
		_ = statuses.Close()
	})
	return s
}

// run runs a command and returns its status and the file with what it printed.
// A command that keeps running has the status 0.
func (s *shell) run(text string, keepsRunning bool) (status int, output string, err error) {
	s.n++
	output = filepath.Join(s.outputs, strconv.Itoa(s.n))
	if keepsRunning {
		text += " &"
		s.logs = append(s.logs, output)
	}
	if _, err := fmt.Fprintf(s.commands, "exec >'%s' 2>&1\n%s\nprintf '%%s\\n' \"$?\" >&4\n", output, text); err != nil {
		return 0, output, err
	}
	select {
	case answer, ok := <-s.statuses:
		if !ok {
			return 0, output, errors.New("the shell has ended")
		}
		status, err = strconv.Atoi(answer)
		return status, output, err
	case <-time.After(s.slow):
		return 0, output, fmt.Errorf("it does not end within %v: a quote may be open, or it is a server and the block is to be marked with <!-- keeps running -->", s.slow)
	}
}

// running are the processes of the shell's session but the shell itself.
func (s *shell) running() (all []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// pid (name) state ppid pgrp session …; see proc_pid_stat(5).
		name := bytes.LastIndexByte(text, ')')
		fields := strings.Fields(string(text[name+1:]))
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err == nil && len(fields) > 3 && fields[0] != "Z" && fields[3] == strconv.Itoa(s.cmd.Process.Pid) && pid != s.cmd.Process.Pid {
			all = append(all, pid)
		}
	}
	return all
}

// endRunning ends what the shell has left running: by a signal, and what does
// not heed it by force, which fails the test.
func (s *shell) endRunning(t *testing.T) {
	t.Helper()
	for _, pid := range s.running() {
		_ = syscall.Kill(pid, syscall.SIGTERM)
	}
	for range 200 {
		if len(s.running()) == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	for _, pid := range s.running() {
		t.Errorf("process %d ignores SIGTERM for ten seconds", pid)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}
