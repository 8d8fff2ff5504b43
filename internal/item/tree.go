package item

import (
	"fmt"
	"slices"
	"strings"
)

// Latest is the name of the folder that stands for the newest version.
const Latest = "latest"

// Spec is what a Tree is compiled from.
type Spec struct {
	// Versions are the version folders from the oldest to the newest.
	Versions []string
	Rows     []Row
	Dirs     []Dir
}

// Tree is a compiled table. It is immutable.
type Tree struct {
	versions []string
	root     *Node
	nodes    []*Node
}

// Node is a place in the tree: an item, a directory, or the root.
type Node struct {
	// ID counts the nodes of a tree from 0, so that counters can be arrays.
	ID int
	// Template is the node's path with its placeholders; a directory's ends in a slash.
	Template string

	name     string // as it is requested
	row      *Row   // of an item
	dir      *Dir   // of a placeholder, or of a directory with options
	since    int    // index of the first version that has it
	parent   *Node
	children []*Node
	byName   map[string]*Node
	key      *Node // the placeholder child
	slot     int   // which placeholder of the path it is, from 0
}

// Row returns the row of an item, or nil.
func (n *Node) Row() *Row { return n.row }

// Template ids that every tree has: requests for paths that do not exist are
// counted under Nowhere.
const (
	Nowhere = iota // no such item
	Root           // the list of versions
)

// New compiles a table. An error names the row and what is wrong with it.
func New(spec Spec) (*Tree, error) {
	t := &Tree{versions: spec.Versions}
	if len(t.versions) == 0 {
		return nil, fmt.Errorf("no versions")
	}
	t.nodes = []*Node{
		{ID: Nowhere, Template: "(none)"},
		{ID: Root, Template: "/"},
	}
	t.root = t.node("/{version}/", "")
	for i := range spec.Dirs {
		d := &spec.Dirs[i]
		n, err := t.place(d.Path)
		if err != nil {
			return nil, fmt.Errorf("directory %s: %w", d.Path, err)
		}
		if n.dir != nil {
			return nil, fmt.Errorf("directory %s: declared twice", d.Path)
		}
		n.dir = d
	}
	for i := range spec.Rows {
		r := &spec.Rows[i]
		n, err := t.place(r.Path)
		if err != nil {
			return nil, fmt.Errorf("item %s: %w", r.Path, err)
		}
		if err := t.check(n, r); err != nil {
			return nil, fmt.Errorf("item %s: %w", r.Path, err)
		}
		n.row = r
	}
	if err := t.finish(t.root, 0); err != nil {
		return nil, err
	}
	return t, nil
}

// Must is New for a table that is part of the program.
func Must(spec Spec) *Tree {
	t, err := New(spec)
	if err != nil {
		panic("item: " + err.Error())
	}
	return t
}

func (t *Tree) node(template, name string) *Node {
	n := &Node{ID: len(t.nodes), Template: template, name: name, byName: map[string]*Node{}}
	t.nodes = append(t.nodes, n)
	return n
}

// place finds or makes the node of a path.
func (t *Tree) place(path string) (*Node, error) {
	n := t.root
	slot := 0
	for seg := range strings.SplitSeq(path, "/") {
		if seg == "" {
			return nil, fmt.Errorf("empty segment in the path")
		}
		placeholder := strings.HasPrefix(seg, "{") && strings.HasSuffix(seg, "}")
		next := n.byName[seg]
		if placeholder {
			next = n.key
		}
		switch {
		case next != nil && placeholder && next.name != seg:
			return nil, fmt.Errorf("placeholder %s stands where %s stands already", seg, next.name)
		case next == nil:
			next = t.node(strings.TrimPrefix(n.Template, "/{version}/")+seg+"/", seg)
			next.parent = n
			n.children = append(n.children, next)
			if placeholder {
				n.key, next.slot = next, slot
			} else {
				n.byName[seg] = next
			}
		}
		if placeholder {
			slot++
			if slot > MaxKeys {
				return nil, fmt.Errorf("more than %d placeholders", MaxKeys)
			}
		}
		n = next
	}
	return n, nil
}

func (t *Tree) check(n *Node, r *Row) error {
	if n.row != nil {
		return fmt.Errorf("declared twice")
	}
	if r.Since != "" {
		// A version is a date; "1.0" sorts before every date.
		n.since = len(t.versions)
		for i, v := range t.versions {
			if v >= r.Since {
				n.since = i
				break
			}
		}
		if n.since == len(t.versions) {
			return fmt.Errorf("no version is as new as %s", r.Since)
		}
	}
	if (r.Get == nil) != (r.Class == Whole) {
		return fmt.Errorf("an item has a Get unless its class is whole")
	}
	return nil
}

// finish derives what follows from the rows: the version a directory appears
// in, aliases, and whether each node is an item or a directory.
func (t *Tree) finish(n *Node, depth int) error {
	if n.row != nil && len(n.children) > 0 {
		return fmt.Errorf("%s is an item and a directory", n.Template)
	}
	if n.row != nil {
		n.Template = strings.TrimSuffix(n.Template, "/")
		return nil
	}
	if len(n.children) == 0 {
		return fmt.Errorf("directory %s has no items", n.Template)
	}
	n.since = len(t.versions)
	for _, c := range n.children {
		if err := t.finish(c, depth+1); err != nil {
			return err
		}
		n.since = min(n.since, c.since)
		if c.dir != nil {
			for _, a := range c.dir.Aliases {
				n.byName[a] = c
			}
		}
	}
	if n.key != nil && (n.key.dir == nil || n.key.dir.Keys == nil) {
		return fmt.Errorf("placeholder %s has no Dir that lists its keys", n.key.Template)
	}
	slices.SortFunc(n.children, func(a, b *Node) int { return strings.Compare(a.name, b.name) })
	return nil
}

// Versions returns the version folders from the oldest to the newest.
func (t *Tree) Versions() []string { return t.versions }

// Nodes returns all nodes; a node's ID is its index.
func (t *Tree) Nodes() []*Node { return t.nodes }

// Newest returns the index of the newest version, which `latest` stands for.
func (t *Tree) Newest() int { return len(t.versions) - 1 }

// VersionIndex returns the index of a version folder's name.
func (t *Tree) VersionIndex(name []byte) (int, bool) {
	if string(name) == Latest {
		return t.Newest(), true
	}
	for i, v := range t.versions {
		if string(name) == v {
			return i, true
		}
	}
	return 0, false
}
