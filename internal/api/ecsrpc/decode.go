package ecsrpc

import (
	"encoding/json"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// idList is a list that a parameter holds as the text of a JSON array.
type idList []string

// maxIndex bounds the N of Name.N, so that no request makes long lists.
const maxIndex = 1000

// decode puts parameters into the struct that in points to. The tag `p` of a
// field is the parameter's name, with ",required" if it must be there: `p:"X"`
// of a slice reads X.1, X.2 and so on, of a slice of structs X.1.Key. A pointer
// stays nil where the parameter is absent. Parameters that no field has are
// ignored, as the vendor's gateway does.
func decode(params map[string]string, in any) error {
	return decodeStruct(params, "", reflect.ValueOf(in).Elem())
}

func decodeStruct(params map[string]string, prefix string, to reflect.Value) error {
	for i := range to.NumField() {
		field := to.Type().Field(i)
		if field.Anonymous {
			if err := decodeStruct(params, prefix, to.Field(i)); err != nil {
				return err
			}
			continue
		}
		name, option, _ := strings.Cut(field.Tag.Get("p"), ",")
		name = prefix + name
		if err := decodeField(params, name, to.Field(i)); err != nil {
			return err
		}
		if option == "required" && isEmpty(to.Field(i)) {
			return missing(name)
		}
	}
	return nil
}

func isEmpty(v reflect.Value) bool {
	return v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0
}

func decodeField(params map[string]string, name string, to reflect.Value) error {
	if ids, ok := to.Addr().Interface().(*idList); ok {
		return decodeList(params[name], name, ids)
	}
	if to.Kind() == reflect.Slice {
		return decodeRepeated(params, name, to)
	}
	text, given := params[name]
	if !given {
		return nil
	}
	if to.Kind() == reflect.Pointer {
		if text == "" && to.Type().Elem().Kind() != reflect.String {
			return nil
		}
		if to.IsNil() {
			to.Set(reflect.New(to.Type().Elem()))
		}
		to = to.Elem()
	}
	return decodeText(text, name, to)
}

func decodeText(text, name string, to reflect.Value) error {
	switch to.Kind() {
	case reflect.String:
		to.SetString(text)
	case reflect.Int:
		if text == "" {
			return nil
		}
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return invalid(name)
		}
		to.SetInt(n)
	case reflect.Float64:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
			return invalid(name)
		}
		to.SetFloat(n)
	case reflect.Bool:
		switch strings.ToLower(text) {
		case "true":
			to.SetBool(true)
		case "false", "":
			to.SetBool(false)
		default:
			return invalid(name)
		}
	default:
		panic("ecsrpc: no parameter can be a " + to.Type().String())
	}
	return nil
}

// decodeList reads a JSON array of strings. A single name without brackets is
// what some clients send.
func decodeList(text, name string, to *idList) error {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
	case strings.HasPrefix(text, "["):
		if err := json.Unmarshal([]byte(text), to); err != nil {
			return malformed(name)
		}
	case strings.ContainsAny(text, "{}\"'] "):
		return malformed(name)
	default:
		*to = idList{text}
	}
	return nil
}

// decodeRepeated reads Name.1, Name.2 and so on. Gaps in the numbers close up.
func decodeRepeated(params map[string]string, name string, to reflect.Value) error {
	indices := map[int]struct{}{}
	for key := range params {
		rest, ok := strings.CutPrefix(key, name+".")
		if !ok {
			continue
		}
		digits, _, _ := strings.Cut(rest, ".")
		n, err := strconv.Atoi(digits)
		if err != nil || n < 1 || n > maxIndex || strconv.Itoa(n) != digits {
			return invalid(key)
		}
		indices[n] = struct{}{}
	}
	for _, n := range slices.Sorted(maps.Keys(indices)) {
		element := reflect.New(to.Type().Elem()).Elem()
		full := name + "." + strconv.Itoa(n)
		var err error
		if element.Kind() == reflect.Struct {
			err = decodeStruct(params, full+".", element)
		} else if text := params[full]; text != "" {
			err = decodeText(text, full, element)
		} else {
			continue
		}
		if err != nil {
			return err
		}
		to.Set(reflect.Append(to, element))
	}
	return nil
}
