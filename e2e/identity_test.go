//go:build linux

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"openimds/internal/testnet"
)

// verifications are the commands with which the clouds have documents verified,
// to the letter, in a directory with what the service says.
const (
	verifyEC2 = `(echo "-----BEGIN PKCS7-----"; cat pkcs7; echo; echo "-----END PKCS7-----") > p; openssl smime -verify -in p -inform PEM -certfile certificate -noverify > document.verified`
	verifyRaw = `base64 -d signature > s; openssl x509 -pubkey -noout -in certificate > key; openssl dgst -sha256 -verify key -signature s document`
	verifyECS = `(echo "-----BEGIN CERTIFICATE-----"; cat ecs; echo; echo "-----END CERTIFICATE-----") > SIG; sed 's/}$/,"audience":"abc"}/' ecs-document > DOC; ` +
		`openssl smime -verify -in SIG -inform PEM -content DOC -certfile AliyunPubkey.cer -noverify > /dev/null`
	verifyOurs    = `imds identity verify --certificates certificate --region us-east-1 pkcs7`
	verifyOursECS = `imds identity verify --certificates AliyunPubkey.cer --audience abc --allow-sha1 ecs`
)

// TestIdentityVerifiers: openssl, and our own command, say yes to what is
// served, and no when a letter is another or the certificate another region's
// (EC2-IDENT-07, EC2-IDENT-09, EC2-IDENT-10, EC2-IDENT-11, ECS-IDENT-06,
// ECS-IDENT-07).
func TestIdentityVerifiers(t *testing.T) {
	_, err := exec.LookPath("openssl")
	testnet.Need(t, "the command openssl (scripts/install-test-deps)", err == nil)
	settings := filepath.Join(t.TempDir(), "settings.yaml")
	if err := os.WriteFile(settings, []byte("identity: {ec2Pkcs7: true}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, map[string]string{"config": settings})
	bin := check[string](t)(filepath.Abs(filepath.Dir(executable)))
	run := func(t *testing.T, script string) (string, error) {
		t.Helper()
		env := []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "EC2=" + p.ec2, "ECS=" + p.ecs, "CONTROL=" + p.control}
		stdout, stderr, err := command(t, env, "bash", "-euo", "pipefail", "-c", "cd "+t.TempDir()+"\n"+script)
		return stdout + stderr, err
	}
	fetch := func(form, algorithm, region string) string {
		return `for i in document signature ` + form + `; do curl -sS --fail --max-time 5 $EC2/latest/dynamic/instance-identity/$i > $i; done
			curl -sS --fail --max-time 5 "$ECS/latest/dynamic/instance-identity/pkcs7?audience=abc" > ecs
			curl -sS --fail --max-time 5 $ECS/latest/dynamic/instance-identity/document > ecs-document
			[ ` + form + ` = pkcs7 ] || mv ` + form + ` pkcs7
			imds identity certificates --server $CONTROL --dialect ec2 --algorithm ` + algorithm + ` --region ` + region + ` > certificate
			imds identity certificates --server $CONTROL --dialect ecs > AliyunPubkey.cer
			`
	}
	rsa, dsa, elsewhere := fetch("rsa2048", "rsa", "us-east-1"), fetch("pkcs7", "dsa", "us-east-1"), fetch("rsa2048", "rsa", "us-west-2")
	const same = "\ncmp document document.verified"
	for name, c := range map[string]struct{ script, says string }{
		"EC2, rsa2048":         {rsa + verifyEC2 + same, "Verification successful"},
		"EC2, pkcs7":           {dsa + verifyEC2 + same, "Verification successful"},
		"EC2, signature":       {rsa + verifyRaw, "Verified OK"},
		"ECS, pkcs7":           {rsa + verifyECS, "Verification successful"},
		"ours, rsa2048":        {rsa + verifyOurs, "verified: ec2 instance " + sample(t, "ec2", optional).ID},
		"ours, pkcs7":          {dsa + verifyOurs + " --allow-sha1", "verified: ec2"},
		"ours, signature":      {rsa + "imds identity verify --certificates certificate --signature signature document", "verified: ec2"},
		"ours, ECS":            {rsa + verifyOursECS + " --json", `"audience": "abc"`},
		"ours, standard input": {rsa + "imds identity verify --certificates certificate < pkcs7", "verified: ec2"},
	} {
		t.Run(name, func(t *testing.T) {
			if says, err := run(t, c.script); err != nil || !strings.Contains(says, c.says) {
				t.Errorf("%v, want %q in\n%s", err, c.says, says)
			}
		})
	}
	// In the envelope, the document stands letter for letter.
	const tamper = "base64 -d pkcs7 | sed s/us-east-1a/us-east-1b/ | base64 -w76 | head -c -1 > x; mv x pkcs7\n"
	for name, c := range map[string]struct{ script, says string }{
		"EC2, rsa2048, tampered":         {rsa + tamper + verifyEC2, "Verification failure"},
		"EC2, pkcs7, tampered":           {dsa + tamper + verifyEC2, "Verification failure"},
		"EC2, signature, tampered":       {rsa + "sed -i s/us-east-1a/us-east-1b/ document\n" + verifyRaw, "Verification failure"},
		"ECS, tampered":                  {rsa + "sed -i s/large/small/ ecs-document\n" + verifyECS, "Verification failure"},
		"ECS, another audience":          {rsa + strings.ReplaceAll(verifyECS, "abc", "abd"), "Verification failure"},
		"EC2, rsa2048, another region":   {elsewhere + verifyEC2, "signer certificate not found"},
		"EC2, signature, another region": {elsewhere + verifyRaw, "Verification failure"},
		"ours, tampered":                 {rsa + tamper + verifyOurs, "not that of the document"},
		"ours, tampered, DSA":            {dsa + tamper + verifyOurs + " --allow-sha1", "not that of the document"},
		"ours, another region":           {elsewhere + verifyOurs, "none of the certificates"},
		"ours, not that region":          {rsa + strings.Replace(verifyOurs, "us-east-1", "us-west-2", 1), "another region"},
		"ours, another audience":         {rsa + strings.Replace(verifyOursECS, "abc", "abd", 1), "another audience"},
		"ours, SHA-1":                    {dsa + verifyOurs, "SHA-1"},
		"ours, nobody trusted":           {rsa + "imds identity verify pkcs7", "--certificates"},
		"no such region":                 {fetch("rsa2048", "rsa", "nowhere"), "no such certificates"},
	} {
		t.Run(name, func(t *testing.T) {
			if says, err := run(t, c.script); err == nil || !strings.Contains(says, c.says) {
				t.Errorf("%v, want %q in\n%s", err, c.says, says)
			}
		})
	}
}

// TestIdentityAfterRestart: with --state the same keys sign, and nothing of
// them is readable for others or in the log.
func TestIdentityAfterRestart(t *testing.T) {
	dir := t.TempDir()
	var first string
	for range 2 {
		p := start(t, map[string]string{"state": dir})
		stdout, stderr, err := command(t, nil, executable, "identity", "certificates", "--server", p.control)
		if err != nil {
			t.Fatalf("%v\n%s", err, stderr)
		}
		if first == "" {
			first = stdout
		}
		equal(t, "the certificates are the same", stdout == first, true)
		p.stop(t)
		if log := p.stderr.String(); strings.Contains(log, "PRIVATE") {
			t.Errorf("%s", log)
		}
	}
	files := check[[]string](t)(filepath.Glob(filepath.Join(dir, "identity", "*")))
	if len(files) < 3 {
		t.Errorf("%q", files)
	}
	for _, file := range append(files, filepath.Join(dir, "seal.key")) {
		equal(t, file+" is its owner's", check[os.FileInfo](t)(os.Stat(file)).Mode().Perm(), 0o600)
	}
}
