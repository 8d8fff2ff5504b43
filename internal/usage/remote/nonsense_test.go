package remote_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"openimds/internal/usage/history"
	"openimds/internal/usage/remote"
	"openimds/internal/usage/series"
)

// Whatever the place answers that is not what was asked for is an error: never
// fewer requests than there were.
func TestNonsense(t *testing.T) {
	matrix := func(series string) string {
		return `{"status":"success","data":{"resultType":"matrix","result":[` + series + `]}}`
	}
	begin := time.Now().Add(-time.Hour).Unix() / 60 * 60
	at := func(value string) string { return fmt.Sprintf(`[%d,%s]`, begin+60, value) }
	for want, tc := range map[string]struct {
		status int
		body   string
	}{
		"answered 404: not here":             {404, "not\n\x00here"},
		"answered 302":                       {302, ""},
		"answered 503: away":                 {503, "away"},
		"nonsense: it is not the JSON":       {200, "<html>"},
		"it is not the JSON of":              {200, `{"status":"success","data":{"resultType":"matrix","result":[{"values":[[1]]}]}}x`},
		`status "error": "bad_data" "parse"`: {200, `{"status":"error","errorType":"bad_data","error":"parse"}`},
		`status ""`:                          {200, `{}`},
		`it warns: "a store is away"`:        {200, `{"status":"success","warnings":["a store is away"],"data":{"resultType":"matrix","result":[]}}`},
		"it is partial":                      {200, `{"status":"success","isPartial":true,"data":{"resultType":"matrix","result":[]}}`},
		`found a "vector", expected`:         {200, `{"status":"success","data":{"resultType":"vector","result":[]}}`},
		"it has 0 of 1 minutes":              {200, matrix("")},
		"a count is NaN":                     {200, matrix(`{"metric":{"kind":"tokened"},"values":[` + at(`"NaN"`) + `]}`)},
		"a count is 1.5":                     {200, matrix(`{"metric":{"kind":"tokened"},"values":[` + at(`"1.5"`) + `]}`)},
		"a count is -1":                      {200, matrix(`{"metric":{"kind":"tokened"},"values":[` + at(`"-1"`) + `]}`)},
		"a count is 1e+300":                  {200, matrix(`{"metric":{"kind":"tokened"},"values":[` + at(`"1e300"`) + `]}`)},
		"a point is":                         {200, matrix(`{"metric":{"kind":"tokened"},"values":[` + at(`7`) + `]}`)},
		"a time is 1.5":                      {200, matrix(`{"metric":{"kind":"tokened"},"values":[[1.5,"7"]]}`)},
		"a point at 60, which was not":       {200, matrix(`{"metric":{"kind":"tokened"},"values":[[60,"7"]]}`)},
		`instance "i-2", which was not`:      {200, matrix(`{"metric":{"kind":"tokened","instance_id":"i-2"},"values":[` + at(`"7"`) + `]}`)},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, "/base/api/v1/query_range") && !strings.HasSuffix(r.URL.Path, "/base/api/v1/query") || r.FormValue("partial_response") != "false" {
				t.Errorf("asked for %s", r.URL)
			}
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(tc.status)
			fmt.Fprint(w, tc.body)
		}))
		p, err := remote.NewPast(remote.PastConfig{File: mustHistory(t), Query: remote.Access{URL: s.URL + "/base/"}, Delivered: func() int64 { return 1 << 40 }})
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Range(t.Context(), "i-1", time.Unix(begin, 0), time.Unix(begin+1200, 0), series.Resolutions()[0])
		if want == "it has 0 of 1 minutes" {
			// Nothing is frozen yet, so nothing is missed.
			if err != nil {
				t.Errorf("%v", err)
			}
		} else {
			wantUnavailable(t, err, want)
		}
		if err := p.Totals(t.Context(), time.Unix(begin, 0), time.Unix(begin+1200, 0), func(string, history.Total) {}); err == nil && tc.body != matrix("") && !strings.Contains(tc.body, `"vector"`) {
			t.Errorf("%s: totals are taken", want)
		}
		s.Close()
	}
	p, err := remote.NewPast(remote.PastConfig{File: mustHistory(t), Query: remote.Access{URL: "http://127.0.0.1:1"}, Delivered: func() int64 { return 0 }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = p.Range(ctx, "i-1", time.Unix(begin, 0), time.Unix(begin+600, 0), series.Resolutions()[0])
	wantUnavailable(t, err, "context canceled")
}
