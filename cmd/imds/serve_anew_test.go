package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"openimds/internal/control"
	"openimds/internal/seal"
	"openimds/internal/state"
	"openimds/internal/testnet"
)

// A key is replaced while the service is killed again and again: nothing is
// lost, and in the end the older key can go.
func TestServeReplacesItsKey(t *testing.T) {
	h := newHost(t)
	const keys = 3000
	h.open(t, func(db *state.DB, c *control.Control) {
		if err := seed(t.Context(), db, c); err != nil {
			t.Fatal(err)
		}
		older, err := seal.ReadKey(h.key())
		if err != nil {
			t.Fatal(err)
		}
		ring := seal.NewRing(older)
		for from := 0; from < keys; from += 1000 {
			err := db.Update(t.Context(), func(tx *state.Tx) error {
				for i := range 1000 {
					id := fmt.Sprintf("AKIA%016d", from+i)
					k := &state.AccessKey{ID: id, Dialect: "ec2", Account: "1", User: "ann", Sealed: ring.Seal([]byte(testnet.Secret(t, "secret-of-"+id)), "access-key/"+id)}
					if err := state.Save(tx, db.Keys, id, k); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	writeFile(t, filepath.Join(h.dir, "instances.yaml"), oneInstance+"    role:\n      name: web\n      credentials: {accessKeyId: ASIAGIVEN, accessKeySecret: given-secret-that-is-sealed-anew, sessionToken: given-token-that-is-sealed-anew}\n")
	settings := h.sampleSettings(t) + "\ninstances: instances.yaml\n"
	writeFile(t, h.config, settings)
	p := h.start(t)
	waitFor(t, "a key of identity documents was made", func() bool { return strings.Contains(p.err.String(), "new identity key") })
	p.signal(t, syscall.SIGTERM)
	before := h.sealed(t)
	if len(before) != 1 {
		t.Fatalf("before: %v", before)
	}
	var oldest string
	all := 0
	for oldest, all = range before {
	}
	if all < keys+4 {
		t.Fatalf("only %d sealed records", all)
	}

	newer := filepath.Join(h.dir, "newer")
	h.run(t, 0, "store", "key", newer)
	named := func(key, more string) {
		writeFile(t, h.config, strings.Replace(settings, "\nkey: "+h.key(), "\nkey: "+key+more, 1))
	}
	named(newer, "\nolderKeys: ["+h.key()+"]")
	interrupted := 0
	for wait := 5 * time.Millisecond; ; wait += 10 * time.Millisecond {
		ready := h.startAndKill(t, wait)
		now := h.sealed(t)
		total := 0
		for _, n := range now {
			total += n
		}
		if total != all {
			t.Fatalf("killed after %v: %v, want %d in all", wait, now, all)
		}
		if now[oldest] > 0 && now[oldest] < keys {
			interrupted++
		}
		if ready {
			break
		}
	}
	t.Logf("killed %d times while it sealed anew", interrupted)
	p = h.start(t)
	waitFor(t, "the log said that it is done", func() bool {
		return strings.Contains(p.err.String(), "everything in the store is sealed under the newest key")
	})
	p.signal(t, syscall.SIGTERM)
	if now := h.sealed(t); len(now) != 1 || now[oldest] != 0 {
		t.Errorf("at the end: %v", now)
	}

	// The older key is retired.
	if err := os.Remove(h.key()); err != nil {
		t.Fatal(err)
	}
	named(newer, "")
	p = h.start(t)
	if status, body := get(t, "127.0.0.1", "GET", "http://"+p.addr["ec2"]+"/latest/meta-data/iam/security-credentials/web"); status != 200 || !strings.Contains(body, "given-secret-that-is-sealed-anew") {
		t.Errorf("credentials without the older key: %d %.200s", status, body)
	}
	if status, body := get(t, "127.0.0.1", "GET", "http://"+p.addr["control"]+"/v1/identity/certificates"); status != 200 || !strings.Contains(body, "BEGIN CERTIFICATE") {
		t.Errorf("certificates without the older key: %d %.200s", status, body)
	}
	p.signal(t, syscall.SIGTERM)
}

// sealed is what `imds store check` says of the host's store: the number of
// records by key.
func (h host) sealed(t *testing.T) map[string]int {
	t.Helper()
	found := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^(\d+) sealed under seal key ([0-9a-f]{16})$`).FindAllStringSubmatch(h.run(t, 0, "store", "check", h.storeAt()), -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		found[m[2]] = n
	}
	return found
}

// startAndKill starts the service and kills it some time later; it reports
// whether it was ready by then.
func (h host) startAndKill(t *testing.T, wait time.Duration) (ready bool) {
	t.Helper()
	cmd := testnet.Server(h.program, "serve", "-c", h.config)
	cmd.Env = []string{}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan bool)
	go func() {
		found := false
		for lines := bufio.NewScanner(out); lines.Scan(); {
			found = found || lines.Text() == "ready"
		}
		done <- found
	}()
	time.Sleep(wait)
	_ = cmd.Process.Kill()
	ready = <-done
	_ = cmd.Wait() // killed
	return ready
}
