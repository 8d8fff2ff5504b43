//go:build linux

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	alicreds "github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	sdkerrors "github.com/aliyun/alibaba-cloud-sdk-go/sdk/errors"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/credentials-go/credentials"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"openimds/internal/instance"
	"openimds/internal/testnet"
)

// code is the vendor's code of an AWS error.
func code(err error) string {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return e.ErrorCode()
	}
	return fmt.Sprint(err)
}

// wholeBody sends requests whose body is the test's own. The SDK closes the
// body that it gave once the answer begins; net/http may still be looking
// whether there is more of it, takes the closed one's io.EOF from WriteTo for a
// failure, and closes the connection under the answer. The SDK's retries, which
// these tests turn off, hide that.
type wholeBody struct{ http.Client }

// Do implements aws.HTTPClient.
func (w wholeBody) Do(r *http.Request) (*http.Response, error) {
	r = r.WithContext(r.Context())
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return w.Client.Do(r)
}

// awsRole are clients that know nothing but the metadata service.
type awsRole struct {
	provider aws.CredentialsProvider
	ec2      *ec2.Client
	sts      *sts.Client
}

func (b *credBed) awsRole() awsRole {
	c := ec2rolecreds.New(func(o *ec2rolecreds.Options) {
		o.Client = imds.New(imds.Options{Endpoint: b.address["ec2"], EnableFallback: aws.FalseTernary})
	})
	return awsRole{c,
		ec2.New(ec2.Options{Region: "us-east-1", BaseEndpoint: &b.apis, Credentials: c, RetryMaxAttempts: 1, HTTPClient: wholeBody{}}),
		sts.New(sts.Options{Region: "us-east-1", BaseEndpoint: &b.apis, Credentials: c, RetryMaxAttempts: 1, HTTPClient: wholeBody{}}),
	}
}

// TestRoleOfAWSSDK is aws-sdk-go-v2 from the metadata service to calls that
// are accepted, and refused once the role was changed or revoked.
func TestRoleOfAWSSDK(t *testing.T) {
	b := credentialsBed(t, nil)
	in, ctx := sample(t, "ec2", optional), t.Context()
	c := b.awsRole()
	arn := "arn:aws:sts::" + in.Account + ":assumed-role/" + in.Role.Name + "/" + in.ID

	who, err := c.sts.GetCallerIdentity(ctx, nil)
	must(t, err)
	equal(t, "identity", *who.Arn, arn)
	equal(t, "account", *who.Account, in.Account)
	if !strings.HasPrefix(*who.UserId, "AROA") || !strings.HasSuffix(*who.UserId, ":"+in.ID) {
		t.Errorf("user id %q", *who.UserId)
	}
	_, err = c.ec2.DescribeInstances(ctx, nil)
	must(t, err)
	_, err = c.ec2.DeleteKeyPair(ctx, &ec2.DeleteKeyPairInput{KeyName: aws.String("k")})
	equal(t, "what the role may not do", code(err), "UnauthorizedOperation")
	if p := b.principals("ec2:DescribeInstances"); !slices.Contains(p, arn) {
		t.Errorf("recorded principals %q", p)
	}
	if p := b.principals("sts:GetCallerIdentity"); !slices.Contains(p, arn) {
		t.Errorf("recorded principals %q", p)
	}
	if p := b.principals("sts:AssumeRole"); !slices.Contains(p, "ec2.amazonaws.com") {
		t.Errorf("recorded principals %q", p)
	}

	// The role is changed: the same keys may do something else at once.
	b.role(t, in)
	_, err = c.ec2.DescribeInstances(ctx, nil)
	equal(t, "after the policy was taken away", code(err), "UnauthorizedOperation")
	_, err = c.sts.GetCallerIdentity(ctx, nil)
	must(t, err)
	b.role(t, in, "look")

	for name, revoke := range map[string]func() error{
		"role":     func() error { return b.RevokeRole(ctx, operator(in), in.Role.Name) },
		"instance": func() error { return b.RevokeInstance(ctx, operator(in), in.ID) },
	} {
		c := b.awsRole()
		cached := aws.NewCredentialsCache(c.provider)
		old := check[aws.Credentials](t)(cached.Retrieve(ctx))
		held := ec2.New(ec2.Options{Region: "us-east-1", BaseEndpoint: &b.apis, Credentials: cached, RetryMaxAttempts: 1, HTTPClient: wholeBody{}})
		_, err = held.DescribeInstances(ctx, nil)
		must(t, err)
		must(t, revoke())
		_, err = held.DescribeInstances(ctx, nil)
		equal(t, "after the "+name+" was revoked", code(err), "AuthFailure")
		fresh := check[aws.Credentials](t)(b.awsRole().provider.Retrieve(ctx))
		if fresh.AccessKeyID == old.AccessKeyID {
			t.Errorf("%s: what was revoked is still given out", name)
		}
		_, err = b.awsRole().ec2.DescribeInstances(ctx, nil)
		must(t, err)
	}
	// A role that is gone gives nothing.
	must(t, b.DeleteRole(ctx, operator(in), in.Role.Name))
	_, err = c.sts.GetCallerIdentity(ctx, nil)
	if err == nil {
		t.Error("a deleted role's session is accepted")
	}
}

// TestDelivery: the sample policy that refuses credentials of normal mode,
// against our own API.
func TestDelivery(t *testing.T) {
	b := credentialsBed(t, nil)
	in, ctx := sample(t, "ec2", optional), t.Context()
	document := check[[]byte](t)(os.ReadFile("../docs/policies/ec2-role-credentials-v2.json"))
	call := func(tokened bool) error {
		t.Helper()
		fetched := b.fetchRole(t, in, tokened)
		provider := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: fetched.AccessKeyID, SecretAccessKey: fetched.SecretAccessKey, SessionToken: fetched.Token}, nil
		})
		c := ec2.New(ec2.Options{Region: "us-east-1", BaseEndpoint: &b.apis, Credentials: provider, RetryMaxAttempts: 1, HTTPClient: wholeBody{}})
		_, err := c.DescribeInstances(ctx, nil)
		return err
	}
	for _, tokened := range []bool{false, true} {
		must(t, call(tokened))
	}
	b.policy(t, "ec2", "v2", string(document), false)
	b.role(t, in, "look", "v2")
	equal(t, "delivery 1.0, policy of the role", code(call(false)), "UnauthorizedOperation")
	must(t, call(true))
	b.role(t, in, "look")
	must(t, call(false))
	b.policy(t, "ec2", "v2", string(document), true)
	equal(t, "delivery 1.0, guard", code(call(false)), "UnauthorizedOperation")
	must(t, call(true))
}

// roleDocument is the document of EC2's role credentials.
type roleDocument struct{ Code, AccessKeyID, SecretAccessKey, Token string }

// fetchRole reads the document with or without a token.
func (b *credBed) fetchRole(t *testing.T, in *instance.Instance, tokened bool) (d roleDocument) {
	t.Helper()
	args := []string{"-sS", b.address["ec2"] + "/latest/meta-data/iam/security-credentials/" + in.Role.Name}
	if tokened {
		out, _, err := command(t, nil, "curl", "-sSX", "PUT", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 60", b.address["ec2"]+"/latest/api/token")
		must(t, err)
		b.secret(out)
		args = append(args, "-H", "X-aws-ec2-metadata-token: "+out)
	}
	out, _, err := command(t, nil, "curl", args...)
	must(t, err)
	must(t, json.Unmarshal([]byte(out), &d))
	equal(t, "code", d.Code, "Success")
	return d
}

// TestAssumeRoleOfAWSSDK: a session narrows, ends where it says, and cannot be
// had by whom the role does not trust.
func TestAssumeRoleOfAWSSDK(t *testing.T) {
	b := credentialsBed(t, nil)
	in, ctx := sample(t, "ec2", optional), t.Context()
	c := b.awsRole()
	role := "arn:aws:iam::" + in.Account + ":role/" + in.Role.Name
	made, err := c.sts.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: &role, RoleSessionName: aws.String("deploy"),
		Policy: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ec2:DescribeImages","Resource":"*"}]}`)})
	must(t, err)
	b.secret(*made.Credentials.SecretAccessKey, *made.Credentials.SessionToken)
	equal(t, "session", *made.AssumedRoleUser.Arn, "arn:aws:sts::"+in.Account+":assumed-role/"+in.Role.Name+"/deploy")
	provider := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		k := made.Credentials
		return aws.Credentials{AccessKeyID: *k.AccessKeyId, SecretAccessKey: *k.SecretAccessKey, SessionToken: *k.SessionToken}, nil
	})
	narrow := ec2.New(ec2.Options{Region: "us-east-1", BaseEndpoint: &b.apis, Credentials: provider, RetryMaxAttempts: 1, HTTPClient: wholeBody{}})
	_, err = narrow.DescribeImages(ctx, nil)
	must(t, err)
	_, err = narrow.DescribeInstances(ctx, nil)
	equal(t, "outside the session policy", code(err), "UnauthorizedOperation")
	for what, refused := range map[string]struct {
		input *sts.AssumeRoleInput
		code  string
	}{
		"no such role":       {&sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::" + in.Account + ":role/none"), RoleSessionName: aws.String("x1")}, "AccessDenied"},
		"another account":    {&sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::999999999999:role/web"), RoleSessionName: aws.String("x1")}, "AccessDenied"},
		"too long a session": {&sts.AssumeRoleInput{RoleArn: &role, RoleSessionName: aws.String("x1"), DurationSeconds: aws.Int32(43200)}, "ValidationError"},
		"a bad name":         {&sts.AssumeRoleInput{RoleArn: &role, RoleSessionName: aws.String("a b")}, "ValidationError"},
		"a bad policy":       {&sts.AssumeRoleInput{RoleArn: &role, RoleSessionName: aws.String("x1"), Policy: aws.String(`{"Version":"2012-10-17"}`)}, "MalformedPolicyDocument"},
	} {
		_, err := c.sts.AssumeRole(ctx, refused.input)
		equal(t, what, code(err), refused.code)
	}
}

// TestRoleOfAWSCLI: nothing but the metadata endpoint is configured.
func TestRoleOfAWSCLI(t *testing.T) {
	const cli = "/usr/bin/aws"
	_, err := exec.LookPath(cli)
	testnet.Need(t, "Debian's awscli (scripts/install-test-deps)", err == nil)
	b := credentialsBed(t, nil)
	in := sample(t, "ec2", optional)
	env := []string{"AWS_EC2_METADATA_SERVICE_ENDPOINT=" + b.address["ec2"] + "/", "AWS_PAGER="}
	run := func(args ...string) (string, string, error) {
		return command(t, env, cli, append([]string{"--endpoint-url", b.apis, "--output", "text"}, args...)...)
	}
	stdout, stderr, err := run("sts", "get-caller-identity", "--query", "Arn")
	if err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	equal(t, "identity", strings.TrimSpace(stdout), "arn:aws:sts::"+in.Account+":assumed-role/"+in.Role.Name+"/"+in.ID)
	if _, stderr, err := run("ec2", "describe-instances"); err != nil {
		t.Errorf("%v: %s", err, stderr)
	}
	b.role(t, in)
	if _, stderr, err := run("ec2", "describe-instances"); err == nil || !strings.Contains(stderr, "(UnauthorizedOperation)") {
		t.Errorf("after the policy was taken away: %v, %s", err, stderr)
	}
}

// TestRoleOfBoto3 finds its credentials at the built-in address.
func TestRoleOfBoto3(t *testing.T) {
	py := python(t, "boto3")
	b := viaBuiltIn(t, "ec2")
	in := sample(t, "ec2", optional)
	const script = `
import boto3, sys
url = sys.argv[1]
s = boto3.Session(region_name='us-east-1')
print(s.client('sts', endpoint_url=url).get_caller_identity()['Arn'])
print(s.client('ec2', endpoint_url=url).describe_instances()['ResponseMetadata']['HTTPStatusCode'])
`
	stdout, stderr, err := command(t, nil, py, "-c", script, b.apis)
	if err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	equal(t, "identity and status", stdout, "arn:aws:sts::"+in.Account+":assumed-role/"+in.Role.Name+"/"+in.ID+"\n200\n")
	must(t, b.DeleteRole(t.Context(), operator(in), in.Role.Name))
	if _, _, err := command(t, nil, py, "-c", script, b.apis); err == nil {
		t.Error("a deleted role is accepted")
	}
}

// TestRoleOfJavaScriptSDK is the default chain of @aws-sdk/client-ec2 and its
// credential providers.
func TestRoleOfJavaScriptSDK(t *testing.T) {
	modules := check[string](t)(filepath.Abs(".cache/npm"))
	_, err := os.Stat(filepath.Join(modules, "node_modules/@aws-sdk/client-ec2"))
	testnet.Need(t, "the clients for Node.js (scripts/install-test-deps)", err == nil)
	b := credentialsBed(t, nil)
	in := sample(t, "ec2", optional)
	const script = `
const { EC2Client, DescribeInstancesCommand } = require('@aws-sdk/client-ec2');
const { defaultProvider } = require('@aws-sdk/credential-provider-node');
const client = new EC2Client({ endpoint: process.argv[1], region: 'us-east-1', credentials: defaultProvider(), maxAttempts: 1 });
client.send(new DescribeInstancesCommand({})).then((r) => console.log(r.$metadata.httpStatusCode), (e) => console.log(e.name));
`
	env := []string{"NODE_PATH=" + filepath.Join(modules, "node_modules"), "AWS_EC2_METADATA_SERVICE_ENDPOINT=" + b.address["ec2"]}
	js := check[string](t)(exec.LookPath("node"))
	call := func() string {
		stdout, stderr, err := command(t, env, js, "-e", script, b.apis)
		if err != nil {
			t.Fatalf("%v: %s", err, stderr)
		}
		return strings.TrimSpace(stdout)
	}
	equal(t, "status", call(), "200")
	b.role(t, in)
	equal(t, "after the policy was taken away", call(), "UnauthorizedOperation")
}

// aliCode is the vendor's code of an Alibaba Cloud error.
func aliCode(err error) string {
	if e, ok := errors.AsType[*sdkerrors.ServerError](err); ok {
		return e.ErrorCode()
	}
	return fmt.Sprint(err)
}

// aliCall makes a call with the SDK.
func aliCall(c *sdk.Client, b *credBed, version, action string) (map[string]any, error) {
	r := requests.NewCommonRequest()
	r.Scheme, r.Domain, r.Version, r.ApiName, r.Method = "http", strings.TrimPrefix(b.apis, "http://"), version, action, "POST"
	answer, err := c.ProcessCommonRequest(r)
	if err != nil {
		return nil, err
	}
	var reply map[string]any
	return reply, json.Unmarshal(answer.GetHttpContentBytes(), &reply)
}

// TestRoleOfAlibabaCloudSDKs: credentials-go and alibaba-cloud-sdk-go fetch
// from the built-in address, and the SDK calls ECS and STS with them.
func TestRoleOfAlibabaCloudSDKs(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"} {
		t.Setenv(name, "")
	}
	b := viaBuiltIn(t, "ecs")
	in, ctx := sample(t, "ecs", optional), t.Context()
	arn := "acs:sts::" + in.Account + ":assumed-role/" + in.Role.Name + "/" + in.ID

	role := func() *sdk.Client {
		t.Helper()
		return check[*sdk.Client](t)(sdk.NewClientWithEcsRamRole("cn-hangzhou", in.Role.Name)) //nolint:staticcheck // deprecated, and what programs in the field call
	}
	fetched := func() *sdk.Client {
		t.Helper()
		c := check[credentials.Credential](t)(credentials.NewCredential(new(credentials.Config).SetType("ecs_ram_role")))
		got := check[*credentials.CredentialModel](t)(c.GetCredential())
		return check[*sdk.Client](t)(sdk.NewClientWithOptions("cn-hangzhou", sdk.NewConfig().WithScheme("HTTP"),
			alicreds.NewStsTokenCredential(*got.AccessKeyId, *got.AccessKeySecret, *got.SecurityToken)))
	}
	for name, client := range map[string]func() *sdk.Client{"alibaba-cloud-sdk-go": role, "credentials-go": fetched} {
		t.Run(name, func(t *testing.T) {
			c := client()
			who, err := aliCall(c, b, "2015-04-01", "GetCallerIdentity")
			must(t, err)
			equal(t, "identity", fmt.Sprint(who["Arn"]), arn)
			equal(t, "type", fmt.Sprint(who["IdentityType"]), "AssumedRoleUser")
			_, err = aliCall(c, b, "2014-05-26", "DescribeInstances")
			must(t, err)
			b.role(t, in)
			_, err = aliCall(c, b, "2014-05-26", "DescribeInstances")
			equal(t, "after the policy was taken away", aliCode(err), "Forbidden.RAM")
			b.role(t, in, "look")
			must(t, b.RevokeInstance(ctx, operator(in), in.ID))
			_, err = aliCall(c, b, "2014-05-26", "DescribeInstances")
			equal(t, "after it was revoked", aliCode(err), "InvalidAccessKeyId.NotFound")
			_, err = aliCall(client(), b, "2014-05-26", "DescribeInstances")
			must(t, err)
		})
	}
}

// TestProgramKeepsSecrets: `imds dev` gives credentials out, takes calls that
// are signed with them, and shows none of it anywhere else (SEC-14).
func TestProgramKeepsSecrets(t *testing.T) {
	const cli = "/usr/bin/aws"
	_, err := exec.LookPath(cli)
	testnet.Need(t, "Debian's awscli (scripts/install-test-deps)", err == nil)
	folder := t.TempDir()
	p := start(t, map[string]string{"sample-credentials": "false", "state": folder})
	in := sample(t, "ec2", optional)
	ecs := sample(t, "ecs", optional)
	stdout, stderr, err := command(t, []string{"AWS_EC2_METADATA_SERVICE_ENDPOINT=" + p.ec2 + "/"}, cli,
		"--endpoint-url", p.control, "--output", "text", "sts", "get-caller-identity", "--query", "Arn")
	if err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	arn := "arn:aws:sts::" + in.Account + ":assumed-role/" + in.Role.Name + "/" + in.ID
	equal(t, "identity", strings.TrimSpace(stdout), arn)

	var secrets []string
	for _, url := range []string{p.ec2 + "/latest/meta-data/iam/security-credentials/" + in.Role.Name, p.ecs + "/latest/meta-data/ram/security-credentials/" + ecs.Role.Name} {
		var d struct{ Code, SecretAccessKey, Token, AccessKeySecret, SecurityToken string }
		must(t, json.Unmarshal([]byte(get(t, http.DefaultClient, url)), &d))
		equal(t, "code", d.Code, "Success")
		for _, s := range []string{d.SecretAccessKey, d.Token, d.AccessKeySecret, d.SecurityToken} {
			if s != "" {
				secrets = append(secrets, testnet.Secret(t, s))
			}
		}
	}
	equal(t, "secrets", len(secrets), 4)
	metrics := get(t, http.DefaultClient, p.control+"/metrics")
	usage := get(t, http.DefaultClient, p.control+"/v1/usage")
	p.stop(t)
	audit := string(check[[]byte](t)(os.ReadFile(filepath.Join(folder, "audit.log"))))
	for _, want := range []string{arn, `"sts:GetCallerIdentity"`, `"sts:AssumeRole"`, `"ec2.amazonaws.com"`, `"ecs.aliyuncs.com"`} {
		if !strings.Contains(audit, want) {
			t.Errorf("the audit log lacks %s", want)
		}
	}
	if !strings.Contains(metrics, `openimds_credentials_made_total 3`) { // EC2 with a token and without, ECS without
		t.Errorf("the sets that were made are not counted:\n%s", metrics)
	}
	for where, text := range map[string]string{"log": p.stderr.String(), "output": strings.Join(p.lines, "\n"), "metrics": metrics, "usage": usage, "audit log": audit} {
		for i, s := range secrets {
			if strings.Contains(text, s) {
				t.Errorf("secret %d is in the %s", i, where)
			}
		}
	}
}
