//go:build linux

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"openimds/internal/api"
	"openimds/internal/api/ec2query"
	"openimds/internal/api/ecsrpc"
	"openimds/internal/api/sts"
	"openimds/internal/control"
	"openimds/internal/creds"
	"openimds/internal/instance"
	"openimds/internal/item"
	dataplane "openimds/internal/node"
	"openimds/internal/state"
	"openimds/internal/store/memstore"
	"openimds/internal/testnet"
	"openimds/internal/token"
)

// credBed is a data plane and a control plane in the test's own process: the
// samples' first instances with credentials of our own STS.
type credBed struct {
	*control.Control
	db     *state.DB
	broker *creds.Broker
	node   *dataplane.Node
	// address of a dialect's metadata service, and the URL of all APIs.
	address map[string]string
	apis    string
	log     logBuffer

	mu      sync.Mutex // guards what follows
	audited []control.Entry
	// secrets that were handed out or used.
	secrets []string
}

// logBuffer is a log that a test reads while it is written.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write takes a line.
func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// operator is the one who may do everything in a dialect.
func operator(in *instance.Instance) control.Caller {
	return control.Caller{Admin: true, Dialect: in.Dialect, Account: in.Account, Region: in.Region, Action: "Test"}
}

// documents of policies in both languages.
func lookOnly(dialect string) string {
	if dialect == "ecs" {
		return `{"Version":"1","Statement":[{"Effect":"Allow","Action":["ecs:Describe*","sts:AssumeRole"],"Resource":"*"}]}`
	}
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ec2:Describe*","sts:AssumeRole"],"Resource":"*"}]}`
}

// credentialsBed serves the dialects at the given addresses; a built-in one
// needs a route.
func credentialsBed(t *testing.T, addresses map[string]string) *credBed {
	t.Helper()
	testnet.RequireIsolated(t)
	b := &credBed{address: map[string]string{}}
	log := testnet.JSONLogger(&b.log, &slog.HandlerOptions{Level: slog.LevelDebug})
	store := memstore.New(memstore.Config{})
	b.db = check[*state.DB](t)(state.Open(t.Context(), store, log))
	b.Control = control.New(control.Config{DB: b.db, Logger: log, Audit: func(e control.Entry) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.audited = append(b.audited, e)
		return nil
	}})
	b.broker = creds.New(creds.Config{
		Choose: func(*instance.Instance) creds.Choice {
			return creds.Choice{Name: "builtin", Local: true, Source: creds.SourceFunc(func(_ context.Context, r creds.Request) (*instance.Credentials, error) {
				k, err := b.InstanceCredentials(r.Instance.ID, r.Delivery)
				if k != nil {
					b.secret(k.AccessKeySecret, k.SessionToken)
				}
				return k, err
			})}
		},
		Find: func(id string) (*instance.Instance, bool) {
			in, ok := b.db.Instances.Get(id)
			if !ok {
				return nil, false
			}
			return &in.Spec, true
		},
		Logger: log,
	})
	b.db.OnSessions(func(c state.SessionChange) {
		for _, key := range c.Roles {
			if dialect, account, name, ok := state.CutKey(key); ok {
				b.broker.DropRole(dialect, account, name)
			}
		}
		for _, id := range c.Instances {
			b.broker.DropInstance(id)
		}
	})
	var samples []*instance.Instance
	for _, dialect := range []string{"ec2", "ecs"} {
		in := sample(t, dialect, optional)
		in.Role.Credentials, in.Identity = nil, nil
		samples = append(samples, in)
	}
	masters := token.Secrets{}
	b.node = dataplane.New(dataplane.Config{
		Ring: token.NewRing(masters), Logger: log, Loopback: true,
		Credentials: func(id string) item.Credentials { return b.broker.Holder(id) },
	})
	b.db.OnChange(func(c state.Change) {
		var all []*instance.Instance
		for _, r := range b.db.Instances.All(nil) {
			all = append(all, &r.Spec)
		}
		if err := b.node.Set(all); err != nil {
			t.Errorf("set instances: %v", err)
		}
	})
	for _, in := range samples {
		b.policy(t, in.Dialect, "look", lookOnly(in.Dialect), false)
		b.role(t, in, "look")
	}
	must(t, b.Give(t.Context(), samples))
	server := httptest.NewServer(api.Services{
		EC2: ec2query.New(ec2query.Config{Control: b.Control, Logger: log}), ECS: ecsrpc.New(ecsrpc.Config{Control: b.Control, Logger: log}),
		STS: sts.NewAWS(sts.Config{Control: b.Control, Logger: log}), ECSSTS: sts.NewAliyun(sts.Config{Control: b.Control, Logger: log}),
	})
	b.apis = server.URL
	var running sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	running.Go(func() { b.broker.Run(ctx) })
	t.Cleanup(func() {
		server.Close()
		_ = b.node.Shutdown(context.Background())
		stop()
		running.Wait()
		_ = b.db.Close()
		_ = store.Close()
		b.secretsAreNowhere(t)
	})
	for _, dialect := range []string{"ec2", "ecs"} {
		address := addresses[dialect]
		if address == "" {
			address = "127.0.0.1:0"
		}
		e := check[*dataplane.Endpoint](t)(b.node.Listen(t.Context(), dataplane.Listener{Dialect: dialect, Address: address}))
		b.address[dialect] = "http://" + e.Addr().String()
		running.Go(func() { _ = b.node.Serve(e) })
	}
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (b *credBed) policy(t *testing.T, dialect, name, document string, guard bool) {
	t.Helper()
	must(t, b.PutPolicy(t.Context(), control.Caller{Admin: true, Action: "Test"}, state.Policy{Name: name, Dialect: dialect, Document: document, Guard: guard}))
}

// role makes or changes the role of a sample, which trusts its own account.
func (b *credBed) role(t *testing.T, in *instance.Instance, policies ...string) {
	t.Helper()
	must(t, b.PutRole(t.Context(), operator(in), state.Role{
		Name: in.Role.Name, Dialect: in.Dialect, Account: in.Account, ProfileID: in.Role.ProfileID, Policies: policies, Trust: []string{in.Account},
	}))
}

func (b *credBed) secret(all ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range all {
		if s != "" {
			b.secrets = append(b.secrets, s)
		}
	}
}

// secretsAreNowhere greps everything that a run tells others for every secret
// that it used (SEC-14).
func (b *credBed) secretsAreNowhere(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.secrets) < 2 {
		t.Errorf("only %d secrets to look for", len(b.secrets))
	}
	for _, s := range b.secrets {
		testnet.Secret(t, s)
	}
	for where, text := range map[string]string{"log": b.log.String(), "audit": fmt.Sprintf("%+v %#v", b.audited, b.audited)} {
		testnet.Said(t, where, text)
		for i, s := range b.secrets {
			if strings.Contains(text, s) {
				t.Errorf("secret %d of %d is in the %s", i, len(b.secrets), where)
			}
		}
	}
}

// principals are those of the calls of an action that were recorded.
func (b *credBed) principals(action string) (all []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.audited {
		if e.Caller.ActionName() == action {
			all = append(all, e.Caller.ARN())
		}
	}
	return all
}

// viaBuiltIn serves a dialect on the address that clients have built in.
func viaBuiltIn(t *testing.T, dialect string) *credBed {
	t.Helper()
	address := map[string]string{"ecs": ecsAddress, "ec2": ec2Address}[dialect]
	testnet.LocalRoute(t, netip.MustParseAddr(address), netip.MustParseAddr(optional))
	return credentialsBed(t, map[string]string{dialect: address + ":80"})
}
