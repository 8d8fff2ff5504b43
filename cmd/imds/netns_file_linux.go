package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// labFolder is where `imds dev --netns` says where its machines are, unless
// --state says otherwise.
const labFolder = "/run/openimds"

// labRecord is what other programs are told of a lab.
type labRecord struct {
	PID      int        `json:"pid"`
	Started  string     `json:"started"` // by the kernel's clock, so that no other process is taken for it
	Machines []labEntry `json:"machines"`
}

// labEntry is a namespace in a lab.
type labEntry struct {
	Name    string `json:"name"` // of the instance; of a container in it with /container behind
	Dialect string `json:"dialect"`
	About   string `json:"about"`
	Path    string `json:"path"`
	// Namespace is how the kernel calls it, as in net:[4026532281].
	Namespace string `json:"namespace"`
}

// labFile is the file of a lab.
func labFile(folder string) (string, error) {
	if folder == "" {
		folder = labFolder
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", fmt.Errorf("make the folder of the namespaces' file: %w", err)
	}
	return filepath.Join(folder, "netns.json"), nil
}

func readLab(file string) (labRecord, error) {
	var r labRecord
	data, err := os.ReadFile(file)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("read %s: %w", file, err)
	}
	return r, nil
}

// alive reports whether the lab's process runs.
func (r labRecord) alive() bool { return r.PID > 0 && startOf(r.PID) == r.Started && r.Started != "" }

// startOf is when a process was started; empty when there is none.
func startOf(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The second field is a name in parentheses, which may hold anything.
	_, rest, _ := strings.Cut(string(b[strings.LastIndexByte(string(b), ')')+1:]), " ")
	fields := strings.Fields(rest)
	const start = 22 - 3 // counted from the third field
	if len(fields) <= start {
		return ""
	}
	return fields[start]
}

// writeLab writes the file, whole or not at all.
func writeLab(file string, r labRecord) error {
	data, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	if err := os.WriteFile(file+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// forgetLab removes the files of a lab.
func forgetLab(file string) error {
	var err error
	for _, name := range []string{file, file + ".new"} {
		if e := os.Remove(name); !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	attached := os.Remove(file + ".attached")
	if errors.Is(attached, fs.ErrNotExist) || errors.Is(attached, syscall.ENOTEMPTY) {
		attached = nil
	}
	return errors.Join(err, attached)
}
