package ec2

import (
	"time"

	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/item"
)

// Validity of credentials that were given without times (EC2-CRED-05): a new
// set begins with every window, and lasts until a client that holds the old
// one has had half an hour to notice.
const (
	window  = 6 * 60 * 60 // seconds
	overlap = 30 * 60     // seconds
)

// hasRole reports whether the instance has the role that the path names. It
// asks for no credentials.
func hasRole(q *item.Query) bool { return q.Instance.Role != nil }

// roleCredentials is the document of the role that the path names
// (EC2-CRED-02): credentials that the instance was given by hand, or else those
// that are held for it. A role without any is told so in the document's own
// terms (EC2-CRED-06).
func roleCredentials(dst []byte, q *item.Query) ([]byte, bool) {
	role := q.Instance.Role
	if role == nil {
		return dst, false
	}
	held, kind := role.Credentials, fault.Denied
	if held == nil && q.Credentials != nil {
		var err error
		if held, err = q.Credentials.Get(q.Instance, q.Tokened, q.Now); err != nil {
			held, kind = nil, fault.KindOf(err)
		}
	}
	if held != nil {
		return credentials(dst, held, q.Now), true
	}
	switch kind {
	case fault.Denied, fault.NotFound:
		dst = text(append(dst, '{'), outer, "Code", "AssumeRoleUnauthorizedAccess")
		dst = append(field(dst, outer, "Message"), `"EC2 cannot assume the role `...)
		dst = append(item.AppendEscaped(dst, role.Name), `.  Please see documentation at `...)
		dst = append(dst, `http://docs.amazonwebservices.com/IAM/latest/UserGuide/RolesTroubleshooting.html."`...)
	default:
		// EC2-CRED-10
		dst = text(append(dst, '{'), outer, "Code", "ServiceUnavailable")
		dst = text(dst, outer, "Message", "Credentials cannot be had at the moment. Please try again.")
	}
	dst = moment(dst, outer, "LastUpdated", isoTime, windowOf(q.Now))
	return append(dst, "\n}"...), true
}

// ownCredentials are those of the instance itself; absent unless it has some
// (EC2-ITEM-019).
func ownCredentials(dst []byte, q *item.Query) ([]byte, bool) {
	if q.Instance.Identity == nil {
		return dst, false
	}
	return credentials(dst, q.Instance.Identity, q.Now), true
}

func credentials(dst []byte, c *instance.Credentials, now int64) []byte {
	updated, expires := validity(c, now)
	dst = text(append(dst, '{'), outer, "Code", "Success")
	dst = moment(dst, outer, "LastUpdated", isoTime, updated)
	dst = text(dst, outer, "Type", "AWS-HMAC")
	dst = text(dst, outer, "AccessKeyId", c.AccessKeyID)
	dst = text(dst, outer, "SecretAccessKey", c.AccessKeySecret)
	dst = text(dst, outer, "Token", c.SessionToken)
	dst = moment(dst, outer, "Expiration", isoTime, expires)
	return append(dst, "\n}"...)
}

// validity returns when credentials were issued and when they expire.
func validity(c *instance.Credentials, now int64) (updated, expires time.Time) {
	updated, expires = c.Updated, c.Expires
	if updated.IsZero() {
		updated = windowOf(now)
	}
	if expires.IsZero() {
		expires = windowOf(now).Add((window + overlap) * time.Second)
	}
	return updated, expires
}

// windowOf returns the start of the window that now, in Unix seconds, is in.
func windowOf(now int64) time.Time { return time.Unix(now-now%window, 0) }

// profile describes the instance profile, which an instance with a role has
// (EC2-ITEM-016).
func profile(dst []byte, q *item.Query) ([]byte, bool) {
	role := q.Instance.Role
	if role == nil {
		return dst, false
	}
	dst = text(append(dst, '{'), outer, "Code", "Success")
	dst = moment(dst, outer, "LastUpdated", isoTime, profileUpdated(q))
	if role.ProfileARN != "" {
		dst = text(dst, outer, "InstanceProfileArn", role.ProfileARN)
	} else {
		dst = append(field(dst, outer, "InstanceProfileArn"), `"arn:`...)
		dst = append(item.AppendEscaped(dst, partitionOf(q.Instance)), ":iam::"...)
		dst = append(item.AppendEscaped(dst, q.Instance.Account), ":instance-profile/"...)
		dst = append(item.AppendEscaped(dst, role.Name), '"')
	}
	dst = text(dst, outer, "InstanceProfileId", role.ProfileID)
	return append(dst, "\n}"...), true
}

// profileUpdated returns when the role's credentials were issued.
func profileUpdated(q *item.Query) time.Time {
	if q.Instance.Role.Credentials == nil && q.Credentials != nil {
		if held := q.Credentials.Updated(q.Tokened); !held.IsZero() {
			return held
		}
	}
	return updatedOf(q.Instance.Role.Credentials, q.Now)
}

// account names the account that the instance's own credentials belong to
// (EC2-ITEM-018).
func account(dst []byte, q *item.Query) ([]byte, bool) {
	dst = text(append(dst, '{'), outer, "Code", "Success")
	dst = moment(dst, outer, "LastUpdated", isoTime, updatedOf(q.Instance.Identity, q.Now))
	dst = text(dst, outer, "AccountId", q.Instance.Account)
	return append(dst, "\n}"...), true
}

// updatedOf returns when credentials, which may be nil, were issued.
func updatedOf(c *instance.Credentials, now int64) time.Time {
	if c == nil {
		return windowOf(now)
	}
	updated, _ := validity(c, now)
	return updated
}
