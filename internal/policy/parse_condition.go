package policy

import "strings"

// conditions reads a Condition: operators, keys, values.
func (r *reader) conditions(n *node, path string) (all []condition) {
	if n.shape != shapeObject {
		r.report(n.at, path, "is %s: want an object of operators", n.shape)
		return nil
	}
	for _, operator := range n.members {
		at := join(path, clip(operator.name))
		t, err := parseTest(operator.name, r.lang)
		switch {
		case err != nil:
			r.report(operator.at, at, "%v", err)
			continue
		case operator.value.shape != shapeObject:
			r.report(operator.value.at, at, "is %s: want an object of condition keys", operator.value.shape)
			continue
		case len(operator.value.members) == 0:
			r.report(operator.value.at, at, "is empty: want at least one condition key")
			continue
		}
		seen := map[string]bool{}
		for _, key := range operator.value.members {
			c := r.condition(t, key, at+"."+key.name)
			if seen[c.key] {
				r.report(key.at, at+"."+key.name, "is given twice: the case of a key does not count")
			}
			seen[c.key] = true
			all = append(all, c)
		}
	}
	return all
}

func (r *reader) condition(t test, m member, path string) condition {
	c := condition{test: t, keyText: m.name, key: strings.ToLower(m.name)}
	if err := checkKey(m.name); err != nil {
		r.report(m.at, path, "%v", err)
	}
	for _, item := range r.texts(&m.value, path, true) {
		o, err := parseOperand(t, item.text, r.form(0))
		switch {
		case err != nil:
			r.report(item.at, item.path, "%v", err)
		case r.lang == RAM && strings.Contains(item.text, "${"):
			r.report(item.at, item.path, "has a variable, which policies of RAM do not have")
		}
		o.bare = item.bare
		c.operands = append(c.operands, o)
	}
	return c
}
