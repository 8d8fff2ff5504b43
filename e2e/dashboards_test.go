//go:build linux

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"openimds/internal/telemetry"
	"openimds/internal/testnet"
)

var metricName = regexp.MustCompile(`\b(openimds|process|go)_[a-z0-9_]+`)

// known returns the names of all metrics.
func known() (names []string) {
	for _, m := range telemetry.All() {
		names = append(names, m.Name)
	}
	return names
}

// promtool is Debian's, which reads rules and expressions as Prometheus does.
func promtool(t *testing.T) string {
	t.Helper()
	path := filepath.Join(".cache", "debian", "prometheus", "usr", "bin", "promtool")
	_, err := os.Stat(path)
	testnet.Need(t, "Debian's prometheus, unpacked (scripts/install-test-deps)", err == nil)
	return check[string](t)(filepath.Abs(path))
}

// TestAlertRules: the rules are read by Prometheus's own tool, say what
// openimds.test.yaml expects of some histories, and name metrics that there
// are.
func TestAlertRules(t *testing.T) {
	const dir = "../packaging/prometheus"
	text := string(check[[]byte](t)(os.ReadFile(filepath.Join(dir, "openimds.rules.yaml"))))
	for _, name := range metricName.FindAllString(text, -1) {
		if !slices.Contains(known(), name) {
			t.Errorf("the rules name %s, which does not exist", name)
		}
	}
	tool := promtool(t)
	for _, args := range [][]string{{"check", "rules", "openimds.rules.yaml"}, {"test", "rules", "openimds.test.yaml"}} {
		cmd := exec.CommandContext(t.Context(), tool, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// TestDashboard: the dashboard for Grafana is whole, its expressions are read
// by Prometheus's own tool, and name metrics that there are.
func TestDashboard(t *testing.T) {
	var board struct {
		Title  string
		UID    string
		Panels []struct {
			ID      int
			Title   string
			Type    string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Name, Query string }
		}
	}
	if err := json.Unmarshal(check[[]byte](t)(os.ReadFile("../packaging/grafana/openimds.json")), &board); err != nil {
		t.Fatal(err)
	}
	if board.Title == "" || board.UID == "" || len(board.Panels) < 10 {
		t.Errorf("it has the title %q, the uid %q and %d panels", board.Title, board.UID, len(board.Panels))
	}
	var rules strings.Builder
	rules.WriteString("groups:\n  - name: panels\n    rules:\n")
	seen := map[int]bool{}
	for _, p := range board.Panels {
		if seen[p.ID] || p.Title == "" || len(p.Targets) == 0 || p.GridPos.X+p.GridPos.W > 24 || p.GridPos.H == 0 {
			t.Errorf("panel %d %q is not one", p.ID, p.Title)
		}
		seen[p.ID] = true
		for i, target := range p.Targets {
			for _, name := range metricName.FindAllString(target.Expr, -1) {
				if !slices.Contains(known(), name) {
					t.Errorf("%q names %s, which does not exist", p.Title, name)
				}
			}
			plain := strings.NewReplacer("$__rate_interval", "5m", "$__range", "6h", "$instance", ".*").Replace(target.Expr)
			if strings.Contains(plain, "$") {
				t.Errorf("%q has a variable that does not exist: %s", p.Title, plain)
			}
			quoted, _ := json.Marshal(plain) // JSON is YAML
			fmt.Fprintf(&rules, "      - record: panel:%d:%d\n        expr: %s\n", p.ID, i, quoted)
		}
	}
	file := filepath.Join(t.TempDir(), "panels.yaml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), promtool(t), "check", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
