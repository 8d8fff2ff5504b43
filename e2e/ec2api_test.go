//go:build linux

package e2e

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"openimds/internal/api/ec2query"
	"openimds/internal/control"
	"openimds/internal/instance"
	"openimds/internal/state"
	"openimds/internal/store/memstore"
	"openimds/internal/testnet"
)

const (
	ec2Key    = "AKIAIMDSDEV000000000"
	ec2Secret = "imds-dev-secret"
	ec2Image  = "ami-0123456789abcdef0"
)

// ec2API serves the EC2 API on loopback and returns where.
func ec2API(t *testing.T) string {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	store := memstore.New(memstore.Config{})
	db, err := state.Open(t.Context(), store, log)
	if err != nil {
		t.Fatal(err)
	}
	c := control.New(control.Config{
		DB: db, Logger: log,
		Places: map[string]control.Place{"ec2": {
			Zone: "us-east-1a", ZoneID: "use1-az4", VPC: instance.VPC{ID: "vpc-0123456789abcdef0"},
			Subnet: instance.Subnet{ID: "subnet-0123456789abcdef0", IPv4: netip.MustParsePrefix("10.0.1.0/24")},
		}},
	})
	admin := control.Caller{Dialect: "ec2", Account: "123456789012", Region: "us-east-1", Admin: true}
	_, err = c.NewImage(t.Context(), admin, state.Image{ID: ec2Image, Name: "al2023", ImdsSupport: true})
	err = errors.Join(err,
		c.PutPolicy(t.Context(), admin, state.Policy{Name: "full", Dialect: "ec2", Document: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`}),
		c.PutKey(t.Context(), admin, state.AccessKey{ID: ec2Key, Dialect: "ec2", Account: "123456789012", User: "dev", Policies: []string{"full"}}, ec2Secret))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(ec2query.New(ec2query.Config{Control: c, Logger: log}))
	t.Cleanup(func() {
		s.Close()
		db.Close()
		store.Close()
	})
	return s.URL
}

func TestEC2SDK(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	client := ec2.New(ec2.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(ec2API(t)),
		Credentials: credentials.NewStaticCredentialsProvider(ec2Key, ec2Secret, ""),
	})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	run, err := client.RunInstances(ctx, &ec2.RunInstancesInput{
		ImageId: aws.String(ec2Image), InstanceType: types.InstanceTypeM7gLarge, MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		MetadataOptions: &types.InstanceMetadataOptionsRequest{HttpTokens: types.HttpTokensStateRequired, HttpPutResponseHopLimit: aws.Int32(1)},
		TagSpecifications: []types.TagSpecification{{
			ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{{Key: aws.String("Name"), Value: aws.String("web <1>")}},
		}},
	})
	must(err)
	launched := run.Instances[0]
	if o := launched.MetadataOptions; o.State != types.InstanceMetadataOptionsStatePending || o.HttpTokens != types.HttpTokensStateRequired || *o.HttpPutResponseHopLimit != 1 {
		t.Errorf("launched with %+v", o)
	}
	must(ec2.NewInstanceRunningWaiter(client).Wait(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{*launched.InstanceId}}, time.Minute))

	pages := ec2.NewDescribeInstancesPaginator(client, &ec2.DescribeInstancesInput{MaxResults: aws.Int32(5), Filters: []types.Filter{
		{Name: aws.String("metadata-options.http-tokens"), Values: []string{"required"}},
		{Name: aws.String("instance-state-name"), Values: []string{"running"}},
		{Name: aws.String("tag:Name"), Values: []string{"web*"}},
	}})
	var found []types.Instance
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		must(err)
		for _, r := range page.Reservations {
			found = append(found, r.Instances...)
		}
	}
	if len(found) != 1 || *found[0].InstanceId != *launched.InstanceId || found[0].MetadataOptions.State != types.InstanceMetadataOptionsStateApplied ||
		*found[0].Tags[0].Value != "web <1>" || found[0].LaunchTime == nil || *found[0].PrivateIpAddress == "" || len(found[0].NetworkInterfaces) != 1 {
		t.Errorf("found %+v", found)
	}

	changed, err := client.ModifyInstanceMetadataOptions(ctx, &ec2.ModifyInstanceMetadataOptionsInput{InstanceId: launched.InstanceId, HttpTokens: types.HttpTokensStateOptional})
	must(err)
	if o := changed.InstanceMetadataOptions; o.HttpTokens != types.HttpTokensStateOptional || *o.HttpPutResponseHopLimit != 1 || o.State != types.InstanceMetadataOptionsStatePending {
		t.Errorf("changed to %+v", o)
	}
	_, err = client.ModifyInstanceMetadataOptions(ctx, &ec2.ModifyInstanceMetadataOptionsInput{InstanceId: launched.InstanceId, HttpPutResponseHopLimit: aws.Int32(65)})
	refusedWith(t, err, "InvalidParameterValue")
	_, err = client.ModifyInstanceMetadataDefaults(ctx, &ec2.ModifyInstanceMetadataDefaultsInput{
		HttpTokens: types.MetadataDefaultHttpTokensStateRequired, HttpTokensEnforced: types.DefaultHttpTokensEnforcedStateEnabled,
	})
	must(err)
	defaults, err := client.GetInstanceMetadataDefaults(ctx, &ec2.GetInstanceMetadataDefaultsInput{})
	must(err)
	if a := defaults.AccountLevel; a.HttpTokens != types.HttpTokensStateRequired || a.HttpTokensEnforced != types.HttpTokensEnforcedStateEnabled || a.HttpEndpoint != "" {
		t.Errorf("defaults %+v", a)
	}
	_, err = client.ModifyInstanceMetadataOptions(ctx, &ec2.ModifyInstanceMetadataOptionsInput{InstanceId: launched.InstanceId, HttpTokens: types.HttpTokensStateOptional, DryRun: aws.Bool(true)})
	refusedWith(t, err, "DryRunOperation")
	_, err = client.ModifyInstanceMetadataOptions(ctx, &ec2.ModifyInstanceMetadataOptionsInput{InstanceId: launched.InstanceId, HttpTokens: types.HttpTokensStateOptional})
	refusedWith(t, err, "UnsupportedOperation")

	template, err := client.CreateLaunchTemplate(ctx, &ec2.CreateLaunchTemplateInput{
		LaunchTemplateName: aws.String("lt1"), LaunchTemplateData: &types.RequestLaunchTemplateData{
			ImageId:         aws.String(ec2Image),
			MetadataOptions: &types.LaunchTemplateInstanceMetadataOptionsRequest{HttpPutResponseHopLimit: aws.Int32(3)},
		},
	})
	must(err)
	run, err = client.RunInstances(ctx, &ec2.RunInstancesInput{
		MinCount: aws.Int32(2), MaxCount: aws.Int32(2), LaunchTemplate: &types.LaunchTemplateSpecification{LaunchTemplateId: template.LaunchTemplate.LaunchTemplateId},
	})
	must(err)
	if o := run.Instances[1].MetadataOptions; *o.HttpPutResponseHopLimit != 3 || o.HttpTokens != types.HttpTokensStateRequired {
		t.Errorf("template gave %+v", o)
	}

	ended, err := client.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{*launched.InstanceId}})
	must(err)
	if s := ended.TerminatingInstances[0].CurrentState; s.Name != types.InstanceStateNameShuttingDown || *s.Code != 32 {
		t.Errorf("terminating: %+v", s)
	}
	must(ec2.NewInstanceTerminatedWaiter(client).Wait(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{*launched.InstanceId}}, time.Minute))
}

func refusedWith(t *testing.T, err error, code string) {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) || e.ErrorCode() != code {
		t.Errorf("error %v, want %s", err, code)
	}
}

// TestEC2CommandLine runs the documented commands of the AWS CLI.
func TestEC2CommandLine(t *testing.T) {
	cli, err := exec.LookPath("/usr/bin/aws")
	testnet.Need(t, "Debian's awscli (scripts/install-test-deps)", err == nil)
	endpoint := ec2API(t)
	home := t.TempDir()
	do := func(args ...string) (string, error) {
		t.Helper()
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		cmd := exec.CommandContext(ctx, cli, append([]string{"ec2", "--endpoint-url", endpoint, "--region", "us-east-1", "--output", "text"}, args...)...)
		cmd.Env = []string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + home, "AWS_ACCESS_KEY_ID=" + ec2Key, "AWS_SECRET_ACCESS_KEY=" + ec2Secret,
			"AWS_EC2_METADATA_DISABLED=true", "AWS_MAX_ATTEMPTS=1", "AWS_PAGER=", "LC_ALL=C.UTF-8",
		}
		out, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(out)), err
	}
	ok := func(args ...string) string {
		t.Helper()
		out, err := do(args...)
		if err != nil {
			t.Fatalf("aws ec2 %q: %v\n%s", args, err, out)
		}
		return out
	}
	id := ok("run-instances", "--image-id", ec2Image, "--instance-type", "m7g.large", "--metadata-options", "HttpTokens=required,HttpPutResponseHopLimit=2",
		"--user-data", "#!/bin/sh", "--query", "Instances[0].InstanceId")
	ok("modify-instance-metadata-options", "--instance-id", id, "--http-tokens", "optional", "--http-endpoint", "enabled")
	found := ok("describe-instances", "--filters", "Name=metadata-options.http-tokens,Values=optional", "Name=instance-state-name,Values=running",
		"--query", "Reservations[].Instances[].[InstanceId,MetadataOptions.HttpPutResponseHopLimit]")
	if found != id+"\t2" {
		t.Errorf("found %q", found)
	}
	ok("modify-image-attribute", "--image-id", ec2Image, "--description", "an image")
	if out := ok("describe-images", "--image-ids", ec2Image, "--query", "Images[0].Description"); out != "an image" {
		t.Errorf("description %q", out)
	}
	ok("create-tags", "--resources", id, "--tags", "Key=A,Value=b c")
	ok("stop-instances", "--instance-ids", id)
	ok("wait", "instance-stopped", "--instance-ids", id)
	ok("start-instances", "--instance-ids", id)
	if out, err := do("modify-instance-metadata-options", "--instance-id", id, "--http-tokens", "required", "--dry-run"); err == nil || !strings.Contains(out, "(DryRunOperation)") {
		t.Errorf("dry run: %s", out)
	}
	if out := ok("terminate-instances", "--instance-ids", id, "--query", "TerminatingInstances[0].CurrentState.Name"); out != "shutting-down" {
		t.Errorf("terminating: %q", out)
	}
}
