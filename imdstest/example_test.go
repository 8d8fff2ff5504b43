package imdstest_test

import (
	"context"
	"fmt"
	"io"

	"github.com/aliyun/credentials-go/credentials/providers"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"openimds/imdstest"
)

// The AWS SDK takes the service's address as an option, or from
// AWS_EC2_METADATA_SERVICE_ENDPOINT (see Instance.Env). In a test, use New.
func ExampleStart_aws() {
	srv, stop, err := imdstest.Start(imdstest.EC2(
		imdstest.Required,
		imdstest.Region("eu-west-1", "eu-west-1b"),
		imdstest.Role("web"),
		imdstest.Tags(map[string]string{"Name": "box"}),
	))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()
	ctx := context.Background()
	client := imds.New(imds.Options{Endpoint: srv.EC2().URL()})

	region, err := client.GetRegion(ctx, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("region:", region.Region)

	name, err := client.GetMetadata(ctx, &imds.GetMetadataInput{Path: "tags/instance/Name"})
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := io.ReadAll(name.Content)
	fmt.Println("tag Name:", string(text), err)

	creds, err := ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = client }).Retrieve(ctx)
	fmt.Println("has keys:", creds.HasKeys(), err)

	fmt.Println("without a token:", srv.EC2().Usage().TokenFreeRejected)
	// Output:
	// region: eu-west-1
	// tag Name: box <nil>
	// has keys: true <nil>
	// without a token: 0
}

// The SDK of Alibaba Cloud has the service's address built in. It reaches a
// test's service as its proxy, and sends nothing anywhere else.
func ExampleStart_alibabaCloud() {
	srv, stop, err := imdstest.Start(imdstest.ECS(imdstest.Required, imdstest.Role("web")))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()
	provider, err := providers.NewECSRAMRoleCredentialsProviderBuilder().
		WithHttpOptions(&providers.HttpOptions{Proxy: srv.ECS().URL()}).
		Build()
	if err != nil {
		fmt.Println(err)
		return
	}
	creds, err := provider.GetCredentials()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("has keys:", creds.AccessKeyId != "" && creds.SecurityToken != "")
	fmt.Println("without a token:", srv.ECS().Usage().TokenFreeRejected)
	// Output:
	// has keys: true
	// without a token: 0
}

// Events are announced while the client runs, as the cloud would.
func ExampleInstance_Update() {
	srv, stop, err := imdstest.Start(imdstest.EC2(imdstest.NoEvents))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stop()
	client := imds.New(imds.Options{Endpoint: srv.EC2().URL()})
	ask := func() {
		out, err := client.GetMetadata(context.Background(), &imds.GetMetadataInput{Path: "spot/instance-action"})
		if err != nil {
			fmt.Println("not yet")
			return
		}
		text, err := io.ReadAll(out.Content)
		fmt.Println(string(text), err)
	}
	ask()
	if err := srv.EC2().Update(imdstest.SpotInterruption("stop", spotTime)); err != nil {
		fmt.Println(err)
	}
	ask()
	// Output:
	// not yet
	// {"action": "stop", "time": "2030-01-01T08:00:00Z"} <nil>
}
