package item

import (
	"bytes"
	"slices"
)

// Kind is what a path turned out to be.
type Kind uint8

// Kinds of results.
const (
	Absent Kind = iota
	Leaf
	Listing
)

// Result is the outcome of a look-up.
type Result struct {
	Kind Kind
	// Node is never nil: for a path that does not exist it is Nowhere's.
	Node *Node
}

// Resolve looks path up for q and appends its value or listing to dst. The
// path is canonical: decoded, no empty segments, no slash at its ends; the
// first segment is the version folder. Resolve sets q.Version.
func (t *Tree) Resolve(dst []byte, q *Query, path []byte) ([]byte, Result) {
	q.Refusal = NotRefused
	if len(path) == 0 {
		for _, v := range t.versions {
			dst = append(append(dst, v...), '\n')
		}
		return append(dst, Latest...), Result{Listing, t.nodes[Root]}
	}
	seg, rest, _ := bytes.Cut(path, slash)
	version, ok := t.VersionIndex(seg)
	if !ok {
		return dst, Result{Absent, t.nodes[Nowhere]}
	}
	q.Version = version
	n, ok := t.find(q, rest)
	if !ok {
		return dst, Result{Absent, t.nodes[Nowhere]}
	}
	start := len(dst)
	if q.Prompt && n.row != nil && (n.row.Class == Credential || n.row.Class == Identity) {
		q.Refusal = NotPrompt
		return dst, Result{Absent, n}
	}
	if n.row == nil {
		dst = t.list(dst, q, n)
		if len(dst) == start {
			return dst, Result{Absent, n}
		}
		return dst, Result{Listing, n}
	}
	dst, ok = t.value(dst, q, n)
	if !ok {
		return dst[:start], Result{Absent, n}
	}
	return dst, Result{Leaf, n}
}

var slash = []byte{'/'}

// find walks from the version folder to the node of path and binds the
// placeholders on the way.
func (t *Tree) find(q *Query, path []byte) (*Node, bool) {
	n := t.root
	for len(path) > 0 {
		var seg []byte
		seg, path, _ = bytes.Cut(path, slash)
		next := n.byName[string(seg)]
		if next == nil && n.key != nil && t.bind(q, n.key, seg) {
			next = n.key
		}
		if next == nil || next.since > q.Version {
			return nil, false
		}
		n = next
	}
	return n, true
}

// bind looks for seg among the keys of placeholder n.
func (t *Tree) bind(q *Query, n *Node, seg []byte) bool {
	from := len(q.names)
	q.names = n.dir.Keys(q.names, q)
	found := false
	for i, key := range q.names[from:] {
		if string(seg) == key {
			q.set(n, key, i)
			found = true
			break
		}
	}
	q.names = q.names[:from]
	return found
}

func (q *Query) set(n *Node, key string, index int) {
	q.keys[n.slot], q.indexes[n.slot] = key, index
}

// value appends an item's value.
func (t *Tree) value(dst []byte, q *Query, n *Node) ([]byte, bool) {
	if n.row.Class == Whole {
		return t.object(dst, q, n.parent), true
	}
	return n.row.Get(dst, q)
}

// present reports whether node n exists for q, whose placeholders above n are
// bound. It renders into q.text, which is scratch.
func (t *Tree) present(q *Query, n *Node) bool {
	if n.since > q.Version {
		return false
	}
	if n.row != nil {
		if n.row.Class == Whole {
			return true
		}
		if n.row.Has != nil {
			return n.row.Has(q)
		}
		from := len(q.text)
		text, ok := n.row.Get(q.text, q)
		q.text = text[:from]
		return ok
	}
	found := false
	t.each(q, n, func(*Node, string) bool {
		found = true
		return false
	})
	return found
}

// each calls yield for every present child of directory n, with its key where
// the child is a placeholder; the key is bound during the call. Unlisted items
// are passed over.
func (t *Tree) each(q *Query, n *Node, yield func(c *Node, key string) bool) {
	for _, c := range n.children {
		if c.row != nil && c.row.Unlisted || c.since > q.Version {
			continue
		}
		if c != n.key {
			if t.present(q, c) && !yield(c, "") {
				return
			}
			continue
		}
		from := len(q.names)
		q.names = c.dir.Keys(q.names, q)
		to := len(q.names)
		for i := from; i < to; i++ {
			key := q.names[i]
			q.set(c, key, i-from)
			if t.present(q, c) && !yield(c, key) {
				break
			}
			q.names = q.names[:to]
		}
		q.names = q.names[:from]
	}
}

// list appends the listing of directory n: its entries in byte order, one a
// line, without a line end after the last.
func (t *Tree) list(dst []byte, q *Query, n *Node) []byte {
	q.entries = q.entries[:0]
	base := len(q.text)
	t.each(q, n, func(c *Node, key string) bool {
		from := len(q.text)
		q.text = t.label(q.text, q, c, key)
		q.entries = append(q.entries, entry{from, len(q.text)})
		return true
	})
	text := q.text
	slices.SortFunc(q.entries, func(a, b entry) int {
		return bytes.Compare(text[a.from:a.to], text[b.from:b.to])
	})
	for i, e := range q.entries {
		if i > 0 {
			dst = append(dst, '\n')
		}
		dst = append(dst, text[e.from:e.to]...)
	}
	q.text = q.text[:base]
	return dst
}

// label appends a child as a listing shows it.
func (t *Tree) label(dst []byte, q *Query, c *Node, key string) []byte {
	name := c.name
	if c.dir != nil && c.dir.Keys != nil {
		if c.dir.Label != nil {
			return c.dir.Label(dst, q, key)
		}
		name = key
	}
	dst = append(dst, name...)
	if c.row == nil && (c.dir == nil || !c.dir.Bare) {
		dst = append(dst, '/')
	}
	return dst
}
