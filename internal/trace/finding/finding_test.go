package finding

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func sample() Finding {
	uid := uint32(1000)
	return Finding{
		V: Version, Time: time.Date(2026, 11, 22, 0, 35, 29, 414e6, time.UTC), Level: Warning, Mode: TokenFree, Count: 3, Cloud: "ec2",
		Method: "GET", Path: "/latest/meta-data/\n", Host: "h", UserAgent: "curl/8", Status: 200, Dst: "169.254.169.254:80",
		Process: Process{PID: 7, Comm: "curl", LoginUID: &uid, Start: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), Parents: []Parent{{1, "init", "/sbin/init"}}},
		Machine: &Machine{Instance: "i-1", Hostname: "h"},
	}
}

func TestLines(t *testing.T) {
	f, g := sample(), sample()
	g.Count = 9
	b, err := Append(nil, &f)
	if err != nil {
		t.Fatal(err)
	}
	b, _ = Append(b, &g)
	if strings.Count(string(b), "\n") != 2 {
		t.Errorf("%q is not two lines", b)
	}
	var got []Finding
	if err := Read(strings.NewReader(string(b)), func(f *Finding) error { got = append(got, *f); return nil }); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, []Finding{f, g}) {
		t.Errorf("%+v", got)
	}
}

func TestReadRefuses(t *testing.T) {
	f := sample()
	good, _ := Append(nil, &f)
	for name, text := range map[string]string{
		"line 2": string(good) + "{\n", "version": `{"count":1}`, "count": `{"v":1,"ts":"2026-11-22T00:00:00Z","mode":"IMDSv1"}`,
		"time": `{"v":1,"count":1,"mode":"IMDSv1"}`, "mode": `{"v":1,"count":1,"ts":"2026-11-22T00:00:00Z","mode":"x"}`,
		"longer than": strings.Repeat("x", MaxLine+1),
	} {
		err := Read(strings.NewReader(text), func(*Finding) error { return nil })
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	stop := errors.New("stop")
	if err := Read(strings.NewReader(string(good)), func(*Finding) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}

// A reader of today takes what a writer of tomorrow adds.
func TestUnknownFields(t *testing.T) {
	line := `{"v":2,"ts":"2026-11-22T00:00:00Z","mode":"IMDSv2","count":1,"new":{"a":1},"process":{"pid":5,"more":true}}`
	n := 0
	if err := Read(strings.NewReader(line), func(f *Finding) error { n += f.Process.PID; return nil }); err != nil || n != 5 {
		t.Errorf("%v, %d", err, n)
	}
}

func FuzzRead(f *testing.F) {
	s := sample()
	b, _ := Append(nil, &s)
	f.Add(string(b))
	f.Fuzz(func(t *testing.T, text string) {
		_ = Read(strings.NewReader(text), func(f *Finding) error {
			if _, err := Append(nil, f); err != nil {
				t.Error(err)
			}
			return f.Validate()
		})
	})
}
