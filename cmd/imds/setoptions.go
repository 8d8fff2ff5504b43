package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"openimds/internal/admin"
	"openimds/internal/instance"
)

// targetFlags say which instances a change is for.
type targetFlags struct {
	instances, tags []string
	dialect, share  string
	all             bool
}

func (t *targetFlags) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringArrayVarP(&t.tags, "tag", "l", nil, "instances with this tag: KEY=VALUE, or KEY for any value; may be repeated")
	f.StringVar(&t.dialect, "dialect", "", "instances of this dialect: ecs or ec2")
	f.StringVar(&t.share, "share", "", "a part of the instances that are meant, such as 10%: the same ones each time")
	f.BoolVar(&t.all, "all", false, "all instances")
}

func (t *targetFlags) target() (admin.Target, error) {
	out := admin.Target{Instances: t.instances, Dialect: t.dialect, Share: t.share, All: t.all}
	if len(t.instances) == 0 && len(t.tags) == 0 && t.share == "" && !t.all {
		return out, usageError{errors.New("say which instances: their names, --tag KEY=VALUE, --share 10%, or --all")}
	}
	for _, tag := range t.tags {
		key, value, ok := strings.Cut(tag, "=")
		if key == "" {
			return out, usageError{fmt.Errorf("--tag: found %q, expected KEY=VALUE, or KEY for any value", tag)}
		}
		if !ok {
			value = "*"
		}
		if out.Tags == nil {
			out.Tags = map[string]string{}
		}
		out.Tags[key] = value
	}
	return out, nil
}

func newSetOptions() *cobra.Command {
	var client clientOptions
	var target targetFlags
	var options instance.MetadataOptions
	var form string
	c := &cobra.Command{
		Use:   "set-options [INSTANCE…]",
		Short: "change metadata options of instances",
		Long: `set-options changes metadata options of the instances that are named, or of those
with a tag, or of all. What is left out stays as it is. The change is in force
when the command ends; a stopped instance has it when it is started.`,
		Example:           "  imds set-options i-0a1b2c3d4e5f60001 --http-tokens required\n  imds set-options --tag env=test --share 10% --http-tokens required --hop-limit 2",
		ValidArgsFunction: completeInstances(&client),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkForm(form); err != nil {
				return err
			}
			if options == (instance.MetadataOptions{}) {
				return usageError{errors.New("say what to change: --http-tokens, --http-endpoint, --hop-limit, --metadata-tags or --http-protocol-ipv6")}
			}
			target.instances = args
			who, err := target.target()
			if err != nil {
				return err
			}
			server, err := client.open()
			if err != nil {
				return err
			}
			data, err := server.do(c.Context(), http.MethodPatch, "metadata-options", nil, admin.ManyOptions{Target: who, Options: options})
			if err != nil {
				return err
			}
			return showOptions(c, form, data)
		},
	}
	client.flags(c)
	target.flags(c)
	f := c.Flags()
	f.StringVar(&options.HTTPTokens, "http-tokens", "", "access mode: optional (IMDSv1 works) or required (IMDSv2 only)")
	f.StringVar(&options.HTTPEndpoint, "http-endpoint", "", "enabled or disabled: whether the instance is answered at all")
	f.IntVar(&options.HTTPPutResponseHopLimit, "hop-limit", 0, "hop limit of a token's answer, 1 to 64; 0: as it is")
	f.StringVar(&options.InstanceMetadataTags, "metadata-tags", "", "enabled or disabled: whether tags are metadata items")
	f.StringVar(&options.HTTPProtocolIPv6, "http-protocol-ipv6", "", "enabled or disabled: whether the IPv6 address answers (EC2)")
	outputFlag(c, &form)
	return c
}

func showOptions(c *cobra.Command, form string, data []byte) error {
	var out admin.OptionsResults
	if err := json.Unmarshal(data, &out); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if form != formTable {
		if err := write(c.OutOrStdout(), form, data); err != nil {
			return err
		}
	} else {
		var rows [][]string
		for _, r := range out.Results {
			result := "unchanged"
			switch {
			case r.Error != "":
				result = r.Error
			case r.Pending && r.Changed:
				result = "changed, in force when it is started"
			case r.Changed:
				result = "changed"
			}
			rows = append(rows, []string{
				r.Instance, r.Options.HTTPTokens, r.Options.HTTPEndpoint, strconv.Itoa(r.Options.HTTPPutResponseHopLimit), r.Options.InstanceMetadataTags, result,
			})
		}
		if err := table(c.OutOrStdout(), []string{"INSTANCE", "TOKENS", "ENDPOINT", "HOPS", "TAGS", "RESULT"}, rows); err != nil {
			return err
		}
	}
	if out.Failed > 0 {
		return fmt.Errorf("%d of %d instances were not changed", out.Failed, len(out.Results))
	}
	return nil
}
