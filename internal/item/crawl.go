package item

// Crawl calls yield for every directory and item that q's instance has in
// version folder name, parents first, in the order of the table's names.
// Unlisted items are included. The path starts with the version; a directory's
// ends in a slash. The value is valid during the call only.
func (t *Tree) Crawl(q *Query, name string, yield func(path string, row *Row, value []byte)) {
	version, ok := t.VersionIndex([]byte(name))
	if !ok {
		return
	}
	q.Version = version
	t.crawl(q, t.root, "/"+name+"/", yield)
}

func (t *Tree) crawl(q *Query, n *Node, path string, yield func(string, *Row, []byte)) {
	yield(path, nil, t.list(nil, q, n))
	for _, c := range n.children {
		if c.since > q.Version {
			continue
		}
		if c != n.key {
			t.visit(q, c, path+c.name, yield)
			continue
		}
		for i, key := range c.dir.Keys(nil, q) {
			q.set(c, key, i)
			t.visit(q, c, path+key, yield)
		}
	}
}

func (t *Tree) visit(q *Query, n *Node, path string, yield func(string, *Row, []byte)) {
	if !t.present(q, n) {
		return
	}
	if n.row == nil {
		t.crawl(q, n, path+"/", yield)
		return
	}
	if value, ok := t.value(nil, q, n); ok {
		yield(path, n.row, value)
	}
}

// object appends directory n as a JSON object: directories are objects, every
// item is a string, secrets and raw bytes are left out.
func (t *Tree) object(dst []byte, q *Query, n *Node) []byte {
	dst = append(dst, '{')
	first := true
	t.each(q, n, func(c *Node, key string) bool {
		if t.secret(c) {
			return true
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		if key == "" {
			key = c.name
		}
		dst = AppendString(dst, []byte(key))
		dst = append(dst, ':')
		if c.row == nil {
			dst = t.object(dst, q, c)
			return true
		}
		from := len(q.text)
		q.text, _ = t.value(q.text, q, c)
		dst = AppendString(dst, q.text[from:])
		q.text = q.text[:from]
		return true
	})
	return append(dst, '}')
}

// secret reports whether everything below n is left out of Whole.
func (t *Tree) secret(n *Node) bool {
	if n.row != nil {
		return n.row.Class == Credential || n.row.Class == Opaque
	}
	for _, c := range n.children {
		if !t.secret(c) {
			return false
		}
	}
	return true
}
