//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"openimds/internal/testnet"
)

// projectCommand runs a command in the project's directory and returns what it printed.
func projectCommand(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// packages builds the Debian packages, and returns their files by name.
func packages(t *testing.T) map[string]string {
	t.Helper()
	_, err := os.Stat(filepath.Join(root, "bin/nfpm"))
	testnet.Need(t, "bin/nfpm (make bin/nfpm)", err == nil)
	for _, tool := range []string{"dpkg-deb", "dpkg", "systemd-analyze", "systemd-sysusers"} {
		_, err := exec.LookPath(tool)
		testnet.Need(t, "the command "+tool, err == nil)
	}
	dir := t.TempDir()
	projectCommand(t, []string{"VERSION=1.2.3", "GOFLAGS=-mod=mod", "GOPROXY=off"}, "scripts/package", dir)
	all := map[string]string{}
	for _, name := range []string{"imds", "imds-node"} {
		found, err := filepath.Glob(filepath.Join(dir, name+"_1.2.3_*.deb"))
		if err != nil || len(found) != 1 {
			t.Fatalf("%s: %q, %v", name, found, err)
		}
		all[name] = found[0]
	}
	return all
}

// The packages hold what they should, with the modes that it should have, and
// can be installed: users, settings and units that systemd takes.
func TestPackages(t *testing.T) {
	all := packages(t)
	modes := map[string]map[string]string{
		"imds-node": {
			"./usr/bin/imds-node": "-rwxr-xr-x", "./usr/lib/systemd/system/imds-node.service": "-rw-r--r--", "./usr/lib/sysusers.d/imds-node.conf": "-rw-r--r--",
			"./etc/imds-node/imds-node.yaml": "-rw-r--r--", "./usr/share/doc/imds-node/copyright": "-rw-r--r--", "./usr/share/doc/imds-node/fleet.md": "-rw-r--r--",
		},
		"imds": {
			"./usr/bin/imds": "-rwxr-xr-x", "./usr/lib/systemd/system/imds.service": "-rw-r--r--", "./usr/lib/sysusers.d/imds.conf": "-rw-r--r--",
			"./etc/imds/imds.yaml": "-rw-r--r--", "./usr/share/doc/imds/copyright": "-rw-r--r--", "./usr/share/doc/imds/fleet.md": "-rw-r--r--",
			"./usr/share/imds/prometheus/openimds.rules.yaml": "-rw-r--r--", "./usr/share/imds/grafana/openimds.json": "-rw-r--r--",
		},
	}
	to := t.TempDir()
	for _, dir := range []string{"info", "updates", "triggers"} {
		if err := os.MkdirAll(filepath.Join(to, "var/lib/dpkg", dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(to, "var/lib/dpkg/status"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, file := range all {
		equal(t, "version of "+name, strings.TrimSpace(projectCommand(t, nil, "dpkg-deb", "-f", file, "Version")), "1.2.3")
		got := map[string]string{}
		for line := range strings.Lines(projectCommand(t, nil, "dpkg-deb", "-c", file)) {
			if words := strings.Fields(line); !strings.HasPrefix(words[0], "d") {
				got[words[5]] = words[0]
				equal(t, "owner of "+words[5], words[1], "root/root")
			}
		}
		for path, mode := range modes[name] {
			equal(t, "mode of "+path, got[path], mode)
			delete(got, path)
		}
		for path := range got {
			t.Errorf("%s holds %s, too", name, path)
		}
		projectCommand(t, nil, "dpkg", "--root="+to, "--force-not-root", "--force-script-chrootless", "--force-depends", "--log=/dev/null", "-i", file)
	}
	users, err := os.ReadFile(filepath.Join(to, "etc/passwd"))
	for name := range all {
		if err != nil || !regexp.MustCompile(`(?m)^`+name+`:x:\d+:\d+:openimds:/var/lib/`+name+`:/usr/sbin/nologin$`).Match(users) {
			t.Errorf("the user %s: %s, %v", name, users, err)
		}
		equal(t, "settings of "+name, len(check[[]byte](t)(os.ReadFile(filepath.Join(to, "etc", name, name+".yaml")))) > 100, true)
		out := projectCommand(t, nil, filepath.Join(to, "usr/bin", name), "--help")
		equal(t, name+" runs", strings.Contains(out, "metadata"), true)
		verifyUnit(t, to, name)
	}
	for name := range all {
		projectCommand(t, nil, "dpkg", "--root="+to, "--force-not-root", "--force-script-chrootless", "--log=/dev/null", "--purge", name)
	}
	if left, err := filepath.Glob(filepath.Join(to, "usr/bin/*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// verifyUnit has systemd look at a unit, whose program is where it was
// installed, and at how much it may do.
func verifyUnit(t *testing.T, to, name string) {
	t.Helper()
	text := string(check[[]byte](t)(os.ReadFile(filepath.Join(to, "usr/lib/systemd/system", name+".service"))))
	unit := filepath.Join(t.TempDir(), name+".service")
	changed := strings.Replace(text, "ExecStart=/usr/bin/", "ExecStart="+to+"/usr/bin/", 1)
	// The documentation is where it was installed, too.
	changed = strings.ReplaceAll(changed, "file:///usr/share/doc/", "file://"+to+"/usr/share/doc/")
	if err := os.WriteFile(unit, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", unit)
	out, err := cmd.CombinedOutput()
	about := slices.DeleteFunc(strings.Split(string(out), "\n"), func(line string) bool { return !strings.Contains(line, name+".service") })
	if err != nil || len(about) > 0 {
		t.Errorf("systemd-analyze verify %s: %v\n%s", name, err, out)
	}
	// 3.0 of 10 is what services with capabilities for the network can get to.
	projectCommand(t, nil, "systemd-analyze", "security", "--offline=true", "--threshold=30", unit)
	for _, want := range []string{"Type=notify", "NoNewPrivileges=yes", "ProtectSystem=strict", "LoadCredential="} {
		equal(t, name+" has "+want, strings.Contains(text, "\n"+want), true)
	}
}
