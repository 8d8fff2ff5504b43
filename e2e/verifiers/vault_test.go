//go:build linux

package verifiers

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	awsauth "github.com/hashicorp/vault/builtin/credential/aws"
	"github.com/hashicorp/vault/sdk/logical"
)

// vault is the AWS auth method, as Vault mounts it.
type vault struct {
	backend logical.Backend
	storage logical.Storage
}

func newVault(t *testing.T) vault {
	t.Helper()
	v := vault{storage: &logical.InmemStorage{}}
	b, err := awsauth.Factory(t.Context(), &logical.BackendConfig{
		StorageView: v.storage, Logger: hclog.NewNullLogger(),
		System: &logical.StaticSystemView{DefaultLeaseTTLVal: time.Hour, MaxLeaseTTLVal: 2 * time.Hour},
	})
	if err != nil {
		t.Fatal(err)
	}
	v.backend = b
	t.Cleanup(func() { b.Cleanup(t.Context()) })
	return v
}

// write is `vault write auth/aws/PATH`.
func (v vault) write(t *testing.T, path string, data map[string]any) *logical.Response {
	t.Helper()
	var op logical.Operation = logical.UpdateOperation
	if strings.HasPrefix(path, "role/") || strings.HasPrefix(path, "config/certificate/") {
		op = logical.CreateOperation
	}
	res, err := v.backend.HandleRequest(t.Context(), &logical.Request{Operation: op, Path: path, Data: data, Storage: v.storage})
	if err != nil {
		// Vault reports a login that fails in either way.
		return logical.ErrorResponse("%v", err)
	}
	return res
}

// TestVault: an instance logs in to Vault, which checks its document with our
// certificates, and with our EC2 API and STS that the instance is running: by pkcs7, by
// rsa2048 in its place, and by document and signature (EC2-IDENT-09,
// EC2-IDENT-10, EC2-IDENT-11).
func TestVault(t *testing.T) {
	control := start(t)
	ready := func(t *testing.T, query string) vault {
		t.Helper()
		v := newVault(t)
		ok := func(path string, data map[string]any) {
			t.Helper()
			if res := v.write(t, path, data); res != nil && res.IsError() {
				t.Fatalf("%s: %v", path, res.Error())
			}
		}
		ok("config/client", map[string]any{"access_key": "AKIAIMDSDEV000000000", "secret_key": "imds-dev-secret", "endpoint": control, "sts_endpoint": control, "sts_region": region})
		for algorithm, kinds := range map[string][]string{"rsa": {"pkcs7", "identity"}, "dsa": {"pkcs7"}} {
			cert := certificates(t, control, query+"&algorithm="+algorithm)
			_, cert, _ = strings.Cut(cert, "\n") // Vault takes the certificate alone
			for _, kind := range kinds {
				ok("config/certificate/"+algorithm+"-"+kind, map[string]any{"aws_public_cert": base64.StdEncoding.EncodeToString([]byte(cert)), "type": kind})
			}
		}
		ok("role/web", map[string]any{"auth_type": "ec2", "bound_region": region, "bound_account_id": "123456789012"})
		return v
	}
	document, signature := item(t, "document"), item(t, "signature")
	pkcs7, rsa2048 := item(t, "pkcs7"), item(t, "rsa2048")
	flat := func(text string) string { return strings.ReplaceAll(text, "\n", "") }
	by := map[string]map[string]any{
		"pkcs7":     {"pkcs7": flat(pkcs7)},
		"rsa2048":   {"pkcs7": flat(rsa2048)},
		"signature": {"identity": base64.StdEncoding.EncodeToString([]byte(document)), "signature": flat(signature)},
	}
	for name, data := range by {
		t.Run(name, func(t *testing.T) {
			data["role"], data["nonce"] = "web", "of-this-test"
			res := ready(t, "region="+region).write(t, "login", data)
			if res == nil || res.IsError() {
				t.Fatalf("%v", res.Error())
			}
			if got := res.Auth.InternalData["instance_id"]; got != instance {
				t.Errorf("logged in as %q", got)
			}
			if res := ready(t, "region=us-west-2").write(t, "login", data); !res.IsError() {
				t.Error("another region's certificate is accepted")
			}
		})
	}
	for name, data := range map[string]map[string]any{
		"pkcs7":     {"pkcs7": tampered(t, pkcs7)},
		"rsa2048":   {"pkcs7": tampered(t, rsa2048)},
		"signature": {"identity": base64.StdEncoding.EncodeToString([]byte(strings.Replace(document, instance, instance[:18]+"2", 1))), "signature": flat(signature)},
	} {
		t.Run("tampered "+name, func(t *testing.T) {
			data["role"] = "web"
			if res := ready(t, "region="+region).write(t, "login", data); !res.IsError() {
				t.Error("a tampered document is accepted")
			}
		})
	}
}
