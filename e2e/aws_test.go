//go:build linux

package e2e

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"openimds/internal/instance"
)

// imdsClient is aws-sdk-go-v2's client, which never falls back to normal mode.
func imdsClient(endpoint, source string) *imds.Client {
	return imds.New(imds.Options{
		Endpoint:       endpoint,
		EnableFallback: aws.FalseTernary,
		HTTPClient:     &http.Client{Transport: transport(source)},
	})
}

func TestAWSSDK(t *testing.T) {
	p := start(t, nil)
	for name, source := range map[string]string{"optional": optional, "required": required} {
		t.Run(name, func(t *testing.T) {
			in := sample(t, "ec2", source)
			readAll(t, imdsClient(p.ec2, source), in)
			u := p.usage(t, in.ID)
			if u.TokensMinted == 0 || u.TokenedServed == 0 || u.TokenFreeServed != 0 || u.TokenFreeRejected != 0 || u.BadToken != 0 {
				t.Errorf("the client is to use tokens alone; counted: %+v", u)
			}
		})
	}
}

// readAll reads through every call of the client and compares with in.
func readAll(t *testing.T, c *imds.Client, in *instance.Instance) {
	t.Helper()
	ctx := t.Context()
	region := check[*imds.GetRegionOutput](t)(c.GetRegion(ctx, nil))
	equal(t, "region", region.Region, in.Region)

	doc := check[*imds.GetInstanceIdentityDocumentOutput](t)(c.GetInstanceIdentityDocument(ctx, nil))
	equal(t, "document: instance", doc.InstanceID, in.ID)
	equal(t, "document: account", doc.AccountID, in.Account)
	equal(t, "document: region", doc.Region, in.Region)
	equal(t, "document: zone", doc.AvailabilityZone, in.Zone)
	equal(t, "document: type", doc.InstanceType, in.Type)
	equal(t, "document: image", doc.ImageID, in.Image.ID)
	equal(t, "document: address", doc.PrivateIP, in.Primary().IPv4[0].String())
	if doc.PendingTime.IsZero() {
		t.Error("document: no pending time")
	}

	data := check[*imds.GetUserDataOutput](t)(c.GetUserData(ctx, nil))
	equal(t, "user data", text(t, data.Content), string(in.UserData))
	for path, want := range map[string]string{
		"instance-id":                 in.ID,
		"mac":                         in.Primary().MAC,
		"placement/availability-zone": in.Zone,
		"public-keys/0/openssh-key":   in.KeyPairs[0].PublicKey,
	} {
		out := check[*imds.GetMetadataOutput](t)(c.GetMetadata(ctx, &imds.GetMetadataInput{Path: path}))
		equal(t, path, strings.TrimRight(text(t, out.Content), "\n"), want)
	}
	info := check[*imds.GetIAMInfoOutput](t)(c.GetIAMInfo(ctx, nil))
	equal(t, "iam/info: code", info.Code, "Success")
	if !strings.HasPrefix(info.InstanceProfileArn, "arn:aws:iam::"+in.Account+":") {
		t.Errorf("iam/info: profile %q", info.InstanceProfileArn)
	}

	creds := check[aws.Credentials](t)(ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = c }).Retrieve(ctx))
	sameCredentials(t, creds, in)

	if _, err := c.GetMetadata(ctx, &imds.GetMetadataInput{Path: "no-such-item"}); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("an item that does not exist: %v", err)
	}
}

func sameCredentials(t *testing.T, got aws.Credentials, in *instance.Instance) {
	t.Helper()
	want := in.Role.Credentials
	equal(t, "access key id", got.AccessKeyID, want.AccessKeyID)
	equal(t, "secret access key", got.SecretAccessKey == want.AccessKeySecret, true)
	equal(t, "session token", got.SessionToken == want.SessionToken, true)
	if !got.CanExpire || time.Until(got.Expires) <= 0 {
		t.Errorf("credentials expire %v (%v)", got.Expires, got.CanExpire)
	}
}

func text(t *testing.T, r io.ReadCloser) string {
	t.Helper()
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestAWSSDKDefaults: what a program does that knows nothing of the metadata
// service: default configuration, built-in address, tokens required.
func TestAWSSDKDefaults(t *testing.T) {
	for name, source := range map[string]string{"optional": optional, "required": required} {
		t.Run(name, func(t *testing.T) {
			p := builtIn(t, "ec2", source)
			in := sample(t, "ec2", source)
			noConfiguration(t)
			cfg, err := config.LoadDefaultConfig(t.Context(), config.WithEC2IMDSRegion())
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "region", cfg.Region, in.Region)
			sameCredentials(t, check[aws.Credentials](t)(cfg.Credentials.Retrieve(t.Context())), in)
			readAll(t, imds.NewFromConfig(cfg), in)
			if u := p.usage(t, in.ID); u.TokenFreeServed+u.TokenFreeRejected != 0 {
				t.Errorf("the SDK's defaults use tokens; counted: %+v", u)
			}
		})
	}
}

// TestAWSSDKEndpointVariable: the variable that `imds dev` prints is enough.
func TestAWSSDKEndpointVariable(t *testing.T) {
	p := start(t, nil)
	in := sample(t, "ec2", optional)
	noConfiguration(t)
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", p.ec2)
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithEC2IMDSRegion())
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "region", cfg.Region, in.Region)
	sameCredentials(t, check[aws.Credentials](t)(cfg.Credentials.Retrieve(t.Context())), in)
}

// noConfiguration hides the configuration and credentials of whoever runs the
// test.
func noConfiguration(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("AWS_CONFIG_FILE", dir+"/config")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", dir+"/credentials")
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE",
		"AWS_EC2_METADATA_DISABLED", "AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "HTTP_PROXY", "http_proxy",
	} {
		t.Setenv(name, "")
	}
}

func TestAWSSDKDisabledEndpoint(t *testing.T) {
	p := start(t, nil)
	c := imdsClient(p.ec2, disabled)
	_, err := ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = c }).Retrieve(t.Context())
	if err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("want a refusal with 403, got %v", err)
	}
}

// TestNormalModeClient: a client that knows no tokens is served in normal mode,
// and is refused where tokens are required; both are counted.
func TestNormalModeClient(t *testing.T) {
	p := start(t, nil)
	in := sample(t, "ec2", optional)
	plain := &http.Client{Transport: transport(optional)}
	equal(t, "instance-id", get(t, plain, p.ec2+"/latest/meta-data/instance-id"), in.ID)

	res, err := (&http.Client{Transport: transport(required)}).Get(p.ec2 + "/latest/meta-data/instance-id")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	equal(t, "status without a token", res.StatusCode, http.StatusUnauthorized)

	equal(t, "served without a token", p.usage(t, in.ID).TokenFreeServed, 1)
	equal(t, "rejected without a token", p.usage(t, sample(t, "ec2", required).ID).TokenFreeRejected, 1)
}

// TestAWSSDKTokensAcrossRestarts: with --state a client's token outlives the
// program; without, the client gets 401, mints another and goes on.
func TestAWSSDKTokensAcrossRestarts(t *testing.T) {
	for name, keep := range map[string]bool{"keys in memory": false, "keys in --state": true} {
		t.Run(name, func(t *testing.T) {
			flags := map[string]string{}
			if keep {
				flags["state"] = t.TempDir()
			}
			p := start(t, flags)
			in := sample(t, "ec2", required)
			c := imdsClient(p.ec2, required)
			read := func() {
				t.Helper()
				out, err := c.GetMetadata(context.WithoutCancel(t.Context()), &imds.GetMetadataInput{Path: "instance-id"})
				if err != nil {
					t.Fatal(err)
				}
				equal(t, "instance-id", text(t, out.Content), in.ID)
			}
			read()
			p.stop(t)
			flags["ec2"] = hostport(t, p.ec2)
			p = start(t, flags)
			read()
			u := p.usage(t, in.ID)
			equal(t, "the token was still good", u.BadToken == 0, keep)
			equal(t, "no other was minted", u.TokensMinted == 0, keep)
		})
	}
}
