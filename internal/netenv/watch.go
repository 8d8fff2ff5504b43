package netenv

import (
	"log/slog"
	"path"
	"path/filepath"
	"strings"
)

// A Rule names places by pattern, as path.Match has them: * and ? and [a-z].
type Rule struct {
	// Namespace is a pattern of names below NamespaceDir, or of files in any
	// other directory when it has a slash; the directory is not a pattern.
	// Empty: the namespace of the process.
	Namespace string
	// Interface is a pattern of interface names, such as tap*. Empty: the
	// namespaces alone are of interest.
	Interface string
}

// Static reports whether the rule is about no place that may come and go.
func (r Rule) Static() bool { return r == Rule{} }

// Check refuses a pattern that is none.
func (r Rule) Check() error {
	for _, p := range []string{r.Namespace, r.Interface} {
		if _, err := path.Match(p, ""); err != nil {
			return &PatternError{p}
		}
	}
	if dir, _ := path.Split(r.Namespace); pattern(dir) {
		return &PatternError{r.Namespace}
	}
	return nil
}

// A PatternError is a pattern that is not one.
type PatternError struct{ Pattern string }

// Error says what a pattern is.
func (e *PatternError) Error() string {
	return "pattern " + e.Pattern + " is not understood: * stands for any letters, ? for one, [a-z] for one of a range, in the last part of a path alone"
}

func pattern(s string) bool { return strings.ContainsAny(s, `*?[\`) }

// String is for people.
func (r Rule) String() string { return Place(r).String() }

// namespaces returns the directory and the pattern that namespaces are found
// with.
func (r Rule) namespaces() (dir, match string) {
	if strings.Contains(r.Namespace, "/") {
		return filepath.Dir(r.Namespace), filepath.Base(r.Namespace)
	}
	return NamespaceDir, r.Namespace
}

// A Change is a place that came or went.
type Change struct {
	Place
	// Gone: the place is no more. A name that now means another interface or
	// namespace goes first and comes again.
	Gone bool
}

// Watching is what Watch is told.
type Watching struct {
	Rule
	// Logger is told once that nothing is there yet, and of trouble.
	Logger *slog.Logger
}
