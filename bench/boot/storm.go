//go:build linux

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"openimds/internal/config"
	"openimds/internal/instance"
)

// storm is the boot of all guests at once: processor time that the server used
// for one request, in µs, how long all of it took, in seconds, and how many
// cores others used meanwhile.
type storm struct{ cpu, took, others float64 }

// round is a boot with each server, one after the other.
type round struct{ nginx, openimds storm }

func (r round) ratio() float64  { return r.openimds.cpu / r.nginx.cpu }
func (r round) others() float64 { return max(r.nginx.others, r.openimds.others) }

// booted are the boots of all rounds.
type booted struct {
	requests int // of one guest
	first    storm
	rounds   []round
}

// Rounds during which others used more than noise cores are done again, up to
// tries times as many; the quietest count.
const (
	noise = 0.1
	tries = 4
)

func quiet(all []round) int {
	return len(slices.DeleteFunc(slices.Clone(all), func(r round) bool { return r.others() > noise }))
}

// server is a contestant that runs on its core.
type server struct {
	name, address string
	cmd           *exec.Cmd
	pids          []int
}

// Where they listen.
const (
	imdsAddress, nginxAddress = "127.0.0.1:8169", "127.0.0.1:9011"
)

// measureBoot boots all guests again and again, with each server in turn.
func (o options) measureBoot(ctx context.Context) (b booted, err error) {
	imds, err := o.startImds(ctx)
	if err != nil {
		return b, err
	}
	defer func() { err = errors.Join(err, imds.stop()) }()
	// One that is no guest of the storm tells what all answers are.
	asks := crawl()
	if err := boot(guestAddress(o.booting), imds.address, asks, true); err != nil {
		return b, err
	}
	nginx, err := o.startNginx(ctx, asks)
	if err != nil {
		return b, err
	}
	defer func() { err = errors.Join(err, nginx.stop()) }()
	b.requests = len(asks)
	fmt.Fprintf(os.Stderr, "%d guests boot, %d requests each\n", o.booting, b.requests)
	if b.first, err = o.bootAll(ctx, imds, asks); err != nil {
		return b, err
	}
	for quiet(b.rounds) < o.rounds && len(b.rounds) < tries*o.rounds {
		var r round
		into := map[*server]*storm{imds: &r.openimds, nginx: &r.nginx}
		order := []*server{imds, nginx}
		rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, s := range order {
			if *into[s], err = o.bootAll(ctx, s, asks); err != nil {
				return b, err
			}
		}
		b.rounds = append(b.rounds, r)
		fmt.Fprintf(os.Stderr, "round %d: %.2f, others used %.2f cores\n", len(b.rounds), r.ratio(), r.others())
	}
	slices.SortFunc(b.rounds, func(x, y round) int { return cmp.Compare(x.others(), y.others()) })
	b.rounds = b.rounds[:o.rounds]
	return b, nil
}

// bootAll lets every guest crawl.
func (o options) bootAll(ctx context.Context, s *server, asks []ask) (storm, error) {
	if err := ctx.Err(); err != nil {
		return storm{}, err
	}
	before, err := s.used()
	if err != nil {
		return storm{}, err
	}
	others, err := s.others()
	if err != nil {
		return storm{}, err
	}
	began := time.Now()
	errs := make([]error, o.booting)
	var all sync.WaitGroup
	for i := range o.booting {
		all.Go(func() { errs[i] = boot(guestAddress(i), s.address, asks, false) })
	}
	all.Wait()
	took := time.Since(began)
	if err := errors.Join(errs...); err != nil {
		text, _, _ := strings.Cut(err.Error(), "\n")
		return storm{}, fmt.Errorf("%s: %s", s.name, text)
	}
	after, err := s.used()
	if err != nil {
		return storm{}, err
	}
	more, err := s.others()
	return storm{
		cpu:  float64((after - before).Nanoseconds()) / 1000 / float64(o.booting*len(asks)),
		took: took.Seconds(), others: max(0, (more-others).Seconds()/took.Seconds()),
	}, err
}

// startImds starts the program with one guest more than boot.
func (o options) startImds(ctx context.Context) (*server, error) {
	var file config.Instances
	for i, text := range guestTexts(o.booting + 1) {
		file.Instances = append(file.Instances, new(instance.Instance))
		if err := json.Unmarshal(text, file.Instances[i]); err != nil {
			return nil, err
		}
	}
	text, err := json.Marshal(file) // JSON is YAML
	if err != nil {
		return nil, err
	}
	path := filepath.Join(o.work, "guests.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return nil, err
	}
	return o.start(ctx, "openimds", imdsAddress, filepath.Join(o.work, "imds"),
		"dev", "--instances", path, "--ec2", imdsAddress, "--ecs", "127.0.0.1:0", "--control", "127.0.0.1:0")
}

// nginxConf is one worker, with answers from its memory.
const nginxConf = `
daemon off;
user root;
worker_processes 1;
pid %[1]s/nginx.pid;
error_log %[1]s/nginx-error.log error;
events { worker_connections 4096; }
http {
	access_log off;
	server_tokens off;
	default_type text/plain;
	client_body_temp_path %[1]s/nginx-body;
	proxy_temp_path %[1]s/nginx-proxy;
	fastcgi_temp_path %[1]s/nginx-fastcgi;
	uwsgi_temp_path %[1]s/nginx-uwsgi;
	scgi_temp_path %[1]s/nginx-scgi;
	geo $dollar { default "$"; }
	server {
		listen %[2]s;
		add_header X-Aws-Ec2-Metadata-Token-Ttl-Seconds 21600;
		add_header Accept-Ranges none;
		add_header Last-Modified "Thu, 01 Jan 2026 00:00:00 GMT";
%[3]s	}
}
`

// startNginx starts Debian's nginx with the answers of a crawl.
func (o options) startNginx(ctx context.Context, asks []ask) (*server, error) {
	var locations strings.Builder
	seen := map[string]bool{}
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", "${dollar}")
	for _, a := range asks {
		if seen[a.path] {
			continue // cloud-init asks for one twice
		}
		seen[a.path] = true
		fmt.Fprintf(&locations, "\t\tlocation = %s { return 200 \"%s\"; }\n", a.path, quote.Replace(string(a.body)))
	}
	conf := filepath.Join(o.work, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, o.work, nginxAddress, locations.String()), 0o600); err != nil {
		return nil, err
	}
	s, err := o.start(ctx, "nginx", nginxAddress, "nginx", "-c", conf, "-e", filepath.Join(o.work, "nginx-error.log"))
	if err != nil {
		return nil, err
	}
	// Its answers are to be the same.
	theirs := crawl()
	if err := boot(guestAddress(o.booting), s.address, theirs, true); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	for i, a := range theirs {
		if string(a.body) != string(asks[i].body) {
			return nil, errors.Join(fmt.Errorf("nginx answers %s with %q, want %q", a.path, a.body, asks[i].body), s.stop())
		}
	}
	return s, nil
}

// start starts a program on the servers' core, and waits until it accepts
// connections.
func (o options) start(ctx context.Context, name, address, program string, args ...string) (*server, error) {
	s := &server{name: name, address: address}
	s.cmd = exec.Command("taskset", append([]string{"-c", strconv.Itoa(o.serverCore), program}, args...)...)
	log := filepath.Join(o.work, name+".log")
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	s.cmd.Stdout, s.cmd.Stderr = out, out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			_ = c.Close()
			break
		}
		if time.Now().After(end) || ctx.Err() != nil {
			text, _ := os.ReadFile(log)
			return nil, errors.Join(fmt.Errorf("%s does not answer: %w\n%s", name, err, text), s.stop())
		}
	}
	return s, s.find()
}

// find looks up the processes of s: itself and its children.
func (s *server) find() error {
	pid := s.cmd.Process.Pid
	s.pids = []int{pid}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return err
	}
	for _, f := range strings.Fields(string(text)) {
		child, err := strconv.Atoi(f)
		if err != nil {
			return err
		}
		s.pids = append(s.pids, child)
	}
	return nil
}

// used is the processor time that s has used, user and system, of all its
// threads.
func (s *server) used() (time.Duration, error) {
	var sum time.Duration
	for _, pid := range s.pids {
		const sched = 2 // CPUCLOCK_SCHED of the kernel's posix-timers.h
		var t unix.Timespec
		if err := unix.ClockGettime(int32(^pid<<3|sched), &t); err != nil {
			return 0, fmt.Errorf("read the processor time of %s: %w", s.name, err)
		}
		sum += time.Duration(t.Nano())
	}
	return sum, nil
}

// others is the processor time that was spent on what is neither s nor the
// guests, with the hypervisor's other machines.
func (s *server) others() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	// cpu user nice system idle iowait irq softirq steal …, in hundredths.
	line, _, _ := strings.Cut(string(text), "\n")
	var sum time.Duration
	for i, f := range strings.Fields(line)[1:9] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read /proc/stat: %w", err)
		}
		if i != 3 && i != 4 { // idle, and idle while a disk works
			sum += time.Duration(n) * 10 * time.Millisecond
		}
	}
	used, err := s.used()
	if err != nil {
		return 0, err
	}
	var guests unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &guests); err != nil {
		return 0, os.NewSyscallError("getrusage", err)
	}
	return sum - used - time.Duration(guests.Utime.Nano()+guests.Stime.Nano()), nil
}

// stop ends s and waits for it.
func (s *server) stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	kill := time.AfterFunc(8*time.Second, func() { _ = s.cmd.Process.Kill() })
	defer kill.Stop()
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}
