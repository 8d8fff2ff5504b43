//go:build linux

package e2e

import (
	"encoding/base64"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// guest is an instances file; what is appended to it are more keys of its one
// instance.
const guest = `
instances:
  - id: i-0123456789abcdef0
    dialect: ec2
    sources: [127.0.0.5]
    account: 123456789012
    region: us-east-1
    zone: us-east-1a
    type: m7g.large
    image: {id: ami-0123456789abcdef0}
    interfaces:
      - id: eni-0123456789abcdef0
        mac: 02:00:00:00:00:05
        ipv4: [10.0.0.5]
        subnet: {id: subnet-0123456789abcdef0, ipv4: 10.0.0.0/24}
        vpc: {id: vpc-0123456789abcdef0, ipv4: [10.0.0.0/16]}
`

// TestLargestUserData: as much as EC2 takes comes out byte for byte
// (EC2-USER-02); a byte more is refused before anything starts.
func TestLargestUserData(t *testing.T) {
	const most = 16384
	file := filepath.Join(t.TempDir(), "instances.yaml")
	write := func(n int) string {
		t.Helper()
		data := make([]byte, n)
		for i := range data {
			data[i] = byte(i * i >> 3)
		}
		text := guest + "    userData: !!binary " + base64.StdEncoding.EncodeToString(data) + "\n"
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	data := write(most)
	p := start(t, map[string]string{"instances": file})
	got := get(t, &http.Client{Transport: transport("127.0.0.5")}, p.ec2+"/latest/user-data")
	equal(t, "user data comes out as it went in", got == data, true)

	write(most + 1)
	_, stderr, err := command(t, nil, executable, "dev", "--config-check", "--instances", file)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(stderr, "userData") {
		t.Errorf("a byte too many: %v, %q; want exit status 2 and the key", err, stderr)
	}
}
