package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"openimds/internal/admin"
	"openimds/internal/config"
)

// completionTime is how long a completion waits for the server.
const completionTime = time.Second

func newCompletion() *cobra.Command {
	shells := map[string]func(*cobra.Command, io.Writer) error{
		"bash": func(root *cobra.Command, w io.Writer) error { return root.GenBashCompletionV2(w, true) },
		"zsh":  func(root *cobra.Command, w io.Writer) error { return root.GenZshCompletion(w) },
		"fish": func(root *cobra.Command, w io.Writer) error { return root.GenFishCompletion(w, true) },
	}
	names := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "write a script that makes a shell complete commands, kinds and names",
		Long: `completion writes a script for a shell. With it the shell completes commands,
flags and kinds, and, while a server answers, the names of resources.

  bash   imds completion bash > /etc/bash_completion.d/imds
  zsh    imds completion zsh > "${fpath[1]}/_imds"
  fish   imds completion fish > ~/.config/fish/completions/imds.fish`,
		ValidArgs: names,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("say which shell: %s", strings.Join(names, ", "))}
			}
			if shells[args[0]] == nil {
				return usageError{fmt.Errorf("there is no script for %q%s", args[0], config.Suggest(args[0], names))}
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return shells[args[0]](c.Root(), c.OutOrStdout()) },
	}
}

// completeResources completes a kind, one of also among them, and then names of
// that kind.
func completeResources(o *clientOptions, also ...string) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 {
			plural, _ := admin.KindNames()
			return append(plural, also[:min(1, len(also))]...), cobra.ShellCompDirectiveNoFileComp
		}
		kind, err := kindArg(args[0], also...)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return completeNames(c.Context(), o, kind, args[1:])
	}
}

// completeInstances completes names of instances.
func completeInstances(o *clientOptions) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return completeNames(c.Context(), o, "instances", args)
	}
}

// completeNames asks the server for names, but those that are there already.
func completeNames(ctx context.Context, o *clientOptions, kind string, have []string) ([]string, cobra.ShellCompDirective) {
	server, err := o.open()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, stop := context.WithTimeout(ctx, completionTime)
	defer stop()
	items, err := server.list(ctx, kind, nil)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp // a shell has no place for the reason
	}
	taken := map[string]bool{}
	for _, name := range have {
		taken[name] = true
	}
	var names []string
	for _, item := range items {
		if o, err := decode(item); err == nil && !taken[nameOf(kind, o)] {
			names = append(names, nameOf(kind, o))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
