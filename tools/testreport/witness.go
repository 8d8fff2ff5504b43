package main

import (
	"os"
	"path/filepath"
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

// leaks says which secrets stand in what was said, and where, without saying
// them: those that tests noted, those that stand in the sources of the tests
// below dir, and whatever has the form of one.
func (w *witness) leaks(dir string) ([]string, error) {
	if err := w.output.Close(); err != nil {
		return nil, err
	}
	var all secrets
	if err := all.noted(filepath.Join(w.folder, "secrets")); err != nil {
		return nil, err
	}
	if err := all.written(dir); err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(w.folder, "said-*"))
	if err != nil {
		return nil, err
	}
	var found []string
	for _, file := range files {
		leaks, err := all.search(file)
		if err != nil {
			return nil, err
		}
		found = append(found, leaks...)
	}
	return found, nil
}
