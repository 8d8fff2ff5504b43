//go:build linux

package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"

	"openimds/internal/testnet"
)

// ec2Clients are the clients of EC2, each made by a function that skips the
// test where the client is missing.
var ec2Clients = map[string]func(*testing.T, connection) client{
	"aws-sdk-go-v2": func(t *testing.T, c connection) client {
		return goEC2{t.Context(), ec2.New(ec2.Options{
			Region: c.Region, BaseEndpoint: &c.Endpoint, HTTPClient: &http.Client{Transport: transport("127.0.0.1")},
			Credentials: credentials.NewStaticCredentialsProvider(c.Key, c.Secret, ""),
		})}
	},
	"awscli": func(t *testing.T, c connection) client {
		const path = "/usr/bin/aws"
		testnet.Need(t, "Debian's awscli (scripts/install-test-deps)", exec.Command(path, "--version").Run() == nil)
		return awsCLI{t.Context(), path, c.Endpoint, append(clientEnv(t),
			"AWS_ACCESS_KEY_ID="+c.Key, "AWS_SECRET_ACCESS_KEY="+c.Secret, "AWS_DEFAULT_REGION="+c.Region)}
	},
	"boto3": func(t *testing.T, c connection) client {
		return pagingScript{startScript(t, c, python(t, "boto3"), "testdata/boto3_ec2.py")}
	},
	"npm client-ec2": func(t *testing.T, c connection) client {
		return base64UserData{pagingScript{startScript(t, c, node(t), "testdata/npm/client_ec2.js")}}
	},
}

// goEC2 is aws-sdk-go-v2's client.
type goEC2 struct {
	ctx context.Context
	c   *ec2.Client
}

func (g goEC2) call(action string, params values) (values, error) {
	m := reflect.ValueOf(g.c).MethodByName(action)
	in := reflect.New(m.Type().In(1).Elem())
	text, err := json.Marshal(encodeUserData(action, params))
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

func awsRefusal(err error) error {
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return err
	}
	r := &refusal{Code: e.ErrorCode(), Message: e.ErrorMessage()}
	if res, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		r.Status = res.HTTPStatusCode()
	}
	return r
}

func (g goEC2) pages(_ string, params values) (all []values, err error) {
	in, err := convert[ec2.DescribeInstancesInput](params)
	if err != nil {
		return nil, err
	}
	for p := ec2.NewDescribeInstancesPaginator(g.c, &in); p.HasMorePages(); {
		page, err := p.NextPage(g.ctx)
		if err != nil {
			return nil, awsRefusal(err)
		}
		reply, err := convert[values](page)
		if err != nil {
			return nil, err
		}
		all = append(all, reply)
	}
	return all, nil
}

func (g goEC2) wait(state string, params values) error {
	in, err := convert[ec2.DescribeInstancesInput](params)
	if err != nil {
		return err
	}
	switch state {
	case "InstanceRunning":
		return ec2.NewInstanceRunningWaiter(g.c).Wait(g.ctx, &in, time.Minute)
	case "InstanceStopped":
		return ec2.NewInstanceStoppedWaiter(g.c).Wait(g.ctx, &in, time.Minute)
	default:
		return fmt.Errorf("no waiter for %s", state)
	}
}

// base64UserData encodes user data for a client that does not.
type base64UserData struct{ pagingScript }

func (b base64UserData) call(action string, params values) (values, error) {
	return b.pagingScript.call(action, encodeUserData(action, params))
}

func encodeUserData(action string, params values) values {
	text, ok := params["UserData"].(string)
	if action != "RunInstances" || !ok {
		return params
	}
	params = maps.Clone(params)
	params["UserData"] = base64.StdEncoding.EncodeToString([]byte(text))
	return params
}

// awsCLI is Debian's aws, whose commands are put together as a person types
// them.
type awsCLI struct {
	ctx      context.Context
	path     string
	endpoint string
	env      []string
}

func (a awsCLI) call(action string, params values) (reply values, err error) {
	out, err := a.run(dashed(action), "", params)
	if err != nil || out == "" {
		return nil, err
	}
	err = json.Unmarshal([]byte(out), &reply)
	return reply, err
}

// pages: this client follows pages unless it is told not to, and makes one
// reply of them.
func (a awsCLI) pages(action string, params values) ([]values, error) {
	params = maps.Clone(params)
	params["PageSize"] = params["MaxResults"]
	delete(params, "MaxResults")
	reply, err := a.call(action, params)
	return []values{reply}, err
}

func (a awsCLI) wait(state string, params values) error {
	_, err := a.run("wait", dashed(state), params)
	return err
}

var cliError = regexp.MustCompile(`An error occurred \((\S+)\) when calling the \w+ operation[^:]*: (.*)`)

func (a awsCLI) run(command, sub string, params values) (string, error) {
	ctx, cancel := context.WithTimeout(a.ctx, time.Minute)
	defer cancel()
	args := []string{"--endpoint-url", a.endpoint, "--output", "json", "ec2", command}
	if sub != "" {
		args = append(args, sub)
	}
	cmd := exec.CommandContext(ctx, a.path, append(args, flags(command, params)...)...)
	cmd.Env = a.env
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err == nil {
		return out.String(), nil
	}
	if m := cliError.FindStringSubmatch(errs.String()); m != nil {
		return "", &refusal{Code: m[1], Message: m[2]}
	}
	if strings.Contains(errs.String(), "Invalid choice") || strings.Contains(errs.String(), "Unknown options") {
		return "", &refusal{Code: unknownAction}
	}
	return "", fmt.Errorf("aws %q: %w: %s", cmd.Args[1:], err, &errs)
}

var capital = regexp.MustCompile(`([a-z])([A-Z])`)

func dashed(name string) string {
	return strings.ToLower(capital.ReplaceAllString(name, "$1-$2"))
}

// flags are the parameters of a command, in the tool's shorthand.
func flags(command string, params values) (all []string) {
	for _, name := range slices.Sorted(maps.Keys(params)) {
		flag := "--" + dashed(name)
		switch v := params[name].(type) {
		case bool:
			if !v {
				flag = "--no-" + dashed(name)
			}
			all = append(all, flag)
		case []any:
			all = append(all, flag)
			for _, e := range v {
				all = append(all, shorthand(e, false))
			}
		default:
			switch {
			case command == "run-instances" && name == "MinCount":
				all = append(all, "--count", fmt.Sprintf("%v:%v", v, params["MaxCount"]))
			case command == "run-instances" && name == "MaxCount":
			default:
				all = append(all, flag, shorthand(v, false))
			}
		}
	}
	return all
}

func shorthand(v any, inner bool) string {
	switch v := v.(type) {
	case values:
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, name+"="+shorthand(v[name], true))
		}
		if inner {
			return "{" + strings.Join(parts, ",") + "}"
		}
		return strings.Join(parts, ",")
	case []any:
		var parts []string
		for _, e := range v {
			parts = append(parts, shorthand(e, true))
		}
		return "[" + strings.Join(parts, ",") + "]"
	default:
		if inner {
			return "'" + fmt.Sprint(v) + "'"
		}
		return fmt.Sprint(v)
	}
}

// node is Node.js with the clients of testdata/npm.
func node(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("node")
	testnet.Need(t, "Node.js (scripts/install-test-deps)", err == nil)
	testnet.Need(t, "the clients of e2e/testdata/npm (scripts/install-test-deps)", exec.Command("test", "-d", npmModules(t)).Run() == nil)
	return path
}
