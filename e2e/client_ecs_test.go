//go:build linux

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"testing"

	dara "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	darautil "github.com/alibabacloud-go/darabonba-openapi/v2/utils"
	openapiutil "github.com/alibabacloud-go/openapi-util/service"
	daraopts "github.com/alibabacloud-go/tea/dara"
	"github.com/alibabacloud-go/tea/tea"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	sdkerrors "github.com/aliyun/alibaba-cloud-sdk-go/sdk/errors"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/ecs"

	"openimds/internal/api/ecsrpc"
)

// ecsClients are the clients of ECS, each made by a function that skips the
// test where the client is missing.
var ecsClients = map[string]func(*testing.T, connection) client{
	"alibaba-cloud-sdk-go": func(t *testing.T, c connection) client {
		sdk := check[*ecs.Client](t)(ecs.NewClientWithOptions(c.Region, sdk.NewConfig().WithScheme("HTTP").WithAutoRetry(false),
			credentials.NewAccessKeyCredential(c.Key, c.Secret)))
		sdk.Domain = hostport(t, c.Endpoint)
		return goECS{sdk}
	},
	"alibaba-cloud-sdk-go common request": func(t *testing.T, c connection) client {
		return commonECS{hostport(t, c.Endpoint), check[*sdk.Client](t)(sdk.NewClientWithOptions(c.Region,
			sdk.NewConfig().WithScheme("HTTP").WithAutoRetry(false), credentials.NewAccessKeyCredential(c.Key, c.Secret)))}
	},
	"darabonba-openapi": func(t *testing.T, c connection) client {
		return darabonba{c.Region, check[*dara.Client](t)(dara.NewClient(&darautil.Config{
			AccessKeyId: &c.Key, AccessKeySecret: &c.Secret, Endpoint: tea.String(hostport(t, c.Endpoint)), Protocol: tea.String("HTTP"), RegionId: &c.Region,
		}))}
	},
	"npm ecs20140526": func(t *testing.T, c connection) client {
		return startScript(t, c, node(t), "testdata/npm/ecs20140526.js")
	},
	"npm pop-core": func(t *testing.T, c connection) client {
		return startScript(t, c, node(t), "testdata/npm/pop_core.js")
	},
}

// goECS is alibaba-cloud-sdk-go's client, which signs with V1.
type goECS struct{ c *ecs.Client }

// ecsRequests make the requests of the actions that the stories call.
var ecsRequests = map[string]func() any{
	"RunInstances":                  func() any { return ecs.CreateRunInstancesRequest() },
	"DescribeInstances":             func() any { return ecs.CreateDescribeInstancesRequest() },
	"ModifyInstanceMetadataOptions": func() any { return ecs.CreateModifyInstanceMetadataOptionsRequest() },
	"DescribeUserData":              func() any { return ecs.CreateDescribeUserDataRequest() },
	"StopInstance":                  func() any { return ecs.CreateStopInstanceRequest() },
	"StartInstance":                 func() any { return ecs.CreateStartInstanceRequest() },
	"DeleteInstance":                func() any { return ecs.CreateDeleteInstanceRequest() },
	"DeleteInstances":               func() any { return ecs.CreateDeleteInstancesRequest() },
	"TagResources":                  func() any { return ecs.CreateTagResourcesRequest() },
	"UntagResources":                func() any { return ecs.CreateUntagResourcesRequest() },
	"ListTagResources":              func() any { return ecs.CreateListTagResourcesRequest() },
	"AttachInstanceRamRole":         func() any { return ecs.CreateAttachInstanceRamRoleRequest() },
	"DetachInstanceRamRole":         func() any { return ecs.CreateDetachInstanceRamRoleRequest() },
	"DescribeInstanceRamRole":       func() any { return ecs.CreateDescribeInstanceRamRoleRequest() },
}

func (g goECS) call(action string, params values) (values, error) {
	create, ok := ecsRequests[action]
	if !ok {
		return nil, fmt.Errorf("no request for %s", action)
	}
	req := create()
	text, err := json.Marshal(texts(params))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, req); err != nil {
		return nil, err
	}
	req.(interface{ SetScheme(scheme string) }).SetScheme("http")
	out := reflect.ValueOf(g.c).MethodByName(action).Call([]reflect.Value{reflect.ValueOf(req)})
	if err, _ := out[1].Interface().(error); err != nil {
		return nil, sdkRefusal(err)
	}
	return convert[values](out[0].Interface())
}

func sdkRefusal(err error) error {
	if e, ok := errors.AsType[*sdkerrors.ServerError](err); ok {
		return &refusal{e.ErrorCode(), e.HttpStatus(), e.Message()}
	}
	return err
}

// commonECS is the same module's client for actions of which it knows nothing,
// by GET. Command line tools are made of it.
type commonECS struct {
	host string
	c    *sdk.Client
}

func (g commonECS) call(action string, params values) (reply values, err error) {
	r := requests.NewCommonRequest()
	r.Method, r.Scheme, r.Domain, r.Version, r.ApiName = http.MethodGet, "http", g.host, ecsrpc.Version, action
	for name, value := range openapiutil.Query(params) {
		r.QueryParams[name] = *value
	}
	out, err := g.c.ProcessCommonRequest(r)
	if err != nil {
		return nil, sdkRefusal(err)
	}
	err = json.Unmarshal(out.GetHttpContentBytes(), &reply)
	return reply, err
}

// texts makes text of every number and truth value: in this client's requests
// they are.
func texts(v any) any {
	switch v := v.(type) {
	case values:
		all := values{}
		for name, inner := range v {
			all[name] = texts(inner)
		}
		return all
	case []any:
		all := make([]any, len(v))
		for i, inner := range v {
			all[i] = texts(inner)
		}
		return all
	default:
		return fmt.Sprint(v)
	}
}

// darabonba is the generic client below the newer SDKs, which signs with V3.
type darabonba struct {
	region string
	c      *dara.Client
}

func (d darabonba) call(action string, params values) (values, error) {
	params = maps.Clone(params)
	params["RegionId"] = d.region
	text := tea.String
	out, err := d.c.CallApi(&darautil.Params{
		Action: &action, Version: text(ecsrpc.Version), Protocol: text("HTTPS"), Pathname: text("/"), Method: text("POST"),
		AuthType: text("AK"), BodyType: text("json"), ReqBodyType: text("formData"), Style: text("RPC"),
	}, &darautil.OpenApiRequest{Query: openapiutil.Query(params)}, &daraopts.RuntimeOptions{})
	if e, ok := errors.AsType[*tea.SDKError](err); ok {
		return nil, &refusal{tea.StringValue(e.Code), tea.IntValue(e.StatusCode), tea.StringValue(e.Message)}
	}
	if e, ok := errors.AsType[daraopts.ResponseError](err); ok {
		return nil, &refusal{tea.StringValue(e.GetCode()), 0, strings.TrimSpace(e.Error())}
	}
	if err != nil {
		return nil, err
	}
	return convert[values](out["body"])
}
