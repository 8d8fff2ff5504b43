// Package remote keeps usage in a Prometheus-compatible place as well, where a
// fleet has one: what the embedded history has is written there by remote write,
// minute by minute, and what was long ago is read from there by PromQL. The
// history is the spool; what is not there yet is read from it.
package remote

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"openimds/internal/usage/series"
)

// Names of what is written.
const (
	// Counters is the metric with the counters of instances.
	Counters = "openimds_instance_usage_total"
	// Minutes is the metric that counts the minutes that were written: who reads tells from it that nothing is missing.
	Minutes = "openimds_usage_minutes_total"

	labelInstance = "instance_id"
	labelKind     = "kind"
	labelWriter   = "writer"
)

// kinds are the values of the label kind.
var kinds = [series.Kinds]string{
	series.TokenFree: "token_free",
	series.Rejected:  "rejected",
	series.Tokened:   "tokened",
	series.BadToken:  "bad_token",
	series.Minted:    "minted",
	series.Throttled: "throttled",
	series.Suspects:  "suspects",
}

// kindOf is the kind of a value of the label kind.
func kindOf(label string) (series.Kind, bool) {
	i := slices.Index(kinds[:], label)
	return series.Kind(max(i, 0)), i >= 0 //nolint:gosec // there are few
}

// Idle is in how many minutes after its last count a counter is still written,
// so that rates come out right.
const Idle = 5

// label is a name and its value.
type label struct{ name, value string }

// sortedLabels returns the operator's labels in order.
func sortedLabels(all map[string]string) []label {
	var out []label
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, label{name, all[name]})
	}
	return out
}

// identity tells one place, and one set of labels, from others. It is kept, and
// shows nobody either.
func identity(url string, labels map[string]string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q", url)
	for _, l := range sortedLabels(labels) {
		fmt.Fprintf(h, " %q=%q", l.name, l.value)
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}
