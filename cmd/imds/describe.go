package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"openimds/internal/admin"
	"openimds/internal/config"
	"openimds/internal/usage"
)

func newDescribe() *cobra.Command {
	var client clientOptions
	c := &cobra.Command{
		Use:   "describe KIND NAME…",
		Short: "show everything about resources, for people",
		Long: `describe shows everything that is known of a resource; of an instance also its
events and who came without a session token, of an alarm how it stands for each
instance and whether its messages arrive. Use imds get -o json for programs.`,
		Example:           "  imds describe instances i-0a1b2c3d4e5f60001\n  imds describe alarm still-without-token",
		Args:              withKind(1, admin.AlarmsKind[:]...),
		ValidArgsFunction: completeResources(&client, admin.AlarmsKind[:]...),
		RunE: func(c *cobra.Command, args []string) error {
			kind, err := kindArg(args[0], admin.AlarmsKind[:]...)
			if err != nil {
				return err
			}
			server, err := client.open()
			if err != nil {
				return err
			}
			for i, name := range args[1:] {
				if i > 0 {
					fmt.Fprintln(c.OutOrStdout())
				}
				if err := describe(c, server, kind, name); err != nil {
					return err
				}
			}
			return nil
		},
	}
	client.flags(c)
	return c
}

func describe(c *cobra.Command, server *client, kind, name string) error {
	if kind == admin.AlarmsKind[0] {
		return describeAlarm(c, server, name)
	}
	data, err := server.do(c.Context(), http.MethodGet, resourcePath(kind, name), nil, nil)
	if err != nil {
		return err
	}
	text, err := config.YAML(data)
	if err != nil {
		return err
	}
	w := c.OutOrStdout()
	if kind != "instances" {
		return people(w, text)
	}
	o, err := decode(data)
	if err != nil {
		return err
	}
	atGlance(w, o)
	if err := describeEvents(c, server, name); err != nil {
		return err
	}
	if err := describeUsage(c, server, name); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nrecord:")
	return people(indented{w}, text)
}

// atGlance says first what an operator looks for.
func atGlance(w io.Writer, o object) {
	says := map[string]string{
		"optional": "optional: requests without a session token are answered (IMDSv1)",
		"required": "required: requests without a session token are refused (IMDSv2)",
	}
	tokens := o.at("metadata.httpTokens")
	if long := says[tokens]; long != "" {
		tokens = long
	}
	for _, line := range [][2]string{
		{"instance", o.at("id")}, {"dialect", o.at("dialect")}, {"state", o.at("state")}, {"tokens", tokens}, {"endpoint", o.at("metadata.httpEndpoint")},
		{"hop limit", o.at("metadata.httpPutResponseHopLimit")}, {"tags shown", o.at("metadata.instanceMetadataTags")}, {"role", o.at("role.name")},
	} {
		if line[1] != "" {
			fmt.Fprintf(w, "%-12s%s\n", line[0]+":", plain(line[1]))
		}
	}
	if o.at("status.optionsPending") == "yes" {
		fmt.Fprintln(w, "            the options are in force when it is started")
	}
}

func describeEvents(c *cobra.Command, server *client, id string) error {
	data, err := server.do(c.Context(), http.MethodGet, "events", url.Values{"instance": {id}}, nil)
	if err != nil {
		return err
	}
	var out admin.Events
	if err := json.Unmarshal(data, &out); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if len(out.Events) == 0 {
		fmt.Fprintln(c.OutOrStdout(), "\nevents:     none")
		return nil
	}
	fmt.Fprintln(c.OutOrStdout(), "\nevents:")
	for _, e := range out.Events {
		line := fmt.Sprintf("  %s %s at %s", e.Type, e.What, stamp(e.At))
		for _, more := range []string{e.Status, e.ID, e.Description} {
			if more != "" {
				line += ", " + plain(more)
			}
		}
		if !e.Expires.IsZero() {
			line += ", goes away at " + stamp(e.Expires)
		}
		fmt.Fprintln(c.OutOrStdout(), strings.ReplaceAll(line, "  at", " at"))
	}
	return nil
}

func describeUsage(c *cobra.Command, server *client, id string) error {
	w := c.OutOrStdout()
	var r usage.Report
	if err := server.into(c.Context(), &r, http.MethodGet, "usage", url.Values{"instance": {id}}, nil); err != nil {
		fmt.Fprintf(w, "\nusage:      none is known here (%v)\n", err)
		return nil
	}
	fmt.Fprintf(w, `
usage, since the server began to serve it:
  without a token  %d answered, %d refused
  with a token     %d answered, %d tokens given out, %d bad tokens
  other refusals   %d throttled, %d others
`, r.TokenFreeServed+r.TokenFreeAbsent, r.TokenFreeRejected, r.TokenedServed+r.TokenedAbsent, r.TokensMinted, r.BadToken, r.Throttled, r.Refused)
	if r.LastTokenFree.IsZero() {
		fmt.Fprintln(w, "  it never came without a token")
	} else {
		fmt.Fprintf(w, "  it last came without a token at %s\n", stamp(r.LastTokenFree))
	}
	return nil
}

// people writes YAML for the eye: without its kind.
func people(w io.Writer, text string) error {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "kind: ") {
			continue
		}
		if _, err := fmt.Fprintln(w, plain(strings.TrimRight(line, "\n"))); err != nil {
			return err
		}
	}
	return nil
}

// indented writes lines with two spaces before each.
type indented struct{ w io.Writer }

func (i indented) Write(p []byte) (int, error) {
	if _, err := io.WriteString(i.w, "  "+string(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}
