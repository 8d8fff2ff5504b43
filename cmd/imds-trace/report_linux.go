package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"openimds/internal/trace/finding"
	"openimds/internal/trace/sink"
	"openimds/internal/trace/tally"
)

func newReport() *cobra.Command {
	var since time.Duration
	var dir string
	c := &cobra.Command{
		Use:   "report",
		Short: "sum up what was traced, by program, with what to do",
		Long: `report reads the findings in the log directory and says which programs came
without a token, how often, for what, and what to do about each.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if since <= 0 {
				return usage("--since %v: want more than 0", since)
			}
			return report(c.OutOrStdout(), dir, time.Now(), since)
		},
	}
	c.Flags().DurationVar(&since, "since", 24*time.Hour, "how far back to look")
	c.Flags().StringVar(&dir, "log-dir", "/var/log/imds", "where the tracer writes")
	return c
}

func report(w io.Writer, dir string, now time.Time, since time.Duration) error {
	files := sink.Files(filepath.Join(dir, jsonName), 100)
	if len(files) == 0 {
		return fmt.Errorf("no %s in %s: is the tracer running? (systemctl status imds-trace, or imds-trace --log-dir %s)", jsonName, dir, dir)
	}
	var table tally.Table
	var oldest time.Time
	for _, name := range files {
		err := readFindings(name, func(f *finding.Finding) error {
			if oldest.IsZero() || f.Time.Before(oldest) {
				oldest = f.Time
			}
			if now.Sub(f.Time) <= since {
				table.Add(f)
			}
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // rotated away just now
			return fmt.Errorf("read %s: %w", name, err)
		}
	}
	from := now.Add(-since)
	if oldest.After(from) {
		fmt.Fprintf(w, "The findings begin at %s: nothing is known of the time before.\n", oldest.Local().Format(time.DateTime))
	}
	rows := table.Rows()
	free := 0
	for _, r := range rows {
		if r.TokenFree > 0 {
			free++
		}
	}
	fmt.Fprintf(w, "From %s to %s: %d programs asked, %d of them without a token.\n\n",
		from.Local().Format(time.DateTime), now.Local().Format(time.DateTime), len(rows), free)
	for _, r := range rows {
		writeRow(w, r)
	}
	if table.Missed > 0 {
		fmt.Fprintf(w, "%d requests of further programs are not listed.\n", table.Missed)
	}
	return nil
}

func readFindings(name string, each func(*finding.Finding) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return finding.Read(f, each)
}

func writeRow(w io.Writer, r *tally.Row) {
	fmt.Fprintf(w, "%s", text(r.Comm, "(not known)", 64))
	if r.Exe != "" {
		fmt.Fprintf(w, " (%s)", text(r.Exe, "", 128))
	}
	if in := where(r); in != "" {
		fmt.Fprintf(w, " in %s", text(in, "", 64))
	}
	fmt.Fprintf(w, ", uid %d, %s\n", r.UID, plural(r.Processes(), "process", "processes"))
	fmt.Fprintf(w, "  token-free %d (refused %d), tokened %d, tokens asked for %d, unreadable %d, attempts %d\n",
		r.TokenFree, r.Refused, r.Tokened, r.TokenRequests, r.Unreadable, r.Attempts)
	fmt.Fprintf(w, "  first %s, last %s\n", r.First.Local().Format(time.DateTime), r.Last.Local().Format(time.DateTime))
	if r.Process.Cmdline != "" {
		fmt.Fprintf(w, "  last: pid %d, %s\n", r.Process.PID, text(r.Process.Cmdline, "", 200))
	}
	if r.UserAgent != "" {
		fmt.Fprintf(w, "  user agent: %s\n", text(r.UserAgent, "", 120))
	}
	for i, p := range r.Paths {
		if i == 5 {
			fmt.Fprintf(w, "  and %d paths more\n", len(r.Paths)-i)
			break
		}
		fmt.Fprintf(w, "  %6d × %s\n", p.Count, text(p.Path, "(none)", 120))
	}
	if advice := r.Advice(); advice != "" {
		fmt.Fprintf(w, "  → %s\n", text(advice, "", 400))
	}
	fmt.Fprintln(w)
}

func plural(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}
