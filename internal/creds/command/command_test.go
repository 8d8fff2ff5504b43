package command_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"openimds/internal/creds"
	"openimds/internal/creds/command"
	"openimds/internal/fault"
	"openimds/internal/instance"
)

func request() creds.Request {
	return creds.Request{Instance: &instance.Instance{ID: "i-1", Dialect: "ec2", Account: "1", Role: &instance.Role{Name: "web"}}, Delivery: "2.0"}
}

func shell(script string) *command.Source {
	return &command.Source{Program: "/bin/sh", Args: []string{"-c", script}, Env: []string{"PATH=/usr/bin:/bin", "GIVEN=yes"}}
}

func TestForms(t *testing.T) {
	for name, script := range map[string]string{
		"credential_process": `echo '{"Version":1,"AccessKeyId":"K","SecretAccessKey":"hidden","SessionToken":"hidden-too","Expiration":"2099-01-01T00:00:00Z"}'`,
		"EC2":                `echo '{"Code":"Success","AccessKeyId":"K","SecretAccessKey":"hidden","Token":"hidden-too","Expiration":"2099-01-01T00:00:00Z"}'`,
		"ECS":                `echo '{"Code":"Success","AccessKeyId":"K","AccessKeySecret":"hidden","SecurityToken":"hidden-too","Expiration":"2099-01-01T00:00:00Z"}'`,
		"what is asked for":  `[ "$OPENIMDS_DIALECT $OPENIMDS_ACCOUNT $OPENIMDS_ROLE $OPENIMDS_INSTANCE $OPENIMDS_DELIVERY $GIVEN$HOME" = "ec2 1 web i-1 2.0 yes" ] && echo '{"AccessKeyId":"K","SecretAccessKey":"hidden","SessionToken":"hidden-too","Expiration":"2099-01-01T00:00:00Z"}'`,
	} {
		k, err := shell(script).Fetch(t.Context(), request())
		if err != nil || k.AccessKeyID != "K" || k.AccessKeySecret != "hidden" || k.SessionToken != "hidden-too" || k.Expires.Year() != 2099 {
			t.Errorf("%s: %v, %v", name, k, err)
		}
	}
}

func TestFailures(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		kind   fault.Kind
	}{
		"refused":        {"exit 77", fault.Denied},
		"a refusal":      {`echo '{"Code":"AssumeRoleUnauthorizedAccess"}'`, fault.Denied},
		"broken":         {"echo hidden; echo hidden >&2; exit 3", fault.Unavailable},
		"no JSON":        {"echo hidden", fault.Unavailable},
		"something else": {`echo '{"AccessKeyId":"hidden"}'`, fault.Unavailable},
		"too much":       {"yes hidden", fault.Unavailable},
		"hangs":          {"sleep 100 & sleep 100", fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, stop := context.WithTimeout(t.Context(), time.Second)
			defer stop()
			k, err := shell(c.script).Fetch(ctx, request())
			if k != nil || fault.KindOf(err) != c.kind || strings.Contains(err.Error(), "hidden") {
				t.Errorf("%v, %v, want %v", k, err, c.kind)
			}
		})
	}
	if _, err := (&command.Source{Program: "/does/not/exist"}).Fetch(t.Context(), request()); fault.KindOf(err) != fault.Unavailable {
		t.Error(err)
	}
}
