package testnet

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// witness is the environment variable by which tools/testreport names a folder
// for what tests saw: the secrets that they made or were given, and what
// programs said that they ran. It fails if one stands in the other, or in what
// the tests themselves printed.
const witness = "OPENIMDS_TEST_WITNESS"

// shortestSecret is a length under which a secret may be found by accident.
const shortestSecret = 12

// Secret notes that a value must stand in no log and in no metric of the whole
// run, and returns it.
func Secret(t testing.TB, value string) string {
	t.Helper()
	if len(value) < shortestSecret {
		t.Fatalf("a secret of %d letters could be found by accident: use one of %d or more", len(value), shortestSecret)
	}
	if folder := os.Getenv(witness); folder != "" {
		line, err := json.Marshal(map[string]string{"test": t.Name(), "secret": value})
		if err == nil {
			err = appendTo(filepath.Join(folder, "secrets"), append(line, '\n'))
		}
		if err != nil {
			t.Fatalf("note a secret: %v", err)
		}
	}
	return value
}

// keyText is how a key or a token stands in a file.
var keyText = regexp.MustCompile(`[A-Za-z0-9+/_-]{20,}`)

// SecretFiles notes the keys and tokens that stand in files of a program's
// state; those that are not there hold none.
func SecretFiles(t testing.TB, paths ...string) {
	t.Helper()
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		for _, key := range keyText.FindAllString(string(text), -1) {
			Secret(t, key)
		}
	}
}

// Said notes what a program said, such as its log or its metrics.
func Said(t testing.TB, who, text string) {
	t.Helper()
	folder := os.Getenv(witness)
	if folder == "" || text == "" {
		return
	}
	name := "said-" + strings.NewReplacer("/", "_", " ", "_").Replace(t.Name()+"-"+who)
	if err := appendTo(filepath.Join(folder, name[:min(len(name), 200)]), []byte(text)); err != nil {
		t.Fatalf("note what %s said: %v", who, err)
	}
}

// appendTo writes all of it at once, so that what others append at the same
// time stays whole.
func appendTo(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}
