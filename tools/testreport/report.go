package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// event is a line of `go test -json`; see `go doc test2json`.
type event struct {
	Action, Package, Test, ImportPath, Output string
}

// name is a test in a package; the empty test is the package itself.
type name struct{ pkg, test string }

type report struct {
	w       io.Writer
	all     io.Writer // everything that tests print, of those too that pass
	output  map[name][]string
	skips   []string
	passed  int
	failed  []string
	running map[name]bool
}

// read prints what go test says until it says no more.
func (r *report) read(in io.Reader) error {
	r.output, r.running = map[name][]string{}, map[name]bool{}
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) == nil && e.Action != "" {
				r.handle(e)
			} else {
				fmt.Fprint(r.w, string(line)) // go's own word, before any test ran
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read go test's output: %w", err)
		}
	}
}

func (r *report) handle(e event) {
	n := name{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(r.w, e.Output)
	case "output":
		r.output[n] = append(r.output[n], e.Output)
	case "run":
		r.running[n] = true
	case "pass", "fail", "skip":
		if e.Test == "" {
			r.endPackage(e.Package, e.Action == "fail")
		} else {
			r.endTest(n, e.Action)
		}
	}
}

func (r *report) endTest(n name, action string) {
	delete(r.running, n)
	switch action {
	case "pass":
		r.passed++
	case "skip":
		r.skips = append(r.skips, fmt.Sprintf("%s %s: %s", n.pkg, n.test, reason(r.output[n])))
	case "fail":
		r.failed = append(r.failed, n.pkg+" "+n.test)
		r.print(n)
	}
	r.forget(n)
}

// forget hands on what a test has printed, in one piece: tests run side by
// side.
func (r *report) forget(n name) {
	for _, line := range r.output[n] {
		if !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(strings.TrimSpace(line), "--- ") { // names of tests
			_, _ = io.WriteString(r.all, line)
		}
	}
	delete(r.output, n)
}

// endPackage prints what the package itself said; of a package that failed
// also what the tests said that never ended.
func (r *report) endPackage(pkg string, failed bool) {
	var cut []string
	for n := range r.running {
		if n.pkg == pkg {
			cut = append(cut, n.test)
			delete(r.running, n)
		}
	}
	slices.Sort(cut)
	defer func() {
		for _, test := range append(cut, "") {
			r.forget(name{pkg, test})
		}
	}()
	for _, test := range cut {
		if n := (name{pkg, test}); failed {
			r.print(n)
			r.failed = append(r.failed, pkg+" "+test+" (did not end)")
		}
	}
	if failed && !slices.ContainsFunc(r.failed, func(f string) bool { return strings.HasPrefix(f, pkg+" ") }) {
		r.failed = append(r.failed, pkg+" (the package itself)")
	}
	n := name{pkg, ""}
	r.output[n] = slices.DeleteFunc(r.output[n], func(l string) bool { return l == "PASS\n" || l == "FAIL\n" })
	r.print(n)
}

func (r *report) print(n name) {
	for _, line := range r.output[n] {
		if !strings.HasPrefix(line, "=== ") {
			fmt.Fprint(r.w, line)
		}
	}
}

// close prints the summary.
func (r *report) close() {
	for n := range r.output {
		r.forget(n)
	}
	for _, s := range r.skips {
		fmt.Fprintln(r.w, "skipped:", s)
	}
	for _, f := range r.failed {
		fmt.Fprintln(r.w, "failed:", f)
	}
	fmt.Fprintf(r.w, "%d passed, %d failed, %d skipped\n", r.passed, len(r.failed), len(r.skips))
}

// position is where a test's message comes from.
var position = regexp.MustCompile(`^\s*[\w.-]+\.go:\d+: `)

// reason is what a test said when it was skipped.
func reason(output []string) string {
	var said []string
	for _, line := range output {
		text := position.ReplaceAllString(line, "")
		if text != line {
			said = append(said, strings.TrimSpace(text))
		}
	}
	if len(said) == 0 {
		return "no reason given"
	}
	return strings.Join(said, "; ")
}
