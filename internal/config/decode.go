package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"openimds/internal/instance"
)

// Decode parses data and decodes it into the struct that into points to, by
// the json tags of its fields. The name stands in problems. The error is
// Problems; into then holds what could be decoded.
//
// Fields may be structs, pointers, slices, maps with string keys, strings,
// bools, integers, time.Time (RFC 3339 or a YAML timestamp), time.Duration (as
// in 1m30s), []byte (text, or base64 with the tag !!binary), netip.Addr,
// netip.Prefix and whatever implements encoding.TextUnmarshaler. A string
// field takes a scalar as it is written, so that account: 123456789012 needs
// no quotes. Unknown keys, keys given twice and a second document are
// problems. A value that is left out or left empty keeps what into holds.
func Decode(name string, data []byte, into any) error {
	doc, err := Parse(name, data)
	if err != nil {
		return err
	}
	return doc.Decode(into)
}

// Decode decodes the document as the function Decode does.
func (doc *Document) Decode(into any) error {
	return doc.decode(into).err()
}

func (doc *Document) decode(into any) Problems {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		panic(fmt.Sprintf("config: decode into %T, which is no pointer to a struct", into))
	}
	d := &decoder{
		file:   doc.name,
		budget: doc.size*growth + growthFree,
		open:   map[*yaml.Node]bool{},
		fields: map[reflect.Type]map[string]int{},
	}
	d.value(doc.root, v.Elem(), "")
	return d.problems
}

const (
	// growth and growthFree bound what a file may become in memory, by aliases
	// and by empty structs: so many times its size, and so many bytes.
	growth     = 64
	growthFree = 32 << 20
	// maxProblems is how many problems are collected.
	maxProblems = 1000
	// nodeCost is what looking at a node costs of the budget.
	nodeCost = 64
)

type decoder struct {
	file     string
	problems Problems
	budget   int                 // bytes that may still be decoded
	open     map[*yaml.Node]bool // anchors whose aliases are being followed
	fields   map[reflect.Type]map[string]int
}

func (d *decoder) addf(n *yaml.Node, at instance.Path, format string, args ...any) {
	if len(d.problems) < maxProblems {
		d.problems = append(d.problems, Problem{d.file, n.Line, n.Column, at, fmt.Sprintf(format, args...)})
	}
}

// spend takes from the budget and reports whether to go on.
func (d *decoder) spend(n *yaml.Node, at instance.Path, bytes int) bool {
	if d.budget < 0 || len(d.problems) >= maxProblems {
		return false
	}
	if d.budget -= nodeCost + bytes; d.budget < 0 {
		d.addf(n, at, "the file grows to more than %d times its size here; do aliases (*) repeat too much?", growth)
	}
	return d.budget >= 0
}

// value decodes n into v.
func (d *decoder) value(n *yaml.Node, v reflect.Value, at instance.Path) {
	if !d.spend(n, at, int(v.Type().Size())) {
		return
	}
	if n.Kind == yaml.AliasNode {
		if d.open[n.Alias] {
			d.addf(n, at, "the alias *%s stands within its own anchor", n.Value)
			return
		}
		d.open[n.Alias] = true
		defer delete(d.open, n.Alias)
		n = n.Alias
	}
	t := v.Type()
	switch {
	case isScalar(t):
		d.scalar(n, v, at)
	case isNull(n):
		// Left empty, as when all that stood below has been commented out.
	case t.Kind() == reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(t.Elem()))
		}
		d.value(n, v.Elem(), at)
	case t.Kind() == reflect.Struct:
		d.structure(n, v, at)
	case t.Kind() == reflect.Slice:
		d.slice(n, v, at)
	case t.Kind() == reflect.Map && t.Key().Kind() == reflect.String:
		d.mapping(n, v, at)
	default:
		panic(fmt.Sprintf("config: %s has the type %s, which no file can fill", at, t))
	}
}

// expect reports a node of another kind, or with a tag of its own.
func (d *decoder) expect(n *yaml.Node, at instance.Path, kind yaml.Kind, tag, words string) bool {
	switch {
	case n.Kind != kind:
		d.addf(n, at, "found %s, expected %s", kindOf(n), words)
	case n.Tag != tag:
		d.tagged(n, at, words)
	default:
		return true
	}
	return false
}

// tagged reports a tag. It is not shown: it may be a secret that wants quotes.
func (d *decoder) tagged(n *yaml.Node, at instance.Path, words string) {
	d.addf(n, at, "found a YAML tag, expected %s without one; put text that begins with ! in quotes", words)
}

func (d *decoder) members(n *yaml.Node, at instance.Path) []member {
	list := members(n, func(n *yaml.Node, name, msg string) {
		if name != "" {
			d.addf(n, at.Key(name), "%s", msg)
		} else {
			d.addf(n, at, "%s", msg)
		}
	})
	if !d.spend(n, at, nodeCost*len(list)) {
		return nil
	}
	return list
}

func (d *decoder) structure(n *yaml.Node, v reflect.Value, at instance.Path) {
	if !d.expect(n, at, yaml.MappingNode, "!!map", "keys with values") {
		return
	}
	fields := d.fieldsOf(v.Type())
	for _, m := range d.members(n, at) {
		i, known := fields[m.name]
		if !known {
			d.addf(m.key, at.Key(m.name), "unknown key%s", suggest(m.name, slices.Sorted(maps.Keys(fields))))
			continue
		}
		d.value(m.value, v.Field(i), at.Key(m.name))
	}
}

// fieldsOf returns the indexes of a struct's fields by their keys.
func (d *decoder) fieldsOf(t reflect.Type) map[string]int {
	if f, ok := d.fields[t]; ok {
		return f
	}
	f := map[string]int{}
	for i := range t.NumField() {
		key, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if t.Field(i).IsExported() && key != "" && key != "-" {
			f[key] = i
		}
	}
	d.fields[t] = f
	return f
}

func (d *decoder) slice(n *yaml.Node, v reflect.Value, at instance.Path) {
	if !d.expect(n, at, yaml.SequenceNode, "!!seq", "a list") {
		return
	}
	// The elements are paid for one by one, so that a list that costs too much
	// is not made at full length first.
	list := reflect.MakeSlice(v.Type(), 0, min(len(n.Content), 1024))
	for i, c := range n.Content {
		list = reflect.Append(list, reflect.Zero(v.Type().Elem()))
		if isNull(resolve(c)) {
			d.addf(c, at.Index(i), "found an empty element, expected a value")
			continue
		}
		d.value(c, list.Index(i), at.Index(i))
		if d.budget < 0 {
			break
		}
	}
	v.Set(list)
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, at instance.Path) {
	if !d.expect(n, at, yaml.MappingNode, "!!map", "keys with values") {
		return
	}
	list := d.members(n, at)
	all := reflect.MakeMapWithSize(v.Type(), len(list))
	for _, m := range list {
		value := reflect.New(v.Type().Elem()).Elem()
		d.value(m.value, value, at.Key(m.name))
		all.SetMapIndex(reflect.ValueOf(m.name).Convert(v.Type().Key()), value)
	}
	v.Set(all)
}
