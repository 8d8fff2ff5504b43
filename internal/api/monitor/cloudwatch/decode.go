package cloudwatch

import (
	"math"
	"reflect"
	"strconv"
	"time"
)

// decode puts a tree into the struct that in points to. A pointer stays nil
// where the member is absent, or null. Members that no field has are ignored,
// as the vendor does.
func decode(tree any, in any) error {
	m, ok := tree.(map[string]any)
	if !ok {
		return malformed("The input is not a structure.")
	}
	return decodeStruct(m, "", reflect.ValueOf(in).Elem())
}

func decodeStruct(m map[string]any, path string, to reflect.Value) error {
	for i := range to.NumField() {
		name := to.Type().Field(i).Name
		v, ok := m[name]
		if !ok || v == nil {
			continue
		}
		if err := decodeValue(v, path+name, to.Field(i)); err != nil {
			return err
		}
	}
	return nil
}

func decodeValue(v any, path string, to reflect.Value) error {
	wrong := malformed("The member %s has a value of another type than its own.", path)
	if _, is := to.Interface().(time.Time); is {
		t, ok := timeOf(v)
		if !ok {
			return wrong
		}
		to.Set(reflect.ValueOf(t))
		return nil
	}
	switch to.Kind() {
	case reflect.Pointer:
		to.Set(reflect.New(to.Type().Elem()))
		return decodeValue(v, path, to.Elem())
	case reflect.Struct:
		m, ok := v.(map[string]any)
		if !ok {
			return wrong
		}
		return decodeStruct(m, path+".", to)
	case reflect.Slice:
		return decodeList(v, path, to)
	case reflect.String:
		switch s := v.(type) {
		case string:
			to.SetString(s)
		case text:
			to.SetString(string(s))
		default:
			return wrong
		}
	case reflect.Int:
		n, ok := numberOf(v)
		if !ok || n != math.Trunc(n) || math.Abs(n) > math.MaxInt32 {
			return wrong
		}
		to.SetInt(int64(n))
	case reflect.Float64:
		n, ok := numberOf(v)
		if !ok {
			return wrong
		}
		to.SetFloat(n)
	case reflect.Bool:
		switch b := v.(type) {
		case bool:
			to.SetBool(b)
		case text:
			if b != "true" && b != "false" {
				return wrong
			}
			to.SetBool(b == "true")
		default:
			return wrong
		}
	default:
		panic("cloudwatch: no parameter can be a " + to.Type().String())
	}
	return nil
}

func decodeList(v any, path string, to reflect.Value) error {
	if s, ok := v.(text); ok && s == "" {
		return nil // how a form says that a list is empty
	}
	l, ok := v.([]any)
	if !ok {
		return malformed("The member %s is not a list.", path)
	}
	to.Set(reflect.MakeSlice(to.Type(), len(l), len(l)))
	for i, v := range l {
		at := path + "." + strconv.Itoa(i+1)
		if v == nil {
			return malformed("The member %s is null.", at)
		}
		if err := decodeValue(v, at, to.Index(i)); err != nil {
			return err
		}
	}
	return nil
}

// numberOf reads a number, which is finite.
func numberOf(v any) (float64, bool) {
	n, ok := v.(float64)
	if s, is := v.(text); is {
		var err error
		n, err = strconv.ParseFloat(string(s), 64)
		ok = err == nil
	}
	return n, ok && !math.IsNaN(n) && !math.IsInf(n, 0)
}

// timeOf reads a time: Unix seconds, or in a form ISO 8601, where no zone is
// UTC.
func timeOf(v any) (time.Time, bool) {
	switch v := v.(type) {
	case time.Time:
		return v, true
	case float64:
		t, err := fromSeconds(v)
		return t, err == nil
	case text:
		for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04Z07:00", "2006-01-02"} {
			if t, err := time.Parse(layout, string(v)); err == nil && t.Year() > 0 && t.Year() < 4000 {
				return t.UTC(), true
			}
		}
		if n, ok := numberOf(v); ok {
			t, err := fromSeconds(n)
			return t, err == nil
		}
	}
	return time.Time{}, false
}
