package control

import (
	"context"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"openimds/internal/instance"
	"openimds/internal/policy"
	"openimds/internal/session"
	"openimds/internal/state"
)

// Assume is what AssumeRole asks for.
type Assume struct {
	// RoleARN, and the name of the session.
	RoleARN, SessionName string
	// Life of the session; 0: an hour.
	Life time.Duration
	// Policy narrows the session, if it is not empty.
	Policy string
}

// Assumed is a session that was begun.
type Assumed struct {
	Credentials *instance.Credentials
	// ARN of the session, and the role's id with the session's name.
	ARN, ID string
	// PolicyShare is which part of the most that a session policy may be was used, in percent.
	PolicyShare int
}

// Bounds of a session of AssumeRole (EC2-STS-03, ECS-STS-03).
const (
	shortestSession = 15 * time.Minute
	usualSession    = time.Hour
	// chained is the longest session that a session may begin.
	chained = time.Hour
	// mostLinks bounds how many sessions may have led to one: they stand in its token.
	mostLinks     = 16
	maxPolicyText = 2048 // characters
)

var sessionName = map[string]*regexp.Regexp{
	"ec2": regexp.MustCompile(`^[\w+=,.@-]{2,64}$`),
	"ecs": regexp.MustCompile(`^[A-Za-z0-9.@_-]{2,64}$`),
}

// AssumeRole begins a session of a role. The caller's policies must allow it,
// and the role must trust the caller, or else it is Denied: it is not told
// which, nor whether the role exists.
func (c *Control) AssumeRole(_ context.Context, caller Caller, a Assume) (*Assumed, error) {
	account, name, ok := parseRoleARN(caller.Dialect, a.RoleARN)
	switch {
	case a.RoleARN == "":
		return nil, refuse(MissingValue, "RoleArn")
	case a.SessionName == "":
		return nil, refuse(MissingValue, "RoleSessionName")
	case !ok:
		return nil, &Error{Reason: InvalidValue, Subject: "RoleArn", Detail: a.RoleARN}
	case !sessionName[caller.Dialect].MatchString(a.SessionName):
		return nil, &Error{Reason: InvalidValue, Subject: "RoleSessionName", Detail: a.SessionName}
	case utf8.RuneCountInString(a.Policy) > maxPolicyText:
		return nil, refuse(PolicyTooLarge, "Policy")
	}
	if a.Policy != "" {
		if _, err := policy.Parse([]byte(a.Policy), Language(caller.Dialect)); err != nil {
			return nil, &Error{Reason: PolicyMalformed, Subject: "Policy", Err: err}
		}
	}
	caller.Service = "sts"
	role, known := c.db.Roles.Get(state.Key(caller.Dialect, account, name))
	question := ask{trusted: func() string {
		switch {
		case !known:
			return "there is no such role"
		case !trusts(role, caller):
			return "the role does not trust the caller"
		case caller.Session != nil && len(caller.Session.links) >= mostLinks:
			return "too many roles led to the session"
		}
		return ""
	}}
	question.on(a.RoleARN, nil)
	if caller.Dialect == "ec2" {
		question.context = policy.Context{}
		question.context.Set("sts:RoleSessionName", a.SessionName)
	}
	if err := c.permit(caller, question); err != nil {
		return nil, err
	}
	if role == nil { // the operator's own interface is not asked for trust
		return nil, refuse(RoleNotFound, name)
	}
	life, most := a.Life, role.MaxSession
	if life == 0 {
		life = usualSession
	}
	if most == 0 {
		most = usualSession
	}
	var via []session.Link
	if caller.Session != nil {
		most, via = min(most, chained), caller.Session.links
	}
	if life < shortestSession || life > min(most, longestSession) {
		return nil, &Error{Reason: InvalidValue, Subject: "DurationSeconds", Detail: "between 900 and " + most.String()}
	}
	claims := c.claims(role, a.SessionName, c.cfg.Now().UTC(), life)
	claims.Policy, claims.Via = a.Policy, via
	made, err := session.Issue(c.cfg.Secrets, claims, c.cfg.Random)
	if err != nil {
		return nil, err
	}
	out := &Assumed{Credentials: made, ID: roleID(role) + ":" + a.SessionName, PolicyShare: (len(a.Policy)*100 + maxPolicyText - 1) / maxPolicyText}
	out.ARN = Caller{Dialect: role.Dialect, Account: role.Account, Session: &Session{Role: role.Name, Name: a.SessionName}}.ARN()
	return out, nil
}

// trusts reports whether a role may be assumed by a caller: its list of trust
// has the caller's account, as an id or as the root's ARN, or a pattern of the
// caller's ARN or of its role's.
func trusts(r *state.Role, caller Caller) bool {
	names := []string{caller.Account, "arn:aws:iam::" + caller.Account + ":root", "acs:ram::" + caller.Account + ":root", caller.ARN(), caller.principalARN()}
	return slices.ContainsFunc(r.Trust, func(pattern string) bool {
		return slices.ContainsFunc(names, func(name string) bool {
			// Patterns without wildcards are names. path.Match would let a
			// bracket mean something.
			if !strings.ContainsRune(pattern, '*') {
				return pattern == name
			}
			ok, err := path.Match(strings.NewReplacer(`\`, `\\`, `[`, `\[`, `?`, `\?`).Replace(pattern), name)
			return ok && err == nil
		})
	})
}

// parseRoleARN takes a role's ARN apart. A path before the name is not
// supported.
func parseRoleARN(dialect, arn string) (account, name string, ok bool) {
	prefix := "arn:aws:iam::"
	if dialect == "ecs" {
		prefix = "acs:ram::"
	}
	rest, ok := strings.CutPrefix(arn, prefix)
	if !ok {
		return "", "", false
	}
	account, name, ok = strings.Cut(rest, ":role/")
	return account, name, ok && account != "" && roleName.MatchString(name)
}

// Identity is who a caller is.
type Identity struct {
	Account, ARN string
	// UserID is the unique id of a user, or of a role with the session's name after a colon; RoleID that of a role.
	UserID, RoleID string
}

// Identity returns who the caller is. It needs no permission, and is recorded
// (EC2-STS-02).
func (c *Control) Identity(caller Caller) (Identity, error) {
	caller.Service = "sts"
	if err := c.permit(caller, ask{free: true}); err != nil {
		return Identity{}, err
	}
	id := Identity{Account: caller.Account, ARN: caller.ARN(), UserID: uniqueID(caller.Dialect, "user", caller.Account, caller.User)}
	if s := caller.Session; s != nil {
		id.RoleID, id.UserID = s.RoleID, s.RoleID+":"+s.Name
	}
	return id, nil
}
