//go:build linux

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"testing"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"
	"github.com/aliyun/credentials-go/credentials"

	"openimds/internal/instance"
	"openimds/internal/testnet"
)

// clientVariable makes the test binary a client: net/http reads the proxy's
// variables once in the life of a process, so each run is a process.
const clientVariable = "OPENIMDS_E2E_CLIENT"

// keys are what a client came back with.
type keys struct{ ID, Secret, Token string }

// clients know one address and have it built in.
var clients = map[string]func() (keys, error){
	"credentials-go":       credentialsGo,
	"alibaba-cloud-sdk-go": alibabaSDK,
}

func runClient(name string) int {
	if sealed := testnet.Sealed(); !testnet.Isolated() && sealed != nil {
		fmt.Fprintln(os.Stderr, "a client with a built-in address runs in a namespace of its own, or not at all:", sealed)
		return 1
	}
	client, ok := clients[name]
	if !ok {
		client, ok = guestClients[name]
	}
	if !ok {
		fmt.Fprintf(os.Stderr, "there is no client %q\n", name)
		return 1
	}
	k, err := client()
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(k)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// credentialsGo is aliyun/credentials-go, which asks for the role's name and
// for a token by itself.
func credentialsGo() (k keys, err error) {
	c, err := credentials.NewCredential(new(credentials.Config).SetType("ecs_ram_role"))
	if err != nil {
		return k, err
	}
	got, err := c.GetCredential()
	if err != nil {
		return k, err
	}
	return keys{*got.AccessKeyId, *got.AccessKeySecret, *got.SecurityToken}, nil
}

// alibabaSDK is aliyun/alibaba-cloud-sdk-go, which shows its credentials only
// to the service that it calls: here, to a server of our own.
func alibabaSDK() (k keys, err error) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		k = keys{ID: q.Get("AccessKeyId"), Token: q.Get("SecurityToken")}
		fmt.Fprint(w, `{"RequestId":"1"}`)
	}))
	defer api.Close()
	client, err := sdk.NewClientWithEcsRamRole("cn-hangzhou", os.Getenv("ROLE")) //nolint:staticcheck // deprecated, and what programs in the field call
	if err != nil {
		return k, err
	}
	req := requests.NewCommonRequest()
	req.Scheme, req.Version, req.ApiName, req.Method = "http", "2014-05-26", "DescribeRegions", "GET"
	req.Domain = api.Listener.Addr().String()
	if _, err := client.ProcessCommonRequest(req); err != nil {
		return k, err
	}
	if k == (keys{}) {
		return k, errors.New("the call was made without credentials")
	}
	return k, nil
}

func TestAlibabaRoleCredentials(t *testing.T) {
	for name := range clients {
		t.Run(name, func(t *testing.T) {
			t.Run("through HTTP_PROXY", func(t *testing.T) {
				p := start(t, nil)
				in := sample(t, "ecs", optional)
				got, err := fetch(t, name, in, "HTTP_PROXY="+p.ecs, "http_proxy="+p.ecs)
				roleKeys(t, got, err, in)
				tokensOnly(t, p, in)
			})
			for mode, source := range map[string]string{"optional": optional, "required": required} {
				t.Run("built-in address, "+mode, func(t *testing.T) {
					p := builtIn(t, "ecs", source)
					in := sample(t, "ecs", source)
					got, err := fetch(t, name, in)
					roleKeys(t, got, err, in)
					tokensOnly(t, p, in)
				})
			}
			t.Run("built-in address, disabled", func(t *testing.T) {
				builtIn(t, "ecs", disabled)
				if got, err := fetch(t, name, sample(t, "ecs", disabled)); err == nil {
					t.Errorf("a disabled endpoint gave credentials of %s", got.ID)
				}
			})
			t.Run("through a proxy that says so", func(t *testing.T) {
				// No token passes a forwarder that adds X-Forwarded-For (SEC-03).
				p := start(t, nil)
				in := sample(t, "ecs", required)
				proxy := forwarder(t, p.ecs, required)
				if got, err := fetch(t, name, in, "HTTP_PROXY="+proxy, "http_proxy="+proxy); err == nil {
					t.Errorf("credentials of %s passed the proxy", got.ID)
				}
				equal(t, "tokens minted", p.usage(t, in.ID).TokensMinted, 0)
			})
		})
	}
}

// forwarder is a proxy as they mostly are: it forwards what it gets and says
// for whom. It connects from a source address.
func forwarder(t *testing.T, to, source string) string {
	t.Helper()
	target := check[*url.URL](t)(url.Parse(to))
	s := httptest.NewServer(&httputil.ReverseProxy{Transport: transport(source), Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
		r.SetXForwarded()
	}})
	t.Cleanup(s.Close)
	return s.URL
}

func tokensOnly(t *testing.T, p *program, in *instance.Instance) {
	t.Helper()
	if u := p.usage(t, in.ID); u.TokensMinted == 0 || u.TokenedServed == 0 || u.TokenFreeServed+u.TokenFreeRejected != 0 {
		t.Errorf("the client is to use tokens alone; counted: %+v", u)
	}
}

func roleKeys(t *testing.T, got keys, err error, in *instance.Instance) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	want := in.Role.Credentials
	equal(t, "access key id", got.ID, want.AccessKeyID)
	equal(t, "security token", got.Token == want.SessionToken, true)
	if got.Secret != "" { // the SDK never shows it
		equal(t, "access key secret", got.Secret == want.AccessKeySecret, true)
	}
}

// fetch runs a client in a process of its own.
func fetch(t *testing.T, name string, in *instance.Instance, env ...string) (k keys, err error) {
	t.Helper()
	self := check[string](t)(os.Executable())
	env = append(env, clientVariable+"="+name, "ROLE="+in.Role.Name, "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1")
	stdout, stderr, err := command(t, append(env, testnet.Environ()...), self)
	if err != nil {
		return k, fmt.Errorf("%s: %w: %s", name, err, stderr)
	}
	return k, json.Unmarshal([]byte(stdout), &k)
}
