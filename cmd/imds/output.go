package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"openimds/internal/config"
)

// Forms of output.
const (
	formTable = "table"
	formJSON  = "json"
	formYAML  = "yaml"
)

// outputFlag adds -o.
func outputFlag(c *cobra.Command, form *string) {
	c.Flags().StringVarP(form, "output", "o", formTable, "form of the output: table, json or yaml")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{formTable, formJSON, formYAML}, cobra.ShellCompDirectiveNoFileComp))
}

func checkForm(form string) error {
	known := []string{formTable, formJSON, formYAML}
	if !slices.Contains(known, form) {
		return usageError{fmt.Errorf("--output: found %q, expected table, json or yaml", form)}
	}
	return nil
}

// write writes an answer in a form that is no table.
func write(w io.Writer, form string, data []byte) error {
	if form == formYAML {
		text, err := config.YAML(data)
		if err != nil {
			return err
		}
		_, err = io.WriteString(w, text)
		return err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, data, "", "  "); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	_, err := fmt.Fprintln(w, strings.TrimSpace(b.String()))
	return err
}

// table writes rows below their titles, in columns.
func table(w io.Writer, titles []string, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{titles}, rows...) {
		cells := make([]string, len(row))
		for i, cell := range row {
			if cells[i] = plain(cell); cells[i] == "" {
				cells[i] = "-"
			}
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
}

// plain keeps what others wrote from changing what a terminal does.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

// object is a decoded JSON object.
type object map[string]any

// decode reads an object with its numbers as they are written.
func decode(data []byte) (object, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	o := object{}
	if err := d.Decode(&o); err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	return o, nil
}

// at returns the value at keys joined by dots, as text; empty if there is
// none.
func (o object) at(path string) string {
	var v any = map[string]any(o)
	for key := range strings.SplitSeq(path, ".") {
		switch t := v.(type) {
		case map[string]any:
			v = t[key]
		case []any:
			if len(t) == 0 {
				return ""
			}
			v = t[0] // of a list, the first
			if m, ok := v.(map[string]any); ok {
				v = m[key]
			}
		default:
			return ""
		}
	}
	return word(v)
}

// word writes a value in one line.
func word(v any) string {
	switch t := v.(type) {
	case nil:
		return ""
	case string:
		return t
	case []any:
		words := make([]string, len(t))
		for i := range t {
			words[i] = word(t[i])
		}
		return strings.Join(words, ",")
	case bool:
		if t {
			return "yes"
		}
		return "no"
	}
	return fmt.Sprint(v)
}
