package policy_test

import (
	"testing"

	"openimds/internal/policy"
)

// The vendors' own examples, with requests that each allows and denies. Each
// stands beside a policy that allows everything, as a guard does.
func TestVendorExamples(t *testing.T) {
	type request struct {
		action, resource string
		context          policy.Context
		denied           bool
	}
	const (
		volume   = "arn:aws:ec2:us-east-1:123456789012:volume/vol-1"
		ecs      = "acs:ecs:cn-hangzhou:1234567890123456:instance/*"
		ecsOne   = "acs:ecs:cn-hangzhou:1234567890123456:instance/i-bp67acfmxazb4ph"
		metadata = "ec2:MetadataHttpTokens"
	)
	for name, c := range map[string]struct {
		policy   string
		requests []request
	}{
		// POL-KEY-01, POL-KEY-11
		"RequireImdsV2": {iam(`{"Sid":"RequireImdsV2","Effect":"Deny","Action":"ec2:RunInstances","Resource":"arn:aws:ec2:*:*:instance/*",
			"Condition":{"StringNotEquals":{"ec2:MetadataHttpTokens":"required"}}}`), []request{
			{"ec2:RunInstances", instance, context(metadata + " = required"), false},
			{"ec2:RunInstances", instance, context(metadata + " = optional"), true},
			{"ec2:RunInstances", instance, context(metadata + " = Required"), true},
			{"ec2:RunInstances", instance, nil, true},
			{"ec2:RunInstances", image, nil, false},
			{"ec2:RunInstances", volume, context(metadata + " = optional"), false},
			{"ec2:StartInstances", instance, context(metadata + " = optional"), false},
		}},
		// POL-KEY-02: nothing to say about a call that leaves the mode alone.
		"no opting out": {iam(`{"Effect":"Deny","Action":"ec2:ModifyInstanceMetadataOptions","Resource":"*",
			"Condition":{"StringNotEquals":{"ec2:Attribute/HttpTokens":"required"},"Null":{"ec2:Attribute/HttpTokens":false}}}`), []request{
			{"ec2:ModifyInstanceMetadataOptions", instance, context("ec2:Attribute/HttpTokens = optional"), true},
			{"ec2:ModifyInstanceMetadataOptions", instance, context("ec2:Attribute/HttpTokens = required"), false},
			{"ec2:ModifyInstanceMetadataOptions", instance, context("ec2:Attribute/HttpEndpoint = disabled", metadata+" = optional"), false},
			{"ec2:ModifyInstanceMetadataOptions", instance, context("ec2:Attribute/HttpTokens ="), true},
			{"ec2:RunInstances", instance, context("ec2:Attribute/HttpTokens = optional"), false},
		}},
		// POL-COND-05: an absent number is not greater than three, whatever the
		// guide says of this policy.
		"MaxImdsHopLimit": {iam(`{"Sid":"MaxImdsHopLimit","Effect":"Deny","Action":"ec2:RunInstances","Resource":"arn:aws:ec2:*:*:instance/*",
			"Condition":{"NumericGreaterThan":{"ec2:MetadataHttpPutResponseHopLimit":"3"}}}`), []request{
			{"ec2:RunInstances", instance, context("ec2:MetadataHttpPutResponseHopLimit = 3"), false},
			{"ec2:RunInstances", instance, context("ec2:MetadataHttpPutResponseHopLimit = 4"), true},
			{"ec2:RunInstances", instance, context("ec2:MetadataHttpPutResponseHopLimit = 64"), true},
			{"ec2:RunInstances", instance, nil, false},
		}},
		// POL-KEY-05
		"only admins modify": {iam(`{"Effect":"Deny","Action":"ec2:ModifyInstanceMetadataOptions","Resource":"*",
			"Condition":{"StringNotLike":{"aws:PrincipalARN":"arn:aws:iam::*:role/ec2-imds-admins"}}}`), []request{
			{"ec2:ModifyInstanceMetadataOptions", instance, context("aws:PrincipalArn = arn:aws:iam::123456789012:role/ec2-imds-admins"), false},
			{"ec2:ModifyInstanceMetadataOptions", instance, context("aws:PrincipalArn = arn:aws:iam::123456789012:role/other"), true},
			{"ec2:ModifyInstanceMetadataOptions", instance, context("aws:PrincipalArn = arn:aws:iam::123456789012:role/x/ec2-imds-admins"), true},
			{"ec2:ModifyInstanceMetadataOptions", instance, nil, true},
			{"ec2:RunInstances", instance, nil, false},
		}},
		// POL-KEY-03: whoever does not come from an instance has no such key.
		"RequireAllEc2RolesToUseV2": {iam(`{"Sid":"RequireAllEc2RolesToUseV2","Effect":"Deny","Action":"*","Resource":"*",
			"Condition":{"NumericLessThan":{"ec2:RoleDelivery":"2.0"}}}`), []request{
			{"s3:GetObject", "arn:aws:s3:::b/k", context("ec2:RoleDelivery = 1.0"), true},
			{"s3:GetObject", "arn:aws:s3:::b/k", context("ec2:RoleDelivery = 1"), true},
			{"s3:GetObject", "arn:aws:s3:::b/k", context("ec2:RoleDelivery = 2.0"), false},
			{"s3:GetObject", "arn:aws:s3:::b/k", context("ec2:RoleDelivery = 2"), false},
			{"s3:GetObject", "arn:aws:s3:::b/k", nil, false},
		}},
		// POL-KEY-04
		"data perimeter by network": {iam(`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{
			"StringNotEquals":{"aws:SourceVpc":"${aws:Ec2InstanceSourceVpc}"},
			"Null":{"ec2:SourceInstanceARN":"false"},
			"BoolIfExists":{"aws:ViaAWSService":"false"}}}`), []request{
			{"s3:GetObject", "*", context("aws:SourceVpc = vpc-1", "aws:Ec2InstanceSourceVpc = vpc-1", "ec2:SourceInstanceARN = "+instance), false},
			{"s3:GetObject", "*", context("aws:SourceVpc = vpc-2", "aws:Ec2InstanceSourceVpc = vpc-1", "ec2:SourceInstanceARN = "+instance), true},
			{"s3:GetObject", "*", context("aws:SourceVpc = vpc-2", "aws:Ec2InstanceSourceVpc = vpc-1", "ec2:SourceInstanceARN = "+instance, "aws:ViaAWSService = true"), false},
			{"s3:GetObject", "*", context("aws:SourceVpc = vpc-2", "aws:Ec2InstanceSourceVpc = vpc-1", "ec2:SourceInstanceARN = "+instance, "aws:ViaAWSService = false"), true},
			{"s3:GetObject", "*", context("aws:Ec2InstanceSourceVpc = vpc-1", "ec2:SourceInstanceARN = "+instance), true},
			{"s3:GetObject", "*", context("aws:SourceVpc = vpc-1", "ec2:SourceInstanceARN = "+instance), true},
			{"s3:GetObject", "*", context("aws:SourceVpc = vpc-2"), false},
			{"s3:GetObject", "*", nil, false},
		}},
		"data perimeter by address": {iam(`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{
			"StringNotEquals":{"aws:Ec2InstanceSourcePrivateIPv4":"${aws:VpcSourceIp}"},
			"Null":{"ec2:SourceInstanceARN":"false"},
			"BoolIfExists":{"aws:ViaAWSService":"false"}}}`), []request{
			{"s3:GetObject", "*", context("aws:VpcSourceIp = 10.0.0.1", "aws:Ec2InstanceSourcePrivateIPv4 = 10.0.0.1", "ec2:SourceInstanceARN = "+instance), false},
			{"s3:GetObject", "*", context("aws:VpcSourceIp = 10.0.0.2", "aws:Ec2InstanceSourcePrivateIPv4 = 10.0.0.1", "ec2:SourceInstanceARN = "+instance), true},
			{"s3:GetObject", "*", context("aws:Ec2InstanceSourcePrivateIPv4 = 10.0.0.1", "ec2:SourceInstanceARN = "+instance), true},
			{"s3:GetObject", "*", context("aws:VpcSourceIp = 10.0.0.2"), false},
		}},
		"tags of environment": {iam(`{"Effect":"Deny","NotAction":"ec2:CreateTags","Resource":"*"},{"Effect":"Deny","Action":"ec2:CreateTags","Resource":"*","Condition":{
			"StringNotEqualsIgnoreCase":{"aws:RequestTag/environment":["preprod","storage"]}}}`), []request{
			{"ec2:CreateTags", instance, context("aws:RequestTag/environment = PreProd", "aws:TagKeys = environment | costcenter"), false},
			{"ec2:CreateTags", instance, context("aws:RequestTag/environment = prod"), true},
			{"ec2:CreateTags", instance, nil, true},
			{"ec2:DeleteTags", instance, nil, true},
		}},
		// POL-KEY-06, POL-KEY-07
		"hardened mode only": {ram(`{"Effect":"Deny","Action":["ecs:RunInstances","ecs:CreateInstance","ecs:ModifyInstanceMetadataOptions"],"Resource":"*",
			"Condition":{"Bool":{"ecs:SecurityHardeningMode":["false"]}}}`), []request{
			{"ecs:RunInstances", ecs, context("ecs:SecurityHardeningMode = true"), false},
			{"ecs:RunInstances", ecs, context("ecs:SecurityHardeningMode = false"), true},
			{"ecs:CreateInstance", ecs, context("ecs:SecurityHardeningMode = false"), true},
			{"ecs:ModifyInstanceMetadataOptions", ecsOne, context("ecs:SecurityHardeningMode = false"), true},
			{"ecs:ModifyInstanceMetadataOptions", ecsOne, nil, false},
			{"ecs:StartInstance", ecsOne, context("ecs:SecurityHardeningMode = false"), false},
		}},
		// POL-KEY-09
		"before a time": {ram(`{"Effect":"Deny","NotAction":"ecs:*","Resource":"*"},{"Effect":"Deny","Action":"ecs:*","Resource":"*","Condition":{"DateGreaterThanEquals":{"acs:CurrentTime":"2019-08-12T17:00:00+08:00"}}}`), []request{
			{"ecs:DescribeInstances", "*", context("acs:CurrentTime = 2019-08-12T08:59:59Z"), false},
			{"ecs:DescribeInstances", "*", context("acs:CurrentTime = 2019-08-12T09:00:00Z"), true},
			{"oss:GetObject", "*", context("acs:CurrentTime = 2019-08-12T08:59:59Z"), true},
		}},
		"over TLS, with a second factor, from there": {ram(`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"Bool":{"acs:SecureTransport":"false"}}},
			{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"Bool":{"acs:MFAPresent":"false"}}},
			{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"NotIpAddress":{"acs:SourceIp":["42.120.88.0/24","42.120.66.0/24"]}}}`), []request{
			{"ecs:RunInstances", ecs, context("acs:SecureTransport = true", "acs:MFAPresent = true", "acs:SourceIp = 42.120.66.9"), false},
			{"ecs:RunInstances", ecs, context("acs:SecureTransport = false", "acs:MFAPresent = true", "acs:SourceIp = 42.120.66.9"), true},
			{"ecs:RunInstances", ecs, context("acs:SecureTransport = true", "acs:MFAPresent = false", "acs:SourceIp = 42.120.66.9"), true},
			{"ecs:RunInstances", ecs, context("acs:SecureTransport = true", "acs:MFAPresent = true", "acs:SourceIp = 42.120.67.9"), true},
		}},
		// POL-KEY-09
		"one role": {ram(`{"Effect":"Deny","Action":"ram:CreateRole","Resource":"*",
			"Condition":{"StringNotLike":{"acs:PrincipalARN":"acs:ram:*:*:role/resourcedirectoryaccountaccessrole"}}}`), []request{
			{"ram:CreateRole", "*", context("acs:PrincipalARN = acs:ram::1:role/resourcedirectoryaccountaccessrole"), false},
			{"ram:CreateRole", "*", context("acs:PrincipalARN = acs:ram::1:user/ann"), true},
			{"ram:CreateRole", "*", nil, true},
		}},
		// POL-KEY-10
		"one tag": {ram(`{"Effect":"Deny","Action":"ecs:*","Resource":"*","Condition":{"StringNotEquals":{"acs:ResourceTag/team":["dev"],"ecs:tag/team":["dev"]}}}`), []request{
			{"ecs:StopInstance", ecsOne, context("acs:ResourceTag/team = dev", "ecs:tag/team = dev"), false},
			{"ecs:StopInstance", ecsOne, context("acs:ResourceTag/team = ops", "ecs:tag/team = ops"), true},
			{"ecs:StopInstance", ecsOne, nil, true},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p := mustParse(t, c.policy)
			for _, r := range c.requests {
				d := decide(r.action, r.resource, r.context, policy.FullAccess(p.Language()), p)
				if d.Allowed == r.denied {
					t.Errorf("%s on %s with %v: %s", r.action, r.resource, r.context, d)
				}
				guarded := policy.Evaluate(policy.Layers{Guards: []*policy.Policy{policy.FullAccess(p.Language()), p}, Identity: []*policy.Policy{policy.FullAccess(p.Language())}},
					policy.Request{Action: r.action, Resources: []string{r.resource}, Context: r.context})
				if guarded.Allowed != d.Allowed || guarded.Reason != d.Reason {
					t.Errorf("%s on %s with %v: %s as a guard, and %s", r.action, r.resource, r.context, guarded, d)
				}
			}
		})
	}
}
