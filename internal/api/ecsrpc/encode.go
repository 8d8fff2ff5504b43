package ecsrpc

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
)

// answer is where the answer to one call goes, and in which form.
type answer struct {
	w         http.ResponseWriter
	host      string // as the client called us
	requestID string
	json      bool
}

// wantsJSON tells the form of the answer: Format, which is looked for even in
// requests that are refused, or else what a client of V3, which has no Format,
// says in Accept. The default is XML.
func wantsJSON(r *http.Request, body []byte) bool {
	format := r.URL.Query().Get("Format")
	if format == "" && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		form, _ := url.ParseQuery(string(body)) // what can be read is enough
		format = form.Get("Format")
	}
	if format == "" {
		return strings.HasPrefix(r.Header.Get("Accept"), "application/json")
	}
	return strings.EqualFold(format, "JSON")
}

// succeed sends the reply of an action. Nil: there is only the request's id.
func (a answer) succeed(action string, reply any) {
	full := struct {
		RequestID string `p:"RequestId"`
		Reply     any    `p:",inline"`
	}{a.requestID, reply}
	a.send(http.StatusOK, action+"Response", "application/xml;charset=utf-8", full)
}

// fail sends an error. DARA reads an error in XML only with exactly this type.
func (a answer) fail(e *wireError) {
	a.send(e.status, "Error", "text/xml;charset=utf-8", struct {
		RequestID string `p:"RequestId"`
		HostID    string `p:"HostId"`
		Code      string `p:"Code"`
		Message   string `p:"Message"`
		Recommend string `p:"Recommend"`
	}{a.requestID, a.host, e.code, e.message,
		"https://api.alibabacloud.com/troubleshoot?q=" + url.QueryEscape(e.code) + "&product=Ecs&requestId=" + a.requestID})
}

func (a answer) send(status int, root, xmlType string, reply any) {
	var b bytes.Buffer
	contentType := xmlType
	if a.json {
		contentType = "application/json;charset=utf-8"
		encodeJSON(&b, reflect.ValueOf(reply))
	} else {
		b.WriteString(xml.Header)
		encodeXML(&b, root, reflect.ValueOf(reply))
	}
	a.w.Header().Set("Content-Type", contentType)
	a.w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	a.w.WriteHeader(status)
	_, _ = a.w.Write(b.Bytes()) // nobody is left to tell
}

// members calls yield for each member of a struct: its name on the wire, for a
// list the name of its items, and its value. The tag `p` says so: "Name",
// "Names>Name" for a list, ",inline" for the members of another struct, and
// "Name,omitempty", without which a pointer must not be nil.
func members(v reflect.Value, yield func(name, item string, v reflect.Value)) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name, option, _ := strings.Cut(field.Tag.Get("p"), ",")
		value := v.Field(i)
		if option == "inline" {
			for value.Kind() == reflect.Interface || value.Kind() == reflect.Pointer {
				value = value.Elem()
			}
			if value.IsValid() {
				members(value, yield)
			}
			continue
		}
		if option == "omitempty" && value.IsZero() {
			continue
		}
		if value.Kind() == reflect.Pointer {
			value = value.Elem()
		}
		name, item, _ := strings.Cut(name, ">")
		yield(name, item, value)
	}
}

func encodeJSON(b *bytes.Buffer, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		separator := "{"
		members(v, func(name, item string, v reflect.Value) {
			b.WriteString(separator + `"` + name + `":`)
			separator = ","
			if item == "" {
				encodeJSON(b, v)
				return
			}
			b.WriteString(`{"` + item + `":[`)
			for i := range v.Len() {
				if i > 0 {
					b.WriteByte(',')
				}
				encodeJSON(b, v.Index(i))
			}
			b.WriteString("]}")
		})
		if separator == "{" {
			b.WriteByte('{')
		}
		b.WriteByte('}')
	case reflect.String:
		e := json.NewEncoder(b)
		e.SetEscapeHTML(false)
		_ = e.Encode(v.String()) // a string always encodes
		b.Truncate(b.Len() - 1)  // without the line end
	default:
		b.WriteString(scalar(v))
	}
}

func encodeXML(b *bytes.Buffer, name string, v reflect.Value) {
	b.WriteString("<" + name + ">")
	switch v.Kind() {
	case reflect.Struct:
		members(v, func(name, item string, v reflect.Value) {
			if item == "" {
				encodeXML(b, name, v)
				return
			}
			b.WriteString("<" + name + ">")
			for i := range v.Len() {
				encodeXML(b, item, v.Index(i))
			}
			b.WriteString("</" + name + ">")
		})
	case reflect.String:
		_ = xml.EscapeText(b, []byte(v.String())) // a Buffer takes everything
	default:
		b.WriteString(scalar(v))
	}
	b.WriteString("</" + name + ">")
}

// scalar writes what is the same in JSON and XML.
func scalar(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Int, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10)
	case reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	}
	panic("ecsrpc: no reply can hold a " + v.Type().String())
}
