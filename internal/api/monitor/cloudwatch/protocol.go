package cloudwatch

import (
	"net/http"
	"strconv"
	"strings"
)

// protocol reads requests and writes answers.
//
// A request's input is a tree: map[string]any, []any, string, float64, bool,
// time.Time, and text where the protocol knows no types.
type protocol interface {
	// parse returns the action and its input.
	parse(r *http.Request, body []byte) (action string, input any, err error)
	// reply writes an output, a struct.
	reply(w http.ResponseWriter, action, id string, out any) error
	// refuse writes an error.
	refuse(w http.ResponseWriter, f *failure, id string)
}

// text is a value as it stands in a form: anything.
type text string

// service is the name of the API in the headers and paths of the newer
// protocols.
const service = "GraniteServiceVersion20100801"

// Target is how the header X-Amz-Target begins in the JSON protocol, and Prefix
// how the path does in the CBOR protocol (EC2-CW-03).
const (
	Target = service + "."
	Prefix = "/service/" + service + "/operation/"
)

// protocolOf tells which protocol a request is of.
func protocolOf(r *http.Request) protocol {
	switch {
	case strings.HasPrefix(r.URL.Path, Prefix):
		return cborProtocol{}
	case r.Header.Get("X-Amz-Target") != "":
		return jsonProtocol{}
	}
	return queryProtocol{}
}

// queryError tells clients of the newer protocols the code that they had in the
// old one (EC2-CW-05).
func queryError(w http.ResponseWriter, f *failure) {
	w.Header().Set("X-Amzn-Query-Error", f.code+";"+f.fault())
}

func send(w http.ResponseWriter, status int, contentType, id string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-cache, no-store")
	h.Set("X-Amzn-Requestid", id)
	w.WriteHeader(status)
	_, _ = w.Write(body) // whoever went away needs no answer
}
