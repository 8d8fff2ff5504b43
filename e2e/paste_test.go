//go:build linux

package e2e

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"openimds/internal/testnet"
)

// TestPrintedLines pastes what `imds dev` prints into a shell, line by line,
// as a person does. Every command must succeed, and the instance's items must
// come out.
func TestPrintedLines(t *testing.T) {
	_, err := exec.LookPath("curl")
	testnet.Need(t, "the command curl (scripts/install-test-deps)", err == nil)
	p := start(t, nil)
	var script []string
	curls, exports := 0, 0
	for _, line := range p.lines {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "curl "):
			curls++
			script = append(script, strings.Replace(line, "curl ", "curl -sS --fail --max-time 5 ", 1))
		case strings.HasPrefix(line, "TOKEN="):
			script = append(script, line, `test -n "$TOKEN"`)
		case strings.HasPrefix(line, "export "):
			exports++
			script = append(script, line)
		case strings.HasPrefix(line, "imds "):
			script = append(script, executable+strings.TrimPrefix(line, "imds"))
		}
	}
	if curls < 3 || exports < 2 {
		t.Fatalf("%d curl lines and %d exports are printed, want some of each:\n%s", curls, exports, strings.Join(p.lines, "\n"))
	}
	stdout, stderr, err := command(t, nil, "bash", "-eu", "-c", strings.Join(script, "\n")+"\nenv\n")
	if err != nil {
		t.Fatalf("%v\n%s%s", err, stdout, stderr)
	}
	for _, want := range []string{
		"instance-id\n", "INSTANCE ",
		sample(t, "ecs", optional).ID,
		"AWS_EC2_METADATA_SERVICE_ENDPOINT=" + p.ec2 + "/\n",
		"ALIBABA_CLOUD_IMDS_ENDPOINT=" + p.ecs + "\n",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("want %q in\n%s", want, stdout)
		}
	}
	if u := p.usage(t, sample(t, "ec2", required).ID); u.TokensMinted != 1 || u.TokenedServed != 1 {
		t.Errorf("the line with the token is to mint one and use it; counted: %+v", u)
	}
}

// TestControl: what an operator's tools look at.
func TestControl(t *testing.T) {
	p := start(t, nil)
	for _, path := range []string{"/healthz", "/readyz"} {
		stdout, stderr, err := command(t, nil, "curl", "-sS", "--fail", "--max-time", "5", p.control+path)
		if err != nil {
			t.Errorf("%s: %v\n%s%s", path, err, stdout, stderr)
		}
	}
	stdout, stderr, err := command(t, nil, "curl", "-sS", "--fail", "--max-time", "5", p.ec2+"/latest/meta-data/ami-id", p.control+"/metrics")
	if err != nil {
		t.Fatalf("%v\n%s%s", err, stdout, stderr)
	}
	if !slices.ContainsFunc(strings.Split(stdout, "\n"), func(l string) bool {
		return strings.Contains(l, `dialect="ec2"`) && strings.Contains(l, "token_free") && strings.HasSuffix(l, " 1")
	}) {
		t.Errorf("the request is not counted in\n%s", stdout)
	}
}
