package procs

import (
	"regexp"
	"slices"
	"strings"

	"openimds/internal/trace/finding"
	"openimds/internal/trace/record"
)

var (
	// Container engines name cgroups by the container's id, with or without
	// something around it: docker-<id>.scope, cri-containerd-<id>.scope,
	// libpod-<id>.scope, <id>.
	containerID = regexp.MustCompile(`(?:^|[^0-9a-f])([0-9a-f]{64})(?:[^0-9a-f]|$)`)
	podUID      = regexp.MustCompile(`pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12})`)
)

// place fills in where the process runs: cgroup, container, pod, unit.
func (r *Reader) place(p *finding.Process, w *record.Who, alive bool) {
	paths := kernelPaths(w.Cgroups)
	if alive {
		if b, err := readFile(r.path(w.PID, "cgroup"), 16<<10); err == nil {
			if lines := parseCgroups(string(b)); len(lines) > 0 {
				paths = lines
			}
		}
	}
	for _, path := range paths {
		if p.Cgroup == "" && path != "/" {
			p.Cgroup = path
		}
		if p.Container == "" {
			p.Container = containerIn(path)
		}
		if m := podUID.FindStringSubmatch(path); p.Pod == "" && m != nil {
			p.Pod = strings.ReplaceAll(m[1], "_", "-")
		}
		if p.Unit == "" {
			p.Unit = unitIn(path)
		}
	}
}

// kernelPaths are the paths, as far as they are known, of what the kernel told:
// the names of the v2 cgroup and of those above it, then that of the v1 memory
// cgroup.
func kernelPaths(names []string) []string {
	if len(names) == 0 {
		return nil
	}
	own := slices.Clone(names[:len(names)-1])
	slices.Reverse(own)
	var paths []string
	if path := strings.Trim(strings.Join(own, "/"), "/"); path != "" {
		paths = append(paths, "/"+path)
	}
	if last := names[len(names)-1]; last != "" {
		paths = append(paths, "/"+last)
	}
	return paths
}

// parseCgroups returns the paths of /proc/PID/cgroup, the telling ones first:
// v2, that of systemd, that of the memory controller, the others.
func parseCgroups(text string) []string {
	ranks := [4][]string{}
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 || !strings.HasPrefix(parts[2], "/") {
			continue
		}
		rank := 3
		switch parts[1] {
		case "":
			rank = 0
		case "name=systemd":
			rank = 1
		case "memory":
			rank = 2
		}
		ranks[rank] = append(ranks[rank], parts[2])
	}
	return slices.Concat(ranks[:]...)
}

// containerIn returns the innermost container's id.
func containerIn(path string) string {
	parts := strings.Split(path, "/")
	for _, part := range slices.Backward(parts) {
		if m := containerID.FindStringSubmatch(part); m != nil {
			return m[1]
		}
	}
	return ""
}

// unitIn returns the innermost unit of systemd.
func unitIn(path string) string {
	for _, part := range slices.Backward(strings.Split(path, "/")) {
		if strings.HasSuffix(part, ".service") || strings.HasSuffix(part, ".scope") {
			return part
		}
	}
	return ""
}
