package config_test

import (
	"strings"
	"testing"

	"openimds/internal/config"
)

func TestCredentialSources(t *testing.T) {
	const good = `credentials:
  rate: 5
  sources:
    - {kind: aws, dialect: ec2, role: web, region: us-east-1, keyFile: key.json, roleArn: "arn:aws:iam::1:role/{role}", duration: 1h}
    - {kind: aliyun, keyFile: key.json, endpoint: "http://127.0.0.1:1"}
    - {kind: exec, command: [/usr/bin/print-credentials, --json]}
`
	s, err := config.ParseService("good.yaml", []byte(good))
	if err != nil || len(s.Credentials.Sources) != 3 || s.Credentials.Rate != 5 {
		t.Errorf("%+v, %v", s.Credentials, err)
	}
	for text, problem := range map[string]string{
		"{kind: vault}":           `is "vault": want aws, aliyun or exec`,
		"{kind: aws, keyFile: k}": "is required for aws",
		"{kind: aliyun}":          "is required: the file with the key",
		"{kind: aliyun, keyFile: k, endpoint: sts.aliyuncs.com}": "want a URL",
		"{kind: aliyun, keyFile: k, duration: 1m}":               "want 15m to 12h",
		"{kind: exec, command: [print]}":                         "want the path of a program",
		"{kind: exec, command: [/bin/print], dialect: gcp}":      "want ecs or ec2",
		"{kind: aliyun, keyFile: k, command: [/bin/print]}":      "is for sources of kind exec",
	} {
		_, err := config.ParseService("bad.yaml", []byte("credentials:\n  sources:\n    - "+text+"\n"))
		if err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
