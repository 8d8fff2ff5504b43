package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"

	"github.com/spf13/cobra"

	"openimds/internal/admin"
	"openimds/internal/config"
)

func newApply() *cobra.Command {
	var client clientOptions
	var files []string
	var dry bool
	var form string
	c := &cobra.Command{
		Use:   "apply -f FILE…",
		Short: "create or replace resources from files, all or none",
		Long: `apply creates the resources that stand in files, or replaces them: all of them
in one commit, or, if there is a mistake in any, none. A file holds YAML
documents, or JSON, each with its kind: instances, images, keys, policies,
roles, key-pairs, templates or defaults. An instance is written as in an
instances file. The file - is the standard input.`,
		Example: "  imds apply -f policies.yaml -f keys.yaml --dry-run\n  imds get policies -o yaml | imds apply -f -",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if len(files) == 0 {
				return usageError{errors.New("say which file: imds apply -f FILE (- is the standard input)")}
			}
			if err := checkForm(form); err != nil {
				return err
			}
			server, err := client.open()
			if err != nil {
				return err
			}
			documents, places, err := readFiles(c.InOrStdin(), files)
			if err != nil {
				return usageError{err}
			}
			query := url.Values{}
			if dry {
				query.Set("dryRun", "true")
			}
			data, err := server.do(c.Context(), http.MethodPost, "apply", query, map[string]any{"documents": documents})
			if err != nil {
				return placed(err, places)
			}
			return showApplied(c, form, data)
		},
	}
	client.flags(c)
	f := c.Flags()
	f.StringArrayVarP(&files, "file", "f", nil, "file of documents; - is the standard input; may be repeated")
	f.BoolVar(&dry, "dry-run", false, "check everything and say what would happen, and change nothing")
	outputFlag(c, &form)
	return c
}

// readFiles returns all documents, and where each begins.
func readFiles(stdin io.Reader, files []string) (documents []json.RawMessage, places []string, err error) {
	for _, name := range files {
		var data []byte
		if name == "-" {
			name = "standard input"
			data, err = io.ReadAll(io.LimitReader(stdin, config.MaxSize+1))
		} else {
			data, err = os.ReadFile(name)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("read documents: %w", err)
		}
		all, err := config.ReadManifests(name, data)
		if err != nil {
			return nil, nil, err
		}
		for _, m := range all {
			documents = append(documents, m.JSON)
			places = append(places, name+":"+strconv.Itoa(m.Line))
		}
	}
	return documents, places, nil
}

var documentNumber = regexp.MustCompile(`(?m)^document (\d+)\b`)

// placed says of documents where they stand, not how many they are.
func placed(err error, places []string) error {
	text := documentNumber.ReplaceAllStringFunc(err.Error(), func(found string) string {
		n, _ := strconv.Atoi(documentNumber.FindStringSubmatch(found)[1])
		if n < 1 || n > len(places) {
			return found
		}
		return places[n-1]
	})
	if _, ok := errors.AsType[usageError](err); ok {
		return usageError{errors.New(text)}
	}
	if text == err.Error() {
		return err
	}
	return errors.New(text)
}

func showApplied(c *cobra.Command, form string, data []byte) error {
	if form != formTable {
		return write(c.OutOrStdout(), form, data)
	}
	var out admin.Applied
	if err := json.Unmarshal(data, &out); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	note := ""
	if out.DryRun {
		note = " (dry run)"
	}
	for _, r := range out.Results {
		fmt.Fprintf(c.OutOrStdout(), "%s/%s %s%s\n", r.Kind, plain(r.Name), r.Result, note)
		if r.Secret != "" {
			fmt.Fprintf(c.OutOrStdout(), "  secret %s (it is not shown again)\n", r.Secret)
		}
	}
	return nil
}
