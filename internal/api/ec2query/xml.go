package ec2query

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"strconv"
	"time"
)

// response is what an action answers with: a struct that embeds head.
type response interface{ stamp(requestID string) }

// head is the first element of every reply.
type head struct {
	RequestID string `xml:"requestId"`
}

func (h *head) stamp(id string) { h.RequestID = id }

// done answers that an action was done.
type done struct {
	head
	Return bool `xml:"return"`
}

const contentType = "text/xml;charset=UTF-8"

// writeReply writes the reply of an action, whose root is named after it.
func writeReply(w http.ResponseWriter, action string, out response) error {
	var b bytes.Buffer
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n")
	e := xml.NewEncoder(&b)
	e.Indent("", "    ")
	root := xml.StartElement{Name: xml.Name{Local: action + "Response"}, Attr: []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: namespace}}}
	if err := e.EncodeElement(out, root); err != nil {
		return err
	}
	send(w, http.StatusOK, b.Bytes())
	return nil
}

// writeError writes the form that errors of every action have (EC2-API-03).
func writeError(w http.ResponseWriter, f *failure, id string) {
	type one struct{ Code, Message string }
	body, err := xml.Marshal(struct {
		XMLName   xml.Name `xml:"Response"`
		Error     one      `xml:"Errors>Error"`
		RequestID string   `xml:"RequestID"`
	}{Error: one{f.code, f.message}, RequestID: id})
	if err != nil {
		body = nil // strings always encode
	}
	send(w, f.status, append([]byte(`<?xml version="1.0" encoding="UTF-8"?>`+"\n"), body...))
}

func send(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-cache, no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body) // whoever went away needs no answer
}

// stamp formats a time as the API does; the zero time is left out.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}
