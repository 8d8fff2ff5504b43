package control_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"openimds/internal/control"
	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/session"
	"openimds/internal/state"
	"openimds/internal/testnet"
)

// roleOf is the first sample of a dialect, whose role has the policy "all" and
// trusts its account.
func (b *bed) roleOf(dialect string, change func(*state.Role)) (*instance.Instance, control.Caller) {
	b.t.Helper()
	for _, r := range b.db.Instances.All(func(r *state.Instance) bool { return r.Spec.Dialect == dialect }) {
		in := &r.Spec
		if in.Role == nil || in.Metadata.TokensRequired() {
			continue
		}
		operator := control.Caller{Admin: true, Dialect: dialect, Account: in.Account, Region: in.Region, Action: "Test"}
		role := state.Role{Name: in.Role.Name, Dialect: dialect, Account: in.Account, Policies: []string{"all"}, Trust: []string{in.Account}}
		if change != nil {
			change(&role)
		}
		b.must(b.PutRole(b.t.Context(), operator, role))
		return in, operator
	}
	b.t.Fatal("no sample has a role")
	return nil, control.Caller{}
}

// login makes a session's key a caller, as an API does.
func (b *bed) login(dialect string, k *instance.Credentials) (control.Caller, error) {
	testnet.Secret(b.t, k.AccessKeySecret)
	testnet.Secret(b.t, k.SessionToken)
	secret, c, err := b.Principal(dialect, k.AccessKeyID, k.SessionToken)
	if err == nil && secret != k.AccessKeySecret {
		b.t.Error("the session has another secret")
	}
	c.Region = "us-east-1"
	return c, err
}

func (b *bed) session(in *instance.Instance, delivery string) *instance.Credentials {
	b.t.Helper()
	k, err := b.InstanceCredentials(in.ID, delivery)
	b.must(err)
	return k
}

// TestInstanceSessions: who an instance is, in both dialects, and for how long
// (EC2-STS-02, ECS-STS-02, EC2-CRED-09).
func TestInstanceSessions(t *testing.T) {
	for dialect, prefix := range map[string]string{"ec2": "arn:aws:sts::", "ecs": "acs:sts::"} {
		b := newBed(t)
		in, _ := b.roleOf(dialect, nil)
		k := b.session(in, session.Tokened)
		if other := b.session(in, session.TokenFree); other.AccessKeyID == k.AccessKeyID {
			t.Error("both deliveries have one key")
		}
		c, err := b.login(dialect, k)
		b.must(err)
		arn := prefix + in.Account + ":assumed-role/" + in.Role.Name + "/" + in.ID
		id, err := b.Identity(c)
		b.must(err)
		if c.ARN() != arn || id.ARN != arn || id.Account != in.Account || !strings.HasSuffix(id.UserID, ":"+in.ID) || !strings.HasPrefix(id.UserID, id.RoleID) {
			t.Errorf("%s: %+v", c.ARN(), id)
		}
		last := b.audited[len(b.audited)-1]
		if last.Caller.ARN() != arn || last.Caller.ActionName() != "sts:"+last.Caller.Action || !last.Allowed {
			t.Errorf("recorded %+v", last)
		}
		if k.Expires.Sub(k.Updated) != control.InstanceSession {
			t.Errorf("it lives for %v", k.Expires.Sub(k.Updated))
		}
		b.now = k.Expires.Add(-time.Second)
		if _, err := b.login(dialect, k); err != nil {
			t.Errorf("at its last second: %v", err)
		}
		b.now = k.Expires
		if _, err := b.login(dialect, k); reason(err) != control.SessionExpired || fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("at its end: %v", err)
		}
	}
}

// TestSessionsEnd: by revocation of role or instance, whatever the clocks do,
// and with the role.
func TestSessionsEnd(t *testing.T) {
	for name, end := range map[string]func(*bed, *instance.Instance, control.Caller) error{
		"role": func(b *bed, in *instance.Instance, c control.Caller) error {
			return b.RevokeRole(b.t.Context(), c, in.Role.Name)
		},
		"instance": func(b *bed, in *instance.Instance, c control.Caller) error {
			return b.RevokeInstance(b.t.Context(), c, in.ID)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t)
			in, operator := b.roleOf("ec2", nil)
			for i := range 3 {
				k := b.session(in, session.Tokened)
				_, err := b.login("ec2", k)
				b.must(err)
				b.now = b.now.Add(-time.Hour) // a replica whose clock is behind revokes
				b.must(end(b, in, operator))
				b.now = b.now.Add(time.Hour)
				if _, err := b.login("ec2", k); reason(err) != control.SessionRevoked {
					t.Errorf("revoked %d times: %v", i+1, err)
				}
			}
			k := b.session(in, session.Tokened)
			b.now = b.now.Add(5 * time.Hour)
			b.must(b.Sweep(t.Context()))
			if _, err := b.login("ec2", k); err != nil {
				t.Errorf("a session that began after the revocation: %v", err)
			}
			// The record outlives every session that it ended.
			if n := len(b.db.Revocations.All(nil)); n != 1 {
				t.Errorf("%d revocations are kept", n)
			}
			b.now = b.now.Add(48 * time.Hour)
			b.must(b.Sweep(t.Context()))
			if n := len(b.db.Revocations.All(nil)); n != 0 {
				t.Errorf("%d revocations are kept for ever", n)
			}
		})
	}
	b := newBed(t)
	in, operator := b.roleOf("ec2", nil)
	k := b.session(in, session.Tokened)
	b.must(b.DeleteRole(t.Context(), operator, in.Role.Name))
	if _, err := b.login("ec2", k); reason(err) != control.SessionRevoked {
		t.Errorf("the role is gone: %v", err)
	}
	if _, err := b.InstanceCredentials(in.ID, session.Tokened); fault.KindOf(err) != fault.Denied {
		t.Errorf("the role is gone: %v", err)
	}
	b.now = b.now.Add(time.Second)
	b.roleOf("ec2", nil)
	if _, err := b.login("ec2", k); reason(err) != control.SessionRevoked {
		t.Errorf("another role has the name: %v", err)
	}
}

// TestChainsEnd: a session ends with every session by which it was begun.
func TestChainsEnd(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*bed, *instance.Instance, control.Caller) error
		kept bool
	}{
		"nothing": {func(*bed, *instance.Instance, control.Caller) error { return nil }, true},
		"the instance": {func(b *bed, in *instance.Instance, c control.Caller) error {
			return b.RevokeInstance(b.t.Context(), c, in.ID)
		}, false},
		"its role": {func(b *bed, in *instance.Instance, c control.Caller) error {
			return b.RevokeRole(b.t.Context(), c, in.Role.Name)
		}, false},
		"the one after": {func(b *bed, _ *instance.Instance, c control.Caller) error {
			return b.RevokeRole(b.t.Context(), c, "second")
		}, false},
		"the last": {func(b *bed, _ *instance.Instance, c control.Caller) error {
			return b.RevokeRole(b.t.Context(), c, "third")
		}, false},
		"its role, deleted": {func(b *bed, in *instance.Instance, c control.Caller) error {
			return b.DeleteRole(b.t.Context(), c, in.Role.Name)
		}, false},
		"its role, made anew": {func(b *bed, in *instance.Instance, c control.Caller) error {
			b.must(b.DeleteRole(b.t.Context(), c, in.Role.Name))
			b.now = b.now.Add(time.Second)
			b.roleOf(in.Dialect, nil)
			return nil
		}, false},
		"another instance": {func(b *bed, _ *instance.Instance, c control.Caller) error {
			for _, r := range b.db.Instances.All(nil) {
				if r.Spec.Dialect == c.Dialect && r.Spec.Account == c.Account && r.Spec.ID != "" && r.Spec.Metadata.TokensRequired() {
					return b.RevokeInstance(b.t.Context(), c, r.Spec.ID)
				}
			}
			return nil
		}, true},
	} {
		for _, dialect := range []string{"ec2", "ecs"} {
			t.Run(name+" of "+dialect, func(t *testing.T) {
				b := newBed(t)
				in, operator := b.roleOf(dialect, nil)
				b.now = b.now.Add(time.Minute)
				caller, err := b.login(dialect, b.session(in, session.Tokened))
				b.must(err)
				var k *instance.Credentials
				for _, role := range []string{"second", "third", "second", "third"} {
					b.must(b.PutRole(t.Context(), operator, state.Role{Name: role, Dialect: dialect, Account: in.Account, Policies: []string{"all"}, Trust: []string{in.Account}}))
					k = b.assume(caller, role)
					caller, err = b.login(dialect, k)
					b.must(err)
				}
				b.now = b.now.Add(time.Minute)
				b.must(c.end(b, in, operator))
				if _, err := b.login(dialect, k); c.kept && err != nil || !c.kept && reason(err) != control.SessionRevoked {
					t.Errorf("the last session of the chain: %v", err)
				}
			})
		}
	}
}

// assume begins a session of a role of the caller's account.
func (b *bed) assume(caller control.Caller, role string) *instance.Credentials {
	b.t.Helper()
	caller.Action = "AssumeRole"
	arn := "arn:aws:iam::" + caller.Account + ":role/" + role
	if caller.Dialect == "ecs" {
		arn = "acs:ram::" + caller.Account + ":role/" + role
	}
	made, err := b.AssumeRole(b.t.Context(), caller, control.Assume{RoleARN: arn, SessionName: "chained"})
	b.must(err)
	return made.Credentials
}

// TestLongChain: a chain of many roles is refused before its token is too long
// to be read, and one that goes in circles is not longer than its roles.
func TestLongChain(t *testing.T) {
	b := newBed(t)
	in, operator := b.roleOf("ec2", nil)
	caller, err := b.login("ec2", b.session(in, session.Tokened))
	b.must(err)
	name := func(i int) string { return strings.Repeat("r", 60) + string(rune('a'+i)) }
	for i := range 16 {
		b.must(b.PutRole(t.Context(), operator, state.Role{Name: name(i), Dialect: "ec2", Account: in.Account, Policies: []string{"all"}, Trust: []string{in.Account}}))
	}
	for i := range 15 {
		for range min(3, 15-i) {
			caller, err = b.login("ec2", b.assume(caller, name(i)))
			b.must(err)
		}
	}
	caller.Action = "AssumeRole"
	if _, err := b.AssumeRole(t.Context(), caller, control.Assume{RoleARN: "arn:aws:iam::" + in.Account + ":role/" + name(15), SessionName: "one"}); reason(err) != control.Denied {
		t.Errorf("the 17th role: %v", err)
	}
	if _, err := b.Identity(caller); err != nil {
		t.Errorf("the 16th role: %v", err)
	}
}

// TestSessionToken: an access key of a session is good with its own token
// alone.
func TestSessionToken(t *testing.T) {
	b := newBed(t)
	in, _ := b.roleOf("ec2", nil)
	k, other := b.session(in, session.Tokened), b.session(in, session.Tokened)
	for name, token := range map[string]string{"none": "", "another": other.SessionToken, "garbage": "x"} {
		if _, _, err := b.Principal("ec2", k.AccessKeyID, token); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := b.Principal("ecs", k.AccessKeyID, k.SessionToken); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("the other cloud: %v", err)
	}
}

// TestSessionContext: what a session's condition keys are (POL-KEY-03,
// POL-KEY-04, POL-KEY-05, POL-KEY-15).
func TestSessionContext(t *testing.T) {
	b := newBed(t)
	in, _ := b.roleOf("ec2", nil)
	document := func(key, value string) string {
		operator := "StringEquals"
		if strings.Contains(key, "RoleDelivery") {
			operator = "NumericEquals"
		}
		return `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"` + operator + `":{"` + key + `":"` + value + `"}}}}`
	}
	may := func(delivery string) bool {
		t.Helper()
		c, err := b.login("ec2", b.session(in, delivery))
		b.must(err)
		c.Action = "DescribeRegions"
		return b.Permit(c) == nil
	}
	b.policy(state.Policy{Name: "where", Dialect: "ec2", Document: document("ec2:RoleDelivery", "2.0")})
	b.roleOf("ec2", func(r *state.Role) { r.Policies = []string{"where"} })
	arn := "arn:aws:ec2:" + in.Region + ":" + in.Account + ":instance/" + in.ID
	for _, c := range []struct {
		key, value      string
		free, delivered bool
	}{
		{"ec2:RoleDelivery", "1.0", true, false},
		{"ec2:RoleDelivery", "2.0", false, true},
		{"ec2:SourceInstanceARN", arn, true, true},
		{"ec2:SourceInstanceARN", arn + "0", false, false},
		{"aws:Ec2InstanceSourceVpc", in.Primary().VPC.ID, true, true},
		{"aws:Ec2InstanceSourcePrivateIPv4", in.Primary().IPv4[0].String(), true, true},
		{"aws:PrincipalArn", "arn:aws:iam::" + in.Account + ":role/" + in.Role.Name, true, true},
		{"aws:PrincipalType", "AssumedRole", true, true},
		{"aws:TokenIssueTime", b.now.Format(time.RFC3339), true, true},
		{"aws:username", "", false, false},
	} {
		b.policy(state.Policy{Name: "where", Dialect: "ec2", Document: document(c.key, c.value)})
		if free, tokened := may(session.TokenFree), may(session.Tokened); free != c.free || tokened != c.delivered {
			t.Errorf("%s %q: delivery 1.0 %v, 2.0 %v", c.key, c.value, free, tokened)
		}
	}
	// The sample policy, on the role and as a guard.
	sample, err := os.ReadFile("../../docs/policies/ec2-role-credentials-v2.json")
	b.must(err)
	b.roleOf("ec2", func(r *state.Role) { r.Policies = []string{"all"} })
	if !may(session.TokenFree) {
		t.Error("refused without the sample policy")
	}
	b.policy(state.Policy{Name: "v2", Dialect: "ec2", Guard: true, Document: string(sample)})
	if may(session.TokenFree) || !may(session.Tokened) {
		t.Error("the sample policy does not tell deliveries apart")
	}
}

// TestDeliveryForECS: the keys of our own by which RAM tells deliveries apart
// (POL-KEY-16).
func TestDeliveryForECS(t *testing.T) {
	b := newBed(t)
	in, _ := b.roleOf("ecs", nil)
	b.policy(state.Policy{Name: "v2", Dialect: "ecs", Guard: true,
		Document: `{"Version":"1","Statement":[{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"NumericLessThan":{"ecs:RoleDelivery":"2.0"}}}]}`})
	for delivery, ok := range map[string]bool{session.TokenFree: false, session.Tokened: true} {
		c, err := b.login("ecs", b.session(in, delivery))
		b.must(err)
		c.Action = "DescribeRegions"
		if err := b.Permit(c); (err == nil) != ok {
			t.Errorf("delivery %s: %v", delivery, err)
		}
	}
}

// TestDeliveryWhereTokensAreRequired: only 2.0 is issued (EC2-CRED-07).
func TestDeliveryWhereTokensAreRequired(t *testing.T) {
	b := newBed(t)
	in, _ := b.roleOf("ec2", nil)
	b.must(b.db.Update(t.Context(), func(tx *state.Tx) error {
		r, _, err := state.Load(tx, b.db.Instances, in.ID)
		if err != nil {
			return err
		}
		r.Spec.Metadata.HTTPTokens = instance.Required
		return state.Save(tx, b.db.Instances, in.ID, r)
	}))
	if _, err := b.InstanceCredentials(in.ID, session.TokenFree); fault.KindOf(err) != fault.Denied {
		t.Errorf("delivery 1.0: %v", err)
	}
	b.session(in, session.Tokened)
}

// TestAssumeRole: role ∩ session policy ∩ guards, trust, and bounds
// (EC2-STS-03).
func TestAssumeRole(t *testing.T) {
	b := newBed(t)
	in, _ := b.roleOf("ec2", func(r *state.Role) { r.MaxSession = 2 * time.Hour })
	arn := "arn:aws:iam::" + in.Account + ":role/" + in.Role.Name
	user := control.Caller{Dialect: "ec2", Account: in.Account, User: "u", Region: in.Region, Policies: []string{"all"}, Action: "AssumeRole"}
	made, err := b.AssumeRole(t.Context(), user, control.Assume{RoleARN: arn, SessionName: "one", Life: 2 * time.Hour,
		Policy: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ec2:DescribeRegions","Resource":"*"}}`})
	b.must(err)
	if made.Credentials.Expires.Sub(made.Credentials.Updated) != 2*time.Hour {
		t.Errorf("it lives from %v to %v", made.Credentials.Updated, made.Credentials.Expires)
	}
	c, err := b.login("ec2", made.Credentials)
	b.must(err)
	may := func(c control.Caller, action string) bool {
		c.Action = action
		return b.Permit(c) == nil
	}
	if !may(c, "DescribeRegions") || may(c, "DescribeImages") {
		t.Error("the session policy does not narrow")
	}
	if c.Session.Instance != nil {
		t.Error("a session of a user has an instance")
	}
	b.policy(state.Policy{Name: "guard", Dialect: "ec2", Guard: true, Document: `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"ec2:DescribeRegions","Resource":"*"}}`})
	if may(c, "DescribeRegions") {
		t.Error("a guard does not bind a session")
	}

	chained, err := b.login("ec2", b.session(in, session.Tokened))
	b.must(err)
	chained.Action = "AssumeRole"
	may1h := control.Assume{RoleARN: arn, SessionName: "two", Life: time.Hour}
	if _, err := b.AssumeRole(t.Context(), chained, may1h); err != nil {
		t.Errorf("a session begins one of an hour: %v", err)
	}
	weak, stranger := user, user
	weak.Policies, stranger.Account = nil, "999999999999"
	for name, c := range map[string]struct {
		caller control.Caller
		ask    control.Assume
		why    control.Reason
	}{
		"the caller's policies":   {weak, may1h, control.Denied},
		"the role's trust":        {stranger, may1h, control.Denied},
		"no such role":            {user, control.Assume{RoleARN: arn + "x", SessionName: "two"}, control.Denied},
		"a chain of two hours":    {chained, control.Assume{RoleARN: arn, SessionName: "two", Life: 2 * time.Hour}, control.InvalidValue},
		"longer than the role's":  {user, control.Assume{RoleARN: arn, SessionName: "two", Life: 3 * time.Hour}, control.InvalidValue},
		"too short":               {user, control.Assume{RoleARN: arn, SessionName: "two", Life: time.Minute}, control.InvalidValue},
		"a name with a slash":     {user, control.Assume{RoleARN: arn, SessionName: "a/b"}, control.InvalidValue},
		"no name":                 {user, control.Assume{RoleARN: arn}, control.MissingValue},
		"no role":                 {user, control.Assume{SessionName: "two"}, control.MissingValue},
		"another cloud's role":    {user, control.Assume{RoleARN: "acs:ram::1:role/x", SessionName: "two"}, control.InvalidValue},
		"a policy of no language": {user, control.Assume{RoleARN: arn, SessionName: "two", Policy: `{"Version":"1"}`}, control.PolicyMalformed},
		"a policy that is long":   {user, control.Assume{RoleARN: arn, SessionName: "two", Policy: strings.Repeat(" ", 2049)}, control.PolicyTooLarge},
	} {
		if made, err := b.AssumeRole(t.Context(), c.caller, c.ask); reason(err) != c.why || made != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTrust: the simple rule of docs/operate/credentials.md.
func TestTrust(t *testing.T) {
	b := newBed(t)
	in, _ := b.roleOf("ec2", nil)
	a := in.Account
	user := control.Caller{Dialect: "ec2", Account: a, User: "dev/ops", Region: in.Region, Policies: []string{"all"}, Action: "AssumeRole"}
	for trust, ok := range map[string]bool{
		"": false, a: true, "arn:aws:iam::" + a + ":root": true, "arn:aws:iam::" + a + ":user/dev/ops": true,
		"arn:aws:iam::" + a + ":user/dev/*": true, "arn:aws:iam::" + a + ":user/[d]ev/ops": false, "arn:aws:iam::" + a + ":user/de?/ops": false,
		"arn:aws:iam::" + a + ":role/*": false, "999999999999": false,
	} {
		b.roleOf("ec2", func(r *state.Role) { r.Trust = []string{trust} })
		_, err := b.AssumeRole(t.Context(), user, control.Assume{RoleARN: "arn:aws:iam::" + a + ":role/" + in.Role.Name, SessionName: "one"})
		if (err == nil) != ok {
			t.Errorf("%q: %v", trust, err)
		}
	}
	b.roleOf("ec2", func(r *state.Role) { r.TrustNoInstances = true })
	if _, err := b.InstanceCredentials(in.ID, session.Tokened); fault.KindOf(err) != fault.Denied {
		t.Errorf("a role that does not trust instances: %v", err)
	}
}

// TestStaticCredentials: a role may have credentials of somebody else, which
// are sealed in the store.
func TestStaticCredentials(t *testing.T) {
	b := newBed(t)
	in, operator := b.roleOf("ec2", nil)
	given := &instance.Credentials{AccessKeyID: "ASIAELSE", AccessKeySecret: testnet.Secret(t, "hidden-static-secret"), SessionToken: testnet.Secret(t, "hidden-static-token")}
	b.must(b.SetStatic(t.Context(), operator, in.Role.Name, given))
	if k := b.session(in, session.Tokened); *k != *given {
		t.Errorf("%v", k)
	}
	if r, _ := b.Role(operator, in.Role.Name); strings.Contains(string(r.Sealed), "hidden") {
		t.Error("stored as they are")
	}
	b.must(b.SetStatic(t.Context(), operator, in.Role.Name, nil))
	if k := b.session(in, session.Tokened); k.AccessKeyID == "ASIAELSE" {
		t.Error("they are still given out")
	}
}

// TestRolesOfFiles: a role that an instance of a file names is made, and one
// that somebody made stays as it is.
func TestRolesOfFiles(t *testing.T) {
	b := newBed(t)
	in, operator := b.roleOf("ec2", nil)
	var given []*instance.Instance
	for _, r := range b.db.Instances.All(nil) {
		given = append(given, &r.Spec)
	}
	b.must(b.Give(t.Context(), given))
	if r, err := b.Role(operator, in.Role.Name); err != nil || len(r.Policies) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := b.Role(control.Caller{Dialect: "ecs", Account: given[len(given)-1].Account}, "none"); reason(err) != control.RoleNotFound {
		t.Errorf("%v", err)
	}
}
