package sigv4

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Sign signs a request in the header form: it sets X-Amz-Date, Authorization
// and, for temporary credentials, X-Amz-Security-Token. The signature covers
// Host, Content-Type and every x-amz- header that is set, and the body, which
// must be what the request will send. A query that cannot be decoded is an
// error.
func Sign(req *http.Request, body []byte, c Credentials, region, service string, now time.Time) error {
	query, err := parseQuery(req.URL.RawQuery)
	if err != nil {
		return fmt.Errorf("sign request: %w", err)
	}
	date := now.UTC().Format(dateLayout)
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set("X-Amz-Date", date)
	req.Header.Del("X-Amz-Security-Token")
	if c.SessionToken != "" {
		req.Header.Set("X-Amz-Security-Token", c.SessionToken)
	}

	signed := []string{"host"}
	for key := range req.Header {
		if name := strings.ToLower(key); name == "content-type" || strings.HasPrefix(name, "x-amz-") {
			signed = append(signed, name)
		}
	}
	slices.Sort(signed)
	signed = slices.Compact(signed)

	s := scope{date[:len(dayLayout)], region, service, terminator}
	canonical := canonicalRequest(req, body, query, signed, service, hash(body))
	req.Header.Set("Authorization", algorithm+
		" Credential="+c.AccessKeyID+"/"+s.String()+
		", SignedHeaders="+strings.Join(signed, ";")+
		", Signature="+signature(c.SecretKey, s, stringToSign(date, s, canonical)))
	return nil
}
