package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// fleet is a control plane and nodes, on loopback.
type fleet struct {
	options
	running []*exec.Cmd
	control string   // URL of the control address
	token   string   // of the admin API
	nodes   []string // URL of the EC2 dialect of each node
	guests  map[int]*http.Client
}

func (f *fleet) path(name string) string { return filepath.Join(f.work, name) }

// start starts all programs.
func (f *fleet) start(ctx context.Context) error {
	f.guests = map[int]*http.Client{}
	feed, err := freeAddress()
	if err != nil {
		return err
	}
	settings := fmt.Sprintf("state: state\nkey: ./key\ncontrol: {address: \"127.0.0.1:0\"}\nlisteners: [{dialect: ec2, address: \"127.0.0.1:0\"}]\n"+
		"feed: {address: %q, certificate: fleet/control.crt, key: fleet/control.key, authority: fleet/authority.crt}\n", feed)
	if err := os.WriteFile(f.path("imds.yaml"), []byte(settings), 0o600); err != nil {
		return err
	}
	for _, args := range [][]string{{"fleet", "init", f.path("fleet"), "--host", "127.0.0.1"}, {"store", "key", f.path("key")}} {
		if err := f.imds(ctx, args...); err != nil {
			return err
		}
	}
	urls, err := f.launch("imds", "serve", "-c", f.path("imds.yaml"))
	if err != nil {
		return err
	}
	f.control = urls["control"]
	token, err := os.ReadFile(f.path("state/admin-token"))
	if err != nil {
		return err
	}
	f.token = strings.TrimSpace(string(token))
	for i := range f.options.nodes {
		name := fmt.Sprintf("node-%d", i)
		if err := f.imds(ctx, "fleet", "certificate", name, f.path("fleet")); err != nil {
			return err
		}
		settings := fmt.Sprintf("state: %[1]s\ncontrol: {url: \"https://%[2]s\", certificate: fleet/%[1]s.crt, key: fleet/%[1]s.key, authority: fleet/authority.crt}\n"+
			"listeners: [{dialect: ec2, address: \"127.0.0.1:0\"}]\nadmin: {address: \"127.0.0.1:0\"}\n", name, feed)
		if err := os.WriteFile(f.path(name+".yaml"), []byte(settings), 0o600); err != nil {
			return err
		}
		urls, err := f.launch("imds-node", "-c", f.path(name+".yaml"))
		if err != nil {
			return err
		}
		f.nodes = append(f.nodes, urls["ec2"])
	}
	return nil
}

func freeAddress() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return ln.Addr().String(), nil
}

func (f *fleet) imds(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, filepath.Join(f.programs, "imds"), args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("imds %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// launch starts a program, waits until it is ready, and returns the URLs that it
// prints.
func (f *fleet) launch(name string, args ...string) (map[string]string, error) {
	cmd := exec.Command(filepath.Join(f.programs, name), args...) //nolint:noctx // it ends with stop
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.CreateTemp(f.work, name+"-*.log")
	if err != nil {
		return nil, err
	}
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	f.running = append(f.running, cmd)
	urls := map[string]string{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		if word == "ready" {
			return urls, nil
		}
		urls[word] = strings.TrimSpace(rest)
	}
	text, _ := os.ReadFile(log.Name())
	return nil, fmt.Errorf("%s ended before it was ready\n%s", name, text)
}

// stop ends all programs.
func (f *fleet) stop() {
	for _, cmd := range f.running {
		_ = cmd.Process.Signal(syscall.SIGTERM)
	}
	for _, cmd := range f.running {
		_ = cmd.Wait()
	}
}

// call calls the admin API.
func (f *fleet) call(ctx context.Context, method, path string, in any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, f.control+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+f.token)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s\n%s", method, path, res.Status, answer)
	}
	return err
}

func id(n int) string     { return fmt.Sprintf("i-%017x", n+1) }
func source(n int) string { return fmt.Sprintf("127.9.%d.%d", (n+1)>>8, (n+1)&255) }

// fill makes the instances, and waits until the nodes have the last of them.
func (f *fleet) fill(ctx context.Context) error {
	for n := range f.instances {
		in := map[string]any{
			"id": id(n), "dialect": "ec2", "account": "123456789012", "region": "us-east-1", "zone": "us-east-1a", "type": "m7g.large",
			"node": fmt.Sprintf("node-%d", n%f.options.nodes), "sources": []string{source(n)}, "image": map[string]any{"id": "ami-0123456789abcdef0"},
			"interfaces": []any{map[string]any{
				"id": fmt.Sprintf("eni-%017x", n+1), "mac": fmt.Sprintf("02:00:00:00:%02x:%02x", (n+1)>>8, (n+1)&255), "ipv4": []string{fmt.Sprintf("10.0.%d.%d", (n+1)>>8, (n+1)&255)},
				"subnet": map[string]any{"id": "subnet-0123456789abcdef0", "ipv4": "10.0.0.0/16"}, "vpc": map[string]any{"id": "vpc-0123456789abcdef0", "ipv4": []string{"10.0.0.0/16"}},
			}},
		}
		if err := f.call(ctx, http.MethodPut, "/v1/instances/"+id(n), in); err != nil {
			return err
		}
	}
	for i := range f.options.nodes {
		if err := f.until(ctx, f.instances-1-i, http.StatusOK); err != nil {
			return err
		}
	}
	return nil
}

// change sets the access mode of an instance.
func (f *fleet) change(ctx context.Context, n int, mode string) (s sample, err error) {
	want := map[string]int{"required": http.StatusUnauthorized, "optional": http.StatusOK}[mode]
	began := time.Now()
	answered := make(chan error, 1)
	go func() {
		err := f.call(ctx, http.MethodPatch, "/v1/instances/"+id(n)+"/metadata-options", map[string]string{"httpTokens": mode})
		s.answered = milliseconds(time.Since(began))
		answered <- err
	}()
	err = f.until(ctx, n, want)
	inForce := milliseconds(time.Since(began))
	if failed := <-answered; failed != nil {
		return s, failed
	}
	s.inForce = inForce
	return s, err
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// until asks the node of an instance until it answers with a status.
func (f *fleet) until(ctx context.Context, n, want int) error {
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(200 * time.Microsecond) {
		got, err := f.status(ctx, n)
		switch {
		case err != nil:
			return err
		case got == want:
			return nil
		case time.Now().After(end):
			return fmt.Errorf("%s: status %d for 30 s, want %d", id(n), got, want)
		}
	}
}

func (f *fleet) status(ctx context.Context, n int) (int, error) {
	c := f.guests[n]
	if c == nil {
		c = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
			DisableKeepAlives: true, DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source(n))}}).DialContext,
		}}
		f.guests[n] = c
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.nodes[n%f.options.nodes]+"/latest/meta-data/instance-id", nil)
	if err != nil {
		return 0, err
	}
	res, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}
