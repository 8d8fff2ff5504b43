package sigv4

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// claim is what a request says of its own signature.
type claim struct {
	accessKeyID string
	scope       scope
	signed      []string // names of headers, lower case, sorted
	signature   string
	date        time.Time
	token       string        // the session token
	life        time.Duration // how long after date the signature is good
	query       []parameter   // what of the query is signed
}

const (
	maxSkew = 15 * time.Minute
	maxLife = 7 * 24 * time.Hour
)

// readClaim finds the claim, in the Authorization header or in the query.
func readClaim(req *http.Request) (claim, error) {
	query, err := parseQuery(req.URL.RawQuery)
	if err != nil {
		return claim{}, err
	}
	authorization := req.Header["Authorization"]
	presigned := slices.ContainsFunc(query, func(p parameter) bool { return p.name == "X-Amz-Algorithm" })
	switch {
	case presigned && len(authorization) > 0:
		return claim{}, refuse(SignatureDoesNotMatch, "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.")
	case presigned:
		return claimFromQuery(query)
	case len(authorization) > 1:
		return claim{}, refuse(IncompleteSignature, "Authorization header must not be repeated.")
	case len(authorization) == 0 || !strings.HasPrefix(authorization[0], "AWS4-"):
		return claim{}, refuse(MissingAuthenticationToken, "Request is missing Authentication Token")
	default:
		return claimFromHeader(req, authorization[0], query)
	}
}

func claimFromHeader(req *http.Request, authorization string, query []parameter) (claim, error) {
	method, rest, _ := strings.Cut(authorization, " ")
	if err := checkAlgorithm(method); err != nil {
		return claim{}, err
	}
	parts := map[string]string{}
	for pair := range strings.SplitSeq(rest, ",") {
		pair = strings.Trim(pair, " \t")
		if pair == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return claim{}, refuse(IncompleteSignature,
				"Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and encoded with Base64): '"+digest(authorization)+"'.")
		}
		_, repeated := parts[name]
		if repeated || !slices.Contains([]string{"Credential", "SignedHeaders", "Signature"}, name) {
			return claim{}, refuse(IncompleteSignature, "Authorization header has an unknown or repeated parameter '"+show(name)+"'.")
		}
		parts[name] = value
	}

	date, hasDate := single(req.Header, "X-Amz-Date")
	if _, ok := req.Header["X-Amz-Date"]; !ok {
		date, hasDate = single(req.Header, "Date")
		if t, err := http.ParseTime(date); err == nil {
			date = t.UTC().Format(dateLayout)
		}
	}
	var missing []string
	for _, name := range []string{"Credential", "Signature", "SignedHeaders"} {
		if parts[name] == "" {
			missing = append(missing, "Authorization header requires '"+name+"' parameter.")
		}
	}
	if !hasDate {
		missing = append(missing, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
	}
	if missing != nil {
		return claim{}, refuse(IncompleteSignature, strings.Join(missing, " ")+
			" (Hashed with SHA-256 and encoded with Base64) Authorization="+digest(authorization))
	}
	token, ok := single(req.Header, "X-Amz-Security-Token")
	if !ok && req.Header["X-Amz-Security-Token"] != nil {
		return claim{}, refuse(InvalidClientTokenID, unknownToken)
	}
	return newClaim(claim{token: token, life: maxSkew, query: query}, parts["Credential"], date, parts["SignedHeaders"], parts["Signature"])
}

// claimParameters are what the query form has in place of headers: five that
// must be there, and two that may.
var claimParameters = []string{
	"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date",
	"X-Amz-Expires", "X-Amz-Security-Token",
}

func claimFromQuery(query []parameter) (claim, error) {
	parts := map[string]string{}
	signed := make([]parameter, 0, len(query))
	for _, p := range query {
		if p.name != "X-Amz-Signature" {
			signed = append(signed, p)
		}
		if !slices.Contains(claimParameters, p.name) {
			continue
		}
		if _, repeated := parts[p.name]; repeated {
			return claim{}, refuse(IncompleteSignature, "AWS query-string parameter '"+show(p.name)+"' must not be repeated. Re-examine the query-string parameters.")
		}
		parts[p.name] = p.value
	}
	var missing []string
	for _, name := range claimParameters[:5] {
		if parts[name] == "" {
			missing = append(missing, "AWS query-string parameters must include '"+name+"'.")
		}
	}
	if missing != nil {
		return claim{}, refuse(IncompleteSignature, strings.Join(missing, " ")+" Re-examine the query-string parameters.")
	}
	if err := checkAlgorithm(parts["X-Amz-Algorithm"]); err != nil {
		return claim{}, err
	}
	c := claim{token: parts["X-Amz-Security-Token"], life: maxSkew, query: signed}
	if text, ok := parts["X-Amz-Expires"]; ok {
		seconds, err := strconv.ParseUint(text, 10, 32)
		if err != nil || seconds == 0 || time.Duration(seconds)*time.Second > maxLife {
			return claim{}, refuse(IncompleteSignature, "X-Amz-Expires must be a number of seconds between 1 and 604800. Re-examine the query-string parameters.")
		}
		c.life = time.Duration(seconds) * time.Second
	}
	return newClaim(c, parts["X-Amz-Credential"], parts["X-Amz-Date"], parts["X-Amz-SignedHeaders"], parts["X-Amz-Signature"])
}

// newClaim completes c with what both forms write alike.
func newClaim(c claim, credential, date, signed, signature string) (claim, error) {
	var err error
	if c.date, err = time.Parse(dateLayout, date); err != nil || len(date) != len(dateLayout) {
		return claim{}, refuse(IncompleteSignature, "Date must be in ISO-8601 'basic format'. Got '"+show(date)+"'. See http://en.wikipedia.org/wiki/ISO_8601")
	}
	elements := strings.SplitN(credential, "/", 6)
	if len(elements) != 5 || elements[0] == "" || len(credential) > maxCredential {
		return claim{}, refuse(IncompleteSignature, "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '"+show(credential)+"'")
	}
	c.accessKeyID = elements[0]
	c.scope = scope{elements[1], elements[2], elements[3], elements[4]}
	if c.signed = signedNames(signed); c.signed == nil {
		return claim{}, refuse(IncompleteSignature, "SignedHeaders must be at most "+strconv.Itoa(maxSignedHeaders)+" lower-case names in alphabetical order, separated by semicolons.")
	}
	c.signature = signature
	return c, nil
}

// signedNames splits a list of headers. It returns nil for one that is not in
// canonical form: no client writes one, and with one spelling only, no change
// of a signed request goes unnoticed.
func signedNames(list string) []string {
	if strings.Count(list, ";") >= maxSignedHeaders {
		return nil
	}
	names := strings.Split(list, ";")
	for i, name := range names {
		if name == "" || name != strings.ToLower(name) || i > 0 && names[i-1] >= name {
			return nil
		}
	}
	return names
}

func checkAlgorithm(name string) error {
	if name == algorithm {
		return nil
	}
	return refuse(IncompleteSignature, "Unsupported AWS 'algorithm': '"+show(name)+"' (only "+algorithm+" for now). ")
}

// single returns the value of a header that came exactly once.
func single(h http.Header, name string) (string, bool) {
	if v := h[name]; len(v) == 1 {
		return v[0], true
	}
	return "", false
}
