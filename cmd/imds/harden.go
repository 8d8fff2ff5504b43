package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"openimds/internal/admin"
	"openimds/internal/state"
)

func newHarden() *cobra.Command {
	var client clientOptions
	var target targetFlags
	var in admin.NewHardening
	var form, batches string
	var limit int
	var wait bool
	c := &cobra.Command{
		Use:   "harden [INSTANCE…]",
		Short: "switch instances to session tokens, watch, and go back where something breaks",
		Long: `harden sets the access mode of instances to required and watches them: one whose
requests without a token are refused is set back to optional within a second,
and who asked is named. Instances that are not ready (see imds readiness) are
left out, unless --force is given. With --batches a part is switched first; where
one of it was set back, the rest waits until the operator resumes. The server
does all this, also after it was restarted; --wait makes the command wait for the
end. --rehearse switches for a time and sets back in any case.`,
		Example:           "  imds harden --tag env=test --watch 30m --batches 1%,10%,100%\n  imds harden i-0a1b2c3d4e5f60001 --rehearse 5m --wait\n  imds harden status",
		ValidArgsFunction: completeInstances(&client),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkForm(form); err != nil {
				return err
			}
			target.instances = args
			var err error
			if in.Target, err = target.target(); err != nil {
				return err
			}
			if batches != "" {
				in.Batches = strings.Split(batches, ",")
			}
			if in.Rehearse != "" {
				if c.Flags().Changed("watch") {
					return usageError{errors.New("--watch and --rehearse contradict each other: leave one out")}
				}
				in.Watch = ""
			}
			in.RollbackOnReject = &limit
			server, err := client.open()
			if err != nil {
				return err
			}
			var begun admin.Hardening
			if err := server.into(c.Context(), &begun, http.MethodPost, "hardenings", nil, in); err != nil {
				return err
			}
			if wait {
				return awaitHardening(c, server, form, begun.ID)
			}
			return hardeningStatus(c, server, form, begun.ID)
		},
	}
	client.flags(c)
	target.flags(c)
	f := c.Flags()
	f.StringVar(&in.Watch, "watch", "30m", "how long each instance is watched")
	f.IntVar(&limit, "rollback-on-reject", 1, "number of refused requests at which an instance is set back; 0: it never is")
	f.Lookup("rollback-on-reject").NoOptDefVal = "1"
	f.StringVar(&batches, "batches", "", "growing shares that are switched one after the other, such as 1%,10%,100% (default: all at once)")
	f.StringVar(&in.Rehearse, "rehearse", "", "switch for this time, such as 5m, and set back in any case")
	f.BoolVar(&in.Force, "force", false, "switch instances that are not ready, too")
	f.StringVar(&in.Window, "window", "14d", "how far back readiness looks")
	f.StringVar(&in.AllowGaps, "allow-gaps", "", "how much of the window may be missing, such as 5m (default: nothing)")
	f.BoolVar(&in.AnyBoot, "any-boot", false, "judge without having seen the instance start")
	f.BoolVar(&wait, "wait", false, "wait until it is over or paused; the exit code is 1 if an instance was set back because of a refused request")
	outputFlag(c, &form)
	c.AddCommand(newHardenStatus(&client), newHardenTurn(&client, "pause", "begin no other batch; what is switched is watched on"),
		newHardenTurn(&client, "resume", "go on with one that is paused"), newHardenTurn(&client, "abort", "set back every instance that it has switched, also after it is done"))
	return c
}

func newHardenStatus(client *clientOptions) *cobra.Command {
	var form string
	c := &cobra.Command{
		Use:   "status [ID]",
		Short: "show guarded switches, or the instances of one",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkForm(form); err != nil {
				return err
			}
			server, err := client.open()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				return hardeningStatus(c, server, form, args[0])
			}
			data, err := server.do(c.Context(), http.MethodGet, "hardenings", nil, nil)
			if err != nil {
				return err
			}
			if form != formTable {
				return write(c.OutOrStdout(), form, data)
			}
			var out admin.Hardenings
			if err := json.Unmarshal(data, &out); err != nil {
				return fmt.Errorf("read the answer: %w", err)
			}
			if len(out.Hardenings) == 0 {
				fmt.Fprintln(c.ErrOrStderr(), "there is no guarded switch")
				return nil
			}
			var rows [][]string
			for _, h := range out.Hardenings {
				rows = append(rows, []string{h.ID, h.State, fmt.Sprintf("%d of %d", h.Batch, h.Batches), stamp(h.Created), stamp(h.Ended), h.By, h.Why})
			}
			return table(c.OutOrStdout(), []string{"ID", "STATE", "BATCH", "BEGUN", "ENDED", "BY", "WHY"}, rows)
		},
	}
	outputFlag(c, &form)
	return c
}

func newHardenTurn(client *clientOptions, verb, does string) *cobra.Command {
	var form string
	c := &cobra.Command{
		Use:   verb + " ID",
		Short: does,
		Args:  oneArg("the identifier, which imds harden status shows"),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkForm(form); err != nil {
				return err
			}
			server, err := client.open()
			if err != nil {
				return err
			}
			data, err := server.do(c.Context(), http.MethodPost, "hardenings/"+url.PathEscape(args[0])+"/"+verb, nil, nil)
			if err != nil {
				return err
			}
			return showHardening(c, form, data)
		},
	}
	outputFlag(c, &form)
	return c
}

func hardeningStatus(c *cobra.Command, server *client, form, id string) error {
	data, err := server.do(c.Context(), http.MethodGet, "hardenings/"+url.PathEscape(id), nil, nil)
	if err != nil {
		return err
	}
	return showHardening(c, form, data)
}

// awaitHardening waits until a guarded switch is over or paused.
func awaitHardening(c *cobra.Command, server *client, form, id string) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		data, err := server.do(c.Context(), http.MethodGet, "hardenings/"+url.PathEscape(id), nil, nil)
		if err != nil {
			return err
		}
		var h admin.Hardening
		if err := json.Unmarshal(data, &h); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		if h.State != state.HardeningRunning {
			if err := showHardening(c, form, data); err != nil {
				return err
			}
			if n := h.Count[state.HardenedReturned]; n > 0 {
				return fmt.Errorf("%d instances were set back because of refused requests", n)
			}
			return nil
		}
		select {
		case <-tick.C:
		case <-c.Context().Done():
			return fmt.Errorf("%s goes on: imds harden status %s", id, id)
		}
	}
}

func showHardening(c *cobra.Command, form string, data []byte) error {
	if form != formTable {
		return write(c.OutOrStdout(), form, data)
	}
	var h admin.Hardening
	if err := json.Unmarshal(data, &h); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	w := c.OutOrStdout()
	what := "watch " + h.Watch
	if h.Rehearsal {
		what = "rehearsal of " + h.Watch
	}
	fmt.Fprintf(w, "%s is %s: batch %d of %d, %s\n", h.ID, h.State, h.Batch, h.Batches, what)
	if h.Why != "" {
		fmt.Fprintln(w, plain(h.Why))
	}
	var counts []string
	for _, s := range []string{
		state.HardenedWaiting, state.HardenedWatched, state.HardenedKept, state.HardenedReturned, state.HardenedRehearsed, state.HardenedUndone,
		state.HardenedRefused, state.HardenedSkipped,
	} {
		if n := h.Count[s]; n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n, s))
		}
	}
	fmt.Fprintln(w, strings.Join(counts, ", "))
	var rows [][]string
	for _, in := range h.Instances {
		why := in.Why
		for i, k := range in.Callers {
			if i > 0 {
				break
			}
			why += ": " + rejecter(k)
		}
		rows = append(rows, []string{in.Instance, in.State, strconv.Itoa(in.Batch), stamp(in.Since), strconv.FormatUint(in.Rejected, 10), why})
	}
	return table(w, []string{"INSTANCE", "STATE", "BATCH", "SWITCHED", "REJECTED", "WHY"}, rows)
}

// rejecter names who was refused.
func rejecter(k admin.HardenedCaller) string {
	agent := k.Agent
	if agent == "" {
		agent = "a program without a user agent"
	}
	text := agent + " for " + k.Item
	if k.Source != "" {
		text += " from " + k.Source
	}
	if k.Process != "" {
		text += ", which is " + k.Process
	}
	return text
}
