package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// unitName is the systemd unit, and unitAlias the name that the known packet
// analyzers give theirs, so that what is written about these is true of ours.
const (
	unitName  = "imds-trace.service"
	unitAlias = "imds_tracer_tool.service"
)

// unit is what install writes; packaging/systemd/imds-trace.service is the same
// for the program of a package, whose flags are in /etc/default/imds-trace.
const unit = `[Unit]
Description=Names processes that use the metadata service without a token
# Before the network is up, so that the requests of booting are seen: cloud-init
# is the first to ask.
DefaultDependencies=no
After=local-fs.target systemd-journald.socket
Before=network-pre.target cloud-init-local.service shutdown.target
Wants=network-pre.target
Conflicts=shutdown.target

[Service]
Type=simple
%sExecReload=kill -HUP $MAINPID
Restart=always
RestartSec=5
# 3: this machine does not permit it, and trying again does not help.
RestartPreventExitStatus=2 3
CapabilityBoundingSet=CAP_BPF CAP_PERFMON CAP_NET_ADMIN CAP_NET_RAW CAP_SYS_PTRACE CAP_SYS_ADMIN CAP_SYS_RESOURCE CAP_DAC_READ_SEARCH CAP_SETPCAP
NoNewPrivileges=yes
ProtectSystem=strict
LogsDirectory=imds
LogsDirectoryMode=0700
ProtectHome=read-only
RestrictSUIDSGID=yes
RestrictRealtime=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_UNIX AF_NETLINK AF_PACKET AF_INET AF_INET6
SystemCallArchitectures=native
MemoryMax=128M
TasksMax=64
UMask=0077

[Install]
WantedBy=multi-user.target
Alias=` + unitAlias + `
`

type installOptions struct {
	root    string
	program string
	start   bool
	purge   bool
}

func newInstall() *cobra.Command {
	var o installOptions
	c := &cobra.Command{
		Use:   "install [-- FLAGS]",
		Short: "install the systemd unit, with the flags given after --",
		Long: `install copies this program to /usr/local/sbin/imds-trace, writes the systemd
unit imds-trace (alias imds_tracer_tool), and enables and starts it. Flags after
-- are those the unit runs the tracer with, for example

  imds-trace install -- --report https://control.example:8180/v1/trace/findings --report-token-file /etc/imds/trace.token`,
		RunE: func(c *cobra.Command, args []string) error { return o.install(c.Context(), c.OutOrStdout(), args) },
	}
	f := c.Flags()
	f.StringVar(&o.root, "root", "/", "file system to install into, such as that of an image; another than / starts nothing")
	f.StringVar(&o.program, "program", "/usr/local/sbin/imds-trace", "where the program goes")
	f.BoolVar(&o.start, "start", true, "enable and start it")
	return c
}

func newUninstall() *cobra.Command {
	var o installOptions
	c := &cobra.Command{
		Use:   "uninstall",
		Short: "stop the systemd unit and take it away",
		Long: `uninstall stops and disables the unit and removes it and the installed program.
The logs in /var/log/imds stay, unless --purge is given.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.uninstall(c.Context(), c.OutOrStdout()) },
	}
	f := c.Flags()
	f.StringVar(&o.root, "root", "/", "file system to remove from")
	f.StringVar(&o.program, "program", "/usr/local/sbin/imds-trace", "where the program is")
	f.BoolVar(&o.purge, "purge", false, "remove the logs too")
	return c
}

func (o *installOptions) unitPath() string {
	return filepath.Join(o.root, "etc/systemd/system", unitName)
}

func (o *installOptions) live() bool { return filepath.Clean(o.root) == "/" }

func (o *installOptions) install(ctx context.Context, w io.Writer, flags []string) error {
	// The flags must be right: a service that does not start helps nobody.
	logs, err := checkFlags(flags)
	if err != nil {
		return err
	}
	line := []string{quote(o.program)}
	if err := place(filepath.Join(o.root, o.program)); err != nil {
		return err
	}
	for _, f := range flags {
		line = append(line, quote(f))
	}
	path := o.unitPath()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("install the unit: %w", err)
	}
	text := renderUnit(line)
	if logs != "" && logs != defaultLogs {
		// The rest of the file system is read-only for it.
		if err := os.MkdirAll(filepath.Join(o.root, logs), 0o700); err != nil {
			return fmt.Errorf("make the log directory: %w", err)
		}
		text = bytes.Replace(text, []byte("LogsDirectory=imds\n"), fmt.Appendf(nil, "LogsDirectory=imds\nReadWritePaths=%s\n", quote(logs)), 1)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return fmt.Errorf("install the unit: %w", err)
	}
	fmt.Fprintf(w, "installed %s and %s\n", filepath.Join(o.root, o.program), path)
	if !o.start || !o.live() {
		return nil
	}
	for _, args := range [][]string{{"daemon-reload"}, {"enable", unitName}, {"restart", unitName}} {
		if err := systemctl(ctx, w, args...); err != nil {
			return err
		}
	}
	fmt.Fprintln(w, "it runs: systemctl status imds_tracer_tool; cat /var/log/imds/imds-trace.* | grep WARNING")
	return nil
}

// renderUnit returns the unit that runs a command line.
func renderUnit(line []string) []byte {
	return fmt.Appendf(nil, unit, "ExecStart="+line[0]+" "+strings.Join(append([]string{"--output journal"}, line[1:]...), " ")+"\n")
}

// packagedUnit is that of packages, whose flags stand in a file.
func packagedUnit() []byte {
	return fmt.Appendf(nil, unit, "EnvironmentFile=-/etc/default/imds-trace\nExecStart=/usr/sbin/imds-trace --output journal $OPTIONS\n")
}

// checkFlags checks flags as the tracer would, and returns its log directory.
func checkFlags(flags []string) (logs string, err error) {
	var o runOptions
	f := pflag.NewFlagSet("imds-trace", pflag.ContinueOnError)
	o.flags(f)
	if err := f.Parse(flags); err != nil {
		return "", usage("%w", err)
	}
	if rest := f.Args(); len(rest) > 0 {
		return "", usage("install takes flags of the tracer after --, not %q", rest[0])
	}
	if _, err := o.options(slog.New(slog.DiscardHandler)); err != nil {
		return "", err
	}
	if o.logDir != "" && !filepath.IsAbs(o.logDir) {
		return "", usage("--log-dir %q: a service needs a path that begins with /", o.logDir)
	}
	return o.logDir, nil
}

// place copies the running program.
func place(to string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if self == to {
		return nil
	}
	b, err := os.ReadFile(self)
	if err != nil {
		return fmt.Errorf("read this program: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("install the program: %w", err)
	}
	// Beside it first: one that runs cannot be written to.
	if err := os.WriteFile(to+".new", b, 0o755); err != nil {
		return fmt.Errorf("install the program: %w", err)
	}
	return os.Rename(to+".new", to)
}

// quote is a word of ExecStart.
func quote(s string) string {
	s = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%", "$", "$$").Replace(s)
	if strings.ContainsAny(s, " \t'\"\\;") || s == "" {
		return `"` + s + `"`
	}
	return s
}

func (o *installOptions) uninstall(ctx context.Context, w io.Writer) error {
	var errs []error
	if o.live() {
		if _, err := os.Stat(o.unitPath()); err == nil {
			errs = append(errs, systemctl(ctx, w, "disable", "--now", unitName))
		}
	}
	paths := []string{o.unitPath(), filepath.Join(o.root, "etc/systemd/system", unitAlias), filepath.Join(o.root, o.program)}
	for _, p := range paths {
		if err := os.Remove(p); err == nil {
			fmt.Fprintln(w, "removed", p)
		} else if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	logs := filepath.Join(o.root, "var/log/imds")
	switch {
	case o.purge:
		errs = append(errs, os.RemoveAll(logs))
	default:
		fmt.Fprintln(w, "the logs stay in", logs)
	}
	if o.live() {
		errs = append(errs, systemctl(ctx, w, "daemon-reload"))
	}
	return errors.Join(errs...)
}

func systemctl(ctx context.Context, w io.Writer, args ...string) error {
	path, err := exec.LookPath("systemctl")
	if err != nil {
		fmt.Fprintln(w, "there is no systemctl here; left out: systemctl", strings.Join(args, " "))
		return nil
	}
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("systemctl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
