//go:build linux

package e2e

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
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
	for _, name := range []string{"imds", "imds-node", "imds-trace"} {
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
		"imds-trace": {
			"./usr/sbin/imds-trace": "-rwxr-xr-x", "./usr/lib/systemd/system/imds-trace.service": "-rw-r--r--", "./etc/default/imds-trace": "-rw-r--r--",
			"./usr/share/doc/imds-trace/copyright": "-rw-r--r--", "./usr/share/doc/imds-trace/tracer.md": "-rw-r--r--",
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
	for _, name := range []string{"imds", "imds-node"} {
		if err != nil || !regexp.MustCompile(`(?m)^`+name+`:x:\d+:\d+:openimds:/var/lib/`+name+`:/usr/sbin/nologin$`).Match(users) {
			t.Errorf("the user %s: %s, %v", name, users, err)
		}
		equal(t, "settings of "+name, len(check[[]byte](t)(os.ReadFile(filepath.Join(to, "etc", name, name+".yaml")))) > 100, true)
		out := projectCommand(t, nil, filepath.Join(to, "usr/bin", name), "--help")
		equal(t, name+" runs", strings.Contains(out, "metadata"), true)
		verifyUnit(t, to, name)
		static(t, filepath.Join(to, "usr/bin", name), runtime.GOARCH)
	}
	// The tracer needs no user: it is root, and gives up what it does not need.
	tracer := filepath.Join(to, "usr/sbin/imds-trace")
	static(t, tracer, runtime.GOARCH)
	equal(t, "imds-trace runs", strings.Contains(projectCommand(t, nil, tracer, "--help"), "metadata"), true)
	takenBySystemd(t, to, "imds-trace")
	for name := range all {
		projectCommand(t, nil, "dpkg", "--root="+to, "--force-not-root", "--force-script-chrootless", "--log=/dev/null", "--purge", name)
	}
	if left, err := filepath.Glob(filepath.Join(to, "usr/*bin/*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// static looks whether a program needs nothing of the system that it runs on,
// and is one for an architecture.
func static(t *testing.T, path, arch string) {
	t.Helper()
	f := check[*elf.File](t)(elf.Open(path))
	defer f.Close()
	equal(t, "machine of "+path, f.Machine, map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[arch])
	needs, err := f.ImportedLibraries()
	if err != nil || len(needs) > 0 {
		t.Errorf("%s needs libraries: %q, %v", path, needs, err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("%s is not static: it has a header of type %v", path, p.Type)
		}
	}
}

// The tracer is built for both architectures, from any of them.
func TestTracerIsStatic(t *testing.T) {
	testnet.RequireIsolated(t)
	for _, arch := range []string{"amd64", "arm64"} {
		path := filepath.Join(t.TempDir(), "imds-trace")
		projectCommand(t, []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=" + arch, "GOPROXY=off"}, "go", "build", "-trimpath", "-o", path, "./cmd/imds-trace")
		static(t, path, arch)
	}
}

// takenBySystemd has systemd look at a unit, whose program is where it was
// installed.
func takenBySystemd(t *testing.T, to, name string) (text, unit string) {
	t.Helper()
	text = string(check[[]byte](t)(os.ReadFile(filepath.Join(to, "usr/lib/systemd/system", name+".service"))))
	unit = filepath.Join(t.TempDir(), name+".service")
	changed := strings.ReplaceAll(text, "ExecStart=/usr/", "ExecStart="+to+"/usr/")
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
	return text, unit
}

// verifyUnit has systemd look at a unit, too, and at how much it may do.
func verifyUnit(t *testing.T, to, name string) {
	t.Helper()
	text, unit := takenBySystemd(t, to, name)
	// 3.0 of 10 is what services with capabilities for the network can get to.
	projectCommand(t, nil, "systemd-analyze", "security", "--offline=true", "--threshold=30", unit)
	for _, want := range []string{"Type=notify", "NoNewPrivileges=yes", "ProtectSystem=strict", "LoadCredential="} {
		equal(t, name+" has "+want, strings.Contains(text, "\n"+want), true)
	}
}
