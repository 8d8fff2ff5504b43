package ecs

import (
	"time"

	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/item"
)

// Validity of credentials that were given without times (ECS-CRED-06): a new
// set begins with every window, and lasts until a client that holds the old
// one has had half an hour to notice.
const (
	window  = 6 * 60 * 60 // seconds
	overlap = 30 * 60     // seconds
)

// hasRole reports whether the instance has the role that the path names. It
// asks for no credentials.
func hasRole(q *item.Query) bool { return q.Instance.Role != nil }

// credentials is the document of the role that the path names (ECS-CRED-02):
// credentials that the instance was given by hand, or else those that are held
// for it. A role without any is told so in the document's own terms
// (ECS-CRED-07, ECS-CRED-11).
func credentials(dst []byte, q *item.Query) ([]byte, bool) {
	if q.Instance.Role == nil {
		return dst, false
	}
	c, kind := q.Instance.Role.Credentials, fault.Denied
	if c == nil && q.Credentials != nil {
		var err error
		if c, err = q.Credentials.Get(q.Instance, q.Tokened, q.Now); err != nil {
			c, kind = nil, fault.KindOf(err)
		}
	}
	if c == nil && (kind == fault.Denied || kind == fault.NotFound) {
		return append(dst, `{
  "Code" : "CredentialsNotAvailable",
  "Message" : "No credentials are available for the RAM role of this instance."
}`...), true
	}
	if c == nil {
		return append(dst, `{
  "Code" : "ServiceUnavailable",
  "Message" : "Credentials cannot be had at the moment. Please try again."
}`...), true
	}
	updated, expires := validity(c, q.Now)
	dst = append(dst, "{\n  \"AccessKeyId\" : "...)
	dst = item.AppendString(dst, c.AccessKeyID)
	dst = append(dst, ",\n  \"AccessKeySecret\" : "...)
	dst = item.AppendString(dst, c.AccessKeySecret)
	dst = append(dst, ",\n  \"Expiration\" : \""...)
	dst = expires.AppendFormat(dst, isoTime)
	dst = append(dst, "\",\n  \"SecurityToken\" : "...)
	dst = item.AppendString(dst, c.SessionToken)
	dst = append(dst, ",\n  \"LastUpdated\" : \""...)
	dst = updated.AppendFormat(dst, isoTime)
	return append(dst, "\",\n  \"Code\" : \"Success\"\n}"...), true
}

// validity returns when credentials were issued and when they expire, in UTC.
func validity(c *instance.Credentials, now int64) (updated, expires time.Time) {
	start := now - now%window
	updated, expires = c.Updated.UTC(), c.Expires.UTC()
	if c.Updated.IsZero() {
		updated = time.Unix(start, 0).UTC()
	}
	if c.Expires.IsZero() {
		expires = time.Unix(start+window+overlap, 0).UTC()
	}
	return updated, expires
}
