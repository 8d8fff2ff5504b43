//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

const (
	counted = 2000 // requests that instructions are counted over
	warming = 500  // requests before them
	counts  = 4    // how often
)

// countInstructions runs servers one by one in callgrind, which counts the
// instructions that they execute outside the kernel. That is no measure of
// speed, but noise does not move it. It comes after everything else, once the
// servers that were measured have ended.
func (b *bench) countInstructions(ctx context.Context) error {
	b.instructions = map[key]float64{}
	if _, err := exec.LookPath("callgrind_control"); err != nil {
		fmt.Fprintln(b.log, "bench: instructions are not counted: valgrind is not installed")
		return nil
	}
	fmt.Fprintln(b.log, "bench: instructions")
	for _, s := range []struct {
		name, program string
		args          []string
	}{
		{nginx, "nginx", []string{"-c", filepath.Join(b.work, nginxFile), "-e", filepath.Join(b.work, nginxError), "-g", "master_process off;"}},
		{openimds, filepath.Join(b.work, "imds"), []string{"dev", "--ec2", imdsEC2, "--ecs", imdsECS, "--control", imdsControl}},
	} {
		if err := b.countOf(ctx, s.name, s.program, s.args); err != nil {
			return fmt.Errorf("count instructions of %s: %w", s.name, err)
		}
	}
	return nil
}

func (b *bench) countOf(ctx context.Context, name, program string, args []string) error {
	out := filepath.Join(b.work, "callgrind.out")
	address := b.servers[name].address
	// Go's preemption by signals is more than callgrind can bear.
	s, err := b.launch(name, "env", append([]string{"GODEBUG=asyncpreemptoff=1",
		"valgrind", "--tool=callgrind", "--callgrind-out-file=" + out, program}, args...)...)
	if err != nil {
		return err
	}
	defer b.stop()
	s.address = address
	for _, d := range dialects {
		if err := s.await(ctx, s.address(d, true)); err != nil {
			return err
		}
		if name == openimds {
			if err := s.fetchToken(d); err != nil {
				return err
			}
		}
	}
	control := func(flag string) error {
		_, err := output(ctx, 10*time.Second, nil, "callgrind_control", flag, strconv.Itoa(s.cmd.Process.Pid))
		return err
	}
	dumps := 0
	for _, t := range b.tests {
		if !t.latency {
			continue
		}
		if err := send(ctx, t, s, warming); err != nil {
			return err
		}
		// A server may be busy with something else, such as making keys after
		// its start: the least of several counts is that of the answers.
		least := int64(math.MaxInt64)
		for range counts {
			if err := control("--zero"); err != nil {
				return err
			}
			if err := send(ctx, t, s, counted); err != nil {
				return err
			}
			if err := control("--dump"); err != nil {
				return err
			}
			dumps++
			total, err := totals(out + "." + strconv.Itoa(dumps))
			if err != nil {
				return err
			}
			least = min(least, total)
		}
		b.instructions[key{t.name, name}] = float64(least) / counted
	}
	return nil
}

// totals reads the sum from what callgrind dumped.
func totals(path string) (int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	_, after, ok := bytes.Cut(text, []byte("\ntotals: "))
	if !ok {
		return 0, fmt.Errorf("%s has no totals", path)
	}
	line, _, _ := bytes.Cut(after, []byte("\n"))
	return strconv.ParseInt(string(line), 10, 64)
}

// send sends requests one after the other.
func send(ctx context.Context, t test, s *server, requests int) error {
	if err := from(t.source); err != nil {
		return err
	}
	to, err := netip.ParseAddrPort(s.address(t.dialect, t.fresh))
	if err != nil {
		return err
	}
	text := []byte(t.text(s))
	buf := make([]byte, 4096)
	var c net.Conn
	for range requests {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if c == nil {
			if c, err = net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(to)); err != nil {
				return err
			}
			if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
				return err
			}
		}
		if _, err := c.Write(text); err != nil {
			return err
		}
		n, err := c.Read(buf)
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(buf[:n], []byte("HTTP/1.1 200 ")) {
			return errors.New("an answer has another status than 200")
		}
		if t.fresh {
			_ = c.Close() // the server has closed it, or will
			c = nil
		}
	}
	if c != nil {
		return c.Close()
	}
	return nil
}
