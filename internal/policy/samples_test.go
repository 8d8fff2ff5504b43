package policy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"openimds/internal/policy"
)

// Every sample of docs/policies, with calls it must let through and calls it
// must refuse, attached as a guard and to a key.
func TestSamples(t *testing.T) {
	const dir = "../../docs/policies"
	const (
		acs     = "acs:ecs:cn-hangzhou:1234567890123456:instance/*"
		admin   = "aws:PrincipalArn = arn:aws:iam::123456789012:role/imds-admins"
		someone = "aws:PrincipalArn = arn:aws:iam::123456789012:user/ann"
	)
	type call struct {
		action string
		keys   []string
		denied bool
	}
	yes := func(action string, keys ...string) call { return call{action, keys, false} }
	no := func(action string, keys ...string) call { return call{action, keys, true} }
	samples := map[string][]call{
		"ec2-require-imdsv2": {
			yes("ec2:RunInstances", policy.KeyEC2MetadataHTTPTokens+" = required"),
			no("ec2:RunInstances", policy.KeyEC2MetadataHTTPTokens+" = optional"),
			no("ec2:RunInstances"), // POL-KEY-11
			no("ec2:RunInstances", policy.KeyEC2MetadataHTTPEndpoint+" = disabled"),
			yes("ec2:DescribeInstances"),
			yes("ec2:StopInstances", policy.KeyEC2MetadataHTTPTokens+" = optional"),
		},
		"ec2-forbid-opt-out": {
			yes("ec2:ModifyInstanceMetadataOptions", policy.KeyEC2AttributeHTTPTokens+" = required"),
			no("ec2:ModifyInstanceMetadataOptions", policy.KeyEC2AttributeHTTPTokens+" = optional"),
			yes("ec2:ModifyInstanceMetadataOptions", policy.KeyEC2AttributeHTTPEndpoint+" = disabled", policy.KeyEC2MetadataHTTPTokens+" = optional"),
			no("ec2:ModifyInstanceMetadataDefaults", policy.KeyEC2AttributeHTTPTokens+" = no-preference"),
			yes("ec2:ModifyInstanceMetadataDefaults", policy.KeyEC2AttributeHTTPPutResponseHopLimit+" = 2"),
			yes("ec2:RunInstances", policy.KeyEC2MetadataHTTPTokens+" = optional"),
		},
		"ec2-limit-hops": {
			yes("ec2:RunInstances"),
			yes("ec2:RunInstances", policy.KeyEC2MetadataHTTPPutResponseHopLimit+" = 2"),
			no("ec2:RunInstances", policy.KeyEC2MetadataHTTPPutResponseHopLimit+" = 3"),
			yes("ec2:ModifyInstanceMetadataOptions", policy.KeyEC2AttributeHTTPPutResponseHopLimit+" = 1", policy.KeyEC2MetadataHTTPPutResponseHopLimit+" = 64"),
			no("ec2:ModifyInstanceMetadataOptions", policy.KeyEC2AttributeHTTPPutResponseHopLimit+" = 64"),
			no("ec2:ModifyInstanceMetadataDefaults", policy.KeyEC2AttributeHTTPPutResponseHopLimit+" = 10"),
			yes("ec2:ModifyInstanceMetadataDefaults", policy.KeyEC2AttributeHTTPPutResponseHopLimit+" = -1"),
		},
		"ec2-admins-only": {
			yes("ec2:ModifyInstanceMetadataOptions", admin),
			yes("ec2:ModifyInstanceMetadataOptions", policy.KeyAWSPrincipalARN+" = arn:aws:iam::1:user/imds-admin"),
			no("ec2:ModifyInstanceMetadataOptions", someone),
			no("ec2:ModifyInstanceMetadataDefaults", someone),
			no("ec2:ModifyInstanceMetadataOptions"),
			yes("ec2:RunInstances", someone),
		},
		"ec2-role-credentials-v2": {
			no("ec2:DescribeInstances", policy.KeyEC2RoleDelivery+" = 1.0"),
			yes("ec2:DescribeInstances", policy.KeyEC2RoleDelivery+" = 2.0"),
			yes("ec2:DescribeInstances", someone),
		},
		// POL-KEY-06, POL-KEY-07
		"ecs-require-hardening": {
			yes("ecs:RunInstances", policy.KeyECSSecurityHardeningMode+" = true"),
			no("ecs:RunInstances", policy.KeyECSSecurityHardeningMode+" = false"),
			no("ecs:CreateInstance", policy.KeyECSSecurityHardeningMode+" = false"),
			yes("ecs:ModifyInstanceMetadataOptions", policy.KeyECSSecurityHardeningMode+" = false"),
			yes("ecs:DescribeInstances"),
		},
		"ecs-forbid-opt-out": {
			yes("ecs:ModifyInstanceMetadataOptions", policy.KeyECSSecurityHardeningMode+" = true"),
			no("ecs:ModifyInstanceMetadataOptions", policy.KeyECSSecurityHardeningMode+" = false"),
			yes("ecs:ModifyInstanceMetadataOptions", policy.KeyECSHTTPEndpoint+" = disabled"),
			yes("ecs:RunInstances", policy.KeyECSSecurityHardeningMode+" = false"),
		},
		// POL-KEY-08
		"ecs-limit-hops": {
			yes("ecs:RunInstances"),
			yes("ecs:RunInstances", policy.KeyECSHTTPPutResponseHopLimit+" = 2"),
			no("ecs:RunInstances", policy.KeyECSHTTPPutResponseHopLimit+" = 3"),
			no("ecs:CreateInstance", policy.KeyECSHTTPPutResponseHopLimit+" = 64"),
			no("ecs:ModifyInstanceMetadataOptions", policy.KeyECSHTTPPutResponseHopLimit+" = 10"),
			yes("ecs:ModifyInstanceMetadataOptions", policy.KeyECSHTTPTokens+" = optional"),
		},
		// POL-KEY-09
		"ecs-admins-only": {
			yes("ecs:ModifyInstanceMetadataOptions", policy.KeyACSPrincipalARN+" = acs:ram::1234567890123456:role/imds-admins"),
			yes("ecs:ModifyInstanceMetadataOptions", policy.KeyACSPrincipalARN+" = acs:ram::1234567890123456:user/imds-admin"),
			no("ecs:ModifyInstanceMetadataOptions", policy.KeyACSPrincipalARN+" = acs:ram::1234567890123456:user/ann"),
			no("ecs:ModifyInstanceMetadataOptions"),
			yes("ecs:RunInstances", policy.KeyACSPrincipalARN+" = acs:ram::1234567890123456:user/ann"),
		},
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(names) != len(samples) {
		t.Fatalf("%d files and %d tests, %v", len(names), len(samples), err)
	}
	readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		base := strings.TrimSuffix(filepath.Base(name), ".json")
		t.Run(base, func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(readme), "("+base+".json)") {
				t.Error("README.md does not name it")
			}
			p := mustParse(t, string(text))
			lang, resource := policy.IAM, instance
			if strings.HasPrefix(base, "ecs-") {
				lang, resource = policy.RAM, acs
			}
			if p.Language() != lang {
				t.Fatalf("is in the language of %s", p.Language())
			}
			if len(samples[base]) == 0 {
				t.Fatal("has no test")
			}
			all := policy.FullAccess(lang)
			for _, c := range samples[base] {
				r := policy.Request{Action: c.action, Resources: []string{resource}, Context: context(c.keys...)}
				for where, l := range map[string]policy.Layers{
					"guard": {Guards: []*policy.Policy{all, p}, Identity: []*policy.Policy{all}},
					"key":   {Identity: []*policy.Policy{p, all}},
				} {
					if d := policy.Evaluate(l, r); d.Allowed == c.denied || c.denied && d.Reason != policy.ExplicitDeny {
						t.Errorf("%s with %q, attached as a %s: %s", c.action, c.keys, where, d)
					}
				}
			}
			r := policy.Request{Action: "ec2:DescribeInstances", Resources: []string{"*"}}
			if d := policy.Evaluate(policy.Layers{Identity: []*policy.Policy{p}}, r); d.Allowed {
				t.Errorf("allows something by itself: %s", d)
			}
		})
	}
}
