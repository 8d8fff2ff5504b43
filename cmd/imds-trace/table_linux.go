package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"openimds/internal/trace/redact"
	"openimds/internal/trace/tally"
)

// writeTable writes rows as people read them: one program a line.
func writeTable(w io.Writer, rows []*tally.Row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PROCESS\tPID\tCONTAINER/UNIT\tTOKEN-FREE\tTOKENED\tLAST\tLAST PATH")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%s\t%s\n",
			text(r.Comm, "(not known)", 24), number(r), text(where(r), "-", 28), r.TokenFree, r.Tokened+r.TokenRequests,
			r.Last.Local().Format(time.TimeOnly), text(r.LastPath, "-", 60))
	}
	return t.Flush()
}

// number is the process's, or how many there were.
func number(r *tally.Row) string {
	if n := r.Processes(); n > 1 {
		return fmt.Sprintf("%d processes", n)
	}
	return fmt.Sprint(r.Process.PID)
}

func where(r *tally.Row) string {
	if r.Container != "" {
		return r.Container[:min(12, len(r.Container))]
	}
	return r.Unit
}

// text is a stranger's text for a cell.
func text(s, none string, limit int) string {
	if s == "" {
		return none
	}
	return redact.Cut(redact.Escape(s), limit)
}
