package control

import (
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/policy"
	"openimds/internal/state"
)

// What records are called by and belong to.
var (
	anyID    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{1,127}$`)
	anyName  = regexp.MustCompile(`^[A-Za-z0-9_+=,.@-]{1,128}$`) // of a policy, role or user
	anyLabel = regexp.MustCompile(`^[A-Za-z0-9().\-/_]{1,255}$`) // of a template
	ec2Owner = regexp.MustCompile(`^[0-9]{12}$`)
	anyOwner = regexp.MustCompile(`^[0-9]{1,20}$`)
)

func (p *problems) dialect(d string) {
	if d != instance.DialectECS && d != instance.DialectEC2 {
		p.addf("dialect: found %.40q, expected ecs or ec2", d)
	}
}

func (p *problems) match(form *regexp.Regexp, key, value, words string) {
	if !form.MatchString(value) {
		p.addf("%s: found %.80q, expected %s", key, value, words)
	}
}

func (p *problems) account(dialect, account string) {
	if dialect == instance.DialectEC2 {
		p.match(ec2Owner, "account", account, "an account id of 12 digits")
		return
	}
	p.match(anyOwner, "account", account, "an account id, digits alone")
}

func (p *problems) region(region string) {
	p.match(anyID, "region", region, "a region id such as us-east-1 or cn-hangzhou")
}

func (p *problems) oneOf(key, value string, words ...string) {
	if value != "" && !slices.Contains(words, value) {
		p.addf("%s: found %.80q, expected %s", key, value, strings.Join(words, " or "))
	}
}

func (p *problems) text(key, value string, most int) {
	if len(value) > most || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		p.addf("%s: expected one line of at most %d bytes", key, most)
	}
}

func (p *problems) tags(dialect string, tags map[string]string) {
	if err := checkTags(dialect, tags); err != nil {
		p.addf("tags: %v", err)
	}
	if len(tags) > instance.MaxTagsEC2 {
		p.addf("tags: found %d, expected at most %d", len(tags), instance.MaxTagsEC2)
	}
	for key, value := range tags {
		p.text(fmt.Sprintf("tags[%.80q]", key), value, 1024)
	}
}

func (p *problems) policies(b *batch, dialect string, names []string) {
	if len(names) > mostPolicies {
		p.addf("policies: found %d, expected at most %d", len(names), mostPolicies)
	}
	for _, name := range names {
		at := state.Key(dialect, name)
		if _, ok := b.db.Policies.Get(at); !ok && !b.policies[at] {
			p.addf("policies: there is no policy %.200q: put it first, or in the same apply", at)
		}
	}
}

// mostPolicies is how many policies may be attached to one key or role.
const mostPolicies = 20

func readyImage(b *batch, next, old *state.Image, _ Resource) (string, error) {
	var wrong problems
	wrong.match(anyID, "id", next.ID, "an image id such as ami-0123456789abcdef0")
	wrong.dialect(next.Dialect)
	next.Name = cmp.Or(next.Name, next.ID)
	wrong.text("name", next.Name, 255)
	wrong.text("description", next.Description, 1024)
	next.Platform, next.Architecture = cmp.Or(next.Platform, "linux"), cmp.Or(next.Architecture, "x86_64")
	wrong.oneOf("platform", next.Platform, "linux", "windows")
	wrong.oneOf("architecture", next.Architecture, "x86_64", "arm64", "i386")
	if next.Account != "" {
		wrong.account(next.Dialect, next.Account)
	}
	if next.Region != "" {
		wrong.region(next.Region)
	}
	if next.Dialect == instance.DialectEC2 {
		next.RootDevice = cmp.Or(next.RootDevice, "/dev/xvda")
	}
	wrong.text("rootDevice", next.RootDevice, 64)
	wrong.tags(next.Dialect, next.Tags)
	next.Created = b.now()
	if old != nil {
		next.Created, next.Source = old.Created, old.Source
	}
	return "", wrong.err()
}

// readyPolicy parses the document.
func readyPolicy(b *batch, next, old *state.Policy, _ Resource) (string, error) {
	var wrong problems
	wrong.match(anyName, "name", next.Name, "letters, digits and _ + = , . @ - only, at most 128")
	wrong.dialect(next.Dialect)
	if len(wrong) == 0 {
		if _, err := policy.Parse([]byte(next.Document), Language(next.Dialect)); err != nil {
			wrong.addf("document: %s", strings.ReplaceAll(err.Error(), "; ", "\ndocument: "))
		}
	}
	next.Created = b.now()
	if old != nil {
		next.Created = old.Created
	}
	return "", wrong.err()
}

// freePolicy keeps a policy that keys and roles rely on: without it they could do
// something else than before.
func (c *Control) freePolicy(p *state.Policy) error {
	uses := func(dialect string, names []string) bool {
		return dialect == p.Dialect && slices.Contains(names, p.Name)
	}
	var users []string
	for _, k := range c.db.Keys.All(func(k *state.AccessKey) bool { return uses(k.Dialect, k.Policies) }) {
		users = append(users, "keys/"+k.ID)
	}
	for _, r := range c.db.Roles.All(func(r *state.Role) bool { return uses(r.Dialect, r.Policies) }) {
		users = append(users, "roles/"+state.Key(r.Dialect, r.Account, r.Name))
	}
	if len(users) == 0 {
		return nil
	}
	return fault.New(fault.Conflict, "the policy %s/%s is attached to %s (%d in all): take it off there first", p.Dialect, p.Name, users[0], len(users))
}

// readyRole seals credentials that are given.
func readyRole(b *batch, next, old *state.Role, given Resource) (string, error) {
	var wrong problems
	wrong.match(roleName, "name", next.Name, "letters, digits and _ + = , . @ - only, at most 64")
	wrong.dialect(next.Dialect)
	wrong.account(next.Dialect, next.Account)
	wrong.policies(b, next.Dialect, next.Policies)
	if next.MaxSession != 0 && (next.MaxSession < usualSession || next.MaxSession > longestSession) {
		wrong.addf("maxSession: found %s, expected %s to %s", next.MaxSession, usualSession, longestSession)
	}
	next.Created, next.Sealed = b.cfg.Now().UTC(), nil
	if old != nil {
		next.Created, next.Sealed = old.Created, old.Sealed
		next.ProfileID = cmp.Or(next.ProfileID, old.ProfileID)
	}
	if next.Dialect == instance.DialectEC2 && next.ProfileID == "" {
		next.ProfileID = "AIPA" + strings.ToUpper(b.hex(17))
	}
	wrong.text("profileId", next.ProfileID, 128)
	if k := given.Credentials; k != nil {
		for key, value := range map[string]string{"accessKeyId": k.AccessKeyID, "accessKeySecret": k.AccessKeySecret, "sessionToken": k.SessionToken} {
			if value == "" || len(value) > 4096 || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }) {
				wrong.addf("credentials.%s: expected printable ASCII characters without spaces", key)
			}
		}
	}
	if err := wrong.err(); err != nil || given.Credentials == nil {
		return "", err
	}
	if old != nil && old.Sealed != nil {
		if has, err := b.staticCredentials(old); err == nil && *has == *given.Credentials {
			return "", nil
		}
	}
	plain, err := json.Marshal(given.Credentials)
	if err != nil {
		return "", fmt.Errorf("encode credentials of role %s: %w", next.Name, err)
	}
	next.Sealed = b.cfg.Secrets.Seal(plain, staticContext(next))
	return "", nil
}

// readyTemplate numbers the versions.
func readyTemplate(b *batch, next, old *state.Template, _ Resource) (string, error) {
	var wrong problems
	wrong.match(anyLabel, "name", next.Name, "letters, digits and ( ) . / _ - only")
	wrong.account(instance.DialectEC2, next.Account)
	wrong.region(next.Region)
	wrong.tags(instance.DialectEC2, next.Tags)
	next.ID = templateKey(state.Key(next.Account, next.Region, next.Name))
	next.Created = b.now()
	before := map[int]time.Time{}
	if old != nil {
		next.Created = old.Created
		for _, v := range old.Versions {
			before[v.Number] = v.Created
		}
	}
	if len(next.Versions) == 0 {
		wrong.addf("versions: expected at least one")
	}
	last, numbers := 0, []int{}
	next.Versions = slices.Clone(next.Versions)
	for i := range next.Versions {
		v := &next.Versions[i]
		if v.Number == 0 {
			v.Number = last + 1
		}
		if v.Number <= last {
			wrong.addf("versions[%d].number: found %d, expected more than %d, that of the version before", i, v.Number, last)
		}
		wrong.text(fmt.Sprintf("versions[%d].description", i), v.Description, 255)
		last, numbers = v.Number, append(numbers, v.Number)
		if v.Created = before[v.Number]; v.Created.IsZero() {
			v.Created = b.now()
		}
	}
	next.Default = cmp.Or(next.Default, 1)
	if len(numbers) > 0 && !slices.Contains(numbers, next.Default) {
		wrong.addf("default: found %d, expected the number of a version", next.Default)
	}
	return "", wrong.err()
}

func readyDefaults(_ *batch, next, _ *state.Defaults, _ Resource) (string, error) {
	var wrong problems
	wrong.account(instance.DialectEC2, next.Account)
	wrong.region(next.Region)
	wrong.oneOf("httpTokens", next.HTTPTokens, instance.Optional, instance.Required)
	wrong.oneOf("httpEndpoint", next.HTTPEndpoint, instance.Enabled, instance.Disabled)
	wrong.oneOf("instanceMetadataTags", next.InstanceMetadataTags, instance.Enabled, instance.Disabled)
	wrong.oneOf("httpTokensEnforced", next.HTTPTokensEnforced, instance.Enabled, instance.Disabled)
	if next.HopLimit < 0 || next.HopLimit > instance.MaxHopLimit {
		wrong.addf("hopLimit: found %d, expected a hop limit from 1 to %d", next.HopLimit, instance.MaxHopLimit)
	}
	return "", wrong.err()
}
