package testnet

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWitness(t *testing.T) {
	folder := t.TempDir()
	t.Setenv(witness, folder)
	for range 2 {
		if got := Secret(t, "not-to-be-said"); got != "not-to-be-said" {
			t.Errorf("Secret returned %q", got)
		}
		Said(t, "a program/1", "its log\n")
	}
	for name, want := range map[string]string{
		"secrets":                      `{"secret":"not-to-be-said","test":"TestWitness"}` + "\n",
		"said-TestWitness-a_program_1": "its log\n",
	} {
		got, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil || string(got) != want+want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	t.Setenv(witness, "")
	Said(t, "nobody", Secret(t, "of nobody's interest"))
}
