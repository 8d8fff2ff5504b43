package instance

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestPath(t *testing.T) {
	at := Path("").Key("instances").Index(0).Key("tags").Key(`k8s.io/"x"`)
	if want := Path(`instances[0].tags["k8s.io/\"x\""]`); at != want {
		t.Errorf("got %s, want %s", at, want)
	}
	if got, want := Path("").Key("a b"), Path(`["a b"]`); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Whatever the keys are, a path is taken apart into what it was made of.
func TestPathRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var at Path
		var want []Step
		for range rapid.IntRange(0, 5).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "index") {
				i := rapid.IntRange(0, 1<<20).Draw(t, "i")
				at, want = at.Index(i), append(want, Step{Index: i, IsIndex: true})
			} else {
				key := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-zA-Z0-9_-]{1,8}`), rapid.StringMatching(`[].["0-9\\]*`)).Draw(t, "key")
				at, want = at.Key(key), append(want, Step{Key: key})
			}
		}
		got, err := at.Steps()
		if err != nil {
			t.Fatalf("take %q apart: %v", at, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q (-want +got):\n%s", at, diff)
		}
	})
}

func TestPathStepsRefuses(t *testing.T) {
	for _, p := range []Path{"a..b", ".a", "a.", "a[", "a[]", "a[-1]", "a[x]", `a["x"`, `a["x]`, "a[1]b", "a b"} {
		if steps, err := p.Steps(); err == nil {
			t.Errorf("%q: got %v, want an error", p, steps)
		}
	}
}
