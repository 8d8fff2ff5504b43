package ecsrpc

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http/httptest"
	"net/url"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type everything struct {
	Text     string     `p:"Text"`
	Perhaps  *string    `p:"Perhaps"`
	Number   *int       `p:"Number"`
	Flag     bool       `p:"Flag"`
	List     idList     `p:"List"`
	Repeated []string   `p:"R"`
	Tags     []tagInput `p:"Tag"`
	paging
}

func TestDecode(t *testing.T) {
	empty := ""
	for _, tc := range []struct {
		query string
		want  everything
		code  string
	}{
		{"Text=a&Unknown=b", everything{Text: "a"}, ""},
		{"Perhaps=", everything{Perhaps: &empty}, ""},
		{"Number=&Flag=TRUE", everything{Flag: true}, ""},
		{"Number=x", everything{}, "InvalidParameter"},
		{"Number=99999999999", everything{}, "InvalidParameter"},
		{"Flag=yes", everything{}, "InvalidParameter"},
		{`List=["a","b"]`, everything{List: idList{"a", "b"}}, ""},
		{"List=a", everything{List: idList{"a"}}, ""},
		{`List=["a"`, everything{}, "InvalidList.Malformed"},
		{`List=[1]`, everything{}, "InvalidList.Malformed"},
		{"R.10=c&R.2=b&R.1=a&R.3=", everything{Repeated: []string{"a", "b", "c"}}, ""},
		{"R.0=a", everything{}, "InvalidParameter"},
		{"R.01=a", everything{}, "InvalidParameter"},
		{"R.1001=a", everything{}, "InvalidParameter"},
		{"Tag.2.Value=y&Tag.2.Key=x&Tag.1.Key=z", everything{Tags: []tagInput{{"z", ""}, {"x", "y"}}}, ""},
	} {
		v, err := url.ParseQuery(tc.query)
		if err != nil {
			t.Fatal(err)
		}
		params := map[string]string{}
		for name := range v {
			params[name] = v.Get(name)
		}
		var got everything
		err = decode(params, &got)
		code := ""
		if refused, ok := errors.AsType[*wireError](err); ok {
			code = refused.code
		}
		if code != tc.code || code == "" && !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %+v %s, want %+v %s", tc.query, got, code, tc.want, tc.code)
		}
	}
	err := decode(nil, &oneInstance{})
	if refused, ok := errors.AsType[*wireError](err); !ok || refused.status != 400 ||
		refused.message != `The input parameter "InstanceId" that is mandatory for processing this request is not supplied.` {
		t.Error(err)
	}
}

// FuzzDecode: no parameters make an action's input panic, or a list too long.
func FuzzDecode(f *testing.F) {
	f.Add("Tag.1.Key=a&InstanceIds=[\"i\"]&HttpPutResponseHopLimit=3")
	f.Fuzz(func(t *testing.T, query string) {
		v, _ := url.ParseQuery(query)
		params := map[string]string{}
		for name := range v {
			params[name] = v.Get(name)
		}
		for _, in := range []any{&everything{}, &runInput{}, &describeInstancesInput{}, &modifyOptionsInput{}} {
			_ = decode(params, in) // the error is the client's
		}
	})
}

// FuzzEncode: whatever a text holds, the answer is well-formed.
func FuzzEncode(f *testing.F) {
	f.Add("a<b>&\"\x00\xff")
	f.Fuzz(func(t *testing.T, text string) {
		for _, asJSON := range []bool{true, false} {
			w := httptest.NewRecorder()
			answer{w: w, host: text, requestID: "1", json: asJSON}.fail(&wireError{400, "Code", text})
			if asJSON {
				if !json.Valid(w.Body.Bytes()) {
					t.Errorf("%s", w.Body)
				}
				continue
			}
			d := xml.NewDecoder(w.Body)
			for {
				if _, err := d.Token(); err == io.EOF { //nolint:errorlint // never wrapped
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

func TestGlob(t *testing.T) {
	got := map[string]bool{}
	for _, pattern := range []string{"", "*", "web-1", "web", "web*", "*-1", "*b-*", "w*-*1", "w**1", "*x*", "web-1*1"} {
		got[pattern] = glob(pattern, "web-1")
	}
	want := map[string]bool{
		"": true, "*": true, "web-1": true, "web": false, "web*": true, "*-1": true, "*b-*": true, "w*-*1": true, "w**1": true, "*x*": false, "web-1*1": false,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestHardware(t *testing.T) {
	for kind, want := range map[string][2]int{
		"ecs.g7.large": {2, 8192}, "ecs.c7.xlarge": {4, 8192}, "ecs.r7.2xlarge": {8, 65536}, "ecs.t6-c1m1.small": {1, 4096}, "odd": {1, 4096}, "": {1, 4096},
	} {
		if cpus, mib := hardware(kind); cpus != want[0] || mib != want[1] {
			t.Errorf("%s: %d, %d", kind, cpus, mib)
		}
	}
}
