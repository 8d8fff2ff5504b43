//go:build linux

package trace

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"openimds/internal/testnet"
)

// Addresses that are metadata services.
const (
	ec2v4 = "169.254.169.254"
	ec2v6 = "fd00:ec2::254"
	ecsv4 = "100.100.100.200"
	ecsv6 = "fd00:100::100:200"
)

// serveHere makes the addresses local to this namespace, which must have
// nothing but a loopback interface, and answers on them. Paths below /refused/
// are refused without a token.
func serveHere([]string) error {
	all, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, i := range all {
		if i.Flags&net.FlagLoopback == 0 && i.Flags&net.FlagUp != 0 {
			return fmt.Errorf("interface %s is up: this is no namespace of the tests'", i.Name)
		}
	}
	commands := []string{"link set lo up"}
	for _, a := range []string{ec2v4 + "/32", ecsv4 + "/32", ec2v6 + "/128", ecsv6 + "/128"} {
		commands = append(commands, "addr replace "+a+" dev lo nodad")
	}
	for _, c := range commands {
		if out, err := exec.Command("ip", strings.Fields(c)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", c, err, out)
		}
	}
	s := &http.Server{Handler: http.HandlerFunc(answer), MaxHeaderBytes: 64 << 10}
	for _, a := range []string{ec2v4, ecsv4, ec2v6, ecsv6} {
		l, err := net.Listen("tcp", net.JoinHostPort(a, "80"))
		if err != nil {
			return err
		}
		go s.Serve(l)
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin) // until the test ends
	return err
}

func answer(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	token := r.Header.Get("X-Aws-Ec2-Metadata-Token") + r.Header.Get("X-Aliyun-Ecs-Metadata-Token")
	if strings.HasPrefix(r.URL.Path, "/refused/") && token == "" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	io.WriteString(w, "AQAEAAbcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLM==")
}

// server is a namespace in which somebody answers on the addresses.
type server struct {
	pid   int
	netns uint32
}

// start runs a server until the test ends: in this namespace, or in a new one.
func startServer(t *testing.T, apart bool) *server {
	t.Helper()
	testnet.RequireIsolated(t)
	cmd := testnet.Server("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleVariable+"=server")
	cmd.Stderr = os.Stderr
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if apart {
		attr.Cloneflags = syscall.CLONE_NEWNET
	}
	cmd.SysProcAttr = attr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	if line, _ := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the server says %q", line)
	}
	return &server{cmd.Process.Pid, inode(t, fmt.Sprintf("/proc/%d/ns/net", cmd.Process.Pid))}
}

func inode(t *testing.T, path string) uint32 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(info.Sys().(*syscall.Stat_t).Ino)
}

// clientHere is a client in Go: GET of a URL, once, with or without a token.
func clientHere(args []string) error {
	req, err := http.NewRequest(http.MethodGet, args[0], nil)
	if err != nil {
		return err
	}
	if len(args) > 1 {
		req.Header.Set("X-aws-ec2-metadata-token", args[1])
	}
	res, err := (&http.Client{Transport: &http.Transport{}}).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return err
}
