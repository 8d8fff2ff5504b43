package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"openimds/internal/usage/series"
)

// mostAnswer is how large an answer may be, in bytes.
const mostAnswer = 256 << 20

// querier asks a place that speaks Prometheus's HTTP API.
type querier struct {
	at         *endpoint
	base       *url.URL
	ok, failed atomic.Uint64
}

func newQuerier(a Access) (*querier, error) {
	at, err := newEndpoint(a)
	if err != nil {
		return nil, err
	}
	base, err := url.Parse(a.URL)
	return &querier{at: at, base: base}, err
}

// found is one series of an answer.
type found struct {
	instance, writer string
	kind             series.Kind
	// coverage: it is not of an instance, but counts minutes that were written.
	coverage bool
	points   []point
}

// point is a value at a time, in Unix seconds.
type point struct {
	at    int64
	value uint64
}

// response is an answer of the HTTP API.
type response struct {
	Status    string   `json:"status"`
	ErrorType string   `json:"errorType"`
	Error     string   `json:"error"`
	Warnings  []string `json:"warnings"`
	// IsPartial is what VictoriaMetrics says where some of its parts are away.
	IsPartial bool `json:"isPartial"`
	Data      struct {
		ResultType string `json:"resultType"`
		Result     []struct {
			Metric map[string]string    `json:"metric"`
			Value  []json.RawMessage    `json:"value"`
			Values [][2]json.RawMessage `json:"values"`
		} `json:"result"`
	} `json:"data"`
}

// instant asks for the values of an expression at a time.
func (q *querier) instant(ctx context.Context, expr string, at int64) ([]found, error) {
	return q.ask(ctx, "query", "vector", url.Values{"query": {expr}, "time": {strconv.FormatInt(at, 10)}})
}

// steps asks for the values of an expression at several times, both ends
// included.
func (q *querier) steps(ctx context.Context, expr string, from, to, step int64) ([]found, error) {
	return q.ask(ctx, "query_range", "matrix", url.Values{
		"query": {expr}, "start": {strconv.FormatInt(from, 10)}, "end": {strconv.FormatInt(to, 10)}, "step": {strconv.FormatInt(step, 10)},
	})
}

func (q *querier) ask(ctx context.Context, path, want string, form url.Values) ([]found, error) {
	all, err := q.tryAsk(ctx, path, want, form)
	if err != nil {
		q.failed.Add(1)
		return nil, err
	}
	q.ok.Add(1)
	return all, nil
}

func (q *querier) tryAsk(ctx context.Context, path, want string, form url.Values) ([]found, error) {
	form.Set("timeout", q.at.Timeout.String())
	form.Set("partial_response", "false") // Thanos; others do not know it
	form.Set("nocache", "1")              // VictoriaMetrics, which otherwise moves times
	answer, err := q.at.post(ctx, q.base.JoinPath("api", "v1", path).String(), []byte(form.Encode()),
		http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}})
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	host := q.base.Host
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %d: %s", host, answer.StatusCode, excerpt(answer.Body))
	}
	data, err := io.ReadAll(io.LimitReader(answer.Body, mostAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", host, err)
	}
	if len(data) > mostAnswer {
		return nil, fmt.Errorf("the answer of %s is larger than %d bytes", host, mostAnswer)
	}
	all, err := read(data, want)
	if err != nil {
		return nil, fmt.Errorf("%s answered nonsense: %w", host, err)
	}
	return all, nil
}

// read reads an answer, and takes nothing that is not what was asked for.
func read(data []byte, want string) ([]found, error) {
	var r response
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, errors.New("it is not the JSON of Prometheus's HTTP API")
	}
	switch {
	case r.Status != "success":
		return nil, fmt.Errorf("status %.40q: %.20q %.200q", r.Status, r.ErrorType, r.Error)
	case len(r.Warnings) > 0:
		return nil, fmt.Errorf("it warns: %.200q", r.Warnings[0])
	case r.IsPartial:
		return nil, errors.New("it is partial")
	case r.Data.ResultType != want:
		return nil, fmt.Errorf("found a %.20q, expected a %s", r.Data.ResultType, want)
	}
	all := make([]found, 0, len(r.Data.Result))
	for _, s := range r.Data.Result {
		f := found{instance: s.Metric[labelInstance], writer: s.Metric[labelWriter]}
		label, of := s.Metric[labelKind]
		var known bool
		f.kind, known = kindOf(label)
		f.coverage = !of
		if of && !known {
			continue // of a newer writer
		}
		values := s.Values
		if want == "vector" {
			if len(s.Value) != 2 {
				return nil, errors.New("a series has no value")
			}
			values = [][2]json.RawMessage{{s.Value[0], s.Value[1]}}
		}
		for _, v := range values {
			p, err := readPoint(v)
			if err != nil {
				return nil, err
			}
			f.points = append(f.points, p)
		}
		all = append(all, f)
	}
	return all, nil
}

// readPoint reads a time in seconds, and a value in quotes, both whole.
func readPoint(v [2]json.RawMessage) (p point, err error) {
	var text string
	at, errAt := strconv.ParseFloat(string(v[0]), 64)
	errText := json.Unmarshal(v[1], &text)
	value, errValue := strconv.ParseFloat(text, 64)
	switch {
	case errors.Join(errAt, errText, errValue) != nil:
		return p, fmt.Errorf("a point is %.80q", string(v[0])+" "+string(v[1]))
	case at != math.Trunc(at) || math.Abs(at) > 1<<40:
		return p, fmt.Errorf("a time is %v, which was not asked for", at)
	case value != math.Trunc(value) || value < 0 || value > 1<<53:
		return p, fmt.Errorf("a count is %v", value)
	}
	return point{int64(at), uint64(value)}, nil
}

// quoted writes a value as PromQL has it.
func quoted(value string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(value) + `"`
}

// selector selects the series of a metric.
func selector(metric string, labels []label, more ...label) string {
	var b strings.Builder
	b.WriteString(metric + "{")
	for i, l := range append(append([]label{}, labels...), more...) {
		if i > 0 {
			b.WriteString(",")
		}
		b.WriteString(l.name + "=" + quoted(l.value))
	}
	return b.String() + "}"
}

// rise is an expression of what counters have risen by in a span until a time,
// by instance, kind and writer. Each rise has the value before it, at the
// minute's start, so that the difference is exact; two copies of a series, as
// of a pair of servers, count once.
func rise(counters string, span time.Duration) string {
	window := seconds(span + time.Second)
	return fmt.Sprintf("max by (%s, %s, %s) (max_over_time(%s[%s]) - min_over_time(%s[%s])) > 0", labelInstance, labelKind, labelWriter, counters, window, counters, window)
}

// covered is an expression of how many minutes were written in a span.
func covered(minutes string, span time.Duration) string {
	return fmt.Sprintf("max by (%s) (count_over_time(%s[%s]))", labelWriter, minutes, seconds(span-time.Second))
}

func seconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) + "s" }
