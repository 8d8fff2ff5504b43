package handover

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Program is what an old process starts in its place.
type Program struct {
	// Path of the program, its arguments without the name, and its environment.
	Path      string
	Args, Env []string
	// Variable of the environment that tells a new process that it is one.
	Variable string
	// Patience is how long the new process may take for each step.
	Patience time.Duration
	// Sibling makes the new process a child of this one's parent. It is for a
	// parent that is a service manager: systemd waits for the end of its own
	// children alone, and kills a main process at once that is not one of
	// them when the service is stopped.
	Sibling bool
}

// Successor is a new process, as the old one sees it. Either Release succeeds,
// or the successor ends.
type Successor struct {
	channel
	cmd      *exec.Cmd
	patience time.Duration
	ended    chan struct{}
}

// Start starts a successor and waits until it is ready to take over.
func (s *Sockets) Start(p Program) (*Successor, error) {
	t, files, err := s.duplicates()
	closeAll := func() {
		for _, f := range files {
			_ = f.Close() // the successor has its own
		}
	}
	if err != nil {
		closeAll()
		return nil, err
	}
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		closeAll()
		return nil, fmt.Errorf("hand over: make a channel: %w", err)
	}
	mine, theirs := os.NewFile(uintptr(pair[0]), "successor"), os.NewFile(uintptr(pair[1]), "predecessor")
	files = append([]*os.File{theirs}, files...)
	cmd := exec.Command(p.Path, p.Args...) //nolint:noctx // it outlives us
	cmd.Env = append(without(p.Env, p.Variable), fmt.Sprintf("%s=%d", p.Variable, firstFile-1))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = files
	if p.Sibling {
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_PARENT}
	}
	err = cmd.Start()
	closeAll() // the end of the successor is seen only when nobody else has its end of the channel
	if err != nil {
		return nil, errors.Join(fmt.Errorf("hand over: %w", err), mine.Close())
	}
	n := &Successor{newChannel(mine), cmd, p.Patience, make(chan struct{})}
	go func() {
		defer close(n.ended)
		if p.Sibling {
			await(cmd.Process.Pid)
			return
		}
		_ = cmd.Wait() // who cares sees the channel close
	}()
	text, err := json.Marshal(t)
	if err == nil {
		err = mine.SetDeadline(time.Now().Add(n.patience))
	}
	if err == nil {
		err = n.say(string(text))
	}
	if err == nil {
		err = n.hear(sayReady)
	}
	if err != nil {
		n.End()
		return nil, err
	}
	return n, nil
}

// await waits until a process that is not a child has ended, and has nothing
// open any more.
func await(pid int) {
	for {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return
		}
		// The state follows the name, which may hold anything in parentheses.
		if i := bytes.LastIndex(stat, []byte(") ")); i >= 0 && len(stat) > i+2 && (stat[i+2] == 'Z' || stat[i+2] == 'X') {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// without returns env without a variable.
func without(env []string, name string) (all []string) {
	for _, v := range env {
		if len(v) <= len(name) || v[:len(name)] != name || v[len(name)] != '=' {
			all = append(all, v)
		}
	}
	return all
}

// PID returns the process id.
func (n *Successor) PID() int { return n.cmd.Process.Pid }

// Release tells the successor that what only one can have is free, and waits
// until it serves. After an error it has ended, and the old process goes on.
func (n *Successor) Release() error {
	err := n.file.SetDeadline(time.Now().Add(n.patience))
	if err == nil {
		err = n.say(sayGo)
	}
	if err == nil {
		err = n.hear(sayServing)
	}
	if err != nil {
		n.End()
		return err
	}
	return n.file.Close()
}

// End ends a successor that is not to take over, and waits for its end.
func (n *Successor) End() {
	_ = n.file.Close()
	_ = n.cmd.Process.Kill() // unless it has ended
	<-n.ended
}
