package cloudwatch

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"reflect"
	"strconv"
	"time"

	"github.com/aws/smithy-go/encoding/cbor"
)

// members calls yield for each member of an output. What is nil, an empty text
// or no time is left out; an empty list is not.
func members(v reflect.Value, yield func(name string, v reflect.Value) error) error {
	for i := range v.NumField() {
		f := v.Field(i)
		if f.Kind() == reflect.Pointer {
			if f.IsNil() {
				continue
			}
			f = f.Elem()
		} else if t, ok := f.Interface().(time.Time); f.Kind() == reflect.String && f.Len() == 0 || ok && t.IsZero() {
			continue
		}
		if err := yield(v.Type().Field(i).Name, f); err != nil {
			return err
		}
	}
	return nil
}

// seconds are Unix seconds, to the millisecond.
func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func noOutput(v reflect.Value) error {
	return fmt.Errorf("cloudwatch: no output can hold a %s", v.Type())
}

// valueOf is that of an output, which may be behind a pointer.
func valueOf(out any) reflect.Value { return reflect.Indirect(reflect.ValueOf(out)) }

func encodeJSON(b *bytes.Buffer, out any) error { return writeJSON(b, valueOf(out)) }

func writeJSON(b *bytes.Buffer, v reflect.Value) error {
	if t, ok := v.Interface().(time.Time); ok {
		b.WriteString(strconv.FormatFloat(seconds(t), 'f', -1, 64))
		return nil
	}
	if all, ok := v.Interface().(extended); ok {
		b.WriteByte('{')
		for i, p := range all {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(strconv.Quote(p.Name) + ":") // it has digits and a point
			_ = writeScalar(b, reflect.ValueOf(p.Value))
		}
		b.WriteByte('}')
		return nil
	}
	switch v.Kind() {
	case reflect.Struct:
		b.WriteByte('{')
		first := true
		err := members(v, func(name string, v reflect.Value) error {
			if !first {
				b.WriteByte(',')
			}
			first = false
			b.WriteString(`"` + name + `":`)
			return writeJSON(b, v)
		})
		b.WriteByte('}')
		return err
	case reflect.Slice:
		b.WriteByte('[')
		for i := range v.Len() {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeJSON(b, v.Index(i)); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	case reflect.String:
		e := json.NewEncoder(b)
		e.SetEscapeHTML(false)
		if err := e.Encode(v.String()); err != nil {
			return err
		}
		b.Truncate(b.Len() - 1) // without the line end
		return nil
	}
	return writeScalar(b, v)
}

func encodeXML(b *bytes.Buffer, name string, out any) error {
	return writeXML(b, name, valueOf(out))
}

func writeXML(b *bytes.Buffer, name string, v reflect.Value) error {
	b.WriteString("<" + name + ">")
	var err error
	if t, ok := v.Interface().(time.Time); ok {
		b.WriteString(t.UTC().Format("2006-01-02T15:04:05.999Z"))
	} else if all, ok := v.Interface().(extended); ok {
		for _, p := range all {
			b.WriteString("<entry><key>" + p.Name + "</key><value>")
			err = writeScalar(b, reflect.ValueOf(p.Value))
			b.WriteString("</value></entry>")
		}
	} else {
		switch v.Kind() {
		case reflect.Struct:
			err = members(v, func(name string, v reflect.Value) error { return writeXML(b, name, v) })
		case reflect.Slice:
			for i := range v.Len() {
				if err == nil {
					err = writeXML(b, "member", v.Index(i))
				}
			}
		case reflect.String:
			err = xml.EscapeText(b, []byte(v.String()))
		default:
			err = writeScalar(b, v)
		}
	}
	b.WriteString("</" + name + ">")
	return err
}

// writeScalar writes what is the same in JSON and XML.
func writeScalar(b *bytes.Buffer, v reflect.Value) error {
	switch v.Kind() {
	case reflect.Int:
		b.WriteString(strconv.FormatInt(v.Int(), 10))
	case reflect.Float64:
		b.WriteString(strconv.FormatFloat(v.Float(), 'f', -1, 64))
	case reflect.Bool:
		b.WriteString(strconv.FormatBool(v.Bool()))
	default:
		return noOutput(v)
	}
	return nil
}

func toCBOR(out any) (cbor.Value, error) { return cborOf(valueOf(out)) }

func cborOf(v reflect.Value) (cbor.Value, error) {
	if t, ok := v.Interface().(time.Time); ok {
		return &cbor.Tag{ID: 1, Value: cbor.Float64(seconds(t))}, nil
	}
	if all, ok := v.Interface().(extended); ok {
		m := cbor.Map{}
		for _, p := range all {
			m[p.Name] = cbor.Float64(p.Value)
		}
		return m, nil
	}
	switch v.Kind() {
	case reflect.Struct:
		m := cbor.Map{}
		err := members(v, func(name string, v reflect.Value) (err error) {
			m[name], err = cborOf(v)
			return err
		})
		return m, err
	case reflect.Slice:
		l := make(cbor.List, v.Len())
		for i := range l {
			var err error
			if l[i], err = cborOf(v.Index(i)); err != nil {
				return nil, err
			}
		}
		return l, nil
	case reflect.String:
		return cbor.String(v.String()), nil
	case reflect.Int:
		if n := v.Int(); n < 0 {
			return cbor.NegInt(-n), nil //nolint:gosec // it is positive now
		}
		return cbor.Uint(v.Int()), nil //nolint:gosec // it is not negative
	case reflect.Float64:
		return cbor.Float64(v.Float()), nil
	case reflect.Bool:
		return cbor.Bool(v.Bool()), nil
	}
	return nil, noOutput(v)
}
