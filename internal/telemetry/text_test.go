package telemetry_test

import (
	"bytes"
	"flag"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"openimds/internal/creds"
	"openimds/internal/instance"
	"openimds/internal/node"
	"openimds/internal/telemetry"
	"openimds/internal/telemetry/registry"
)

var update = flag.Bool("update", false, "write the golden files again")

// sources are all there are, with values that do not change.
func sources() []telemetry.Source {
	n := node.New(node.Config{})
	b := creds.New(creds.Config{Find: func(string) (*instance.Instance, bool) { return nil, false }})
	status := telemetry.FeedStatus{
		Connected: true, Contact: time.Unix(1768464000, 250e6), Revision: 77, HeldBack: 2, CertificateEnd: time.Unix(1800000000, 0),
	}
	return []telemetry.Source{
		telemetry.DataPlane(n), telemetry.Credentials(b), telemetry.Feed(func() telemetry.FeedStatus { return status }), odd(),
	}
}

// odd has what needs care.
func odd() telemetry.Source {
	labelled := telemetry.Metric{Name: "odd_requests_total", Type: "counter", Help: "a \\ and\na second line", Labels: []string{"one", "two"}}
	number := telemetry.Metric{Name: "odd_number", Type: "gauge", Help: "no number"}
	absent := telemetry.Metric{Name: "odd_absent", Type: "gauge", Help: "never there"}
	return telemetry.Source{Metrics: []telemetry.Metric{labelled, number, absent}, Collect: func(emit telemetry.Emit) {
		emit(labelled, 2, "z", "")
		emit(labelled, 1e21, "a \"quoted\" \\ one", "two\nlines \xff")
		emit(number, math.Inf(1))
	}}
}

func written(t *testing.T, sources ...telemetry.Source) string {
	t.Helper()
	var b bytes.Buffer
	if err := telemetry.WriteText(&b, sources...); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestText(t *testing.T) {
	const path = "testdata/metrics.txt"
	got := written(t, sources()...)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func parse(t *testing.T, text io.Reader) map[string]*dto.MetricFamily {
	t.Helper()
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(text)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// Prometheus reads the text as it reads that of its own library.
func TestSameAsTheLibrary(t *testing.T) {
	all := sources()
	ours := parse(t, strings.NewReader(written(t, all...)))
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry.New(all[:3]...), promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	theirs := parse(t, w.Body)
	for _, m := range telemetry.All() {
		a, b := ours[m.Name], theirs[m.Name]
		if a.String() != b.String() {
			t.Errorf("%s: written here as\n%v\nand there as\n%v", m.Name, a, b)
		}
	}
	if got := ours["odd_requests_total"].String(); !strings.Contains(got, `a \"quoted\" \\ one`) || !strings.Contains(got, `two\nlines`) {
		t.Errorf("labels are not what they were: %s", got)
	}
}

// Figures of the process have the names that dashboards know.
func TestProcess(t *testing.T) {
	ours := parse(t, strings.NewReader(written(t, telemetry.Process(time.Unix(1768464000, 0)))))
	theirs := map[string]bool{}
	gathered, err := registry.New().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range gathered {
		theirs[f.GetName()] = true
	}
	for name, f := range ours {
		if !theirs[name] {
			t.Errorf("%s is a name of our own", name)
		}
		if f.Metric[0].Gauge.GetValue() <= 0 {
			t.Errorf("%s is %v", name, f.Metric[0])
		}
	}
	if len(ours) < 5 {
		t.Errorf("only %d figures", len(ours))
	}
}

// A metric stands in the list once, and its name tells its type.
func TestNames(t *testing.T) {
	var names []string
	for _, m := range telemetry.All() {
		if slices.Contains(names, m.Name) {
			t.Errorf("%s stands there twice", m.Name)
		}
		names = append(names, m.Name)
		if strings.HasSuffix(m.Name, "_total") != (m.Type == "counter") || !strings.HasPrefix(m.Name, "openimds_") || m.Help == "" {
			t.Errorf("%s is a %s: %s", m.Name, m.Type, m.Help)
		}
	}
}
