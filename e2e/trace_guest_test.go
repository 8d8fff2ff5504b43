//go:build linux && guest

package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"openimds/internal/testnet"
	"openimds/internal/trace/finding"
)

// kernelFiles is where scripts/install-kernels puts what guests boot.
const kernelFiles = ".cache/kernels"

// traceEngines are those of imds-trace, the best first.
var traceEngines = []string{"cgrich", "cgroup", "tpcgperf", "afpacket"}

// The tracer names who asks on other kernels than that of the machine: each,
// for x86-64 or arm64, boots under QEMU without a network card, and has the metadata addresses on its loopback interface. `make trace-kernels`
// runs it.
func TestTraceKernels(t *testing.T) {
	testnet.RequireIsolated(t)
	all := check[[]string](t)(filepath.Glob(kernelFiles + "/*-*/complete"))
	testnet.Need(t, "guests' kernels (scripts/install-kernels)", len(all) > 0)
	for _, complete := range all {
		dir := filepath.Dir(complete)
		t.Run(filepath.Base(dir), func(t *testing.T) { traceIn(t, dir) })
	}
}

// traced is what a guest says.
type traced struct {
	kernel  string
	works   map[string]bool // engines, as imds-trace check says
	failed  []string
	asked   []asked
	found   []finding.Finding
	endings []string
	done    bool
}

// asked is one request that a guest made.
type asked struct {
	engine, kind  string
	pid           int
	path, address string
}

func traceIn(t *testing.T, dir string) {
	_, arch, _ := strings.Cut(filepath.Base(dir), "-")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	began := time.Now()
	args := append(kernelEmulator(t, arch), "-kernel", dir+"/vmlinuz", "-initrd", traceImage(t, dir, arch))
	console, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	got := readConsole(t, string(console))
	if err != nil || !got.done {
		t.Fatalf("QEMU: %v:\n%s", err, console)
	}
	t.Logf("%s, %s in all: %v; %s", got.kernel, time.Since(began).Round(time.Second), got.works, strings.Join(got.endings, "; "))
	if len(got.failed) > 0 {
		t.Logf("did not start: %q", got.failed)
	}
	promised := promisedEngines(t, got.kernel)
	for _, engine := range traceEngines {
		if got.works[engine] != slices.Contains(promised, engine) {
			t.Errorf("%s works: %v; docs/operate/tracer.md promises %q", engine, got.works[engine], promised)
		}
		if got.works[engine] {
			got.compare(t, engine)
		}
	}
	if t.Failed() {
		t.Logf("its console:\n%s", console)
	}
}

// promisedEngines are those that docs/operate/tracer.md says work on a kernel.
func promisedEngines(t *testing.T, release string) []string {
	t.Helper()
	var major, minor int
	if _, err := fmt.Sscanf(release, "%d.%d.", &major, &minor); err != nil {
		t.Fatalf("the kernel is called %q", release)
	}
	switch version := major*1000 + minor; {
	case version >= 5010:
		return traceEngines
	case version >= 5004:
		return traceEngines[2:]
	default:
		return traceEngines[3:]
	}
}

// compare looks at each request: found once, in its mode, and under its name.
func (g *traced) compare(t *testing.T, engine string) {
	t.Helper()
	requests, named := 0, 0
	for _, a := range g.asked {
		if a.engine != engine {
			continue
		}
		requests++
		i := slices.IndexFunc(g.found, func(f finding.Finding) bool { return f.Path == a.path })
		if i < 0 {
			t.Errorf("%s: %+v was not seen", engine, a)
			continue
		}
		f := &g.found[i]
		mode := map[string]finding.Mode{"free": finding.TokenFree, "token": finding.Tokened}[a.kind]
		if f.Mode != mode || f.Count != 1 || f.Engine != engine || f.Dst != a.address+":80" {
			t.Errorf("%s: %+v was found as %+v", engine, a, f)
		}
		if f.Process.PID == 0 && engine == "afpacket" {
			continue // it had ended
		}
		named++
		if f.Process.PID != a.pid || f.Process.Comm != "wget" {
			t.Errorf("%s: process %d (%s), want %d (wget)", engine, f.Process.PID, f.Process.Comm, a.pid)
		}
		if engine == "cgrich" && (!strings.Contains(f.Process.Cmdline, a.path) || len(f.Process.Parents) == 0) {
			t.Errorf("%s: %+v was found as %+v", engine, a, f.Process)
		}
	}
	if requests != 16 {
		t.Errorf("%s: the guest made %d requests, want 16", engine, requests)
	}
	t.Logf("%s: %d requests, %d named", engine, requests, named)
}

func readConsole(t *testing.T, console string) *traced {
	t.Helper()
	g := &traced{works: map[string]bool{}}
	for line := range strings.Lines(console) {
		_, text, found := strings.Cut(strings.TrimSpace(line), "guest: ")
		if !found {
			continue
		}
		word, rest, _ := strings.Cut(text, " ")
		fields := strings.Fields(rest)
		switch word {
		case "booted":
			g.kernel = rest
		case "check":
			if len(fields) > 1 && slices.Contains(traceEngines, fields[0]) {
				g.works[fields[0]] = fields[1] == "yes"
			}
		case "failed":
			g.failed = append(g.failed, rest)
		case "asked":
			a := asked{engine: fields[0], kind: fields[1], path: fields[3], address: fields[4]}
			if _, err := fmt.Sscan(fields[2], &a.pid); err != nil || fields[5] != "0" {
				t.Errorf("the guest could not ask: %s", text)
			}
			g.asked = append(g.asked, a)
		case "found":
			var f finding.Finding
			if err := json.Unmarshal([]byte(rest), &f); err != nil {
				t.Errorf("%v: %s", err, rest)
			}
			g.found = append(g.found, f)
		case "ended":
			if len(fields) < 2 || fields[1] != "0" {
				t.Errorf("the tracer did not end in order: %s", rest)
			}
			g.endings = append(g.endings, rest)
		case "done":
			g.done = true
		}
	}
	return g
}

// kernelEmulator is the command that starts QEMU for an architecture, without a
// network card.
func kernelEmulator(t *testing.T, arch string) []string {
	t.Helper()
	root := check[string](t)(filepath.Abs(kernelFiles + "/qemu"))
	program := map[string]string{"amd64": "qemu-system-x86_64", "arm64": "qemu-system-aarch64"}[arch]
	qemu := root + "/usr/bin/" + program
	if _, err := os.Stat(qemu); err != nil {
		qemu, err = exec.LookPath(program) // it was installed already, and not unpacked again
		testnet.Need(t, program+" (scripts/install-kernels)", err == nil)
	}
	libraries := root + "/usr/lib/x86_64-linux-gnu:" + root + "/lib/x86_64-linux-gnu:" + root + "/usr/lib/aarch64-linux-gnu"
	args := []string{
		"env", "LD_LIBRARY_PATH=" + libraries, qemu, "-L", root + "/usr/share/qemu", "-L", root + "/usr/share/seabios", "-L", "/usr/share/seabios",
		"-accel", "tcg,thread=single", "-smp", "1", "-m", "512", "-nographic", "-nodefaults", "-no-reboot", "-serial", "stdio", "-net", "none",
	}
	if arch == "arm64" {
		return append(args, "-machine", "virt", "-cpu", "cortex-a72", "-append", "console=ttyAMA0 quiet panic=-1 rdinit=/init")
	}
	// QEMU 7.2 gets cmpxchg16b wrong, which makes Linux 6.12 fault.
	return append(args, "-cpu", "Haswell-noTSX,-cx16", "-append", "console=ttyS0 quiet panic=-1 rdinit=/init")
}

// traceImage makes what a guest has for a disk: BusyBox, modules, and the
// tracer, built for it.
func traceImage(t *testing.T, dir, arch string) (path string) {
	t.Helper()
	read := func(name string) []byte { return check[[]byte](t)(os.ReadFile(name)) }
	tracer := filepath.Join(t.TempDir(), "imds-trace")
	projectCommand(t, []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + arch}, "go", "build", "-o", tracer, "./cmd/imds-trace")
	const folder, program, plain = 0o040755, 0o100755, 0o100644
	files := []file{
		{"bin", folder, nil}, {"bin/busybox", program, read(dir + "/busybox")},
		{"init", program, read("testdata/guest/trace")}, {"imds-trace", program, read(tracer)},
		{"modules", folder, nil},
	}
	for _, m := range check[[]string](t)(filepath.Glob(dir + "/modules/*.ko")) {
		files = append(files, file{"modules/" + filepath.Base(m), plain, read(m)})
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, err := z.Write(newc(files))
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "initramfs")
	if err := os.WriteFile(path, packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
