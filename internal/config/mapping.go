package config

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// member is a key of a mapping and its value.
type member struct {
	name       string
	key, value *yaml.Node
}

// report is told what is wrong with a node of a mapping; name is the key, if
// it has one.
type report func(n *yaml.Node, name, msg string)

func ignore(*yaml.Node, string, string) {}

// mostMerged is how many mappings one << may merge.
const mostMerged = 16

// members returns the members of mapping n in the order of the file, followed
// by those that << merges in and that n does not have itself. A node of
// another kind has none.
func members(n *yaml.Node, wrong report) []member {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	list := make([]member, 0, len(n.Content)/2)
	lines := make(map[string]int, len(n.Content)/2)
	var merge *yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := resolve(n.Content[i]), n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode:
			wrong(n.Content[i], "", "found "+kindOf(key)+" as a key, expected a word")
			continue
		case key.Tag == "!!null" && key.Style == 0:
			wrong(n.Content[i], "", "found a key that is empty, expected a word")
			continue
		case lines[key.Value] > 0:
			wrong(n.Content[i], key.Value, fmt.Sprintf("the key is on line %d already; keep one", lines[key.Value]))
			continue
		}
		lines[key.Value] = n.Content[i].Line
		if key.Tag == "!!merge" {
			merge = value
			continue
		}
		list = append(list, member{key.Value, n.Content[i], value})
	}
	for _, m := range merged(merge, wrong) {
		if lines[m.name] == 0 {
			lines[m.name] = m.key.Line
			list = append(list, m)
		}
	}
	return list
}

// merged returns the members of what << names: an alias to a mapping, or a
// short list of them. The mappings may not merge others in turn.
func merged(n *yaml.Node, wrong report) []member {
	if n == nil {
		return nil
	}
	sources := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		sources = n.Content
	}
	if len(sources) > mostMerged {
		wrong(n, "<<", fmt.Sprintf("found %d mappings to merge, expected at most %d", len(sources), mostMerged))
		return nil
	}
	var all []member
	for _, s := range sources {
		from := resolve(s)
		if from.Kind != yaml.MappingNode {
			wrong(s, "<<", "found "+kindOf(from)+", expected an alias to a mapping, or a list of such aliases")
			continue
		}
		for i := 0; i+1 < len(from.Content); i += 2 {
			key := resolve(from.Content[i])
			if key.Tag == "!!merge" {
				wrong(s, "<<", "the merged mapping merges another one; name both here: <<: [*a, *b]")
				continue
			}
			// What else may be wrong with a key is said where the mapping stands.
			if key.Kind == yaml.ScalarNode {
				all = append(all, member{key.Value, from.Content[i], from.Content[i+1]})
			}
		}
	}
	return all
}

// resolve follows an alias.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// isNull reports whether n is a value that is not given: nothing, ~ or null.
func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Tag == "!!null"
}

// kindOf returns what a node is, without what it holds.
func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "keys with values"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case isNull(n):
		return "nothing"
	default:
		return "text"
	}
}
