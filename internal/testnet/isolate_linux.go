package testnet

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"syscall"
)

// namespace names the network namespace of the process.
func namespace() (string, error) { return os.Readlink("/proc/self/ns/net") }

// enter makes the namespace that the process was started in usable.
func enter() error {
	if !Isolated() {
		return errors.Join(errors.New("this is not a namespace of the tests' own"), onlyLoopback())
	}
	if err := linkUp("lo"); err != nil {
		return fmt.Errorf("bring the loopback interface up: %w", err)
	}
	return nil
}

// onlyLoopback returns an error that names an interface over which a packet
// could leave.
func onlyLoopback() error {
	all, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	for _, i := range all {
		if i.Flags&net.FlagUp != 0 && i.Flags&net.FlagLoopback == 0 {
			return fmt.Errorf("interface %s is up", i.Name)
		}
	}
	return nil
}

// child returns the command that is this test binary again, in a new
// namespace. The process is killed when the calling thread ends.
func child(here string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), origin+"="+here)
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	cmd.SysProcAttr = attr
	return cmd
}

// reexecute runs the test binary again, isolated, and returns its exit status.
// It reports false when no namespace can be had.
func reexecute() (status int, ok bool) {
	runtime.LockOSThread() // the child dies with this thread
	defer runtime.UnlockOSThread()
	here, err := namespace()
	if err != nil {
		return 0, false
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	defer signal.Stop(signals)

	cmd := child(here, os.Args[1:]...)
	if err := cmd.Start(); err != nil {
		return 0, false
	}
	done := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-signals:
				_ = cmd.Process.Signal(s) // it may have ended just now
			case <-done:
				return
			}
		}
	}()
	_ = cmd.Wait() // the status says it all
	close(done)
	code := cmd.ProcessState.ExitCode()
	if code < 0 { // ended by a signal
		code = 2
	}
	return code, code != unusable
}

// permitted tells why the process could not have had a namespace of its own;
// nil: it could.
var permitted = sync.OnceValue(func() error {
	here, err := namespace()
	if err != nil {
		return fmt.Errorf("read the network namespace: %w", err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := child(here, "-test.run=^$")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = nil, nil, nil
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("namespaces are not permitted here (run as root, or allow unprivileged user namespaces): %w", err)
	}
	return nil
})
