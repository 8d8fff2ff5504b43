//go:build linux

package main

import "testing"

func TestReplace(t *testing.T) {
	section := marker + "new\n"
	for _, c := range [][2]string{
		{"# A\n", "# A\n\n" + section},
		{"# A\n\n" + marker + "old\n", "# A\n\n" + section},
		{"# A\n\n" + marker + "old\n\n<!-- Written by bench/x. -->\nB\n", "# A\n\n" + section + "\n<!-- Written by bench/x. -->\nB\n"},
	} {
		got := replace(c[0], section)
		if got != c[1] || replace(got, section) != got {
			t.Errorf("%q: got %q, want %q", c[0], got, c[1])
		}
	}
}
