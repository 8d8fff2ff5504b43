package control_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"openimds/internal/config"
	"openimds/internal/control"
	"openimds/internal/instance"
	"openimds/internal/state"
	"openimds/internal/testnet"
)

// The audit log says what a call sets, with what was there before; of a call
// that is refused, or only asks, nothing; of secrets and user data nothing.
func TestChangesAreRecorded(t *testing.T) {
	b := newBed(t)
	in := config.Samples()[4]
	arn := "arn:aws:ec2:" + in.Region + ":" + in.Account + ":instance/" + in.ID
	changed := func(what string, want ...string) {
		t.Helper()
		var got []string
		for _, c := range b.audited[len(b.audited)-1].Changes {
			got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %q %q", c.Resource, c.Field, c.From, c.To)))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	modify := b.caller("ec2", "ModifyInstanceMetadataOptions")
	required := instance.MetadataOptions{HTTPTokens: "required", HTTPPutResponseHopLimit: 3}
	dry, denied := modify, modify
	dry.DryRun, denied.Policies = true, nil
	for what, c := range map[string]control.Caller{"dry run": dry, "denied": denied} {
		if _, err := b.ModifyOptions(t.Context(), c, in.ID, required); err == nil {
			t.Fatal(what + " did it")
		}
		changed(what)
	}
	_, err := b.ModifyOptions(t.Context(), modify, in.ID, required)
	b.must(err)
	changed("ModifyOptions", arn+` httpTokens "optional" "required"`, arn+` httpPutResponseHopLimit "1" "3"`)

	_, err = b.SetOptions(t.Context(), theOperator, control.Target{Instances: []string{in.ID}}, instance.MetadataOptions{HTTPTokens: "optional"})
	b.must(err)
	changed("SetOptions", "instances/"+in.ID+` httpTokens "required" "optional"`)

	b.must(b.ModifyDefaults(t.Context(), b.caller("ec2", "ModifyInstanceMetadataDefaults"), state.Defaults{HTTPTokens: "required", HopLimit: 2}))
	defaults := "defaults/" + in.Account + "/" + in.Region
	changed("ModifyDefaults", defaults+` httpTokens "" "required"`, defaults+` httpPutResponseHopLimit "" "2"`)

	next := *in
	next.Metadata = instance.MetadataOptions{HTTPTokens: "required", HTTPPutResponseHopLimit: 3, InstanceMetadataTags: "enabled"}
	next.UserData = []byte("of no use to who reads the log")
	next.Role = &instance.Role{Name: in.Role.Name, Credentials: &instance.Credentials{AccessKeyID: "AK", AccessKeySecret: testnet.Secret(t, "secret-of-a-given-set"), SessionToken: testnet.Secret(t, "token-of-a-given-set")}}
	_, err = b.Apply(t.Context(), theOperator, []control.Resource{
		{Kind: control.KindInstances, Record: &state.Instance{Spec: next}},
		{Kind: control.KindKeys, Record: &state.AccessKey{ID: "AKIAX", Dialect: "ec2", Account: in.Account, User: "ann", Policies: []string{"all"}}, Secret: testnet.Secret(t, "secret-of-a-given-key")},
	})
	b.must(err)
	changed("Apply", "instances/"+in.ID+` httpTokens "optional" "required"`,
		`keys/AKIAX account "" "`+in.Account+`"`, `keys/AKIAX user "" "ann"`, `keys/AKIAX policies "" "all"`, `keys/AKIAX disabled "" "false"`)

	_, err = b.SetRole(t.Context(), b.caller("ec2", "DisassociateIamInstanceProfile"), in.ID, "", true)
	b.must(err)
	changed("SetRole", arn+` role "`+in.Role.Name+`" ""`)
}
