package testnet

import (
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Logger is what tests give to the code under test: it writes text to w, as
// slog's handler with these options does, and everything, whatever the level,
// to the witness. No test makes a logger otherwise (see internal/archtest).
func Logger(w io.Writer, options *slog.HandlerOptions) *slog.Logger {
	return both(slog.NewTextHandler(w, options))
}

// JSONLogger is a Logger that writes JSON.
func JSONLogger(w io.Writer, options *slog.HandlerOptions) *slog.Logger {
	return both(slog.NewJSONHandler(w, options))
}

// Quiet is a Logger that only the witness hears.
func Quiet() *slog.Logger { return both(slog.DiscardHandler) }

func both(h slog.Handler) *slog.Logger {
	if os.Getenv(witness) == "" {
		return slog.New(h)
	}
	return slog.New(slog.NewMultiHandler(h, slog.NewTextHandler(Witness("log"), &slog.HandlerOptions{Level: slog.LevelDebug})))
}

// Witness is where to write, at any time, what somebody says who is not heard
// otherwise. Without a witness it forgets it.
func Witness(who string) io.Writer {
	folder := os.Getenv(witness)
	if folder == "" {
		return io.Discard
	}
	return saying(filepath.Join(folder, "said-"+filepath.Base(os.Args[0])+"-"+strconv.Itoa(os.Getpid())+"-"+filepath.Base(who)))
}

// Hear is w with a witness of what is written to it.
func Hear(w io.Writer, who string) io.Writer { return io.MultiWriter(w, Witness(who)) }

// saying appends to the file of its name.
type saying string

// Write opens the file for each line, so that nothing needs an end.
func (s saying) Write(p []byte) (int, error) {
	if err := appendTo(string(s), p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Scrape returns the metrics that a program serves, having noted them; empty
// if it does not answer, as one that has ended.
func Scrape(t testing.TB, url string) string {
	t.Helper()
	c := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := c.Get(url)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return ""
	}
	Said(t, "metrics", string(text))
	return string(text)
}

// SaidFile notes what stands in a log that a program has written; a file that
// is not there says nothing.
func SaidFile(t testing.TB, path string) {
	t.Helper()
	if text, err := os.ReadFile(path); err == nil {
		Said(t, filepath.Base(path), string(text))
	}
}
