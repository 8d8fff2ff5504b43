package remote_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"openimds/internal/fault"
	"openimds/internal/usage/history"
)

type windowTotal = history.Total

// value asks a place for one value.
func value(t *testing.T, at, expr string, when time.Time) string {
	t.Helper()
	r, err := http.Get(at + "/api/v1/query?" + url.Values{"query": {expr}, "time": {when.Format(time.RFC3339)}}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	var out struct {
		Data struct{ Result []struct{ Value [2]any } }
	}
	if err := json.Unmarshal(data, &out); err != nil || len(out.Data.Result) != 1 {
		t.Errorf("%s: found %s (%v)", expr, data, err)
		return ""
	}
	text, _ := out.Data.Result[0].Value[1].(string)
	return text
}

func wantUnavailable(t *testing.T, err error, text string) {
	t.Helper()
	if fault.KindOf(err) != fault.Unavailable || err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("found %v, expected an error of kind unavailable about %q", err, text)
	}
}
