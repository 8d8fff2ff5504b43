//go:build linux

package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

var ecsSetting = setting{
	dialect:    ecsDialect,
	connection: connection{Region: "cn-hangzhou", Key: "LTAIimdsdev000000000", Secret: "imds-dev-secret"},
	image:      "imdsdev_3_x64_20G.vhd", oldImage: "imdsdev_2_x64_20G.vhd", role: "ImdsSampleRole",
	unknown: "i-bp1000000000000000zz",
	codes: codes{
		noInstance: "InvalidInstanceId.NotFound", noRole: "InvalidRamRole.NotFound", noImage: "InvalidImageId.NotFound", dryRun: "DryRunOperation",
		badValue: "InvalidHttpPutResponseHopLimit.NotSupported", otherArguments: "IdempotentParameterMismatch",
		wrongSecret: "SignatureDoesNotMatch", noKey: "InvalidAccessKeyId.NotFound", slowClock: "InvalidTimeStamp.Expired", denied: "Forbidden.RAM",
	},
}

// ecsCloud is ECS through one of its clients.
type ecsCloud struct{ client }

func (e ecsCloud) launch(l launch) ([]string, error) {
	params := values{"ImageId": l.image, "InstanceType": "ecs.g7.large", "Amount": max(1, l.count)}
	put(params, "HttpTokens", l.tokens)
	put(params, "HttpEndpoint", l.endpoint)
	put(params, "HttpPutResponseHopLimit", l.hops)
	put(params, "UserData", base64.StdEncoding.EncodeToString([]byte(l.userData)))
	put(params, "ClientToken", l.once)
	put(params, "DryRun", l.dryRun)
	if l.name != "" {
		params["Tag"] = []any{values{"Key": "Name", "Value": l.name}}
	}
	reply, err := e.call("RunInstances", params)
	return each(at(reply, "InstanceIdSets", "InstanceIdSet")), err
}

// set: this API requires HttpEndpoint.
func (e ecsCloud) set(id, tokens, endpoint, tags string) error {
	params := values{"InstanceId": id, "HttpEndpoint": "enabled"}
	put(params, "HttpTokens", tokens)
	put(params, "HttpEndpoint", endpoint)
	put(params, "InstanceMetadataTags", tags)
	return do(e, "ModifyInstanceMetadataOptions", params)
}

func search(tokens, endpoint, name string) values {
	params := values{"AdditionalAttributes": []any{"META_OPTIONS"}, "Status": "Running"}
	put(params, "HttpTokens", tokens)
	put(params, "HttpEndpoint", endpoint)
	if name != "" {
		params["Tag"] = []any{values{"Key": "Name", "Value": name}}
	}
	return params
}

func (e ecsCloud) find(tokens, endpoint, name string) (all []shown, err error) {
	reply, err := e.call("DescribeInstances", search(tokens, endpoint, name))
	if err != nil {
		return nil, err
	}
	instances, _ := at(reply, "Instances", "Instance").([]any)
	for _, in := range instances {
		o := at(in, "MetadataOptions")
		s := shown{id: textAt(in, "InstanceId"), tokens: textAt(o, "HttpTokens"), endpoint: textAt(o, "HttpEndpoint"), hops: numberAt(o, "HttpPutResponseHopLimit")}
		tags, _ := at(in, "Tags", "Tag").([]any)
		for _, tag := range tags {
			if at(tag, "TagKey") == "Name" {
				s.name = textAt(tag, "TagValue")
			}
		}
		all = append(all, s)
	}
	return all, nil
}

// pages reads all pages by number, and then by token, which must show the
// same.
func (e ecsCloud) pages(name string) (byNumber [][]string, err error) {
	for n := 1; ; n++ {
		params := search("", "", name)
		params["PageNumber"], params["PageSize"] = n, 10
		reply, err := e.call("DescribeInstances", params)
		if err != nil {
			return nil, err
		}
		ids := each(at(reply, "Instances", "Instance"), "InstanceId")
		if len(ids) == 0 {
			break
		}
		if total := numberAt(reply, "TotalCount"); total != 25 {
			return nil, fmt.Errorf("page %d counts %d instances", n, total)
		}
		byNumber = append(byNumber, ids)
	}
	var byToken [][]string
	for token := ""; ; {
		params := search("", "", name)
		params["MaxResults"] = 10
		put(params, "NextToken", token)
		reply, err := e.call("DescribeInstances", params)
		if err != nil {
			return nil, err
		}
		byToken = append(byToken, each(at(reply, "Instances", "Instance"), "InstanceId"))
		if token = textAt(reply, "NextToken"); token == "" {
			break
		}
	}
	if fmt.Sprint(byNumber) != fmt.Sprint(byToken) {
		return nil, fmt.Errorf("by number: %v, by token: %v", byNumber, byToken)
	}
	return byNumber, nil
}

func (e ecsCloud) tag(id, key, value string) error {
	return do(e, "TagResources", values{"ResourceType": "instance", "ResourceId": []any{id}, "Tag": []any{values{"Key": key, "Value": value}}})
}

func (e ecsCloud) untag(id, key string) error {
	return do(e, "UntagResources", values{"ResourceType": "instance", "ResourceId": []any{id}, "TagKey": []any{key}})
}

func (e ecsCloud) userData(id string) (string, error) {
	reply, err := e.call("DescribeUserData", values{"InstanceId": id})
	if err != nil {
		return "", err
	}
	data, err := base64.StdEncoding.DecodeString(textAt(reply, "UserData"))
	return string(data), err
}

// attach: this action has a result for each instance.
func (e ecsCloud) attach(id, role string) error {
	return e.roles("AttachInstanceRamRole", "AttachInstanceRamRoleResults", "AttachInstanceRamRoleResult", id, role)
}

func (e ecsCloud) detach(id, role string) error {
	reply, err := e.call("DescribeInstanceRamRole", values{"InstanceIds": list(id)})
	if err != nil {
		return err
	}
	if shown := textAt(at(reply, "InstanceRamRoleSets", "InstanceRamRoleSet", 0), "RamRoleName"); shown != role {
		return fmt.Errorf("the role is described as %v", reply)
	}
	return e.roles("DetachInstanceRamRole", "DetachInstanceRamRoleResults", "DetachInstanceRamRoleResult", id, role)
}

func (e ecsCloud) roles(action, results, result, id, role string) error {
	reply, err := e.call(action, values{"RamRoleName": role, "InstanceIds": list(id)})
	if err != nil {
		return err
	}
	if one := at(reply, results, result, 0); textAt(one, "Code") != "200" {
		return &refusal{Code: textAt(one, "Code"), Message: textAt(one, "Message")}
	}
	return nil
}

// list is a list of ids as this API takes it: JSON in a string.
func list(ids ...string) string {
	text, _ := json.Marshal(ids)
	return string(text)
}

func (e ecsCloud) stop(id string) error {
	return e.until("StopInstance", id, "Stopped")
}

func (e ecsCloud) start(id string) error {
	return e.until("StartInstance", id, "Running")
}

func (e ecsCloud) until(action, id, state string) error {
	if err := do(e, action, values{"InstanceId": id}); err != nil {
		return err
	}
	var now string
	for range 50 {
		reply, err := e.call("DescribeInstances", values{"InstanceIds": list(id)})
		if err != nil {
			return err
		}
		if now = textAt(at(reply, "Instances", "Instance", 0), "Status"); now == state {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("after %s the instance is %s", action, now)
}

func (e ecsCloud) end(ids ...string) error {
	if len(ids) == 1 {
		return do(e, "DeleteInstance", values{"InstanceId": ids[0], "Force": true})
	}
	all := make([]any, len(ids))
	for i, id := range ids {
		all[i] = id
	}
	return do(e, "DeleteInstances", values{"InstanceId": all, "Force": true})
}

// ecsChapters are what ECS has and EC2 has not.
var ecsChapters = chapters{"image without support": imageWithoutSupport}

// imageWithoutSupport: hardening mode at launch is for images that support it;
// later, anybody may try.
func imageWithoutSupport(t *testing.T, s *teller) {
	_, err := s.c.launch(launch{image: s.oldImage, tokens: "required"})
	told(t, "required at launch", err, "OpenImds.ImageWithoutImdsSupport", 400)
	id, m := s.one(t, launch{image: s.oldImage})
	m.serves(t, id)
	s.set(t, id, "required", "", "")
	m.requires(t, id)
}
