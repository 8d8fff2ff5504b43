package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"openimds/internal/api/alisign"
	"openimds/internal/api/sigv4"
)

// cloud is a client of one of the APIs. An error means that nobody knows what
// became of the call; a refusal is a status other than 200.
type cloud interface {
	// launch launches an instance with a client token and an owner's tag.
	launch(ctx context.Context, token, owner string) (id string, status int, err error)
	// modify sets the hop limit (EC2) or the access mode (ECS) to the nth value.
	modify(ctx context.Context, id string, n int) (status int, err error)
	// tag sets the tag "count".
	tag(ctx context.Context, id string, n int) (status int, err error)
	terminate(ctx context.Context, id string) (status int, err error)
	// running lists the owner's running instances.
	running(ctx context.Context, owner string) (map[string]seen, error)
}

// seen is what an API shows of an instance: the nth value, and the tag.
type seen struct{ value, count int }

// values is how many values modify can set: hop limits, or access modes.
const (
	valuesEC2 = 64
	valuesECS = 2
)

type ec2Client struct {
	http    *http.Client
	address string
}

func (c ec2Client) call(ctx context.Context, out any, params ...string) (int, error) {
	form := url.Values{"Version": {"2016-11-15"}}
	for i := 0; i < len(params); i += 2 {
		form.Set(params[i], params[i+1])
	}
	body := []byte(form.Encode())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.address+"/", bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	creds := sigv4.Credentials{AccessKeyID: devKeyEC2, SecretKey: devSecret}
	if err := sigv4.Sign(req, body, creds, firstSample()["ec2"].Region, "ec2", time.Now()); err != nil {
		return 0, err
	}
	return answer(c.http, req, func(text []byte) error {
		if out == nil {
			return nil
		}
		return xml.Unmarshal(text, out)
	})
}

// answer sends a request and decodes what a success says.
func answer(client *http.Client, req *http.Request, decode func([]byte) error) (int, error) {
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return res.StatusCode, err
	}
	return res.StatusCode, decode(text)
}

func (c ec2Client) launch(ctx context.Context, token, owner string) (string, int, error) {
	var out struct {
		IDs []string `xml:"instancesSet>item>instanceId"`
	}
	status, err := c.call(ctx, &out, "Action", "RunInstances", "ImageId", "ami-0fedcba9876543210", "InstanceType", "t3.micro",
		"MinCount", "1", "MaxCount", "1", "ClientToken", token, "TagSpecification.1.ResourceType", "instance",
		"TagSpecification.1.Tag.1.Key", "owner", "TagSpecification.1.Tag.1.Value", owner)
	return only(out.IDs, status, err)
}

func only(ids []string, status int, err error) (string, int, error) {
	switch {
	case err != nil || status != http.StatusOK:
		return "", status, err
	case len(ids) != 1:
		return "", 0, fmt.Errorf("launched %q, want one instance", ids)
	}
	return ids[0], status, nil
}

func (c ec2Client) modify(ctx context.Context, id string, n int) (int, error) {
	return c.call(ctx, nil, "Action", "ModifyInstanceMetadataOptions", "InstanceId", id, "HttpPutResponseHopLimit", strconv.Itoa(n%valuesEC2+1))
}

func (c ec2Client) tag(ctx context.Context, id string, n int) (int, error) {
	return c.call(ctx, nil, "Action", "CreateTags", "ResourceId.1", id, "Tag.1.Key", "count", "Tag.1.Value", strconv.Itoa(n))
}

func (c ec2Client) terminate(ctx context.Context, id string) (int, error) {
	return c.call(ctx, nil, "Action", "TerminateInstances", "InstanceId.1", id)
}

func (c ec2Client) running(ctx context.Context, owner string) (map[string]seen, error) {
	var out struct {
		Instances []struct {
			ID   string `xml:"instanceId"`
			Hops int    `xml:"metadataOptions>httpPutResponseHopLimit"`
			Tags []struct {
				Key   string `xml:"key"`
				Value string `xml:"value"`
			} `xml:"tagSet>item"`
		} `xml:"reservationSet>item>instancesSet>item"`
	}
	status, err := c.call(ctx, &out, "Action", "DescribeInstances", "Filter.1.Name", "tag:owner", "Filter.1.Value.1", owner,
		"Filter.2.Name", "instance-state-name", "Filter.2.Value.1", "running")
	if err != nil || status != http.StatusOK {
		return nil, fmt.Errorf("describe: %d, %w", status, err)
	}
	all := map[string]seen{}
	for _, in := range out.Instances {
		s := seen{value: in.Hops - 1}
		for _, t := range in.Tags {
			if t.Key == "count" {
				s.count, _ = strconv.Atoi(t.Value)
			}
		}
		all[in.ID] = s
	}
	return all, nil
}

type ecsClient struct {
	http    *http.Client
	address string
	nonces  *nonces
}

// nonces makes each nonce once.
type nonces struct {
	prefix string
	n      int
}

func (n *nonces) next() string {
	n.n++
	return n.prefix + strconv.Itoa(n.n)
}

func (c ecsClient) call(ctx context.Context, out any, action string, params ...string) (int, error) {
	form := url.Values{"RegionId": {firstSample()["ecs"].Region}, "Format": {"JSON"}}
	for i := 0; i < len(params); i += 2 {
		form.Set(params[i], params[i+1])
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.address+"/?"+form.Encode(), http.NoBody)
	if err != nil {
		return 0, err
	}
	req.Header.Set("X-Acs-Action", action)
	req.Header.Set("X-Acs-Version", "2014-05-26")
	creds := alisign.Credentials{AccessKeyID: devKeyECS, AccessKeySecret: devSecret}
	if err := alisign.SignV3(req, nil, creds, c.nonces.next(), time.Now()); err != nil {
		return 0, err
	}
	return answer(c.http, req, func(text []byte) error {
		if out == nil {
			return nil
		}
		return json.Unmarshal(text, out)
	})
}

func (c ecsClient) launch(ctx context.Context, token, owner string) (string, int, error) {
	var out struct {
		InstanceIDSets struct{ InstanceIDSet []string }
	}
	status, err := c.call(ctx, &out, "RunInstances", "ImageId", "imdsdev_2_x64_20G.vhd", "InstanceType", "ecs.g7.large", "Amount", "1",
		"ClientToken", token, "Tag.1.Key", "owner", "Tag.1.Value", owner)
	return only(out.InstanceIDSets.InstanceIDSet, status, err)
}

func (c ecsClient) modify(ctx context.Context, id string, n int) (int, error) {
	return c.call(ctx, nil, "ModifyInstanceMetadataOptions", "InstanceId", id, "HttpEndpoint", "enabled", "HttpTokens", []string{"optional", "required"}[n%valuesECS])
}

func (c ecsClient) tag(ctx context.Context, id string, n int) (int, error) {
	return c.call(ctx, nil, "TagResources", "ResourceType", "instance", "ResourceId.1", id, "Tag.1.Key", "count", "Tag.1.Value", strconv.Itoa(n))
}

func (c ecsClient) terminate(ctx context.Context, id string) (int, error) {
	return c.call(ctx, nil, "DeleteInstance", "InstanceId", id, "Force", "true")
}

func (c ecsClient) running(ctx context.Context, owner string) (map[string]seen, error) {
	var out struct {
		Instances struct {
			Instance []struct {
				InstanceID      string
				MetadataOptions struct{ HTTPTokens string }
				Tags            struct {
					Tag []struct{ TagKey, TagValue string }
				}
			}
		}
	}
	status, err := c.call(ctx, &out, "DescribeInstances", "Tag.1.Key", "owner", "Tag.1.Value", owner, "PageSize", "100", "AdditionalAttributes.1", "META_OPTIONS")
	if err != nil || status != http.StatusOK {
		return nil, fmt.Errorf("describe: %d, %w", status, err)
	}
	all := map[string]seen{}
	for _, in := range out.Instances.Instance {
		s := seen{}
		if in.MetadataOptions.HTTPTokens == "required" {
			s.value = 1
		}
		for _, t := range in.Tags.Tag {
			if t.TagKey == "count" {
				s.count, _ = strconv.Atoi(t.TagValue)
			}
		}
		all[in.InstanceID] = s
	}
	return all, nil
}
