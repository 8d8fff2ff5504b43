//go:build linux

package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"testing"

	openapiutil "github.com/alibabacloud-go/openapi-util/service"
	"github.com/alibabacloud-go/tea/tea"
)

// aliyunVariable names a program: the aliyun command line tool, which no
// package manager has. With it, the tool tells the story, too; CONTRIBUTING.md
// says how to build it.
const aliyunVariable = "OPENIMDS_ALIYUN_CLI"

// clientsOfECS are ecsClients and what is given.
func clientsOfECS() map[string]func(*testing.T, connection) client {
	all := maps.Clone(ecsClients)
	if program := os.Getenv(aliyunVariable); program != "" {
		all["aliyun"] = func(t *testing.T, c connection) client {
			return aliyun{t, program, []string{
				"--access-key-id", c.Key, "--access-key-secret", c.Secret, "--region", c.Region, "--endpoint", hostport(t, c.Endpoint), "--insecure",
			}, clientEnv(t)}
		}
	}
	return all
}

// aliyun is the command line tool, a process for each call.
type aliyun struct {
	t       *testing.T
	program string
	flags   []string
	env     []string
}

// aliyunError is a part of what the tool writes about a refusal.
var aliyunError = regexp.MustCompile(`(?s)ErrorCode: (\S+)\n.*\nMessage: (.*?)\n`)

func (a aliyun) call(action string, params values) (reply values, err error) {
	args := slices.Concat([]string{"ecs", action}, a.flags)
	query := openapiutil.Query(params)
	for _, name := range slices.Sorted(maps.Keys(query)) {
		args = append(args, "--"+name, tea.StringValue(query[name]))
	}
	cmd := exec.CommandContext(a.t.Context(), a.program, args...)
	cmd.Env = a.env
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if refusals := aliyunError.FindSubmatch(append(errs.Bytes(), out...)); err != nil && refusals != nil {
		return nil, &refusal{Code: string(refusals[1]), Message: string(refusals[2])}
	}
	if err != nil {
		return nil, fmt.Errorf("aliyun ecs %s: %w: %s", action, err, cmp.Or(errs.String(), string(out)))
	}
	err = json.Unmarshal(out, &reply)
	return reply, err
}
