//go:build linux

package e2e

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
)

var ec2Setting = setting{
	dialect:    ec2Dialect,
	connection: connection{Region: "us-east-1", Key: "AKIAIMDSDEV000000000", Secret: "imds-dev-secret"},
	image:      "ami-0123456789abcdef0", oldImage: "ami-0fedcba9876543210", role: "imds-sample-role",
	unknown: "i-0123456789abcdef0",
	codes: codes{
		noInstance: "InvalidInstanceID.NotFound", noRole: "InvalidParameterValue", noImage: "InvalidAMIID.NotFound", dryRun: "DryRunOperation",
		badValue: "InvalidParameterValue", otherArguments: "IdempotentParameterMismatch",
		wrongSecret: "SignatureDoesNotMatch", noKey: "AuthFailure", slowClock: "RequestExpired", denied: "UnauthorizedOperation",
	},
}

// ec2Cloud is EC2 through one of its clients.
type ec2Cloud struct{ client }

func (e ec2Cloud) launch(l launch) ([]string, error) {
	count := max(1, l.count)
	options := values{}
	put(options, "HttpTokens", l.tokens)
	put(options, "HttpEndpoint", l.endpoint)
	put(options, "HttpPutResponseHopLimit", l.hops)
	params := values{"ImageId": l.image, "InstanceType": "t3.micro", "MinCount": count, "MaxCount": count}
	if len(options) > 0 {
		params["MetadataOptions"] = options
	}
	put(params, "UserData", l.userData)
	put(params, "ClientToken", l.once)
	put(params, "DryRun", l.dryRun)
	if l.name != "" {
		params["TagSpecifications"] = []any{values{"ResourceType": "instance", "Tags": []any{values{"Key": "Name", "Value": l.name}}}}
	}
	reply, err := e.call("RunInstances", params)
	return each(reply["Instances"], "InstanceId"), err
}

// put sets a parameter unless its value is the zero value.
func put[T comparable](params values, name string, value T) {
	var zero T
	if value != zero {
		params[name] = value
	}
}

func (e ec2Cloud) set(id, tokens, endpoint, tags string) error {
	params := values{"InstanceId": id}
	put(params, "HttpTokens", tokens)
	put(params, "HttpEndpoint", endpoint)
	put(params, "InstanceMetadataTags", tags)
	reply, err := e.call("ModifyInstanceMetadataOptions", params)
	if err == nil && at(reply, "InstanceMetadataOptions", "State") != "pending" {
		err = fmt.Errorf("options after the change: %v", reply)
	}
	return err
}

func filters(tokens, endpoint, name string) []any {
	var all []any
	for filter, value := range map[string]string{
		"metadata-options.http-tokens": tokens, "metadata-options.http-endpoint": endpoint, "tag:Name": name, "instance-state-name": "running",
	} {
		if value != "" {
			all = append(all, values{"Name": filter, "Values": []any{value}})
		}
	}
	return all
}

func (e ec2Cloud) find(tokens, endpoint, name string) (all []shown, err error) {
	reply, err := e.call("DescribeInstances", values{"Filters": filters(tokens, endpoint, name)})
	if err != nil {
		return nil, err
	}
	for _, in := range instancesOf(reply) {
		o := at(in, "MetadataOptions")
		if at(o, "State") != "applied" {
			return nil, fmt.Errorf("options are described as %v", o)
		}
		s := shown{id: textAt(in, "InstanceId"), tokens: textAt(o, "HttpTokens"), endpoint: textAt(o, "HttpEndpoint"), hops: numberAt(o, "HttpPutResponseHopLimit")}
		tags, _ := at(in, "Tags").([]any)
		for _, tag := range tags {
			if at(tag, "Key") == "Name" {
				s.name = textAt(tag, "Value")
			}
		}
		all = append(all, s)
	}
	return all, nil
}

// instancesOf are the instances of all reservations.
func instancesOf(reply any) (all []any) {
	reservations, _ := at(reply, "Reservations").([]any)
	for _, r := range reservations {
		instances, _ := at(r, "Instances").([]any)
		all = append(all, instances...)
	}
	return all
}

// textAt and numberAt are a member of an object; empty if it is missing.
func textAt(v any, name string) string {
	s, _ := at(v, name).(string)
	return s
}

func numberAt(v any, name string) int {
	n, _ := at(v, name).(float64)
	return int(n)
}

func (e ec2Cloud) pages(name string) (pages [][]string, err error) {
	replies, err := e.client.(pager).pages("DescribeInstances", values{"Filters": filters("", "", name), "MaxResults": 10})
	for _, reply := range replies {
		pages = append(pages, each(instancesOf(reply), "InstanceId"))
	}
	return pages, err
}

// do calls an action for its effect.
func do(c client, action string, params values) error {
	_, err := c.call(action, params)
	return err
}

func (e ec2Cloud) tag(id, key, value string) error {
	return do(e, "CreateTags", values{"Resources": []any{id}, "Tags": []any{values{"Key": key, "Value": value}}})
}

func (e ec2Cloud) untag(id, key string) error {
	return do(e, "DeleteTags", values{"Resources": []any{id}, "Tags": []any{values{"Key": key}}})
}

func (e ec2Cloud) userData(id string) (string, error) {
	reply, err := e.call("DescribeInstanceAttribute", values{"InstanceId": id, "Attribute": "userData"})
	if err != nil {
		return "", err
	}
	data, err := base64.StdEncoding.DecodeString(textAt(at(reply, "UserData"), "Value"))
	return string(data), err
}

func (e ec2Cloud) attach(id, role string) error {
	return do(e, "AssociateIamInstanceProfile", values{"InstanceId": id, "IamInstanceProfile": values{"Name": role}})
}

func (e ec2Cloud) detach(id, role string) error {
	reply, err := e.call("DescribeIamInstanceProfileAssociations", values{"Filters": []any{values{"Name": "instance-id", "Values": []any{id}}}})
	if err != nil {
		return err
	}
	association := at(reply, "IamInstanceProfileAssociations", 0)
	if arn := textAt(at(association, "IamInstanceProfile"), "Arn"); !strings.HasSuffix(arn, "/"+role) {
		return fmt.Errorf("the profile is described as %v", reply)
	}
	return do(e, "DisassociateIamInstanceProfile", values{"AssociationId": at(association, "AssociationId")})
}

func (e ec2Cloud) stop(id string) error {
	if err := do(e, "StopInstances", values{"InstanceIds": []any{id}}); err != nil {
		return err
	}
	return e.client.(waiter).wait("InstanceStopped", values{"InstanceIds": []any{id}})
}

func (e ec2Cloud) start(id string) error {
	if err := do(e, "StartInstances", values{"InstanceIds": []any{id}}); err != nil {
		return err
	}
	return e.client.(waiter).wait("InstanceRunning", values{"InstanceIds": []any{id}})
}

func (e ec2Cloud) end(ids ...string) error {
	all := make([]any, len(ids))
	for i, id := range ids {
		all[i] = id
	}
	reply, err := e.call("TerminateInstances", values{"InstanceIds": all})
	for _, state := range each(reply["TerminatingInstances"], "CurrentState", "Name") {
		if state != "shutting-down" {
			return fmt.Errorf("an instance that is to end is %s", state)
		}
	}
	return err
}

// ec2Chapters are what EC2 has and ECS has not.
var ec2Chapters = chapters{"account defaults": accountDefaults, "images": imageSupport, "launch templates": launchTemplates}

// imageSupport: an image that is registered with it, or given it later, makes
// instances that require tokens.
func imageSupport(t *testing.T, s *teller) {
	c := s.c.(ec2Cloud).client
	register := func(params values) string {
		t.Helper()
		return textAt(check[values](t)(c.call("RegisterImage", params)), "ImageId")
	}
	support := func(image string) string {
		t.Helper()
		reply := check[values](t)(c.call("DescribeImages", values{"ImageIds": []any{image}}))
		return textAt(at(reply, "Images", 0), "ImdsSupport")
	}
	with := register(values{"Name": "with", "RootDeviceName": "/dev/xvda", "ImdsSupport": "v2.0"})
	equal(t, "described", support(with), "v2.0")
	id, m := s.one(t, launch{image: with, name: "by image"})
	m.requires(t, id)
	equal(t, "described", s.found(t, "required", "enabled", "by image"), shown{id, "required", "enabled", "by image", 2})

	without := register(values{"Name": "without", "RootDeviceName": "/dev/xvda"})
	equal(t, "described", support(without), "")
	before, free := s.one(t, launch{image: without})
	free.serves(t, before)
	s.newest(t, "ModifyImageAttribute", values{"ImageId": without, "ImdsSupport": values{"Value": "v2.0"}})
	equal(t, "described after the change", support(without), "v2.0")
	after, hardened := s.one(t, launch{image: without})
	hardened.requires(t, after)
	free.serves(t, before)
}

// newest calls an action with the story's client, or with the Go SDK where the
// client is older than the action or a parameter of it: what the call does
// holds for launches by all clients. It returns the client that could.
func (s *teller) newest(t *testing.T, action string, params values) client {
	t.Helper()
	c := s.c.(ec2Cloud).client
	err := do(c, action, params)
	if _, enforces := params["HttpTokensEnforced"]; err != nil && refused(t, err).Code == unknownAction || err == nil && enforces {
		// One client leaves parameters out that it does not know, without a word.
		c = ec2Clients["aws-sdk-go-v2"](t, s.connection)
		err = do(c, action, params)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// accountDefaults hold for launches that say nothing, and are enforced where
// that is asked for.
func accountDefaults(t *testing.T, s *teller) {
	free, before := s.one(t, launch{image: s.oldImage})
	before.serves(t, free)
	const modify = "ModifyInstanceMetadataDefaults"
	known := s.newest(t, modify, values{"HttpTokens": "required", "HttpPutResponseHopLimit": 3})
	defer s.newest(t, modify, values{"HttpTokens": "no-preference", "HttpPutResponseHopLimit": -1, "HttpTokensEnforced": "no-preference"})
	reply := check[values](t)(known.call("GetInstanceMetadataDefaults", values{}))
	equal(t, "default tokens", textAt(at(reply, "AccountLevel"), "HttpTokens"), "required")
	equal(t, "default hop limit", numberAt(at(reply, "AccountLevel"), "HttpPutResponseHopLimit"), 3)
	hardened, after := s.one(t, launch{image: s.oldImage, name: "by default"})
	after.requires(t, hardened)
	equal(t, "described", s.found(t, "required", "", "by default"), shown{hardened, "required", "enabled", "by default", 3})
	before.serves(t, free)

	chosen, own := s.one(t, launch{image: s.oldImage, tokens: "optional"})
	own.serves(t, chosen)
	s.newest(t, modify, values{"HttpTokensEnforced": "enabled"})
	_, err := s.c.launch(launch{image: s.oldImage, tokens: "optional"})
	told(t, "optional where tokens are enforced", err, "UnsupportedOperation", 400)
	told(t, "change to optional where tokens are enforced", s.c.set(hardened, "optional", "", ""), "UnsupportedOperation", 400)
	after.requires(t, hardened)
}

func launchTemplates(t *testing.T, s *teller) {
	c := s.c.(ec2Cloud).client
	reply := check[values](t)(c.call("CreateLaunchTemplate", values{
		"LaunchTemplateName": "hardened",
		"LaunchTemplateData": values{"ImageId": s.oldImage, "MetadataOptions": values{"HttpTokens": "required", "HttpPutResponseHopLimit": 4}},
	}))
	template := textAt(at(reply, "LaunchTemplate"), "LaunchTemplateId")
	reply = check[values](t)(c.call("RunInstances", values{"LaunchTemplate": values{"LaunchTemplateId": template}, "MinCount": 1, "MaxCount": 1}))
	id := textAt(at(reply, "Instances", 0), "InstanceId")
	defer s.end(t, id)
	equal(t, "hop limit", numberAt(at(reply, "Instances", 0, "MetadataOptions"), "HttpPutResponseHopLimit"), 4)
	launched(t, s.p, s.dialect, id).requires(t, id)
	if err := do(c, "DeleteLaunchTemplate", values{"LaunchTemplateId": template}); err != nil {
		t.Error(err)
	}
	_, err := c.call("RunInstances", values{"LaunchTemplate": values{"LaunchTemplateId": template}, "MinCount": 1, "MaxCount": 1})
	told(t, "deleted template", err, "InvalidLaunchTemplateId.NotFound", 400)
}
