//go:build linux

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"openimds/internal/node"
	"openimds/internal/token"
)

// listeners is what one listener takes: µs to open, bytes while it is open.
type listeners struct {
	count, spaces int
	time, memory  float64
}

// perSpace is how many listeners each namespace has.
const perSpace = 10

// measureListeners opens listeners in many namespaces, each entered for each.
func measureListeners(ctx context.Context, n int) (l listeners, err error) {
	masters, err := token.NewSecrets(time.Now(), rand.Reader)
	if err != nil {
		return l, err
	}
	serving := node.New(node.Config{Ring: token.NewRing(masters)})
	var spaces []*os.File
	defer func() {
		for _, f := range spaces {
			err = errors.Join(err, f.Close())
		}
	}()
	for range n / perSpace {
		f, err := namespace()
		if err != nil {
			return l, err
		}
		spaces = append(spaces, f)
	}
	before := held()
	began := time.Now()
	var open []*node.Endpoint
	for _, f := range spaces {
		path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd())
		for i := range perSpace {
			e, err := serving.Listen(ctx, node.Listener{Dialect: "ec2", Address: fmt.Sprintf("127.0.0.%d:80", i+1), Namespace: path, Interface: "lo"})
			if err != nil {
				return l, err
			}
			open = append(open, e)
		}
	}
	took := time.Since(began)
	var tasks sync.WaitGroup
	for _, e := range open {
		tasks.Go(func() { _ = serving.Serve(e) }) // until it is closed
	}
	time.Sleep(300 * time.Millisecond) // all accept
	after := held()
	for _, e := range open {
		err = errors.Join(err, e.Close())
	}
	tasks.Wait()
	each := float64(len(open))
	return listeners{len(open), len(spaces), float64(took.Microseconds()) / each, (after - before) / each}, err
}

// namespace makes a network namespace that ends with its file.
func namespace() (*os.File, error) {
	type made struct {
		file *os.File
		err  error
	}
	done := make(chan made)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- made{nil, os.NewSyscallError("make a network namespace: unshare", err)}
			return
		}
		f, err := os.Open("/proc/thread-self/ns/net")
		done <- made{f, err}
	}()
	m := <-done
	return m.file, m.err
}

// held is what heap and stacks take, in bytes.
func held() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapInuse + m.StackInuse)
}
