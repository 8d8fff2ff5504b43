//go:build linux

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	"github.com/aliyun/alibaba-cloud-sdk-go/services/cms"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"

	"openimds/internal/testnet"
)

// cloudWatchClients are the clients of CloudWatch: between them they speak all
// of its protocols.
var cloudWatchClients = map[string]func(*testing.T, connection) client{
	"aws-sdk-go-v2": func(t *testing.T, c connection) client {
		return goCloudWatch{t.Context(), cloudwatch.New(cloudwatch.Options{
			Region: c.Region, BaseEndpoint: &c.Endpoint, HTTPClient: wholeBody{http.Client{Transport: transport("127.0.0.1")}},
			Credentials: awscredentials.NewStaticCredentialsProvider(c.Key, c.Secret, ""), RetryMaxAttempts: 1,
		})}
	},
	"awscli": func(t *testing.T, c connection) client {
		const path = "/usr/bin/aws"
		testnet.Need(t, "Debian's awscli (scripts/install-test-deps)", exec.Command(path, "--version").Run() == nil)
		return cliCloudWatch{t.Context(), path, c.Endpoint, append(clientEnv(t),
			"AWS_ACCESS_KEY_ID="+c.Key, "AWS_SECRET_ACCESS_KEY="+c.Secret, "AWS_DEFAULT_REGION="+c.Region)}
	},
	"boto3": func(t *testing.T, c connection) client {
		return startScript(t, c, python(t, "boto3"), "testdata/boto3_cloudwatch.py")
	},
	"boto3 of PATH": func(t *testing.T, c connection) client {
		// One that is newer than Debian's speaks another protocol.
		path, err := exec.LookPath("python3")
		if err != nil || path == "/usr/bin/python3" || exec.Command(path, "-c", "import boto3").Run() != nil {
			t.Skip("there is no other boto3 than Debian's")
		}
		return startScript(t, c, path, "testdata/boto3_cloudwatch.py")
	},
	"npm client-cloudwatch": func(t *testing.T, c connection) client {
		return startScript(t, c, node(t), "testdata/npm/client_cloudwatch.js")
	},
}

// goCloudWatch is aws-sdk-go-v2's client.
type goCloudWatch struct {
	ctx context.Context
	c   *cloudwatch.Client
}

func (g goCloudWatch) call(action string, params values) (values, error) {
	m := reflect.ValueOf(g.c).MethodByName(action)
	in := reflect.New(m.Type().In(1).Elem())
	text, err := json.Marshal(params)
	if err == nil {
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		err = d.Decode(in.Interface())
	}
	if err != nil {
		return nil, err
	}
	out := m.Call([]reflect.Value{reflect.ValueOf(g.ctx), in})
	if err, _ := out[1].Interface().(error); err != nil {
		return nil, awsRefusal(err)
	}
	return convert[values](out[0].Interface())
}

// cliCloudWatch is Debian's aws, which is given its input as JSON.
type cliCloudWatch struct {
	ctx      context.Context
	path     string
	endpoint string
	env      []string
}

func (a cliCloudWatch) call(action string, params values) (reply values, err error) {
	input, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(a.ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, a.path, "--endpoint-url", a.endpoint, "--output", "json", "cloudwatch", dashed(action), "--cli-input-json", string(input))
	cmd.Env = a.env
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if m := cliError.FindStringSubmatch(errs.String()); m != nil {
			return nil, &refusal{Code: m[1], Message: m[2]}
		}
		return nil, fmt.Errorf("aws %s: %w: %s", action, err, &errs)
	}
	if len(bytes.TrimSpace(out.Bytes())) == 0 {
		return nil, nil
	}
	err = json.Unmarshal(out.Bytes(), &reply)
	return reply, err
}

// cmsClients are the clients of CloudMonitor, with both signatures.
var cmsClients = map[string]func(*testing.T, connection) client{
	"alibaba-cloud-sdk-go": func(t *testing.T, c connection) client {
		sdk := check[*cms.Client](t)(cms.NewClientWithOptions(c.Region, sdk.NewConfig().WithScheme("HTTP").WithAutoRetry(false),
			credentials.NewAccessKeyCredential(c.Key, c.Secret)))
		sdk.Domain = hostport(t, c.Endpoint)
		return goCMS{sdk}
	},
	"npm cms20190101": func(t *testing.T, c connection) client {
		return startScript(t, c, node(t), "testdata/npm/cms20190101.js")
	},
}

// goCMS is alibaba-cloud-sdk-go's client, which signs with V1.
type goCMS struct{ c *cms.Client }

var cmsRequests = map[string]func() any{
	"DescribeMetricList":     func() any { return cms.CreateDescribeMetricListRequest() },
	"DescribeMetricLast":     func() any { return cms.CreateDescribeMetricLastRequest() },
	"DescribeMetricMetaList": func() any { return cms.CreateDescribeMetricMetaListRequest() },
	"PutResourceMetricRule":  func() any { return cms.CreatePutResourceMetricRuleRequest() },
	"DescribeMetricRuleList": func() any { return cms.CreateDescribeMetricRuleListRequest() },
	"DeleteMetricRules":      func() any { return cms.CreateDeleteMetricRulesRequest() },
	"EnableMetricRules":      func() any { return cms.CreateEnableMetricRulesRequest() },
	"DisableMetricRules":     func() any { return cms.CreateDisableMetricRulesRequest() },
}

func (g goCMS) call(action string, params values) (values, error) {
	req := cmsRequests[action]()
	text, err := json.Marshal(texts(flat("", params)))
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

// flat names nested parameters as this client's requests do:
// EscalationsCriticalTimes.
func flat(prefix string, params values) values {
	all := values{}
	for name, v := range params {
		if inner, ok := v.(values); ok {
			for name, v := range flat(prefix+name, inner) {
				all[name] = v
			}
			continue
		}
		all[prefix+name] = v
	}
	return all
}

// webhook is a receiver of messages of alarms.
type webhook struct {
	url  string
	came chan values
}

// next returns the next message that is wanted.
func (w *webhook) next(t *testing.T, within time.Duration, wanted func(values) bool) values {
	t.Helper()
	end := time.After(within)
	for {
		select {
		case m := <-w.came:
			if wanted(m) {
				return m
			}
		case <-end:
			t.Fatalf("no such message came within %v", within)
		}
	}
}

func contains(v any, text string) bool { return strings.Contains(fmt.Sprint(v), text) }
