package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	dateLayout = "20060102T150405Z"
	dayLayout  = "20060102"

	unsignedPayload = "UNSIGNED-PAYLOAD"
)

// Limits of what is looked at, far above what real clients send, so that a
// request that nobody has signed costs little.
const (
	maxQuery         = 128 << 10 // bytes
	maxParameters    = 4096
	maxSignedHeaders = 100
	maxCredential    = 256 // bytes
)

// parameter is one of the query's, decoded.
type parameter struct{ name, value string }

// parseQuery decodes a query, where + and %20 both mean a space.
func parseQuery(raw string) ([]parameter, error) {
	if raw == "" {
		return nil, nil
	}
	n := strings.Count(raw, "&") + 1
	if len(raw) > maxQuery || n > maxParameters {
		return nil, refuse(MalformedQueryString, "The query string is too long.")
	}
	query := make([]parameter, 0, n)
	for piece := range strings.SplitSeq(raw, "&") {
		if piece == "" {
			continue
		}
		name, value, _ := strings.Cut(piece, "=")
		name, errName := url.QueryUnescape(name)
		value, errValue := url.QueryUnescape(value)
		if errName != nil || errValue != nil {
			return nil, refuse(MalformedQueryString, "The query string contains a syntax error.")
		}
		query = append(query, parameter{name, value})
	}
	return query, nil
}

// scope is what a signing key is good for.
type scope struct{ day, region, service, terminator string }

func (s scope) String() string {
	return s.day + "/" + s.region + "/" + s.service + "/" + s.terminator
}

// canonicalRequest returns the text that is signed in place of the request.
// Every one of the signed headers must be in the request.
func canonicalRequest(req *http.Request, body []byte, query []parameter, signed []string, service, payload string) string {
	var b strings.Builder
	b.WriteString(req.Method)
	b.WriteByte('\n')
	b.WriteString(canonicalPath(req.URL, service))
	b.WriteByte('\n')
	b.WriteString(canonicalQuery(query))
	b.WriteByte('\n')
	for _, name := range signed {
		b.WriteString(name)
		b.WriteByte(':')
		values, _ := headerValues(req, body, name)
		for i, v := range values {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(fold(v))
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	b.WriteString(strings.Join(signed, ";"))
	b.WriteByte('\n')
	b.WriteString(payload)
	return b.String()
}

// canonicalPath returns the path as it was sent, encoded once more. For S3 it
// is what the path means, encoded once.
func canonicalPath(u *url.URL, service string) string {
	path := u.EscapedPath()
	switch {
	case service == "s3":
		path = u.Path
	case u.Opaque != "":
		path = u.Opaque
	}
	if path == "" {
		path = "/"
	}
	// A slash that came encoded is %252F by now, except for S3, where it is one.
	return strings.ReplaceAll(escape(path), "%2F", "/")
}

// canonicalQuery sorts by the encoded form: "a/b" comes before "a-b".
func canonicalQuery(query []parameter) string {
	encoded := make([]parameter, len(query))
	for i, p := range query {
		encoded[i] = parameter{escape(p.name), escape(p.value)}
	}
	slices.SortFunc(encoded, func(a, b parameter) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return strings.Compare(a.value, b.value)
	})
	var b strings.Builder
	for i, p := range encoded {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.name)
		b.WriteByte('=')
		b.WriteString(p.value)
	}
	return b.String()
}

// escape encodes all but the unreserved characters of RFC 3986.
func escape(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}

// fold trims a header's value and makes one space of each run of white space.
func fold(value string) string {
	return strings.Join(strings.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == '\t' }), " ")
}

// headerValues returns the values of the header with the given lower-case
// name, in the order in which they came, and whether the request has it. The
// port is part of Host: clients sign it.
func headerValues(req *http.Request, body []byte, name string) ([]string, bool) {
	if name == "host" {
		if req.Host != "" {
			return []string{req.Host}, true
		}
		return []string{req.URL.Host}, true
	}
	values, ok := req.Header[http.CanonicalHeaderKey(name)]
	if !ok && name == "content-length" {
		// It is net/http's own, and not always in the map.
		return []string{strconv.Itoa(len(body))}, true
	}
	return values, ok
}

func stringToSign(date string, s scope, canonical string) string {
	return algorithm + "\n" + date + "\n" + s.String() + "\n" + hash([]byte(canonical))
}

func signature(secret string, s scope, toSign string) string {
	key := []byte("AWS4" + secret)
	for _, part := range []string{s.day, s.region, s.service, s.terminator} {
		key = mac(key, part)
	}
	return hex.EncodeToString(mac(key, toSign))
}

func mac(key []byte, data string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(data))
	return h.Sum(nil)
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
