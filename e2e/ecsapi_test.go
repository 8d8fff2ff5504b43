//go:build linux

package e2e

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	dara "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	darautil "github.com/alibabacloud-go/darabonba-openapi/v2/utils"
	daraopts "github.com/alibabacloud-go/tea/dara"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	sdkerrors "github.com/aliyun/alibaba-cloud-sdk-go/sdk/errors"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/ecs"

	"openimds/internal/api/ecsrpc"
	"openimds/internal/control"
	"openimds/internal/instance"
	"openimds/internal/state"
	"openimds/internal/store/memstore"
	"openimds/internal/testnet"
)

const (
	ecsKey, ecsSecret = "LTAIimdsdev000000000", "imds-dev-secret"
	ecsRegion         = "cn-hangzhou"
	ecsImage          = "imdsdev_3_x64_20G.vhd"
	ecsOldImage       = "imdsdev_2_x64_20G.vhd"
)

// startECSAPI serves the ECS API over an empty control plane with two images
// and returns where: host and port.
func startECSAPI(t *testing.T) string {
	t.Helper()
	testnet.RequireIsolated(t)
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"} {
		t.Setenv(name, "")
	}
	t.Setenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")
	s := memstore.New(memstore.Config{})
	t.Cleanup(func() { _ = s.Close() })
	db := check[*state.DB](t)(state.Open(t.Context(), s, slog.New(slog.DiscardHandler)))
	t.Cleanup(func() { _ = db.Close() })
	c := control.New(control.Config{DB: db, Places: map[string]control.Place{"ecs": {
		Zone: ecsRegion + "-i", VPC: instance.VPC{ID: "vpc-bp1e2e"},
		Subnet: instance.Subnet{ID: "vsw-bp1e2e", IPv4: netip.MustParsePrefix("172.16.0.0/24")},
	}}})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	admin := control.Caller{Dialect: "ecs", Admin: true, Action: "Test"}
	must(db.Update(t.Context(), func(tx *state.Tx) error {
		for _, i := range []state.Image{{ID: ecsImage, ImdsSupport: true}, {ID: ecsOldImage}} {
			i.Dialect, i.Region = "ecs", ecsRegion
			if err := state.Save(tx, db.Images, i.ID, &i); err != nil {
				return err
			}
		}
		return nil
	}))
	must(c.PutPolicy(t.Context(), admin, state.Policy{Name: "all", Dialect: "ecs",
		Document: `{"Version":"1","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`}))
	must(c.PutKey(t.Context(), admin, state.AccessKey{ID: ecsKey, Dialect: "ecs", Account: "1234567890123456", User: "dev", Policies: []string{"all"}}, ecsSecret))
	server := httptest.NewServer(ecsrpc.New(ecsrpc.Config{Control: c, Region: ecsRegion}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// TestECSAPIWithSDK: alibaba-cloud-sdk-go, signature V1, sets the mode from
// launch to release.
func TestECSAPIWithSDK(t *testing.T) {
	host := startECSAPI(t)
	c := check[*ecs.Client](t)(ecs.NewClientWithOptions(ecsRegion, sdk.NewConfig().WithScheme("HTTP"), credentials.NewAccessKeyCredential(ecsKey, ecsSecret)))
	c.Domain = host

	refusedRun := ecs.CreateRunInstancesRequest()
	refusedRun.Scheme, refusedRun.ImageId, refusedRun.InstanceType, refusedRun.HttpTokens = "http", ecsOldImage, "ecs.g7.large", "required"
	_, err := c.RunInstances(refusedRun)
	refusal, ok := errors.AsType[*sdkerrors.ServerError](err)
	if !ok || refusal.ErrorCode() != "OpenImds.ImageWithoutImdsSupport" || refusal.HttpStatus() != http.StatusBadRequest || refusal.RequestId() == "" {
		t.Errorf("an image without support: %v", err)
	}

	run := ecs.CreateRunInstancesRequest()
	run.Scheme, run.ImageId, run.InstanceType, run.InstanceName = "http", ecsImage, "ecs.g7.large", "web 1*~é"
	run.HttpTokens, run.HttpEndpoint, run.HttpPutResponseHopLimit = "required", "enabled", requests.NewInteger(2)
	run.Tag = &[]ecs.RunInstancesTag{{Key: "env", Value: "prod"}}
	launched := check[*ecs.RunInstancesResponse](t)(c.RunInstances(run))
	if len(launched.InstanceIdSets.InstanceIdSet) != 1 {
		t.Fatalf("launched %v", launched.InstanceIdSets)
	}
	id := launched.InstanceIdSets.InstanceIdSet[0]

	find := func(tokens string) []ecs.Instance {
		t.Helper()
		r := ecs.CreateDescribeInstancesRequest()
		r.Scheme, r.HttpTokens, r.InstanceName = "http", tokens, "web*"
		r.AdditionalAttributes = &[]string{"META_OPTIONS"}
		r.Tag = &[]ecs.DescribeInstancesTag{{Key: "env", Value: "prod"}}
		return check[*ecs.DescribeInstancesResponse](t)(c.DescribeInstances(r)).Instances.Instance
	}
	found := find("required")
	if len(found) != 1 {
		t.Fatalf("%d instances with tokens required", len(found))
	}
	equal(t, "id", found[0].InstanceId, id)
	equal(t, "name", found[0].InstanceName, "web 1*~é")
	equal(t, "status", found[0].Status, "Running")
	equal(t, "tokens", found[0].MetadataOptions.HttpTokens, "required")
	equal(t, "endpoint", found[0].MetadataOptions.HttpEndpoint, "enabled")
	equal(t, "hop limit", found[0].MetadataOptions.HttpPutResponseHopLimit, 2)
	equal(t, "tag", found[0].Tags.Tag[0].TagValue, "prod")
	equal(t, "private address", found[0].VpcAttributes.PrivateIpAddress.IpAddress[0], "172.16.0.4")

	modify := ecs.CreateModifyInstanceMetadataOptionsRequest()
	modify.Scheme, modify.InstanceId, modify.HttpEndpoint, modify.HttpTokens = "http", id, "disabled", "optional"
	check[*ecs.ModifyInstanceMetadataOptionsResponse](t)(c.ModifyInstanceMetadataOptions(modify))
	equal(t, "instances with tokens required", len(find("required")), 0)
	found = find("optional")
	if len(found) != 1 {
		t.Fatalf("%d instances with tokens optional", len(found))
	}
	equal(t, "endpoint", found[0].MetadataOptions.HttpEndpoint, "disabled")

	release := ecs.CreateDeleteInstanceRequest()
	release.Scheme, release.InstanceId, release.Force = "http", id, requests.NewBoolean(true)
	check[*ecs.DeleteInstanceResponse](t)(c.DeleteInstance(release))
	equal(t, "instances after release", len(find("")), 0)
	_, err = c.DeleteInstance(release)
	if refusal, ok := errors.AsType[*sdkerrors.ServerError](err); !ok || refusal.ErrorCode() != "InvalidInstanceId.NotFound" {
		t.Errorf("released twice: %v", err)
	}
}

// TestECSAPIWithDarabonba: the generic client of the newer SDKs, signature V3.
func TestECSAPIWithDarabonba(t *testing.T) {
	host := startECSAPI(t)
	text := func(s string) *string { return &s }
	c := check[*dara.Client](t)(dara.NewClient(&darautil.Config{
		AccessKeyId: text(ecsKey), AccessKeySecret: text(ecsSecret), Endpoint: text(host), Protocol: text("HTTP"), RegionId: text(ecsRegion),
	}))
	call := func(action string, query map[string]string) (map[string]any, error) {
		params := map[string]*string{"RegionId": text(ecsRegion)}
		for k, v := range query {
			params[k] = text(v)
		}
		out, err := c.CallApi(&darautil.Params{
			Action: text(action), Version: text(ecsrpc.Version), Protocol: text("HTTPS"), Pathname: text("/"), Method: text("POST"),
			AuthType: text("AK"), BodyType: text("json"), ReqBodyType: text("formData"), Style: text("RPC"),
		}, &darautil.OpenApiRequest{Query: params}, &daraopts.RuntimeOptions{})
		if err != nil {
			return nil, err
		}
		body, ok := out["body"].(map[string]any)
		if !ok {
			t.Fatalf("%s: no body in %v", action, out)
		}
		return body, nil
	}
	do := func(action string, query map[string]string) map[string]any {
		t.Helper()
		return check[map[string]any](t)(call(action, query))
	}

	ids := do("RunInstances", map[string]string{"ImageId": ecsImage, "InstanceType": "ecs.g7.large", "HttpTokens": "required", "InstanceName": "a b*~é"})["InstanceIdSets"].(map[string]any)["InstanceIdSet"].([]any)
	if len(ids) != 1 {
		t.Fatalf("launched %v", ids)
	}
	id := ids[0].(string)
	find := func(tokens string) []any {
		t.Helper()
		return do("DescribeInstances", map[string]string{"HttpTokens": tokens, "AdditionalAttributes.1": "META_OPTIONS", "InstanceIds": `["` + id + `"]`})["Instances"].(map[string]any)["Instance"].([]any)
	}
	found := find("required")
	if len(found) != 1 {
		t.Fatalf("%d instances with tokens required", len(found))
	}
	one := found[0].(map[string]any)
	equal(t, "name", one["InstanceName"], any("a b*~é"))
	equal(t, "tokens", one["MetadataOptions"].(map[string]any)["HttpTokens"], any("required"))

	do("ModifyInstanceMetadataOptions", map[string]string{"InstanceId": id, "HttpEndpoint": "enabled", "HttpTokens": "optional"})
	equal(t, "instances with tokens required", len(find("required")), 0)
	equal(t, "instances with tokens optional", len(find("optional")), 1)

	_, err := call("ModifyInstanceMetadataOptions", map[string]string{"InstanceId": id, "HttpEndpoint": "on"})
	if err == nil || !strings.Contains(err.Error(), "InvalidHttpEndpoint.NotSupported") {
		t.Errorf("a wrong endpoint: %v", err)
	}
	do("DeleteInstance", map[string]string{"InstanceId": id, "Force": "true"})
	equal(t, "instances after release", len(find("")), 0)
}
