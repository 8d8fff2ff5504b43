//go:build linux

package trace

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"openimds/internal/trace/finding"
)

var soak = flag.Duration("soak", 5*time.Second, "how long TestSoak sends requests")

// TestTenThousand sends 10,000 requests of many processes at once, of which a
// third has a token and half are cut in the middle of a header: no name and no
// mode may be wrong, and what was not seen must be counted.
func TestTenThousand(t *testing.T) {
	forEngines(t, func(t *testing.T, engine string) {
		startServer(t, false)
		const processes, each, atOnce = 100, 100, 4
		// What is told one by one is bounded, as by default: the sums are exact.
		tr := startTracer(t, "--engine", engine, "--status=false", "--each", "5", "--rate", "200")
		pids := map[int]int{} // the path of each process
		var mu sync.Mutex
		var wait sync.WaitGroup
		slots := make(chan bool, atOnce)
		for i := range processes {
			slots <- true
			wait.Go(func() {
				defer func() { <-slots }()
				address := []string{ec2v4, ec2v6, ecsv4, ecsv6}[i%4]
				cmd := exec.Command(senders, "many", address, fmt.Sprintf("%s%d", marker(), i))
				cmd.Env = append(os.Environ(), fmt.Sprintf("COUNT=%d", each))
				cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("sender: %v: %s", err, out)
				}
				mu.Lock()
				defer mu.Unlock()
				pids[i] = cmd.Process.Pid
			})
		}
		wait.Wait()
		time.Sleep(time.Second)
		tr.stop(t)

		type key struct {
			path string
			mode finding.Mode
		}
		seen := map[key]uint64{}
		var wrong, unnamed, total uint64
		for _, f := range tr.findings(func(f *finding.Finding) bool { return strings.HasPrefix(f.Path, marker()) }) {
			var n int
			fmt.Sscanf(strings.TrimPrefix(f.Path, marker()), "%d", &n)
			total += f.Count
			seen[key{f.Path, f.Mode}] += f.Count
			switch {
			case f.Process.PID == 0:
				unnamed += f.Count
			case f.Process.PID != pids[n] || f.Process.Comm != "senders":
				wrong += f.Count
			}
		}
		for i := range processes {
			path := fmt.Sprintf("%s%d", marker(), i)
			with := uint64(each / 3)
			if got := seen[key{path, v1}]; got != each-with {
				t.Errorf("process %d: %d without a token, want %d", i, got, each-with)
			}
			if got := seen[key{path, v2}]; got != with {
				t.Errorf("process %d: %d with a token, want %d", i, got, with)
			}
		}
		if wrong != 0 || total != processes*each || unnamed != 0 && engine != "afpacket" {
			t.Errorf("%d of %d requests seen, %d with a wrong name, %d with none", total, processes*each, wrong, unnamed)
		}
		t.Logf("%d requests, %d wrong, %d without a name: %s", total, wrong, unnamed, lastLines(tr.log()))
	})
}

func lastLines(log string) string {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	return strings.Join(lines[1:], "; ")
}

// TestLossIsCounted stops the tracer from reading, so that the kernel's buffer
// runs over: what was seen and what was lost must add up.
func TestLossIsCounted(t *testing.T) {
	// The buffers of the others are larger than what can be sent in a short time.
	forSome(t, engines[:2], func(t *testing.T, engine string) {
		startServer(t, false)
		tr := startTracer(t, "--engine", engine, "--status=false", "--metrics", "127.0.0.1:19177", "--each", "1")
		tr.cmd.Process.Signal(syscall.SIGSTOP)
		const sent = 6000
		cmd := exec.Command(senders, "many", ec2v4, marker()+"lost")
		cmd.Env = append(os.Environ(), fmt.Sprintf("COUNT=%d", sent))
		out, err := cmd.CombinedOutput()
		tr.cmd.Process.Signal(syscall.SIGCONT)
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		time.Sleep(time.Second)
		text := metrics(t, "127.0.0.1:19177")
		tr.stop(t)
		lost := value(t, text, `imds_tracer_lost_total{where="request"}`) + value(t, text, `imds_tracer_lost_total{where="connect"}`)
		var seen uint64
		for _, f := range tr.findings(func(f *finding.Finding) bool { return f.Path == marker()+"lost" || ours(f) }) {
			seen += f.Count
		}
		if lost == 0 || seen == sent {
			t.Fatalf("nothing was lost, of %d requests %d were seen", sent, seen)
		}
		if seen+uint64(lost) < sent {
			t.Errorf("of %d requests %d were seen, and only %d records are counted as lost", sent, seen, lost)
		}
		if !strings.Contains(tr.log(), "records lost") {
			t.Error("the loss is not told at the end")
		}
	})
}

// TestSoak sends garbage and requests as fast as it can, for as long as -soak
// says: memory and files stay as they were.
func TestSoak(t *testing.T) {
	// The engines differ in the kernel's part alone.
	forSome(t, engines[:1], func(t *testing.T, engine string) {
		startServer(t, false)
		tr := startTracer(t, "--engine", engine, "--each", "5", "--rate", "200")
		end := time.Now().Add(*soak)
		var wait sync.WaitGroup
		for n := range 2 {
			wait.Go(func() {
				for i := 0; time.Now().Before(end); i++ {
					flood(n, i)
				}
			})
		}
		time.Sleep(*soak / 3)
		early := memory(t, tr)
		wait.Wait()
		late := memory(t, tr)
		tr.stop(t)
		if late > early+16<<10 {
			t.Errorf("resident memory grew from %d KiB to %d KiB", early, late)
		}
		var size int64
		filepath.WalkDir(tr.dir, func(path string, _ os.DirEntry, err error) error {
			if info, err := os.Stat(path); err == nil && !info.IsDir() {
				size += info.Size()
			}
			return err
		})
		if size > 13<<20 {
			t.Errorf("the log directory has %d bytes", size)
		}
		t.Logf("memory %d KiB, then %d KiB; %d KiB of logs; %s", early, late, size>>10, lastLines(tr.log()))
	})
}

// flood sends requests, pipelined, and some that are none.
func flood(n, i int) {
	conn, err := net.DialTimeout("tcp", ec2v4+":80", time.Second)
	if err != nil {
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	switch i % 4 {
	case 0:
		conn.Write([]byte("\x00\x01garbage\n\x1b[31m"))
	case 1:
		fmt.Fprintf(conn, "GET /%d/%d HTTP/1.1\r\nHost: %s\r\n", n, i, strings.Repeat("h", 20000))
		return // the answer finds nobody
	default:
		for k := range 20 {
			fmt.Fprintf(conn, "GET /%d/%d/%d HTTP/1.1\r\nHost: h\r\n\r\n", n, i, k)
		}
	}
	buf := make([]byte, 4096)
	conn.Read(buf)
}

// memory is what the tracer has of it, in KiB.
func memory(t *testing.T, tr *tracer) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tr.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(b), "VmRSS:")
	var kib int
	fmt.Sscan(after, &kib)
	return kib
}
