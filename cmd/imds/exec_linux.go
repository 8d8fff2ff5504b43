package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newExec() *cobra.Command {
	var folder string
	c := &cobra.Command{
		Use:   "exec INSTANCE -- COMMAND [ARGUMENT…]",
		Short: "run a command in an instance of imds dev --netns",
		Long: `exec runs a command in the network namespace of an instance of a running
imds dev --netns, where the clouds' own addresses answer as they do in that
instance. INSTANCE/container is a container in it, one hop further away.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(commandOf(args)) == 0 {
				return usageError{errors.New("imds exec needs an instance and a command: imds exec INSTANCE -- COMMAND")}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			return enterMachine(folder, args[0], commandOf(args))
		},
	}
	c.Flags().StringVar(&folder, "state", "", "the --state of that imds dev, if it was given one")
	c.Flags().SetInterspersed(false)
	return c
}

// commandOf is what follows the instance, with or without -- between.
func commandOf(args []string) []string {
	if len(args) > 1 && args[1] == "--" {
		return args[2:]
	}
	return args[min(1, len(args)):]
}

// enterMachine becomes the command, in the namespace of a machine.
func enterMachine(folder, name string, command []string) error {
	file, err := labFile(folder)
	if err != nil {
		return err
	}
	r, err := readLab(file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !r.alive() {
		return errors.New("no imds dev --netns is running: start one, or name its folder with --state")
	}
	if err != nil {
		return err
	}
	i := slices.IndexFunc(r.Machines, func(e labEntry) bool { return e.Name == name })
	if i < 0 {
		var names []string
		for _, e := range r.Machines {
			names = append(names, e.Name)
		}
		return usageError{fmt.Errorf("there is no %q; there are %s", name, strings.Join(names, ", "))}
	}
	program, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	runtime.LockOSThread() // exec keeps the namespace of the thread that calls it
	fd, err := unix.Open(r.Machines[i].Path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the namespace of %s: %w", name, err)
	}
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the namespace of %s: %w (CAP_SYS_ADMIN is needed: run it as root)", name, err)
	}
	return fmt.Errorf("run %s: %w", program, syscall.Exec(program, command, os.Environ()))
}

// write says where the machines are. The lock is held.
func (l *lab) write() error {
	return writeLab(l.file, labRecord{PID: os.Getpid(), Started: startOf(os.Getpid()), Machines: l.entries()})
}

// entries are the machines, in order. The lock is held.
func (l *lab) entries() []labEntry {
	var all []labEntry
	for _, id := range slices.Sorted(maps.Keys(l.machines)) {
		m := l.machines[id]
		e := labEntry{Name: id, Path: pathOf(m.ns), Dialect: m.dialect, About: m.about, Namespace: kernelName(m.ns)}
		all = append(all, e)
		if m.container != nil {
			e.Name, e.Path, e.About = id+"/container", pathOf(m.container), "a container in it, one hop further"
			e.Namespace = kernelName(m.container)
			all = append(all, e)
		}
	}
	return all
}

// kernelName is how the kernel calls a namespace; empty: it does not say.
func kernelName(ns *os.File) string {
	name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", ns.Fd()))
	if err != nil {
		return ""
	}
	return name
}

// cleanLab removes what a lab left that ended without a word. Its namespaces
// went with its process, but for those that commands still run in, of which
// it tells.
func cleanLab(folder string, stdout io.Writer) error {
	file, err := labFile(folder)
	if err != nil {
		return err
	}
	r, err := readLab(file)
	if err == nil && r.alive() {
		return fmt.Errorf("it runs still, with process id %d: end that first", r.PID)
	}
	// It may have ended before it wrote the file, or while it did.
	gone := func(name string) bool {
		_, err := os.Lstat(name)
		return errors.Is(err, fs.ErrNotExist)
	}
	if gone(file) && gone(file+".new") && gone(file+".attached") {
		fmt.Fprintln(stdout, "nothing is left")
		return nil
	}
	if err := os.RemoveAll(file + ".attached"); err != nil {
		return err
	}
	if err := forgetLab(file); err != nil {
		return err
	}
	for _, p := range strays(r) {
		fmt.Fprintln(stdout, p)
	}
	fmt.Fprintln(stdout, "cleaned up")
	return nil
}

// strays tells of processes that are still in a namespace of a lab that has
// ended.
func strays(r labRecord) []string {
	names := map[string]string{}
	for _, e := range r.Machines {
		if e.Namespace != "" {
			names[e.Namespace] = e.Name
		}
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	var all []string
	for _, p := range processes {
		ns, err := os.Readlink(p + "/ns/net")
		if err != nil || names[ns] == "" {
			continue
		}
		name, err := os.ReadFile(p + "/comm")
		if err == nil {
			all = append(all, fmt.Sprintf("process %s (%s) still runs in the namespace of %s, which ends with it",
				filepath.Base(p), strings.TrimSpace(string(name)), names[ns]))
		}
	}
	return all
}
