package config

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// DataURL stands before base64 in a text of JSON whose value is bytes that are
// no text. (RFC 2397)
const DataURL = "data:;base64,"

// JSONOptions say what DecodeJSON makes of members that JSON has no form for.
type JSONOptions struct {
	// Drop are members of the top level that are passed over.
	Drop []string
	// Bytes are members, at any depth, whose text may be DataURL and base64.
	Bytes []string
	// Verbatim are members of the top level whose object or list is taken as the text that it is written in.
	Verbatim []string
}

// DecodeJSON decodes a JSON object as Decode decodes a file, as strictly, with
// what o says. The error is Problems; they have keys, but no lines.
func DecodeJSON(data []byte, into any, o JSONOptions) error {
	fail := func(format string, args ...any) error {
		return Problems{{File: "the body", Msg: fmt.Sprintf(format, args...)}}
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return fail("is empty, expected a JSON object")
	}
	w := jsonReader{dec: json.NewDecoder(bytes.NewReader(data)), o: o}
	w.dec.UseNumber()
	err := w.value(0, "")
	if err == nil {
		if _, extra := w.dec.Token(); !errors.Is(extra, io.EOF) {
			err = errors.New("something follows the object")
		}
	}
	if err != nil {
		return fail("is not JSON: %v", err)
	}
	doc, err := Parse("the body", w.out.Bytes())
	if err != nil {
		return forget(err)
	}
	return forget(doc.Decode(into))
}

// forget takes out of problems where they are: the text is not the caller's.
func forget(err error) error {
	problems, ok := errors.AsType[Problems](err)
	if !ok {
		return err
	}
	for i := range problems {
		problems[i].Line, problems[i].Column = 0, 0
	}
	return problems
}

// jsonReader writes JSON again in the forms that YAML reads alike. Both keys
// that are given twice and the order stay as they are.
type jsonReader struct {
	dec *json.Decoder
	out bytes.Buffer
	o   JSONOptions
}

// mostDepth is how deeply JSON may be nested.
const mostDepth = 64

func (r *jsonReader) value(depth int, key string) error {
	token, err := r.dec.Token()
	if err != nil {
		return syntax(err)
	}
	return r.token(token, depth, key)
}

func syntax(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it ends too early")
	}
	return err
}

func (r *jsonReader) token(token json.Token, depth int, key string) error {
	if depth > mostDepth {
		return fmt.Errorf("it is nested more than %d deep", mostDepth)
	}
	switch t := token.(type) {
	case json.Delim:
		return r.nested(t, depth)
	case string:
		r.text(t, key)
	case json.Number:
		r.out.WriteString(t.String())
	case bool:
		r.out.WriteString(strconv.FormatBool(t))
	case nil:
		r.out.WriteString("null")
	}
	return nil
}

func (r *jsonReader) nested(open json.Delim, depth int) error {
	r.out.WriteString(open.String())
	written := 0
	separate := func() {
		if written++; written > 1 {
			r.out.WriteString(",\n")
		}
	}
	for r.dec.More() {
		if open == '[' {
			separate()
			if err := r.value(depth+1, ""); err != nil {
				return err
			}
			continue
		}
		token, err := r.dec.Token()
		if err != nil {
			return syntax(err)
		}
		key := token.(string) // the decoder takes nothing else
		if depth == 0 && slices.Contains(r.o.Drop, key) {
			var dropped json.RawMessage
			if err := r.dec.Decode(&dropped); err != nil {
				return syntax(err)
			}
			continue
		}
		separate()
		quoteYAML(&r.out, key)
		r.out.WriteString(": ")
		if depth == 0 && slices.Contains(r.o.Verbatim, key) {
			err = r.verbatim()
		} else {
			err = r.value(depth+1, key)
		}
		if err != nil {
			return err
		}
	}
	end, err := r.dec.Token()
	if err != nil {
		return syntax(err)
	}
	r.out.WriteString(end.(json.Delim).String())
	return nil
}

// verbatim writes an object or a list as a text, and everything else as it is.
func (r *jsonReader) verbatim() error {
	var raw json.RawMessage
	if err := r.dec.Decode(&raw); err != nil {
		return syntax(err)
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		text = string(raw)
	}
	quoteYAML(&r.out, text)
	return nil
}

// text writes a text, and one that stands for bytes as such.
func (r *jsonReader) text(s, key string) {
	encoded, ok := strings.CutPrefix(s, DataURL)
	if !ok || !slices.Contains(r.o.Bytes, key) {
		quoteYAML(&r.out, s)
		return
	}
	r.out.WriteString("!!binary ")
	quoteYAML(&r.out, encoded)
}

// quoteYAML writes a text in double quotes, in one line.
func quoteYAML(out *bytes.Buffer, s string) {
	out.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			out.WriteByte('\\')
			out.WriteRune(c)
		case c == '\n':
			out.WriteString(`\n`)
		case c < ' ' || c >= 0x7f && c <= 0xa0 || c == 0x2028 || c == 0x2029 || c == 0xfeff || c >= 0xfff0 && c <= 0xffff:
			fmt.Fprintf(out, `\u%04X`, c)
		default:
			out.WriteRune(c)
		}
	}
	out.WriteByte('"')
}

// Bytes is how bytes are written in JSON: as text, or if they are none, as
// DataURL and base64.
func Bytes(data []byte) string {
	if utf8.Valid(data) && !bytes.HasPrefix(data, []byte(DataURL)) && !bytes.ContainsRune(data, 0) {
		return string(data)
	}
	return DataURL + base64.StdEncoding.EncodeToString(data)
}

// Suggest returns the end of a message about an unknown word: the known one
// that was probably meant, or all of them if they are few.
func Suggest(word string, known []string) string { return suggest(word, known) }
