package item

import (
	"testing"

	"openimds/internal/instance"
)

// TestDearItem: a listing asks Has and not Get, and why a value is missing is
// told of this look-up alone.
func TestDearItem(t *testing.T) {
	made, there := 0, true
	tree := Must(Spec{Versions: []string{"1.0"}, Rows: []Row{
		{
			Path: "dir/dear", Doc: "A value that is dear.",
			Get: func(dst []byte, q *Query) ([]byte, bool) {
				made++
				q.Refusal = TooMany
				return append(dst, "half"...), false
			},
			Has: func(*Query) bool { return there },
		},
		{Path: "dir/other", Doc: "Another.", Get: func(dst []byte, _ *Query) ([]byte, bool) { return append(dst, "x"...), true }},
	}})
	q := Query{Instance: &instance.Instance{}}
	ask := func(path, want string, kind Kind, refusal Refusal) {
		t.Helper()
		body, found := tree.Resolve(nil, &q, []byte(path))
		if string(body) != want || found.Kind != kind || q.Refusal != refusal {
			t.Errorf("%s: %q, kind %d, refusal %d", path, body, found.Kind, q.Refusal)
		}
	}
	ask("latest/dir", "dear\nother", Listing, NotRefused)
	there = false
	ask("latest/dir", "other", Listing, NotRefused)
	if made != 0 {
		t.Errorf("made %d times for a listing", made)
	}
	ask("latest/dir/dear", "", Absent, TooMany)
	ask("latest/dir/other", "x", Leaf, NotRefused)
	ask("latest/none", "", Absent, NotRefused)
}
