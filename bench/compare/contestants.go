//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"openimds/internal/config"
	"openimds/internal/instance"
)

// Ports of the namespace.
const (
	floorKeep, floorOnce  = "127.0.0.1:9001", "127.0.0.1:9002"
	nginxEC2, nginxECS    = "127.0.0.1:9011", "127.0.0.1:9012"
	nginxEC2d, nginxECSd  = "127.0.0.1:9021", "127.0.0.1:9022"
	imdsEC2, imdsECS      = "127.0.0.1:8169", "127.0.0.1:8100"
	imdsControl           = "127.0.0.1:8180"
	throttledEC2          = "127.0.0.1:8269"
	throttledECS          = "127.0.0.1:8200"
	throttledControl      = "127.0.0.1:8280"
	throttledSettings     = "throttle: {rate: 1, burst: 2}\n" // two requests for two tokens
	instancesFile         = "instances.yaml"
	nginxFile, nginxError = "nginx.conf", "nginx-error.log"
)

func (b *bench) startFloor() error {
	s, err := b.launch(floor, filepath.Join(b.work, "floor"), "-keep", floorKeep, "-once", floorOnce)
	if err != nil {
		return err
	}
	s.address = func(_ *dialect, fresh bool) string {
		if fresh {
			return floorOnce
		}
		return floorKeep
	}
	return nil
}

// nginxConf answers with the headers that the dialects have. Server and
// Connection are nginx's own; it cannot leave them out.
const nginxConf = `
daemon off;
worker_processes 1;
pid %[1]s/nginx.pid;
error_log %[1]s/` + nginxError + ` error;
%[2]s
events { worker_connections 4096; }
http {
	access_log off;
	server_tokens off;
	keepalive_requests 1000000000;
	default_type text/plain;
	client_body_temp_path %[1]s/nginx-body;
	proxy_temp_path %[1]s/nginx-proxy;
	fastcgi_temp_path %[1]s/nginx-fastcgi;
	uwsgi_temp_path %[1]s/nginx-uwsgi;
	scgi_temp_path %[1]s/nginx-scgi;
	server {
		listen ` + nginxEC2 + `;
		listen ` + nginxEC2d + ` deferred;
		add_header X-Aws-Ec2-Metadata-Token-Ttl-Seconds 21600;
		add_header Accept-Ranges none;
		add_header Last-Modified "Thu, 01 Jan 2026 00:00:00 GMT";
		return 200 %[3]s;
	}
	server {
		listen ` + nginxECS + `;
		listen ` + nginxECSd + ` deferred;
		return 200 %[4]s;
	}
}
`

// startNginx starts one nginx that is two contestants: its ordinary listeners
// and its deferred ones.
func (b *bench) startNginx() error {
	user := ""
	if text, err := os.ReadFile("/proc/self/uid_map"); err == nil && !strings.Contains(string(text), "4294967295") {
		user = "user root;" // the only one there is in this user namespace
	}
	conf := filepath.Join(b.work, nginxFile)
	text := fmt.Sprintf(nginxConf, b.work, user, dialects[0].id, dialects[1].id)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write nginx's configuration: %w", err)
	}
	s, err := b.launch(nginx, "nginx", "-c", conf, "-e", filepath.Join(b.work, nginxError))
	if err != nil {
		return err
	}
	s.address = at(nginxEC2, nginxECS)
	deferred := *s
	deferred.name, deferred.address = nginxDeferred, at(nginxEC2d, nginxECSd)
	b.servers[nginxDeferred] = &deferred
	return nil
}

// at returns the address function of a server with one listener a dialect.
func at(ec2, ecs string) func(*dialect, bool) string {
	return func(d *dialect, _ bool) string {
		if d.name == "ec2" {
			return ec2
		}
		return ecs
	}
}

// startImds starts the real program, twice: as it comes, and with a throttle.
func (b *bench) startImds() error {
	file := filepath.Join(b.work, instancesFile)
	if err := writeInstances(file, b.instances); err != nil {
		return err
	}
	settings := filepath.Join(b.work, "throttled.yaml")
	if err := os.WriteFile(settings, []byte(throttledSettings), 0o600); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	for _, v := range []struct {
		name, ec2, ecs, control string
		args                    []string
	}{
		{openimds, imdsEC2, imdsECS, imdsControl, nil},
		{throttled, throttledEC2, throttledECS, throttledControl, []string{"--config", settings}},
	} {
		args := append([]string{"dev", "--instances", file, "--ec2", v.ec2, "--ecs", v.ecs, "--control", v.control}, v.args...)
		s, err := b.launch(v.name, filepath.Join(b.work, "imds"), args...)
		if err != nil {
			return err
		}
		s.address = at(v.ec2, v.ecs)
	}
	return nil
}

// writeInstances writes a file with the samples and, up to n, others of each
// dialect in turn that are like the first of it, without what would make the
// file too large.
func writeInstances(path string, n int) error {
	all := config.Samples()
	first := map[string]*instance.Instance{}
	for _, in := range all {
		if first[in.Dialect] == nil {
			first[in.Dialect] = in
		}
	}
	for i := len(all); i < n; i++ {
		all = append(all, another(*first[dialects[i%len(dialects)].name], i))
	}
	// JSON is YAML.
	text, err := json.Marshal(config.Instances{Instances: all})
	if err != nil {
		return fmt.Errorf("write instances: %w", err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return fmt.Errorf("write instances: %w", err)
	}
	// A file that has just changed is read again for a while.
	old := time.Now().Add(-time.Hour)
	return os.Chtimes(path, old, old)
}

// another returns the i-th instance that is like in.
func another(in instance.Instance, i int) *instance.Instance {
	in.ID = fmt.Sprintf("i-%017x", i)
	in.Sources = []netip.Addr{netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})}
	card := in.Interfaces[0]
	card.ID = fmt.Sprintf("eni-%017x", i)
	card.MAC = fmt.Sprintf("02:00:%02x:%02x:%02x:%02x", byte(i>>24), byte(i>>16), byte(i>>8), byte(i))
	card.IPv6, card.Public, card.IPv4Prefixes, card.IPv6Prefixes = nil, nil, nil, nil
	in.Interfaces = []instance.Interface{card}
	in.Disks = in.Disks[:1]
	in.KeyPairs, in.Role, in.Identity, in.UserData = nil, nil, nil, nil
	in.ManagedSSH, in.Events = instance.ManagedSSH{}, instance.Events{}
	in.Tags, in.Services, in.ElasticGPUs, in.ElasticInference = nil, instance.Services{}, nil, nil
	return &in
}
