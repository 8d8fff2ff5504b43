package main

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
)

// A node serves what is assigned to it, and nothing else; the control plane's
// own data plane serves the rest.
func TestFollow(t *testing.T) {
	b := newBed(t)
	b.put(1, "a", "m7g.large")
	b.put(2, "b", "m7g.large")
	b.put(3, "", "m7g.large")
	a, c := b.node("a"), b.node("b")
	b.serves(a, 1, "m7g.large")
	b.serves(c, 2, "m7g.large")
	b.serves(b.control, 3, "m7g.large")
	for p, others := range map[*process][]int{a: {2, 3}, c: {1, 3}, b.control: {1, 2}} {
		for _, n := range others {
			if got := b.item(p, n, "meta-data/instance-id"); got.status != http.StatusNotFound || strings.Contains(got.body, "i-") {
				t.Errorf("%s %s: instance %d gets %v", p.name, p.cmd.Args, n, got)
			}
		}
	}
	for _, name := range []string{"a", "b"} {
		text, err := os.ReadFile(b.path(name + "/last-good"))
		if err != nil {
			t.Fatal(err)
		}
		for n, node := range map[int]string{1: "a", 2: "b", 3: ""} {
			if strings.Contains(string(text), guestID(n)) != (node == name) {
				t.Errorf("the last-good file of %s, and instance %d of node %q", name, n, node)
			}
		}
	}
	b.put(1, "a", "m7g.xlarge")
	b.serves(a, 1, "m7g.xlarge")
	if code := a.signal(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if list := b.imds("fleet", "nodes", "--server", b.control.url("control"), "--token-file", b.path("state/admin-token")); !strings.Contains(list, "NODE") || !strings.Contains(list, "b     yes") {
		t.Errorf("the list of nodes:\n%s", list)
	}
}

// A live migration: what was minted on one node is good on the other, and the
// first knows nothing of the guest any more.
func TestMove(t *testing.T) {
	b := newBed(t)
	b.put(1, "a", "m7g.large")
	b.put(2, "b", "m7g.large")
	a, c := b.node("a"), b.node("b")
	b.serves(a, 1, "m7g.large")
	b.serves(c, 2, "m7g.large")
	token := b.mint(a, 1)
	b.put(1, "b", "m7g.large")
	b.serves(c, 1, "m7g.large")
	b.serves(a, 1, "")
	if got := b.item(c, 1, "meta-data/instance-id", tokenHeader, token); got != (answer{200, guestID(1)}) {
		t.Errorf("the token on the other node: %v", got)
	}
	if got := b.item(c, 2, "meta-data/instance-id", tokenHeader, token); got.status != http.StatusUnauthorized {
		t.Errorf("the token of another instance: %v", got)
	}
	b.put(1, "", "m7g.large") // to the control plane itself
	b.serves(b.control, 1, "m7g.large")
	if got := b.item(b.control, 1, "meta-data/instance-id", tokenHeader, token); got != (answer{200, guestID(1)}) {
		t.Errorf("the token on the control plane: %v", got)
	}
}

// Without a control plane a node serves the last good state, also after it was
// killed; tokens of before are good; and when the control plane is back,
// nothing that was changed meanwhile is missing.
func TestControlPlaneAway(t *testing.T) {
	b := newBed(t)
	b.put(1, "a", "m7g.large")
	b.put(2, "b", "m7g.large")
	a := b.node("a")
	b.serves(a, 1, "m7g.large")
	token := b.mint(a, 1)
	b.control.signal(t, syscall.SIGKILL)
	for range 3 {
		if got := b.item(a, 1, "meta-data/instance-type", tokenHeader, token); got != (answer{200, "m7g.large"}) {
			t.Errorf("without a control plane: %v", got)
		}
		if got := b.item(a, 2, "meta-data/instance-id"); got.status != http.StatusNotFound {
			t.Errorf("another node's instance gets %v", got)
		}
		a.signal(t, syscall.SIGKILL)
		a = b.node("a")
	}
	if got := b.item(a, 1, "meta-data/instance-type", tokenHeader, b.mint(a, 1)); got != (answer{200, "m7g.large"}) {
		t.Errorf("a token that was minted without a control plane: %v", got)
	}
	b.up()
	b.eventually("the node follows again", func() bool { return b.feedOf(a).Connected })
	b.put(1, "a", "m7g.xlarge")
	b.serves(a, 1, "m7g.xlarge")
	if got := b.item(a, 1, "meta-data/instance-id", tokenHeader, token); got != (answer{200, guestID(1)}) {
		t.Errorf("the token of before: %v", got)
	}
}

// A node that was away for longer than the control plane remembers gets
// everything anew, and what went meanwhile is gone.
func TestBehindACompaction(t *testing.T) {
	b := newBed(t)
	b.put(1, "a", "m7g.large")
	b.put(2, "a", "m7g.large")
	a := b.node("a")
	b.serves(a, 2, "m7g.large")
	a.signal(t, syscall.SIGKILL)
	for i := range 20 {
		b.put(1, "a", fmt.Sprintf("m7g.%dxlarge", i+2))
	}
	b.put(2, "", "m7g.large")
	// A control plane that was started anew remembers no change.
	b.control.signal(t, syscall.SIGKILL)
	b.up()
	a = b.node("a")
	b.serves(a, 1, "m7g.21xlarge")
	b.serves(a, 2, "")
}

// What a host had before it became another node is not served.
func TestAnotherNodesState(t *testing.T) {
	b := newBed(t)
	b.put(1, "a", "m7g.large")
	a := b.node("a")
	b.serves(a, 1, "m7g.large")
	a.signal(t, syscall.SIGKILL)
	b.control.signal(t, syscall.SIGKILL)
	b.imds("fleet", "certificate", "b", b.path("fleet"))
	for _, ext := range []string{".crt", ".key"} {
		if err := os.Rename(b.path("fleet/b"+ext), b.path("fleet/a"+ext)); err != nil {
			t.Fatal(err)
		}
	}
	renamed := b.node("a")
	if got := b.item(renamed, 1, "meta-data/instance-id"); got.status != http.StatusNotFound {
		t.Errorf("an instance of the node that this was before: %v", got)
	}
	b.up()
	b.put(2, "b", "m7g.large")
	b.serves(renamed, 2, "m7g.large")
	b.serves(renamed, 1, "")
}
