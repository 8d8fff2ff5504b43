//go:build linux

package trace

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aliyun/credentials-go/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"openimds/internal/testnet"
	"openimds/internal/trace/finding"
)

// awsHere asks with the AWS SDK for Go.
func awsHere([]string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := imds.New(imds.Options{}).GetMetadata(ctx, &imds.GetMetadataInput{Path: "instance-id"})
	if err != nil {
		return err
	}
	return out.Content.Close()
}

// aliyunHere asks with Alibaba Cloud's credentials library.
func aliyunHere([]string) error {
	kind := "ecs_ram_role"
	c, err := credentials.NewCredential(&credentials.Config{Type: &kind})
	if err != nil {
		return err
	}
	_, err = c.GetCredential()
	return err
}

// startDev runs the real service on the addresses of both clouds.
func startDev(t *testing.T) (control string) {
	t.Helper()
	testnet.RequireIsolated(t)
	if _, err := os.Stat(imdsProgram); err != nil {
		t.Fatal("the service was not built: ", err)
	}
	for _, a := range []string{ec2v4, ecsv4} {
		// From 127.0.0.1, which the samples know.
		if out, err := exec.Command("ip", "route", "replace", "local", a, "dev", "lo", "table", "local", "src", "127.0.0.1").CombinedOutput(); err != nil {
			t.Fatalf("route: %v: %s", err, out)
		}
		t.Cleanup(func() {
			exec.Command("ip", "route", "del", "local", a, "dev", "lo", "table", "local", "src", "127.0.0.1").Run()
		})
	}
	cmd := testnet.Server(imdsProgram, "dev", "--ec2", ec2v4+":80", "--ecs", ecsv4+":80", "--control", "127.0.0.1:0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		testnet.Scrape(t, control+"/metrics")
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	})
	ready := false
	for s := bufio.NewScanner(stdout); !ready && s.Scan(); {
		if words := strings.Fields(s.Text()); len(words) == 2 && words[0] == "control" {
			control = words[1]
		}
		ready = s.Text() == "ready"
	}
	if !ready || control == "" {
		t.Fatalf("the service is not ready:\n%s", stderr.String())
	}
	return control
}

// TestSDKs lets the clouds' own SDKs read from the real service, and compares
// what the tracer names with what the service counts.
func TestSDKs(t *testing.T) {
	// Without eBPF there may be no name to compare.
	forSome(t, engines[:3], func(t *testing.T, engine string) {
		// What the helper of other tests made local answers with other sources.
		for _, a := range []string{ec2v4, ecsv4} {
			exec.Command("ip", "addr", "del", a+"/32", "dev", "lo").Run()
		}
		control := startDev(t)
		tr := startTracer(t, "--engine", engine)
		pids := map[string]int{}
		for _, role := range []string{"aws", "aliyun"} {
			cmd := testnet.Command(t.Context(), os.Args[0])
			cmd.Env = append(testnet.Environ(), "PATH="+os.Getenv("PATH"), "HOME=/nonexistent", roleVariable+"="+role)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", role, err, out)
			}
			pids[role] = cmd.Process.Pid
		}
		free := curl(t, "http://"+ec2v4+"/latest/meta-data/instance-id")
		by := func(pid int, mode finding.Mode) []finding.Finding {
			return tr.findings(func(f *finding.Finding) bool { return f.Process.PID == pid && f.Mode == mode })
		}
		tr.await(5*time.Second, func() bool {
			return len(by(pids["aws"], v2)) > 0 && len(by(pids["aliyun"], v2)) > 1 && len(by(free, v1)) > 0
		})
		if len(by(free, v1)) != 1 {
			t.Errorf("curl: %+v", by(free, v1))
		}
		for role, pid := range pids {
			got := by(pid, v2)
			if len(by(pid, v1)) != 0 || len(by(pid, ask)) == 0 || len(got) == 0 {
				t.Errorf("%s asks for tokens and uses them; found %d without, %d for a token, %d with", role, len(by(pid, v1)), len(by(pid, ask)), len(got))
				continue
			}
			if cloud := map[string]string{"aws": "ec2", "aliyun": "ecs"}[role]; got[0].Cloud != cloud || got[0].Status != 200 {
				t.Errorf("%s: %+v", role, got[0])
			}
		}
		var all struct{ TokenFreeServed, TokenedServed, TokensMinted int }
		id := instanceID(t)
		res, err := http.Get(control + "/v1/usage?instance=" + id)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if err := json.NewDecoder(res.Body).Decode(&all); err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("usage of %s: %s, %v", id, res.Status, err)
		}
		// One more without a token was to learn the instance's id.
		if all.TokenFreeServed != 2 || all.TokenedServed != len(by(pids["aws"], v2)) {
			t.Errorf("the service counts %+v; the tracer names %d and %d", all, 1, len(by(pids["aws"], v2)))
		}
	})
}

// instanceID asks the service who this is.
func instanceID(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("curl", "-s", "-m", "5", "http://"+ec2v4+"/latest/meta-data/instance-id").Output()
	if err != nil {
		t.Fatal(fmt.Errorf("ask for the instance's id: %w", err))
	}
	return string(out)
}
