package item_test

import (
	"testing"

	"openimds/internal/item"
)

// A path is placed by its names, whatever the instance has.
func TestLocate(t *testing.T) {
	tree := item.Must(spec())
	for path, want := range map[string]string{
		"":                                  tree.Nodes()[item.Root].Template,
		"latest/meta-data/instance-id":      "meta-data/instance-id",
		"1.0/meta-data/zone":                "meta-data/zone",
		"latest/meta-data":                  "meta-data/",
		"latest/meta-data/macs/x/id":        "meta-data/macs/{mac}/id",
		"latest/meta-data/macs/x/none-such": "(none)",
		"latest/none-such":                  "(none)",
		"3.0/meta-data":                     "(none)",
	} {
		if got := tree.Locate([]byte(path)).Template; got != want {
			t.Errorf("%q is %q, want %q", path, got, want)
		}
	}
	path := []byte("latest/meta-data/macs/x/id")
	if n := testing.AllocsPerRun(100, func() { tree.Locate(path) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
