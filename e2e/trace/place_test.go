//go:build linux

package trace

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// containerID names the cgroup of a container that the tests make.
const containerID = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// place is where clients run.
type place struct {
	name      string
	cgroup    string // directory; "": that of the tests
	server    *server
	container string
}

// cgroupRoot is where the root of cgroup v2 is mounted.
func cgroupRoot(t *testing.T) string {
	t.Helper()
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		before, after, _ := strings.Cut(s.Text(), " - ")
		if fields := strings.Fields(before); strings.HasPrefix(after, "cgroup2 ") && fields[3] == "/" {
			return fields[4]
		}
	}
	t.Fatal("cgroup v2 is not mounted")
	return ""
}

// makeCgroup makes a cgroup like that of a container, which is removed when the
// test ends.
func makeCgroup(t *testing.T) string {
	t.Helper()
	top := filepath.Join(cgroupRoot(t), fmt.Sprintf("openimds-test-%d", os.Getpid()))
	dir := filepath.Join(top, "app.service", "docker-"+containerID+".scope")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for d := dir; len(d) >= len(top); d = filepath.Dir(d) {
			if err := os.Remove(d); err != nil {
				t.Errorf("remove a cgroup: %v", err)
			}
		}
	})
	return dir
}
