package item

import "bytes"

// Locate returns the node that a canonical path is about as far as its names
// tell, whatever instance it is asked of: any name stands for a placeholder's.
// It makes no value, and is Nowhere's for a path that no item has.
func (t *Tree) Locate(path []byte) *Node {
	if len(path) == 0 {
		return t.nodes[Root]
	}
	seg, path, _ := bytes.Cut(path, slash)
	if _, ok := t.VersionIndex(seg); !ok {
		return t.nodes[Nowhere]
	}
	n := t.root
	for len(path) > 0 {
		seg, path, _ = bytes.Cut(path, slash)
		next := n.byName[string(seg)]
		if next == nil {
			next = n.key
		}
		if next == nil {
			return t.nodes[Nowhere]
		}
		n = next
	}
	return n
}
