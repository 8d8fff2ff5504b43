package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"openimds/internal/testnet"
)

// A guest on a tap asks without a pause while imds serve is replaced, and while
// one that is to replace it cannot: the address stays on the interface, with
// its routes, until the last process takes it off.
func TestServeReplaceOnInterfaces(t *testing.T) {
	testnet.RequireIsolated(t)
	where, guest := testnet.NewNamespace(t), testnet.NewNamespace(t)
	where.NoDAD(t)
	testnet.Veth(t, where, "tap0", guest, "eth0")
	guest.IP(t, "addr add 10.0.0.5/24 dev eth0", "route add default dev eth0")
	h := newHost(t)
	const id = "i-0123456789abcdef0"
	writeFile(t, h.dir+"/guests.yaml", `instances:
  - id: `+id+`
    dialect: ec2
    account: "123456789012"
    region: us-east-1
    zone: us-east-1a
    type: t3.micro
    image: {id: ami-0123456789abcdef0}
    interfaces:
      - {id: eni-0123456789abcdef0, mac: "02:00:00:00:00:0a", ipv4: [10.0.0.5], subnet: {id: subnet-a}, vpc: {id: vpc-a}, attachment: {namespace: "`+where.Path+`", interface: tap0}}
`)
	good := fmt.Sprintf(`state: state
key: ./key
instances: guests.yaml
control: {address: "127.0.0.1:0"}
listeners:
  - {dialect: ec2, address: "169.254.169.254:80", namespace: %q, interface: "tap*", attach: true}
`, where.Path)
	writeFile(t, h.config, good)
	p := h.start(t)

	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	t.Cleanup(func() { stop(); group.Wait() })
	var asked atomic.Int64
	ask := func() error {
		c, err := guest.Dial(netip.AddrPort{}, "169.254.169.254:80")
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := c.Write([]byte("GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n")); err != nil {
			return err
		}
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		line, _ := bufio.NewReader(res.Body).ReadString('\n')
		if line != id {
			return fmt.Errorf("%s %q", res.Status, line)
		}
		return nil
	}
	waitFor(t, "the guest is answered", func() bool { return ask() == nil })
	group.Go(func() {
		for ctx.Err() == nil {
			if err := ask(); err != nil {
				t.Errorf("after %d answers: %v", asked.Load(), err)
				return
			}
			asked.Add(1)
		}
	})
	answers := func() {
		t.Helper()
		before := asked.Load()
		waitFor(t, "there are answers", func() bool { return asked.Load() > before+20 || t.Failed() })
	}
	answers()
	// What the kernel tells of addresses until the last process is there.
	watching, end := context.WithCancel(t.Context())
	changes := make(chan string, 1)
	go func() {
		out, _ := where.Exec(watching, nil, "ip", "-o", "monitor", "address") // it is killed
		changes <- out
	}()
	hangUp(t, p.cmd.Process.Pid)
	pid := p.takenOver(t, 1)
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) }) // it may have ended
	answers()
	writeFile(t, h.config, good+"  - {dialect: ec2, address: \"192.0.2.1:80\"}\n")
	hangUp(t, pid)
	p.says(t, "this one begins anew", 1)
	answers()
	writeFile(t, h.config, good)
	hangUp(t, pid)
	pid = p.takenOver(t, 2)
	answers()
	end()
	if told := <-changes; strings.Contains(told, "169.254.169.254") {
		t.Errorf("the address did not stay:\n%s", told)
	}
	stop()
	group.Wait()
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-p.done
	for _, what := range []string{"address", "rule", "route show table all"} {
		out, err := where.Exec(t.Context(), nil, "ip", strings.Fields(what)...)
		if err != nil || strings.Contains(out, "169.254.169.254") {
			t.Errorf("left behind, %v:\n%s", err, out)
		}
	}
	if left, err := os.ReadDir(h.state() + "/attached"); err != nil || len(left) > 0 {
		t.Errorf("the journal has %v, %v", left, err)
	}
	if t.Failed() {
		t.Logf("the log:\n%s", p.err)
	}
}
