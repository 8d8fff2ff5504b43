package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"openimds/internal/testnet"
)

// kernel is what a lab might leave in the network, and in folders that others
// use too.
func kernel(t *testing.T, folders ...string) string {
	t.Helper()
	var b strings.Builder
	for _, line := range []string{"-o link", "rule", "-6 rule", "route show table all", "-6 route show table all", "netns"} {
		out, err := testnet.Command(t.Context(), "ip", strings.Fields(line)...).CombinedOutput()
		if err != nil {
			t.Fatalf("ip %s: %v\n%s", line, err, out)
		}
		b.Write(out)
	}
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, _ os.DirEntry, err error) error {
			fmt.Fprintln(&b, path)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// A lab is killed again and again, while it begins and while it serves, and
// cleaned up: nothing of it is left, and nothing of others is gone, not even a
// lab in another folder.
func TestNetnsKilled(t *testing.T) {
	testnet.RequireIsolated(t)
	curl, err := exec.LookPath("curl")
	testnet.Need(t, "curl (scripts/install-test-deps)", err == nil)
	sleep, err := exec.LookPath("sleep")
	testnet.Need(t, "sleep", err == nil)
	h := newHost(t)
	args := []string{"dev", "--netns", "--ecs", "127.0.0.1:0", "--ec2", "127.0.0.1:0", "--control", "127.0.0.1:0", "--state"}
	state, others, passing := t.TempDir(), t.TempDir(), t.TempDir()
	writeFile(t, filepath.Join(state, "somebody's"), "own")
	begin := func(state string) (p *testnet.Cmd, ready <-chan bool) {
		t.Helper()
		p = testnet.Server(h.program, append(args, state)...)
		p.Env = []string{"TMPDIR=" + passing, "PATH=" + os.Getenv("PATH")}
		out, in, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		p.Stdout = in
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		_ = in.Close()
		up := make(chan bool, 1)
		go func() {
			defer out.Close()
			defer close(up)
			for lines := bufio.NewScanner(out); lines.Scan(); {
				if lines.Text() == "ready" {
					up <- true
				}
			}
		}()
		return p, up
	}
	end := func(p *testnet.Cmd) {
		_ = p.Process.Signal(syscall.SIGKILL) // it may have ended
		_ = p.Wait()
	}
	other, ready := begin(others)
	t.Cleanup(func() { end(other) })
	if !<-ready {
		t.Fatal("the other lab does not begin")
	}
	reads := func() string {
		t.Helper()
		r, err := readLab(filepath.Join(others, "netns.json"))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range r.Machines {
			if e.Dialect == "ec2" && strings.Contains(e.About, "tokens optional") {
				return h.run(t, 0, "exec", "--state", others, e.Name, "--", curl, "-sS", "-m", "10", "http://169.254.169.254/latest/meta-data/instance-id")
			}
		}
		t.Fatal("the other lab has no such machine")
		return ""
	}
	waitFor(t, "the other lab serves", func() bool { return strings.HasPrefix(reads(), "i-") })
	// The other lab goes on writing what it keeps.
	writing := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(others) + `/(identity|.*/\.new-).*\n`)
	look := func() string { return writing.ReplaceAllString(kernel(t, state, others, passing), "") }
	before, same := look(), 0
	waitFor(t, "the other lab has attached all", func() bool {
		now := look()
		if same++; now != before {
			before, same = now, 0
		}
		return same == 10
	})
	for round := range 8 {
		p, up := begin(state)
		if round%3 == 0 {
			if !<-up {
				t.Fatal("the lab does not begin")
			}
		}
		time.Sleep(time.Duration(rand.IntN(400)) * time.Millisecond)
		var inside *testnet.Cmd
		if round == 3 { // a command that runs on keeps its namespace, and is told of
			r, err := readLab(filepath.Join(state, "netns.json"))
			if err != nil || len(r.Machines) == 0 {
				t.Fatalf("%+v, %v", r, err)
			}
			inside = testnet.Server(h.program, "exec", "--state", state, r.Machines[0].Name, "--", sleep, "60")
			if err := inside.Start(); err != nil {
				t.Fatal(err)
			}
			defer end(inside)
			waitFor(t, "the command runs", func() bool {
				name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", inside.Process.Pid))
				return err == nil && string(name) == "sleep\n"
			})
		}
		end(p)
		said := h.run(t, 0, "dev", "--netns", "--cleanup", "--state", state)
		if inside != nil {
			if want := fmt.Sprintf("process %d (sleep) still runs", inside.Process.Pid); !strings.Contains(said, want) {
				t.Errorf("cleaning up does not say %q:\n%s", want, said)
			}
			end(inside)
		}
		if after := look(); after != before {
			// What a state folder keeps is not the lab's, and stays.
			for _, line := range strings.Split(after, "\n") {
				name, mine := strings.CutPrefix(line, state+"/")
				if mine && !strings.HasPrefix(name, "netns") || strings.Contains(before, line) {
					continue
				}
				t.Errorf("round %d leaves %s", round, line)
			}
			for _, line := range strings.Split(before, "\n") {
				if !strings.Contains(after, line) {
					t.Errorf("round %d takes %s", round, line)
				}
			}
		}
	}
	if got := reads(); !strings.HasPrefix(got, "i-") {
		t.Errorf("the other lab answers %q", got)
	}
	if again := h.run(t, 0, "dev", "--netns", "--cleanup", "--state", state); !strings.Contains(again, "nothing is left") {
		t.Errorf("cleaned up again: %s", again)
	}
}
