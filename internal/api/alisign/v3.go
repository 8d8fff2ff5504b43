package alisign

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
)

const algorithmV3 = "ACS3-HMAC-SHA256"

func claimV3(req *http.Request, body []byte, query, _ map[string]string) (claim, error) {
	authorization := req.Header["Authorization"]
	if len(authorization) > 1 {
		return claim{}, incomplete("Authorization must not be repeated.")
	}
	algorithm, rest, _ := strings.Cut(authorization[0], " ")
	if algorithm != algorithmV3 {
		return claim{}, refuse(InvalidScheme, notValid("SignatureMethod"))
	}
	parts, err := partsV3(rest)
	if err != nil {
		return claim{}, err
	}
	signed, err := signedV3(req.Header, parts["SignedHeaders"], len(body) > 0)
	if err != nil {
		return claim{}, err
	}
	values := map[string]string{}
	for _, name := range []string{"X-Acs-Action", "X-Acs-Version", "X-Acs-Date", "X-Acs-Content-Sha256", "X-Acs-Signature-Nonce", "X-Acs-Security-Token"} {
		switch v := req.Header[name]; {
		case len(v) > 1:
			return claim{}, refuse(InvalidParameter, notValid(strings.ToLower(name))+" It has more than one value.")
		case len(v) == 1:
			values[name] = v[0]
		}
	}
	for _, name := range []string{"X-Acs-Action", "X-Acs-Version", "X-Acs-Date", "X-Acs-Content-Sha256"} {
		if values[name] == "" {
			return claim{}, refuse(MissingParameter, notSupplied(strings.ToLower(name)))
		}
	}
	timestamp, err := parseTime("x-acs-date", values["X-Acs-Date"])
	if err != nil {
		return claim{}, err
	}
	return claim{
		accessKeyID: parts["Credential"],
		token:       values["X-Acs-Security-Token"],
		nonce:       values["X-Acs-Signature-Nonce"],
		action:      values["X-Acs-Action"],
		version:     values["X-Acs-Version"],
		timestamp:   timestamp,
		signature:   parts["Signature"],
		toSign:      func() string { return stringToSignV3(req, body, query, signed) },
		sign:        signV3,
	}, nil
}

// partsV3 reads "Credential=…,SignedHeaders=…,Signature=…", with or without
// spaces after the commas.
func partsV3(text string) (map[string]string, error) {
	names := []string{"Credential", "SignedHeaders", "Signature"}
	parts := map[string]string{}
	for part := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(strings.Trim(part, " \t"), "=")
		if _, twice := parts[name]; twice || !slices.Contains(names, name) {
			return nil, incomplete("Authorization must have Credential, SignedHeaders and Signature, each once.")
		}
		parts[name] = value
	}
	for _, name := range names {
		if parts[name] == "" {
			return nil, incomplete("Authorization must have " + name + ".")
		}
	}
	return parts, nil
}

// signedV3 splits the list of signed headers, which must be in canonical form
// and name what decides the meaning of the request. The type of a body that is
// not there decides nothing.
func signedV3(h http.Header, list string, body bool) ([]string, error) {
	if strings.Count(list, ";") >= maxSignedHeaders {
		return nil, incomplete("SignedHeaders has too many names.")
	}
	signed := strings.Split(list, ";")
	for i, name := range signed {
		if name == "" || name != strings.ToLower(name) || i > 0 && signed[i-1] >= name {
			return nil, incomplete("SignedHeaders must be lower-case names in alphabetical order, separated by semicolons.")
		}
		if _, ok := h[http.CanonicalHeaderKey(name)]; !ok && name != "host" {
			return nil, incomplete("The request has no header " + show(name) + ", which SignedHeaders has.")
		}
	}
	must := []string{"host"}
	for key := range h {
		if name := strings.ToLower(key); strings.HasPrefix(name, "x-acs-") || name == "content-type" && body {
			must = append(must, name)
		}
	}
	slices.Sort(must)
	for _, name := range must {
		if _, ok := slices.BinarySearch(signed, name); !ok {
			return nil, incomplete("SignedHeaders must have " + show(name) + ".")
		}
	}
	return signed, nil
}

// stringToSignV3 hashes the body as it came, whatever a header says of it.
func stringToSignV3(req *http.Request, body []byte, query map[string]string, signed []string) string {
	var b strings.Builder
	b.WriteString(req.Method)
	b.WriteByte('\n')
	b.WriteString(path(req.URL))
	b.WriteByte('\n')
	b.WriteString(canonical(query))
	b.WriteByte('\n')
	for _, name := range signed {
		b.WriteString(name)
		b.WriteByte(':')
		b.WriteString(headerV3(req, name))
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	b.WriteString(strings.Join(signed, ";"))
	b.WriteByte('\n')
	b.WriteString(hash(body))
	return algorithmV3 + "\n" + hash([]byte(b.String()))
}

// headerV3 returns the values of a header, sorted. The port is part of Host:
// clients sign it.
func headerV3(req *http.Request, name string) string {
	if name == "host" {
		if req.Host != "" {
			return req.Host
		}
		return req.URL.Host
	}
	values := slices.Clone(req.Header[http.CanonicalHeaderKey(name)])
	for i, v := range values {
		values[i] = strings.Trim(v, " \t")
	}
	slices.Sort(values)
	return strings.Join(values, ",")
}

func signV3(secret, text string) string {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(text))
	return hex.EncodeToString(h.Sum(nil))
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
