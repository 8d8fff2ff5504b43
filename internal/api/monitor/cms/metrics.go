package cms

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"openimds/internal/metric"
	"openimds/internal/usage/history"
)

// Datapoint is one of a metric, as it stands in the text of a reply.
type Datapoint struct {
	// Timestamp is the begin of the period, in milliseconds since 1970.
	Timestamp  int64   `json:"timestamp"`
	UserID     string  `json:"userId"`
	InstanceID string  `json:"instanceId"`
	Sum        float64 `json:"Sum"`
	Minimum    float64 `json:"Minimum"`
	Average    float64 `json:"Average"`
	Maximum    float64 `json:"Maximum"`
}

// statistics are those of a datapoint.
var statistics = []string{metric.Sum, metric.Minimum, metric.Average, metric.Maximum}

type metricReply struct {
	result
	Period     string
	Datapoints string // JSON
	NextToken  string `json:",omitempty" xml:",omitempty"`
}

const (
	usualLength = 1000
	mostLength  = 1440
	mostRange   = 31 * 24 * time.Hour
	usualRange  = time.Hour
)

// question is what a call asks for.
type question struct {
	measure  metric.Measure
	period   time.Duration
	from, to time.Time // both multiples of the period; to is not included
	ids      []string
}

// ask reads what DescribeMetricList and DescribeMetricLast have in common.
func (c *call) ask() (q question, err error) {
	namespace, err := c.params.required("Namespace")
	if err != nil {
		return q, err
	}
	name, err := c.params.required("MetricName")
	if err != nil {
		return q, err
	}
	if q.period, err = c.params.period(); err != nil {
		return q, err
	}
	now := c.Now()
	to, err := c.params.time("EndTime", now)
	if err != nil {
		return q, err
	}
	from, err := c.params.time("StartTime", to.Add(-max(usualRange, q.period)))
	switch {
	case err != nil:
		return q, err
	case !from.Before(to):
		return q, invalid("StartTime", "it must be before EndTime")
	case to.Sub(from) > mostRange:
		return q, invalid("StartTime", "it must be at most 31 days before EndTime")
	}
	ids, all, err := c.params.instances("Dimensions", maxInstances)
	if err != nil {
		return q, err
	}
	if all {
		ids = nil
	}
	if c.params["Express"] != "" {
		return q, invalid("Express", "expressions are not offered here")
	}
	if q.ids, err = c.Control.Metered(c.caller, ids...); err != nil {
		return q, err
	}
	var known bool
	if q.measure, known = c.Names.Measure(namespace, name); !known {
		return q, refuse(404, "ResourceNotFound", "The metric "+clip(name)+" of namespace "+clip(namespace)+" does not exist.")
	}
	// From after StartTime to EndTime (ECS-CMS-04): the begins of periods.
	q.from = from.Truncate(q.period).Add(q.period)
	q.to = to.Truncate(q.period).Add(q.period)
	if all {
		c.flush()
		err = c.History.Totals(q.from, q.to, func(id string, _ history.Total) {
			if c.Control.Owns(c.caller, id) { // it may be gone
				q.ids = append(q.ids, id)
			}
		})
	}
	slices.Sort(q.ids)
	q.ids = slices.Compact(q.ids)
	return q, err
}

// points reads all datapoints, sorted by time and instance.
func (c *call) points(q question) ([]Datapoint, error) {
	c.flush()
	var all []Datapoint
	now := c.Now()
	statistic := func(name string, d metric.Datapoint) float64 {
		s, _ := metric.ParseStatistic(name) // it is one of those that there are
		return s(d)
	}
	for _, id := range q.ids {
		found, err := metric.Query{Instance: id, Measure: q.measure, From: q.from, To: q.to, Period: q.period}.Run(c.History.Range, now)
		if err != nil {
			return nil, err
		}
		for _, d := range found {
			all = append(all, Datapoint{d.Start.UnixMilli(), c.caller.Account, id, d.Sum, d.Min, statistic(metric.Average, d), d.Max})
		}
	}
	slices.SortFunc(all, func(a, b Datapoint) int {
		return cmp.Or(cmp.Compare(a.Timestamp, b.Timestamp), strings.Compare(a.InstanceID, b.InstanceID))
	})
	return all, nil
}

func (c *call) reply(q question, all []Datapoint, next string) (any, error) {
	if all == nil {
		all = []Datapoint{}
	}
	text, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	return metricReply{c.ok(), strconv.Itoa(int(q.period / time.Second)), string(text), next}, nil
}

func (c *call) describeMetricList() (any, error) {
	length, err := c.params.number("Length", usualLength, 1, mostLength)
	if err != nil {
		return nil, err
	}
	last, err := readToken(c.params["NextToken"])
	if err != nil {
		return nil, err
	}
	q, err := c.ask()
	if err != nil {
		return nil, err
	}
	all, err := c.points(q)
	if err != nil {
		return nil, err
	}
	for len(all) > 0 && !last.before(all[0]) {
		all = all[1:]
	}
	next := ""
	if len(all) > length {
		all = all[:length]
		next = tokenOf(all[length-1])
	}
	return c.reply(q, all, next)
}

// mark is the datapoint that a page ended with.
type mark struct {
	at int64
	id string
}

func (m mark) before(d Datapoint) bool {
	return m.at < d.Timestamp || m.at == d.Timestamp && m.id < d.InstanceID
}

func tokenOf(d Datapoint) string {
	return hex.EncodeToString(fmt.Appendf(nil, "%d/%s", d.Timestamp, d.InstanceID))
}

func readToken(token string) (mark, error) {
	if token == "" {
		return mark{at: -1}, nil
	}
	text, err := hex.DecodeString(token)
	at, id, _ := strings.Cut(string(text), "/")
	n, problem := strconv.ParseInt(at, 10, 64)
	if err != nil || problem != nil {
		return mark{}, invalid("NextToken", "it is not one that was given")
	}
	return mark{n, id}, nil
}

// describeMetricLast returns the newest datapoint of each instance.
func (c *call) describeMetricLast() (any, error) {
	q, err := c.ask()
	if err != nil {
		return nil, err
	}
	all, err := c.points(q)
	if err != nil {
		return nil, err
	}
	newest := map[string]Datapoint{}
	for _, d := range all {
		newest[d.InstanceID] = d
	}
	var last []Datapoint
	for _, id := range q.ids {
		if d, ok := newest[id]; ok {
			last = append(last, d)
		}
	}
	return c.reply(q, last, "")
}

type metricMeta struct {
	Namespace, MetricName, Description    string
	Dimensions, Periods, Statistics, Unit string
	Labels                                string
}

type metaList struct {
	Resource []metricMeta
}

type metaReply struct {
	XMLName xml.Name `json:"-"`
	result
	TotalCount string
	Resources  metaList
}

func (c *call) describeMetricMetaList() (any, error) {
	number, err := c.params.number("PageNumber", 1, 1, 1<<20)
	if err != nil {
		return nil, err
	}
	size, err := c.params.number("PageSize", 30, 1, 10000)
	if err != nil {
		return nil, err
	}
	if _, err := c.Control.Metered(c.caller, ""); err != nil {
		return nil, err
	}
	var all []metricMeta
	for k, name := range c.Names.kinds {
		if n := c.params["Namespace"]; n != "" && n != c.Names.namespace {
			continue
		}
		if n := c.params["MetricName"]; n != "" && n != name {
			continue
		}
		all = append(all, metricMeta{
			Namespace: c.Names.namespace, MetricName: name, Description: descriptions[k], Dimensions: "userId,instanceId",
			Periods: "60,300,3600", Statistics: strings.Join(statistics, ","), Unit: "count/Period",
			Labels: `[{"name":"openimds","value":"the name is not the vendor's"}]`,
		})
	}
	reply := metaReply{result: c.ok(), TotalCount: strconv.Itoa(len(all)), Resources: metaList{[]metricMeta{}}}
	from := min((number-1)*size, len(all))
	reply.Resources.Resource = append(reply.Resources.Resource, all[from:min(from+size, len(all))]...)
	return reply, nil
}

// descriptions are those of the metrics, by kind.
var descriptions = [...]string{
	"Requests without a token that were answered",
	"Requests without a token that were refused",
	"Requests with a token that were answered",
	"Requests whose token was not good",
	"Session tokens given out",
	"Requests over the instance's rate",
	"Token answers beyond the hop limit",
}

// clip keeps messages short.
func clip(s string) string {
	if len(s) > 64 {
		s = strings.ToValidUTF8(s[:64], "") + "..."
	}
	return s
}
