package admin

import (
	"strconv"
	"strings"
	"time"

	"openimds/internal/fault"
	"openimds/internal/usage/series"
)

// spanOf reads a duration, in which d stands for 24 hours.
func spanOf(name, text string) (time.Duration, error) {
	wrong := fault.New(fault.Invalid, "%s: found %.40q, expected how long, such as 30m, 12h or 14d", name, text)
	rest, total := text, time.Duration(0)
	if days, more, ok := strings.Cut(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, wrong
		}
		rest, total = more, time.Duration(n)*24*time.Hour
	}
	if rest != "" {
		d, err := time.ParseDuration(rest)
		if err != nil || d < 0 {
			return 0, wrong
		}
		total += d
	}
	if total <= 0 {
		return 0, wrong
	}
	return total, nil
}

// countsOf writes counts for the API.
func countsOf(c series.Counts) UsageCounts {
	return UsageCounts{
		TokenFree: c[series.TokenFree], Rejected: c[series.Rejected], Tokened: c[series.Tokened], BadToken: c[series.BadToken],
		Minted: c[series.Minted], Throttled: c[series.Throttled], Suspects: c[series.Suspects],
	}
}
