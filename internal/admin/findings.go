package admin

import (
	"maps"
	"net/http"
	"slices"

	"openimds/internal/fault"
	"openimds/internal/trace/finding"
)

// TakenFindings says what became of a tracer's report.
type TakenFindings struct {
	// How many findings were taken.
	Taken int `json:"taken"`
	// How many are about no instance that is known here.
	Unknown int `json:"unknown"`
}

func findingsRoute() route {
	return answering(route{
		method: "POST", path: "/v1/trace/findings", id: "putFindings", reporter: true,
		doc:    "Take what a tracer in an instance has found: lines of JSON, as imds-trace writes them, 1 MiB at most. The trace token is enough",
		params: []param{{name: "instance", doc: "the instance that findings are about which do not say it"}},
	}, (*call).findings)
}

func (c *call) findings() (TakenFindings, error) {
	var out TakenFindings
	l, err := c.kept()
	if err != nil {
		return out, err
	}
	byInstance := map[string][]finding.Finding{}
	now := c.Now()
	err = finding.Read(http.MaxBytesReader(nil, c.Body, finding.MaxBatch), func(f *finding.Finding) error {
		id := c.query.Get("instance")
		if f.Machine != nil && f.Machine.Instance != "" {
			id = f.Machine.Instance
		}
		if _, err := c.Control.Find(c.caller, id); id == "" || err != nil {
			out.Unknown++
			return nil
		}
		if f.Time.After(now) {
			f.Time = now // its clock is ahead: it is no evidence of the future
		}
		out.Taken++
		byInstance[id] = append(byInstance[id], *f)
		return nil
	})
	if err != nil {
		return TakenFindings{}, fault.New(fault.Invalid, "findings: %v", err)
	}
	for _, id := range slices.Sorted(maps.Keys(byInstance)) {
		if err := l.Findings(id, byInstance[id]); err != nil {
			return TakenFindings{}, err
		}
	}
	return out, nil
}
