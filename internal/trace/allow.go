package trace

import (
	"fmt"
	"path"

	"openimds/internal/trace/finding"
)

// allow makes a test of patterns.
func allow(patterns []string) (func(*finding.Process) bool, error) {
	for _, p := range patterns {
		if _, err := path.Match(p, ""); err != nil {
			return nil, fmt.Errorf("pattern %q: %w", p, err)
		}
	}
	return func(p *finding.Process) bool {
		for _, pattern := range patterns {
			for _, s := range []string{p.Comm, p.Exe, p.Unit, p.Cgroup, p.Container} {
				if ok, _ := path.Match(pattern, s); ok && s != "" {
					return true
				}
			}
		}
		return false
	}, nil
}
