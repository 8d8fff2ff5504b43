package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"openimds/internal/trace"
	"openimds/internal/trace/engine"
	"openimds/internal/trace/finding"
	"openimds/internal/trace/sink"
)

// Names of the files in the log directory.
const (
	logName   = "imds-trace.log"
	jsonName  = "findings.jsonl"
	spoolName = "spool"
)

// defaultLogs is the log directory of the known packet analyzers (EC2-TRC-01).
const defaultLogs = "/var/log/imds"

// lastReport is how long the end of a tracer waits for the receiver of reports.
const lastReport = 5 * time.Second

// outputOptions say where findings go.
type outputOptions struct {
	output          string
	logDir          string
	logSize         int64
	logKeep         int
	metrics         string
	report          string
	reportTokenFile string
	reportCA        string
	reportEvery     time.Duration
	spoolSize       int64
	instance        string
}

func (o *outputOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.output, "output", "text", "what is written to the standard output: text, json, journal (lines with a priority, as systemd reads them), none")
	f.StringVar(&o.logDir, "log-dir", defaultLogs, "directory of "+logName+" and "+jsonName+"; empty: no files")
	f.Int64Var(&o.logSize, "log-size", 1<<20, "size in bytes at which a log file rotates")
	f.IntVar(&o.logKeep, "log-keep", 5, "rotated log files that are kept")
	f.StringVar(&o.metrics, "metrics", "", "loopback address, host:port, to serve /metrics on; empty: none")
	f.StringVar(&o.report, "report", "", "URL that findings are sent to, such as https://control.example:8180/v1/trace/findings")
	f.StringVar(&o.reportTokenFile, "report-token-file", "", "file with the bearer token of the report")
	f.StringVar(&o.reportCA, "report-ca", "", "file with the certificates (PEM) that the report's receiver is checked by, in place of the system's")
	f.DurationVar(&o.reportEvery, "report-every", 10*time.Second, "how often a report is sent")
	f.Int64Var(&o.spoolSize, "spool-size", 16<<20, "bytes of reports that wait on disk, in the log directory, for a receiver that is away")
	f.StringVar(&o.instance, "instance", "", "instance id that reports carry; by default what cloud-init wrote down")
}

func (o *outputOptions) check() error {
	switch o.output {
	case "text", "json", "journal", "none":
	default:
		return usage("--output %q: want text, json, journal or none", o.output)
	}
	if o.logSize < 4096 || o.logKeep < 0 || o.spoolSize < finding.MaxBatch || o.reportEvery <= 0 {
		return usage("want --log-size of at least 4096, --log-keep of at least 0, --spool-size of at least %d, and --report-every above 0", finding.MaxBatch)
	}
	if o.metrics != "" {
		host, _, err := net.SplitHostPort(o.metrics)
		ip := net.ParseIP(host)
		if err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return usage("--metrics %q: want host:port on loopback", o.metrics)
		}
	}
	if o.report == "" {
		return nil
	}
	u, err := url.Parse(o.report)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return usage("--report %q: want an http or https URL", o.report)
	}
	if o.logDir == "" {
		return usage("--report needs --log-dir, where reports wait for their receiver")
	}
	return nil
}

// output is where findings go, opened.
type output struct {
	sinks  []sink.Sink
	files  []*sink.File
	report *sink.Report
	lock   *os.File
	log    *slog.Logger
}

func (o *outputOptions) open(stdout io.Writer, log *slog.Logger) (_ *output, err error) {
	out := &output{log: log}
	defer func() {
		if err != nil {
			err = errors.Join(err, out.close())
		}
	}()
	switch o.output {
	case "text":
		out.sinks = append(out.sinks, &sink.Text{W: stdout})
	case "journal":
		out.sinks = append(out.sinks, &sink.Text{W: stdout, Journal: true})
	case "json":
		out.sinks = append(out.sinks, &sink.JSON{W: stdout})
	}
	if o.logDir == "" {
		return out, nil
	}
	text, err := sink.OpenFile(filepath.Join(o.logDir, logName), o.logSize, o.logKeep)
	if err != nil {
		return out, err
	}
	out.files = append(out.files, text)
	if out.lock, err = lock(o.logDir); err != nil {
		if !errors.Is(err, unix.EWOULDBLOCK) || o.report != "" {
			return out, fmt.Errorf("the log directory %s is used by another imds-trace (choose another with --log-dir): %w", o.logDir, err)
		}
		log.Warn("the log files are written by another imds-trace; this one writes to the standard output alone", "dir", o.logDir)
		return out, nil
	}
	lines, err := sink.OpenFile(filepath.Join(o.logDir, jsonName), o.logSize, o.logKeep)
	if err != nil {
		return out, err
	}
	out.files = append(out.files, lines)
	out.sinks = append(out.sinks, &sink.Text{W: text}, &sink.JSON{W: lines})
	if o.report != "" {
		if out.report, err = o.openReport(log); err != nil {
			return out, err
		}
		out.sinks = append(out.sinks, out.report)
	}
	return out, nil
}

// lock makes sure that one process alone rotates the files.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func (o *outputOptions) openReport(log *slog.Logger) (*sink.Report, error) {
	spool, err := sink.OpenSpool(filepath.Join(o.logDir, spoolName), o.spoolSize)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{MaxIdleConns: 1, IdleConnTimeout: time.Minute}
	if o.reportCA != "" {
		pem, err := os.ReadFile(o.reportCA)
		if err != nil {
			return nil, usage("--report-ca: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, usage("--report-ca %s has no certificate", o.reportCA)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &sink.Report{
		URL: o.report, TokenFile: o.reportTokenFile, Machine: machine(o.instance), Spool: spool, Every: o.reportEvery,
		Client: &http.Client{Transport: transport, Timeout: 30 * time.Second}, Log: log,
	}, nil
}

// machine says where reports come from.
func machine(instance string) finding.Machine {
	m := finding.Machine{Instance: instance}
	if m.Instance == "" {
		m.Instance = firstLine("/var/lib/cloud/data/instance-id")
	}
	m.Hostname, _ = os.Hostname()
	m.Boot = firstLine("/proc/sys/kernel/random/boot_id")
	return m
}

func firstLine(name string) string {
	b, err := os.ReadFile(name)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return line[:min(len(line), 128)]
}

func (o *output) close() error {
	var errs []error
	if o.report != nil {
		errs = append(errs, o.report.Cut())
		// What the last seconds had, and the sums of the last minute.
		ctx, cancel := context.WithTimeout(context.Background(), lastReport)
		defer cancel()
		if err := o.report.Finish(ctx); err != nil {
			o.log.Warn("the report is not complete", "url", o.report.URL, "err", err)
		}
	}
	for _, f := range o.files {
		errs = append(errs, f.Close())
	}
	if o.lock != nil {
		errs = append(errs, o.lock.Close())
	}
	return errors.Join(errs...)
}

// serveMetrics serves /metrics until stop is called.
func (o *output) serveMetrics(address string, t *trace.Tracer, e engine.Engine) (stop func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("serve metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		m := trace.Numbers{Engine: e.Name(), Snapshot: t.Stats().Snapshot(e.Counts())}
		if o.report != nil {
			m.Reported, m.ReportLost = o.report.Sent(), o.report.Lost()
		}
		_, _ = w.Write(m.Append(nil))
	})
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 8 << 10}
	o.log.Info("metrics", "address", l.Addr().String())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l) // ends with Close
	}()
	return func() {
		_ = s.Close()
		<-done
	}, nil
}
