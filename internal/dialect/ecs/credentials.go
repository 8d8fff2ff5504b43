package ecs

import (
	"time"

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

// credentials is the document of the role that the path names (ECS-CRED-02).
// A role that has none is told so in the document's own terms (ECS-CRED-07).
func credentials(dst []byte, q *item.Query) ([]byte, bool) {
	if q.Instance.Role == nil {
		return dst, false
	}
	c := q.Instance.Role.Credentials
	if c == nil {
		return append(dst, `{
  "Code" : "CredentialsNotAvailable",
  "Message" : "No credentials are available for the RAM role of this instance."
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
