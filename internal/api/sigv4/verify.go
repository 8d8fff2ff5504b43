package sigv4

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Config is what a request is held against.
type Config struct {
	// Now is the time of the verifier. A request that is signed more than 15
	// minutes before or after it is refused; a presigned one has the life that
	// it states, at most seven days.
	Now time.Time
	// Regions and Services are the ones that a signature may be scoped to. An
	// empty list accepts any.
	Regions, Services []string
	// Lookup returns the secret and the session token that belong to an access
	// key. It is told the token that came with the request, for those who keep
	// sessions in it; Verify compares the two in any case. It returns
	// ErrUnknownKey, or an *Error of its own, to refuse a request. Any other
	// error says that the look-up did not work.
	Lookup func(accessKeyID, sessionToken string) (Credentials, error)
	// UnsignedPayload lets a request say, in a signed x-amz-content-sha256, that
	// its signature does not cover the body.
	UnsignedPayload bool
}

// Verify returns whose signature the request carries. The body is what was
// read from it; the caller bounds its size. An *Error says why the request is
// refused; any other error is Lookup's.
func Verify(req *http.Request, body []byte, cfg Config) (Identity, error) {
	c, err := readClaim(req)
	if err != nil {
		return Identity{}, err
	}
	if err := c.checkTime(cfg.Now); err != nil {
		return Identity{}, err
	}
	if err := c.checkHeaders(req, body); err != nil {
		return Identity{}, err
	}
	if err := c.checkScope(cfg.Regions, cfg.Services); err != nil {
		return Identity{}, err
	}
	creds, err := c.credentials(cfg.Lookup)
	if err != nil {
		return Identity{}, err
	}

	canonical := canonicalRequest(req, body, c.query, c.signed, c.scope.service, c.payload(req, body, cfg.UnsignedPayload))
	toSign := stringToSign(c.date.Format(dateLayout), c.scope, canonical)
	if !equal(signature(creds.SecretKey, c.scope, toSign), c.signature) {
		return Identity{}, mismatch(canonical, toSign)
	}
	if !equal(creds.SessionToken, c.token) {
		return Identity{}, refuse(InvalidClientTokenID, unknownToken)
	}
	return Identity{
		AccessKeyID:   c.accessKeyID,
		SessionToken:  c.token,
		Region:        c.scope.region,
		Service:       c.scope.service,
		SignedHeaders: c.signed,
		Date:          c.date,
	}, nil
}

func (c *claim) credentials(lookup func(accessKeyID, sessionToken string) (Credentials, error)) (Credentials, error) {
	creds, err := lookup(c.accessKeyID, c.token)
	var refusal *Error
	switch {
	case errors.As(err, &refusal):
		return Credentials{}, refusal
	case errors.Is(err, ErrUnknownKey), err == nil && creds.SecretKey == "":
		return Credentials{}, refuse(InvalidClientTokenID, unknownToken)
	case err != nil:
		return Credentials{}, fmt.Errorf("look up access key: %w", err)
	}
	return creds, nil
}

func (c *claim) checkTime(now time.Time) error {
	now = now.UTC()
	if earliest := now.Add(-c.life); c.date.Before(earliest) {
		return refuse(RequestExpired, fmt.Sprintf("Signature expired: %s is now earlier than %s (%s - %s)",
			c.date.Format(dateLayout), earliest.Format(dateLayout), now.Format(dateLayout), span(c.life)))
	}
	if latest := now.Add(maxSkew); c.date.After(latest) {
		return refuse(RequestExpired, fmt.Sprintf("Signature not yet current: %s is still later than %s (%s + %s)",
			c.date.Format(dateLayout), latest.Format(dateLayout), now.Format(dateLayout), span(maxSkew)))
	}
	return nil
}

func span(d time.Duration) string {
	if d%time.Minute == 0 {
		return fmt.Sprintf("%d min.", d/time.Minute)
	}
	return fmt.Sprintf("%d s.", d/time.Second)
}

// checkHeaders asks that the signature covers what it must, and that all it
// covers is there.
func (c *claim) checkHeaders(req *http.Request, body []byte) error {
	if !c.signs("host") {
		return mustBeSigned("'Host' or ':authority'")
	}
	unsigned := ""
	for key := range req.Header {
		name := strings.ToLower(key)
		// An unsigned hash of the body is not looked at.
		if strings.HasPrefix(name, "x-amz-") && name != "x-amz-content-sha256" && !c.signs(name) && (unsigned == "" || name < unsigned) {
			unsigned = name
		}
	}
	if unsigned != "" {
		return mustBeSigned("'" + show(unsigned) + "'")
	}
	for _, name := range c.signed {
		if _, ok := headerValues(req, body, name); !ok {
			return refuse(SignatureDoesNotMatch, "The request has no header '"+show(name)+"', which is a 'SignedHeader' in the AWS Authorization.")
		}
	}
	return nil
}

func (c *claim) signs(header string) bool {
	_, ok := slices.BinarySearch(c.signed, header)
	return ok
}

func (c *claim) checkScope(regions, services []string) error {
	var wrong []string
	s := c.scope
	if s.region == "" || len(regions) > 0 && !slices.Contains(regions, s.region) {
		wrong = append(wrong, "Credential should be scoped to a valid region, not '"+show(s.region)+"'. ")
	}
	if s.service == "" || len(services) > 0 && !slices.Contains(services, s.service) {
		wrong = append(wrong, "Credential should be scoped to correct service: '"+strings.Join(services, "' or '")+"'. ")
	}
	if s.terminator != terminator {
		wrong = append(wrong, "Credential should be scoped with a valid terminator: '"+terminator+"', not '"+show(s.terminator)+"'. ")
	}
	if day := c.date.Format(dayLayout); s.day != day {
		wrong = append(wrong, fmt.Sprintf("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s', from '%s'.",
			show(s.day), day, c.date.Format(dateLayout)))
	}
	if wrong != nil {
		return refuse(SignatureDoesNotMatch, strings.Join(wrong, ""))
	}
	return nil
}

// payload returns the last line of the canonical request: the hash of the body
// as it came, whatever a header says of it.
func (c *claim) payload(req *http.Request, body []byte, unsigned bool) string {
	if unsigned {
		if said, ok := single(req.Header, "X-Amz-Content-Sha256"); ok && said == unsignedPayload && c.signs("x-amz-content-sha256") {
			return unsignedPayload
		}
	}
	return hash(body)
}

// equal takes a time that does not depend on where two strings differ.
func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
