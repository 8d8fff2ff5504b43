package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// witnessEnv names the folder in which tests note the secrets that they use,
// and what the programs said that they ran; see internal/testnet.
const witnessEnv = "OPENIMDS_TEST_WITNESS"

// witness is that folder, with what go test said in it, too.
type witness struct {
	folder string
	output *os.File
}

func newWitness() (*witness, error) {
	folder, err := os.MkdirTemp("", "testreport-*") // mode 0700
	if err != nil {
		return nil, err
	}
	output, err := os.OpenFile(filepath.Join(folder, "said-go-test"), os.O_CREATE|os.O_WRONLY, 0o600)
	return &witness{folder, output}, err
}

// close forgets what was noted.
func (w *witness) close() { _ = os.RemoveAll(w.folder) }

// secret is one that a test noted.
type secret struct{ Test, Secret string }

// key is how many letters of a secret are looked up at once; tests note none
// that is shorter.
const key = 12

// leaks says which secrets stand in what was said, and where, without saying
// them. It looks at every file once, whatever the number of secrets.
func (w *witness) leaks() ([]string, error) {
	if err := w.output.Close(); err != nil {
		return nil, err
	}
	secrets, err := w.secrets()
	if err != nil || len(secrets) == 0 {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(w.folder, "said-*"))
	if err != nil {
		return nil, err
	}
	var found []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		said := map[string]bool{}
		for i := 0; i+key <= len(text); i++ {
			for _, s := range secrets[string(text[i:i+key])] {
				if !strings.HasPrefix(string(text[i:min(i+len(s.Secret), len(text))]), s.Secret) || said[s.Secret] {
					continue
				}
				said[s.Secret] = true
				line := string(text[strings.LastIndexByte(string(text[:i]), '\n')+1 : i])
				found = append(found, fmt.Sprintf("%s has a secret of %s, after: %s", strings.TrimPrefix(filepath.Base(file), "said-"), s.Test, line[max(0, len(line)-120):]))
			}
		}
	}
	return found, nil
}

// secrets are those that were noted, by their first letters.
func (w *witness) secrets() (map[string][]secret, error) {
	f, err := os.Open(filepath.Join(w.folder, "secrets"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, seen := map[string][]secret{}, map[string]bool{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var s secret
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil || len(s.Secret) < key {
			return nil, fmt.Errorf("a secret was noted wrongly: %w", err)
		}
		if !seen[s.Secret] {
			seen[s.Secret] = true
			all[s.Secret[:key]] = append(all[s.Secret[:key]], s)
		}
	}
	return all, lines.Err()
}
