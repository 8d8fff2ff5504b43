package alisign

import (
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of what is looked at, far above what real clients send, so that a
// request that nobody has signed costs little.
const (
	maxParameters    = 4096
	maxText          = 128 << 10 // bytes of query and form together
	maxSignedHeaders = 100
)

// parameters returns those of the query, and those of the query and the form
// together. A name has one value: a client that sends a parameter in both
// places has signed it once.
func parameters(req *http.Request, body []byte) (query, all map[string]string, err error) {
	raw := req.URL.RawQuery
	n := strings.Count(raw, "&") + 1
	if len(body) > 0 {
		if !isForm(req.Header) {
			return nil, nil, refuse(InvalidParameter, "The request body must be application/x-www-form-urlencoded.")
		}
		for _, b := range body {
			if b == '&' {
				n++
			}
		}
	}
	if n > maxParameters || len(raw)+len(body) > maxText {
		return nil, nil, refuse(InvalidParameter, "The request has too many parameters.")
	}
	if query, err = parse(raw); err != nil {
		return nil, nil, err
	}
	if all, err = parse(string(body)); err != nil {
		return nil, nil, err
	}
	for name, value := range query {
		if inForm, twice := all[name]; twice && inForm != value {
			return nil, nil, repeated(name)
		}
		all[name] = value
	}
	return query, all, nil
}

// parse decodes a query or a form, where + and %20 both mean a space.
func parse(raw string) (map[string]string, error) {
	params := map[string]string{}
	for piece := range strings.SplitSeq(raw, "&") {
		if piece == "" {
			continue
		}
		name, value, _ := strings.Cut(piece, "=")
		name, errName := url.QueryUnescape(name)
		value, errValue := url.QueryUnescape(value)
		if errName != nil || errValue != nil || !utf8.ValidString(name) || !utf8.ValidString(value) {
			return nil, refuse(InvalidParameter, "The query string contains a syntax error.")
		}
		if _, twice := params[name]; twice {
			return nil, repeated(name)
		}
		params[name] = value
	}
	return params, nil
}

func repeated(name string) *Error {
	return refuse(InvalidParameter, notValid(name)+" It has more than one value.")
}

func isForm(h http.Header) bool {
	types := h["Content-Type"]
	if len(types) != 1 {
		return false
	}
	media, _, err := mime.ParseMediaType(types[0])
	return err == nil && media == "application/x-www-form-urlencoded"
}

// canonical sorts by name, as it is before it is encoded.
func canonical(params map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(escape(name))
		b.WriteByte('=')
		b.WriteString(escape(params[name]))
	}
	return b.String()
}

// escape encodes all but the unreserved characters of RFC 3986.
func escape(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}

// path returns the path of a request with each segment encoded anew: a slash
// that came encoded stays so.
func path(u *url.URL) string {
	sent := u.EscapedPath()
	if u.Opaque != "" {
		sent = u.Opaque
	}
	if sent == "" {
		return "/"
	}
	segments := strings.Split(sent, "/")
	for i, s := range segments {
		if plain, err := url.PathUnescape(s); err == nil {
			s = plain
		}
		segments[i] = escape(s)
	}
	return strings.Join(segments, "/")
}
