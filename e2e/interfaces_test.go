//go:build linux

package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestNetworkInterfaces: what the clients do to network interfaces is served to
// the very next request, and a start begins anew.
func TestNetworkInterfaces(t *testing.T) {
	for _, name := range []string{"aws-sdk-go-v2", "awscli", "boto3", "npm client-ec2"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, nil)
			s := ec2Setting
			s.Endpoint = p.control
			c := ec2Clients[name](t, s.connection)
			call := func(action string, params values) values {
				t.Helper()
				reply, err := c.call(action, params)
				if err != nil {
					t.Fatalf("%s: %v", action, err)
				}
				return reply
			}
			cloud := ec2Cloud{c}
			ids := check[[]string](t)(cloud.launch(launch{image: s.image, tokens: "required"}))
			m := launched(t, p, s.dialect, ids[0])
			primary := "meta-data/network/interfaces/macs/" + m.read(t, "meta-data/mac") + "/"
			nic := m.read(t, primary+"interface-id")

			reply := call("AssignPrivateIpAddresses", values{"NetworkInterfaceId": nic, "SecondaryPrivateIpAddressCount": 2})
			second := each(reply["AssignedPrivateIpAddresses"], "PrivateIpAddress")
			served := strings.Split(m.read(t, primary+"local-ipv4s"), "\n")
			if len(second) != 2 || !slices.Equal(served[1:], second) {
				t.Errorf("assigned %v, served %v", second, served)
			}
			call("UnassignPrivateIpAddresses", values{"NetworkInterfaceId": nic, "PrivateIpAddresses": []any{second[0]}})
			served = strings.Split(m.read(t, primary+"local-ipv4s"), "\n")
			if !slices.Equal(served[1:], second[1:]) {
				t.Errorf("served %v, want %v", served[1:], second[1:])
			}

			made := call("CreateNetworkInterface", values{"SubnetId": m.read(t, primary+"subnet-id"), "Description": "another"})
			other, mac := textAt(made["NetworkInterface"], "NetworkInterfaceId"), textAt(made["NetworkInterface"], "MacAddress")
			attachment := textAt(call("AttachNetworkInterface", values{"NetworkInterfaceId": other, "InstanceId": ids[0], "DeviceIndex": 1}), "AttachmentId")
			equal(t, "device", m.read(t, "meta-data/network/interfaces/macs/"+mac+"/device-number"), "1")
			shown := call("DescribeNetworkInterfaces", values{"NetworkInterfaceIds": []any{other}})
			if got := each(shown["NetworkInterfaces"], "Attachment", "InstanceId"); !slices.Equal(got, ids) {
				t.Errorf("attached to %v", got)
			}
			call("DetachNetworkInterface", values{"AttachmentId": attachment})
			_, token := m.mint(t)
			status, _ := m.get(t, "meta-data/network/interfaces/macs/"+mac+"/device-number", token)
			equal(t, "status of the detached one", status, http.StatusNotFound)
			call("DeleteNetworkInterface", values{"NetworkInterfaceId": other})
			_, err := c.call("DeleteNetworkInterface", values{"NetworkInterfaceId": nic})
			told(t, "delete the primary one", err, "InvalidNetworkInterface.InUse", http.StatusBadRequest)
			if err := cloud.end(ids...); err != nil {
				t.Error(err)
			}
		})
	}
}
