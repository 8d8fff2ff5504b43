// Package sink is where findings go: log lines in the manner of the known
// packet analyzers, files that rotate, lines for the journal, metrics, and
// reports to a control plane.
package sink

import (
	"fmt"
	"strings"
	"time"

	"openimds/internal/trace/finding"
	"openimds/internal/trace/redact"
)

// stamp is the form in which Python's logging writes a time, up to the comma
// before the milliseconds.
const stamp = "2006-01-02 15:04:05"

var levels = map[finding.Level]string{finding.Info: "INFO", finding.Warning: "WARNING", finding.Error: "ERROR"}

// Line is a finding as a log line, without line feed:
//
//	[2026-11-22 00:35:29,414] [WARNING] IMDSv1(!) (pid:27383:curl argv:curl -s http://..) called by -> (pid:27257:bash argv:bash x.sh) Req details: GET /latest/meta-data/, Host: 169.254.169.254, User-Agent: curl/7.88.1 | mode=IMDSv1 dst=169.254.169.254:80 ...
//
// It has nothing but printable characters. The time is in the given zone.
func Line(f *finding.Finding, zone *time.Location) string {
	var b strings.Builder
	b.Grow(512)
	t := f.Time.In(zone)
	fmt.Fprintf(&b, "[%s,%03d] [%s] %s", t.Format(stamp), t.Nanosecond()/1e6, levels[f.Level], Message(f))
	return b.String()
}

// Message is the line without time and level.
func Message(f *finding.Finding) string {
	var b strings.Builder
	switch f.Mode {
	case finding.TokenFree:
		b.WriteString("IMDSv1(!) ")
	case finding.Attempt:
		b.WriteString("IMDS attempt ")
	case finding.Unreadable:
		b.WriteString("{MISSING PAYLOAD} IMDS? ")
	default:
		b.WriteString("IMDSv2 ")
	}
	p := &f.Process
	caller(&b, p.PID, p.Comm, p.Cmdline)
	for i, up := range p.Parents {
		if i == 0 {
			b.WriteString(" called by")
		}
		b.WriteString(" -> ")
		caller(&b, up.PID, up.Comm, up.Cmdline)
	}
	details(&b, f)
	trailer(&b, f)
	return b.String()
}

func caller(b *strings.Builder, pid int, comm, cmdline string) {
	if pid == 0 {
		b.WriteString("(pid:0 process not known)")
		return
	}
	fmt.Fprintf(b, "(pid:%d:%s", pid, redact.Escape(comm))
	if cmdline == "" {
		b.WriteString(" Unable to get argv information)")
		return
	}
	fmt.Fprintf(b, " argv:%s)", redact.Escape(cmdline))
}

func details(b *strings.Builder, f *finding.Finding) {
	if f.Mode == finding.Attempt {
		return
	}
	fmt.Fprintf(b, " Req details: %s %s", redact.Escape(f.Method), redact.Escape(f.Path))
	if f.Host != "" {
		fmt.Fprintf(b, ", Host: %s", redact.Escape(f.Host))
	}
	if f.UserAgent != "" {
		fmt.Fprintf(b, ", User-Agent: %s", redact.Escape(f.UserAgent))
	}
	if f.TokenHeader != "" {
		fmt.Fprintf(b, ", %s: **token redacted**", f.TokenHeader)
	}
}

// trailer is what the known analyzers do not have.
func trailer(b *strings.Builder, f *finding.Finding) {
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(b, " %s=%s", name, word(value))
		}
	}
	number := func(name string, n int) {
		if n != 0 {
			fmt.Fprintf(b, " %s=%d", name, n)
		}
	}
	p := &f.Process
	fmt.Fprintf(b, " | mode=%s", f.Mode)
	field("dst", f.Dst)
	number("status", f.Status)
	fmt.Fprintf(b, " uid=%d", p.UID)
	field("exe", p.Exe)
	field("container", p.Container[:min(len(p.Container), 12)])
	field("pod", p.Pod)
	field("unit", p.Unit)
	field("cgroup", p.Cgroup)
	number("netns", int(p.NetNS))
	if f.Truncated {
		b.WriteString(" truncated")
	}
	fmt.Fprintf(b, " n=%d", f.Count)
}

// word is a value that a reader of name=value pairs can tell from what follows.
func word(s string) string {
	return strings.ReplaceAll(redact.Escape(s), " ", `\x20`)
}
