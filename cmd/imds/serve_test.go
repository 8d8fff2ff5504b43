package main

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"openimds/internal/audit"
	"openimds/internal/seal"
	"openimds/internal/store"
	"openimds/internal/store/boltstore"
	"openimds/internal/testnet"
)

// What was acknowledged is there after a restart: instances, options, tags,
// keys, policies, session tokens, the admin token, the audit log.
func TestServeFindsEverythingAgain(t *testing.T) {
	h := newHost(t)
	h.seed(t)
	p := h.start(t)
	api := ec2Client{http.DefaultClient, p.addr["control"]}
	id, status, err := api.launch(t.Context(), "once", "me")
	if err != nil || status != http.StatusOK {
		t.Fatalf("launch: %d, %v", status, err)
	}
	for _, call := range [][]string{
		{"Action", "ModifyInstanceMetadataOptions", "InstanceId", id, "HttpTokens", "required", "HttpPutResponseHopLimit", "3"},
		{"Action", "CreateTags", "ResourceId.1", id, "Tag.1.Key", "count", "Tag.1.Value", "7"},
	} {
		if status, err := api.call(t.Context(), nil, call...); err != nil || status != http.StatusOK {
			t.Fatalf("%s: %d, %v", call[1], status, err)
		}
	}
	// The first address of the sample's sources is the instance's.
	guest := func(p *process) string { return "http://" + p.addr["ec2"] + "/latest/" }
	_, token := get(t, "127.0.0.1", "PUT", guest(p)+"api/token", "X-aws-ec2-metadata-token-ttl-seconds", "600")
	admin, err := os.ReadFile(filepath.Join(h.state(), "admin-token"))
	if err != nil {
		t.Fatal(err)
	}
	if code := p.signal(t, syscall.SIGTERM); code != 0 {
		t.Errorf("after SIGTERM: exit code %d\n%s", code, p.err)
	}

	p = h.start(t)
	api.address = p.addr["control"]
	found, err := api.running(t.Context(), "me")
	if err != nil || len(found) != 1 || found[id] != (seen{value: 2, count: 7}) {
		t.Errorf("after a restart: %+v, %v", found, err)
	}
	if again, _, err := api.launch(t.Context(), "once", "me"); again != id {
		t.Errorf("the same client token gives %s, %v", again, err)
	}
	if status, _ := get(t, "127.0.0.1", "GET", guest(p)+"meta-data/instance-id"); status != http.StatusUnauthorized {
		t.Errorf("without a session token: %d", status)
	}
	if _, got := get(t, "127.0.0.1", "GET", guest(p)+"meta-data/instance-id", "X-aws-ec2-metadata-token", token); got != id {
		t.Errorf("with a session token of before: %q", got)
	}
	control := "http://" + p.addr["control"]
	for _, tc := range []struct {
		path, token string
		want        int
	}{
		{"/healthz", "", 200}, {"/readyz", "", 200}, {"/metrics", "", 200},
		{"/v1/usage", "", 401}, {"/v1/usage", "wrong", 401}, {"/v1/usage", strings.TrimSpace(string(admin)), 200},
		{"/v1/store/backup", "", 401},
	} {
		if status, _ := get(t, "127.0.0.1", "GET", control+tc.path, "Authorization", "Bearer "+tc.token); status != tc.want {
			t.Errorf("%s with the token %q: %d, want %d", tc.path, tc.token, status, tc.want)
		}
	}
	p.signal(t, syscall.SIGTERM)
	log, err := audit.Query(t.Context(), auditFile(h.state()), audit.Filter{Resource: id})
	if err != nil || len(log.Records) < 2 {
		t.Errorf("the audit log has %d records of %s, %v", len(log.Records), id, err)
	}
	for _, file := range []string{"imds.db", "audit.log", "admin-token", "token-keys.json"} {
		if info, err := os.Stat(filepath.Join(h.state(), file)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
	}
	if said := p.out.String() + p.err.String(); strings.Contains(said, strings.TrimSpace(string(admin))) {
		t.Error("the admin token was printed")
	}
	text, err := os.ReadFile(storeFile(h.state()))
	if err != nil || strings.Contains(string(text), devSecret) {
		t.Errorf("the secret of an access key stands in the store, or it cannot be read: %v", err)
	}
}

// What an instances file says is in force, and what the APIs changed since
// stays, over restarts and over edits while the program is down.
func TestServeInstancesFile(t *testing.T) {
	h := newHost(t)
	h.seed(t)
	path := filepath.Join(h.dir, "instances.yaml")
	two := strings.NewReplacer("instances:\n", "", "i-0123456789abcdef0", "i-0fedcba9876543210", "127.0.0.1", "127.0.0.2",
		"02:00:00:00:00:01", "02:00:00:00:00:02", "10.0.0.1]", "10.0.0.2]").Replace(oneInstance)
	account := strings.NewReplacer("123456789012", firstSample()["ec2"].Account)
	writeFile(t, path, account.Replace(oneInstance+two))
	writeFile(t, h.config, h.sampleSettings(t)+"\ninstances: instances.yaml\n")
	typ := func(p *process, from string) string {
		_, body := get(t, from, "GET", "http://"+p.addr["ec2"]+"/latest/meta-data/instance-type")
		return body
	}
	p := h.start(t)
	api := ec2Client{http.DefaultClient, p.addr["control"]}
	if status, err := api.call(t.Context(), nil, "Action", "ModifyInstanceMetadataOptions", "InstanceId", "i-0fedcba9876543210", "HttpTokens", "required"); status != http.StatusOK {
		t.Fatalf("%d, %v", status, err)
	}
	if status, err := api.terminate(t.Context(), "i-0123456789abcdef0"); status != http.StatusOK {
		t.Fatalf("%d, %v", status, err)
	}
	p.signal(t, syscall.SIGTERM)
	p = h.start(t)
	if status, _ := get(t, "127.0.0.2", "GET", "http://"+p.addr["ec2"]+"/latest/meta-data/"); status != http.StatusUnauthorized {
		t.Errorf("what the API set is lost: %d", status)
	}
	if status, _ := get(t, "127.0.0.1", "GET", "http://"+p.addr["ec2"]+"/latest/meta-data/"); status != http.StatusNotFound {
		t.Errorf("what the API ended is back: %d", status)
	}
	p.signal(t, syscall.SIGTERM)
	writeFile(t, path, account.Replace(strings.Replace(oneInstance, "NAME", "m7g.xlarge", 1)))
	p = h.start(t)
	if got := typ(p, "127.0.0.1"); got != "m7g.xlarge" {
		t.Errorf("a new version of an instance: type %q", got)
	}
	if status, _ := get(t, "127.0.0.2", "GET", "http://"+p.addr["ec2"]+"/latest/meta-data/"); status != http.StatusNotFound {
		t.Errorf("an instance that left the file while nobody looked: %d", status)
	}
}

// Whatever is wrong is said before anything is touched, with what to do.
func TestServeRefusesToStart(t *testing.T) {
	h := newHost(t)
	h.seed(t)
	refused := func(name string, code int, words ...string) {
		t.Helper()
		out := h.run(t, code, "serve", "-c", h.config)
		for _, want := range words {
			if !strings.Contains(out, want) {
				t.Errorf("%s: %q is not in:\n%s", name, want, out)
			}
		}
	}
	settings := h.sampleSettings(t)
	replaced := func(pairs ...string) { writeFile(t, h.config, strings.NewReplacer(pairs...).Replace(settings)) }

	replaced("control:", "contrl:", "dialect: ecs", "dialect: azure")
	refused("mistakes", exitUsage, "unknown key; did you mean control?", `is "azure": want ecs or ec2`)
	replaced("\nkey: ", "\nkey: "+h.dir+"/none/")
	refused("no folder", exitUsage, "imds store key")
	replaced("\nkey: "+h.key(), "\nkey: "+h.key()+".none")
	refused("no key", exitUsage, "imds store key "+h.key()+".none")
	if err := os.Chmod(h.key(), 0o640); err != nil {
		t.Fatal(err)
	}
	replaced()
	refused("a key that others can read", exitUsage, "chmod 600 "+h.key())
	if err := os.Chmod(h.key(), 0o600); err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(h.dir, "other")
	h.run(t, 0, "store", "key", other)
	replaced("\nkey: "+h.key(), "\nkey: "+other)
	refused("a key that is not the store's", exitUsage, "give that key too", "olderKeys")
	// What this start seals anew needs the other key from now on.
	replaced("\nkey: "+h.key(), "\nkey: "+other+"\nolderKeys: ["+h.key()+"]")
	h.start(t).signal(t, syscall.SIGTERM)

	if out := h.run(t, 0, "serve", "-c", h.config, "--check"); !strings.Contains(out, "ok: 2 listeners") {
		t.Error(out)
	}
	p := h.start(t)
	refused("a store that is in use", exitFailed, "imds.db is in use by another process")
	p.signal(t, syscall.SIGTERM)

	for _, tc := range []struct{ was, is string }{{"admin-token", "x"}, {"admin-token", "with a\nline"}} {
		writeFile(t, filepath.Join(h.state(), tc.was), tc.is)
		refused("a bad admin token", exitFailed, "remove it, and the next start makes another")
	}
	if err := os.Remove(filepath.Join(h.state(), "admin-token")); err != nil {
		t.Fatal(err)
	}
	commit(t, h, store.Pair{Key: "schema/version", Value: []byte(`{"version":99}`)}, store.Pair{Key: "instances/i-1", Value: []byte(`{"spec":7}`)})
	refused("a newer schema", exitFailed, "version 99", "use a newer one")
}

// commit puts entries into the host's store.
func commit(t *testing.T, h host, pairs ...store.Pair) {
	t.Helper()
	s, err := boltstore.Open(boltstore.Config{Path: storeFile(h.state())})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Commit(t.Context(), store.Tx{Put: pairs})
	if err = errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
}

// A key may be a credential that systemd hands over.
func TestServeWithCredential(t *testing.T) {
	h := newHost(t)
	writeFile(t, h.config, strings.Replace(h.sampleSettings(t), "\nkey: "+h.key(), "\nkey: imds-key", 1))
	if out := h.run(t, exitUsage, "serve", "-c", h.config, "--check"); !strings.Contains(out, "LoadCredential=imds-key:PATH") {
		t.Error(out)
	}
	dir := t.TempDir()
	check := func() (string, error) {
		cmd := testnet.Command(t.Context(), h.program, "serve", "-c", h.config, "--check")
		cmd.Env = []string{"CREDENTIALS_DIRECTORY=" + dir}
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := check(); err == nil || !strings.Contains(out, "systemd has no such credential") {
		t.Errorf("%v, %s", err, out)
	}
	if _, err := seal.Generate(filepath.Join(dir, "imds-key")); err != nil {
		t.Fatal(err)
	}
	if out, err := check(); err != nil {
		t.Errorf("%v, %s", err, out)
	}
}

func TestStoreCommands(t *testing.T) {
	h := newHost(t)
	h.seed(t)
	backup := filepath.Join(h.dir, "backup.db")
	tokenFile := filepath.Join(h.state(), "admin-token")
	p := h.start(t)
	address := "http://" + p.addr["control"]
	api := ec2Client{http.DefaultClient, p.addr["control"]}
	id, _, err := api.launch(t.Context(), "kept", "me")
	if err != nil {
		t.Fatal(err)
	}
	says := func(want string, code int, args ...string) {
		t.Helper()
		if out := h.run(t, code, append([]string{"store"}, args...)...); !strings.Contains(out, want) {
			t.Errorf("imds store %s: %q is not in:\n%s", strings.Join(args, " "), want, out)
		}
	}
	says("a token is needed", exitFailed, "backup", address, backup)
	says("neither a store", exitUsage, "backup", "imds.db", backup)
	says("in use by another process", exitFailed, "backup", h.storeAt(), backup)
	says("in use by another process", exitFailed, "check", h.storeAt())
	if _, err := os.Lstat(backup); err == nil {
		t.Error("a backup that failed left a file")
	}
	says("checked", 0, "backup", address, backup, "--token-file", tokenFile)
	says("--force", exitFailed, "backup", address, backup, "--token-file", tokenFile)
	if info, err := os.Stat(backup); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the backup: %v, %v", info, err)
	}
	if status, err := api.terminate(t.Context(), id); status != http.StatusOK {
		t.Fatalf("%d, %v", status, err)
	}
	says("in use by another process", exitFailed, "restore", backup, h.storeAt(), "--force")
	p.signal(t, syscall.SIGTERM)

	says("is there already", exitFailed, "restore", backup, h.storeAt())
	says("restored", 0, "restore", backup, h.storeAt(), "--force")
	says("ok: ", 0, "check", h.storeAt())
	copied := "bolt:" + filepath.Join(h.dir, "copy.db")
	says("copied", 0, "copy", h.storeAt(), copied)
	says("copy into an empty store", exitFailed, "copy", h.storeAt(), copied)
	says("no store", exitUsage, "check", "copy.db")
	says("expected STORE", exitUsage, "check")
	says("keep it", exitFailed, "key", h.key())

	// The copy serves as well as the store.
	says("restored", 0, "restore", filepath.Join(h.dir, "copy.db"), h.storeAt(), "--force")
	p = h.start(t)
	api.address = p.addr["control"]
	if found, err := api.running(t.Context(), "me"); err != nil || len(found) != 1 {
		t.Errorf("from the backup: %+v, %v", found, err)
	}
	p.signal(t, syscall.SIGTERM)

	damage(t, storeFile(h.state()), id)
	says("is damaged", exitFailed, "check", h.storeAt())
	damage(t, backup, id)
	says("is damaged", exitFailed, "restore", backup, h.storeAt(), "--force")
}

// damage changes every place of a file where a text stands.
func damage(t *testing.T, path, text string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data = bytes.ReplaceAll(data, []byte(text), []byte("x"+text[1:]))
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A change of the state that the data plane cannot take is no reason not to
// start.
func TestServeStartsWithWhatItHas(t *testing.T) {
	h := newHost(t)
	h.seed(t)
	p := h.start(t)
	launched, _, err := ec2Client{http.DefaultClient, p.addr["control"]}.launch(t.Context(), "first", "me")
	if err != nil {
		t.Fatal(err)
	}
	p.signal(t, syscall.SIGTERM)
	// The file wants the address that the launched instance has.
	writeFile(t, filepath.Join(h.dir, "instances.yaml"), oneInstance)
	writeFile(t, h.config, h.sampleSettings(t)+"\ninstances: instances.yaml\n")
	p = h.start(t)
	if status, body := get(t, "127.0.0.1", "GET", "http://"+p.addr["ec2"]+"/latest/meta-data/instance-id"); status != http.StatusOK || body != launched {
		t.Errorf("%d %s, want %s", status, body, launched)
	}
	if !strings.Contains(p.err.String(), "both call from 127.0.0.1") {
		t.Errorf("the log says nothing of the conflict:\n%s", p.err)
	}
}
