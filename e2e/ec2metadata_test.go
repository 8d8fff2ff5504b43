//go:build linux

package e2e

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

// TestEC2Metadata runs amazon-ec2-utils' command, whose address is built in
// and two of whose paths have a double slash.
func TestEC2Metadata(t *testing.T) {
	dir, _ := debian(t, "amazon-ec2-utils")
	tool := filepath.Join(dir, "usr/bin/ec2-metadata")
	for name, source := range map[string]string{"optional": optional, "required": required} {
		t.Run(name, func(t *testing.T) {
			p := builtIn(t, "ec2", source)
			in := sample(t, "ec2", source)
			nic := in.Primary()
			stdout, stderr, err := command(t, nil, tool, "--all")
			if err != nil {
				t.Fatalf("%v\n%s%s", err, stdout, stderr)
			}
			var groups []string
			for _, g := range nic.SecurityGroups {
				groups = append(groups, g.Name)
			}
			for _, want := range []string{
				"ami-id: " + in.Image.ID + "\n",
				"instance-id: " + in.ID + "\n",
				"instance-type: " + in.Type + "\n",
				"local-ipv4: " + nic.IPv4[0].String() + "\n",
				"placement: " + in.Zone + "\n",
				"reservation-id: " + in.ReservationID + "\n",
				"public-ipv4: " + nic.Public[0].Address.String() + "\n",
				"security-groups: " + strings.Join(groups, "\n") + "\n",
				"keyname:" + in.KeyPairs[0].Name + "\nindex:0\nformat:openssh-key\n",
				in.KeyPairs[0].PublicKey + "\n",
				"block-device-mapping: \n\t ami: ",
				"user-data: " + shellText(in.UserData),
			} {
				if !strings.Contains(stdout, want) {
					t.Errorf("want %q in\n%s", want, stdout)
				}
			}
			if in.Metadata.TagsShown() {
				for key, value := range in.Tags {
					if !strings.Contains(key, " ") && !strings.Contains(stdout, "\t "+key+": "+value+"\n") {
						t.Errorf("want tag %s: %s in\n%s", key, value, stdout)
					}
				}
			}
			if u := p.usage(t, in.ID); u.TokensMinted != 1 || u.TokenFreeServed+u.TokenFreeRejected+u.BadToken != 0 {
				t.Errorf("the command uses one token for all; counted: %+v", u)
			}
		})
	}
	t.Run("disabled", func(t *testing.T) {
		builtIn(t, "ec2", disabled)
		stdout, _, err := command(t, nil, tool, "--instance-id")
		if err == nil || !strings.Contains(stdout, "Could not get IMDSv2 token") {
			t.Errorf("error %v, output %q; want the command to give up", err, stdout)
		}
	})
}

// shellText is what a shell script can hold of data: nothing after the first
// NUL is expected, and no line feeds at the end.
func shellText(data []byte) string {
	if bytes.IndexByte(data, 0) >= 0 {
		return ""
	}
	return strings.TrimRight(string(data), "\n")
}
