//go:build linux

package verifiers

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/smallstep/certificates/authority/provisioner"
)

// TestStep: step-ca's AWS provisioner gets a token on the instance, as the step
// CLI does there, and authorises it at the CA with our certificates
// (EC2-IDENT-09).
func TestStep(t *testing.T) {
	control := start(t)
	const ca = "https://ca.example.com"
	signURL := ca + "/1.0/sign"
	newProvisioner := func(query string) *provisioner.AWS {
		t.Helper()
		roots := filepath.Join(t.TempDir(), "iid.pem")
		if err := os.WriteFile(roots, []byte(certificates(t, control, query)), 0o600); err != nil {
			t.Fatal(err)
		}
		p := &provisioner.AWS{Type: "AWS", Name: "openimds", Accounts: []string{"123456789012"}, DisableCustomSANs: true, IIDRoots: roots}
		yes, no := true, false
		claims := provisioner.Claims{
			MinTLSDur: &provisioner.Duration{Duration: 5 * time.Minute}, MaxTLSDur: &provisioner.Duration{Duration: 24 * time.Hour},
			DefaultTLSDur: &provisioner.Duration{Duration: 24 * time.Hour}, DisableRenewal: &yes,
			MinUserSSHDur: &provisioner.Duration{Duration: 5 * time.Minute}, MaxUserSSHDur: &provisioner.Duration{Duration: time.Hour},
			DefaultUserSSHDur: &provisioner.Duration{Duration: time.Hour}, MinHostSSHDur: &provisioner.Duration{Duration: 5 * time.Minute},
			MaxHostSSHDur: &provisioner.Duration{Duration: time.Hour}, DefaultHostSSHDur: &provisioner.Duration{Duration: time.Hour}, EnableSSHCA: &yes,
			AllowRenewalAfterExpiry: &no, DisableSmallstepExtensions: &no,
		}
		err := p.Init(provisioner.Config{Claims: claims, Audiences: provisioner.Audiences{Sign: []string{signURL}}})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := newProvisioner("region=" + region)
	token, err := p.GetIdentityToken(instance, ca)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.AuthorizeSign(t.Context(), token); err != nil {
		t.Error(err)
	}
	if _, err := newProvisioner("region=us-west-2").AuthorizeSign(t.Context(), token); err == nil {
		t.Error("another region's certificate is accepted")
	}
}
