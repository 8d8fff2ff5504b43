package ec2query

import (
	"cmp"
	"encoding/base64"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Bounds of what a request may hold, above what the vendor allows anywhere.
const (
	maxParameters = 10_000
	maxDepth      = 8
	maxList       = 1000
)

// node is a parameter, or what is common to those that start with its name:
// Tag.1.Key is three nodes deep.
type node struct {
	value string
	set   bool
	kids  map[string]*node
}

// parseTree sorts parameters by the parts of their names.
func parseTree(values url.Values) (*node, error) {
	if len(values) > maxParameters {
		return nil, invalid("InvalidRequest", "The request has too many parameters.")
	}
	root := &node{}
	for name := range values {
		at := root
		parts := strings.Split(name, ".")
		if len(parts) > maxDepth {
			return nil, unknown(name)
		}
		for _, part := range parts {
			next := at.kids[part]
			if next == nil {
				next = &node{}
				if at.kids == nil {
					at.kids = map[string]*node{}
				}
				at.kids[part] = next
			}
			at = next
		}
		at.value, at.set = values.Get(name), true
	}
	return root, nil
}

func unknown(name string) *failure {
	return invalid("UnknownParameter", "The parameter "+clip(name)+" is not recognized")
}

// decode fills the struct that into points to. Its fields are tagged
// `q:"Name"` or `q:"Name,required"` and are strings, bools, ints, bytes
// (base64), structs, slices of these (Name.N), or pointers, which stay nil for
// what is not there. Fields of embedded structs count as its own. Parameters
// that are named in accepted, and all below them, are passed over; any other
// that has no field is refused.
func decode(tree *node, into any, accepted []string) error {
	return decodeStruct(tree, reflect.ValueOf(into).Elem(), "", accepted)
}

// field is where a parameter goes.
type field struct {
	index    []int
	required bool
}

func fields(t reflect.Type) map[string]field {
	found := map[string]field{}
	for _, f := range reflect.VisibleFields(t) {
		if name, options, _ := strings.Cut(f.Tag.Get("q"), ","); name != "" {
			found[name] = field{f.Index, options == "required"}
		}
	}
	return found
}

func decodeStruct(n *node, v reflect.Value, path string, accepted []string) error {
	known := fields(v.Type())
	for _, name := range slices.Sorted(maps.Keys(n.kids)) {
		if slices.Contains(accepted, name) {
			continue
		}
		f, ok := known[name]
		if !ok {
			return unknown(path + name)
		}
		if err := decodeValue(n.kids[name], v.FieldByIndex(f.index), path+name); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if known[name].required && n.kids[name] == nil {
			return missing(path + name)
		}
	}
	return nil
}

// anything is a parameter that is taken, with all below it, and has no effect.
type anything struct{}

func decodeValue(n *node, v reflect.Value, path string) error {
	switch {
	case v.Type() == reflect.TypeFor[anything]():
		return nil
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return decodeValue(n, v.Elem(), path)
	case v.Kind() == reflect.Struct && !n.set:
		return decodeStruct(n, v, path+".", nil)
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() != reflect.Uint8:
		return decodeList(n, v, path)
	case v.Kind() == reflect.Struct:
		return unknown(path)
	case len(n.kids) > 0:
		return unknown(path + "." + slices.Min(slices.Collect(maps.Keys(n.kids))))
	}
	return decodeLeaf(n.value, v, path)
}

func decodeLeaf(text string, v reflect.Value, path string) error {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		switch strings.ToLower(text) {
		case "true":
			v.SetBool(true)
		case "false":
			v.SetBool(false)
		default:
			return invalid("InvalidParameterValue", "Invalid value '"+clip(text)+"' for "+path+". Expected a boolean")
		}
	case reflect.Int:
		number, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return invalid("InvalidParameterValue", "Invalid value '"+clip(text)+"' for "+path+". Expected an integer")
		}
		v.SetInt(number)
	case reflect.Slice:
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return invalid("InvalidParameterValue", "Invalid BASE64 encoding of "+path)
		}
		v.SetBytes(data)
	default:
		panic("ec2query: no parameter is a " + v.Kind().String())
	}
	return nil
}

// decodeList takes Name.N in the order of N, which need not be without gaps.
func decodeList(n *node, v reflect.Value, path string) error {
	if n.set {
		return unknown(path)
	}
	if len(n.kids) > maxList {
		return invalid("InvalidParameterValue", "The list "+path+" has more than "+strconv.Itoa(maxList)+" entries.")
	}
	type entry struct {
		number int
		name   string
	}
	entries := make([]entry, 0, len(n.kids))
	for name := range n.kids {
		number, err := strconv.Atoi(name)
		if err != nil || number < 1 || strconv.Itoa(number) != name {
			return unknown(path + "." + name)
		}
		entries = append(entries, entry{number, name})
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.number, b.number) })
	v.Set(reflect.MakeSlice(v.Type(), len(entries), len(entries)))
	for i, e := range entries {
		if err := decodeValue(n.kids[e.name], v.Index(i), path+"."+e.name); err != nil {
			return err
		}
	}
	return nil
}
