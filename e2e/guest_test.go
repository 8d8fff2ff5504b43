//go:build linux && guest

package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"openimds/internal/testnet"
)

// tapGuest is a machine that QEMU emulates.
type tapGuest struct {
	dialect, id, tap, mac, v4, v6 string
	ttl, token                    string // headers
	refusal                       string // status without a token
	size                          string // of a token
}

// Both have one address, and nothing but their taps tells them apart.
const guestAddress = "10.0.0.5"

var guests = []tapGuest{
	{
		"ec2", "i-0123456789abcdef7", "tap7", "02:00:00:00:00:07", "169.254.169.254", "fd00:ec2::254",
		ec2Dialect.ttl, ec2Dialect.token, "401", "56",
	},
	{
		"ecs", "i-bp1guest00000000008", "tap8", "02:00:00:00:00:08", "100.100.100.200", "fd00:100::100:200",
		ecsDialect.ttl, ecsDialect.token, "403", "56",
	},
}

// Guests under QEMU, with Debian's kernel and nothing of ours, get their
// metadata from `imds serve` over their taps: with a token, and not without,
// over IPv4 and IPv6. `make guest` runs it.
func TestGuest(t *testing.T) {
	testnet.RequireIsolated(t)
	qemu := emulator(t)
	host := testnet.NewNamespace(t)
	host.NoDAD(t)
	for _, g := range guests {
		host.IP(t, "tuntap add "+g.tap+" mode tap", "link set "+g.tap+" up")
	}
	serveTaps(t, host)
	var wg sync.WaitGroup
	for _, g := range guests {
		image := initramfs(t, fmt.Sprintf("address=%s v4=%s v6=%s ttl=%s token=%s\n", guestAddress, g.v4, g.v6, g.ttl, g.token))
		wg.Go(func() { g.boot(t, host, qemu, image) })
	}
	wg.Wait()
}

// emulator is the command that starts QEMU: the one that was unpacked, with its
// own libraries.
func emulator(t *testing.T) []string {
	t.Helper()
	root := check[string](t)(filepath.Abs(guestFiles + "/root"))
	qemu := root + "/usr/bin/qemu-system-x86_64"
	_, err := os.Stat(qemu)
	if err != nil {
		qemu, err = exec.LookPath("qemu-system-x86_64") // it was installed already, and not unpacked again
	}
	_, unpacked := os.Stat(guestFiles + "/complete")
	testnet.Need(t, "QEMU and a guest's kernel (scripts/install-guest)", err == nil && unpacked == nil)
	libraries := root + "/usr/lib/x86_64-linux-gnu:" + root + "/lib/x86_64-linux-gnu"
	return []string{
		"env", "LD_LIBRARY_PATH=" + libraries, qemu, "-L", root + "/usr/share/qemu", "-L", root + "/usr/share/seabios", "-L", "/usr/share/seabios",
		"-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "256", "-nographic", "-nodefaults", "-no-reboot", "-serial", "stdio",
		"-kernel", guestFiles + "/vmlinuz", "-append", "console=ttyS0 quiet panic=-1",
	}
}

// serveTaps runs `imds serve` in a namespace, with listeners on the taps there.
func serveTaps(t *testing.T, host *testnet.Namespace) {
	t.Helper()
	dir := t.TempDir()
	if _, stderr, err := command(t, nil, executable, "store", "key", filepath.Join(dir, "key")); err != nil {
		t.Fatalf("make a key: %v: %s", err, stderr)
	}
	settings := strings.Builder{}
	settings.WriteString("state: state\nkey: ./key\ninstances: guests.yaml\ncontrol: {address: \"127.0.0.1:0\"}\nlisteners:\n")
	instances := strings.Builder{}
	instances.WriteString("instances:\n")
	for _, g := range guests {
		for _, address := range []string{g.v4 + ":80", "[" + g.v6 + "]:80"} {
			fmt.Fprintf(&settings, "  - {dialect: %s, address: %q, interface: \"tap*\", attach: true}\n", g.dialect, address)
		}
		fmt.Fprintf(&instances, `  - id: %s
    dialect: %s
    account: "123456789012"
    region: test-1
    zone: test-1a
    type: t3.micro
    image: {id: ami-0123456789abcdef0}
    metadata: {httpTokens: required, httpProtocolIpv6: enabled}
    interfaces:
      - {id: eni-%s, mac: %q, ipv4: [%s], subnet: {id: subnet-a}, vpc: {id: vpc-a}, attachment: {interface: %s}}
`, g.id, g.dialect, strings.TrimPrefix(g.id, "i-"), g.mac, guestAddress, g.tap)
	}
	for name, text := range map[string]string{"imds.yaml": settings.String(), "guests.yaml": instances.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log := new(output)
	cmd := testnet.Server(executable, "serve", "-c", filepath.Join(dir, "imds.yaml"))
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout := check[io.ReadCloser](t)(cmd.StdoutPipe())
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		// The thread stays until the process ends: see Pdeathsig.
		_ = host.Do(func() error {
			err := cmd.Start()
			started <- err
			if err == nil {
				ended <- cmd.Wait()
			}
			return nil
		})
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil {
			t.Errorf("imds serve: %v", err)
		}
		if t.Failed() {
			t.Logf("its log:\n%s", log)
		}
	})
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && lines.Text() != "ready" {
	}
	if lines.Text() != "ready" {
		t.Fatalf("imds serve ended before it was ready:\n%s", log)
	}
}

// boot runs a guest to its end, and looks at what it says.
func (g *tapGuest) boot(t *testing.T, host *testnet.Namespace, qemu []string, image string) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	began := time.Now()
	args := slices.Concat(qemu[1:], []string{"-initrd", image,
		"-netdev", "tap,id=n0,ifname=" + g.tap + ",script=no,downscript=no", "-device", "virtio-net-pci,romfile=,netdev=n0,mac=" + g.mac})
	console, err := host.Exec(ctx, nil, qemu[0], args...)
	if err != nil {
		t.Errorf("%s: QEMU: %v:\n%s", g.tap, err, console)
		return
	}
	var said []string
	for line := range strings.Lines(console) {
		if _, text, found := strings.Cut(strings.TrimSpace(line), "guest: "); found {
			said = append(said, text)
		}
	}
	t.Logf("%s, %s in all:\n%s", g.tap, time.Since(began).Round(time.Second), strings.Join(said, "\n"))
	want := []string{"without %s " + g.refusal, "token %s 200 " + g.size, "with %s 200 " + g.id}
	for _, server := range []string{g.v4, g.v6} {
		for _, line := range want {
			if line = fmt.Sprintf(line, server); !slices.Contains(said, line) {
				t.Errorf("%s: the guest does not say %q", g.tap, line)
			}
		}
	}
	if t.Failed() {
		t.Logf("%s, its console:\n%s", g.tap, console)
	}
}
