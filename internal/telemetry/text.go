package telemetry

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// ContentType is that of what WriteText writes.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// WriteText writes the values of all sources in Prometheus's text format,
// families in the order of their names. A metric without a value is left out.
func WriteText(w io.Writer, sources ...Source) error {
	var families []family
	for _, s := range sources {
		byName := map[string]*family{}
		for _, m := range s.Metrics {
			byName[m.Name] = &family{Metric: m}
		}
		s.Collect(func(m Metric, value float64, labels ...string) {
			byName[m.Name].add(value, labels)
		})
		for _, f := range byName {
			if len(f.lines) > 0 {
				families = append(families, *f)
			}
		}
	}
	slices.SortFunc(families, func(a, b family) int { return strings.Compare(a.Name, b.Name) })
	var text bytes.Buffer
	for _, f := range families {
		fmt.Fprintf(&text, "# HELP %s %s\n# TYPE %s %s\n", f.Name, helpEscape.Replace(f.Help), f.Name, f.Type)
		slices.Sort(f.lines)
		for _, line := range f.lines {
			text.WriteString(line)
		}
	}
	if _, err := w.Write(text.Bytes()); err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	return nil
}

// family is a metric with its values, a line each.
type family struct {
	Metric
	lines []string
}

var (
	helpEscape  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelEscape = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

func (f *family) add(value float64, labels []string) {
	var line strings.Builder
	line.WriteString(f.Name)
	for i, name := range f.Labels {
		line.WriteByte("{,"[min(i, 1)])
		fmt.Fprintf(&line, `%s="%s"`, name, labelEscape.Replace(strings.ToValidUTF8(labels[i], "\uFFFD")))
	}
	if len(f.Labels) > 0 {
		line.WriteByte('}')
	}
	line.WriteByte(' ')
	line.WriteString(strconv.FormatFloat(value, 'g', -1, 64))
	line.WriteByte('\n')
	f.lines = append(f.lines, line.String())
}
