package readiness_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"openimds/internal/readiness"
)

const day = 24 * time.Hour

var now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// good is an instance about which everything is known, and which is ready.
func good() readiness.Evidence {
	return readiness.Evidence{
		Instance: "i-1", Dialect: "ec2", Platform: "linux", HopLimit: 1, Image: readiness.Image{ID: "ami-1", Known: true, Supports: true},
		Now: now, Window: 14 * day, Started: now.Add(-40 * day), Observed: now.Add(-60 * day),
		Recent: readiness.Counts{Tokened: 100, Minted: 5},
	}
}

func codes(r readiness.Result) string {
	var all []string
	for _, x := range r.Reasons {
		if x.Verdict == r.Verdict {
			all = append(all, string(x.Code))
		}
	}
	return fmt.Sprintf("%s: %s", r.Verdict, strings.Join(all, " "))
}

func TestJudge(t *testing.T) {
	type e = *readiness.Evidence
	for _, tt := range []struct {
		name   string
		rules  readiness.Rules
		change func(e)
		want   string
	}{
		{"all is well", readiness.Rules{}, func(e) {}, "ready: tokened"},
		{"one request without a token", readiness.Rules{}, func(e e) { e.Recent.TokenFree = 1 }, "not ready: token-free"},
		{"before the window, at the start", readiness.Rules{}, func(e e) { e.Boot.TokenFree = 3 }, "not ready: token-free-at-boot"},
		{"refused", readiness.Rules{}, func(e e) { e.Required, e.Recent.Rejected = true, 2 }, "not ready: rejected"},
		{"refused at the start", readiness.Rules{}, func(e e) { e.Boot.Rejected = 2 }, "not ready: rejected"},
		{"seen by a tracer", readiness.Rules{}, func(e e) { e.Processes = []readiness.Process{{Name: "curl"}, {Name: "wget"}} }, "not ready: process process"},
		{"behind the hop limit", readiness.Rules{}, func(e e) { e.Recent.Suspects = 1 }, "not ready: hop-limit"},
		{"windows of ECS", readiness.Rules{}, func(e e) { e.Dialect, e.Platform = "ecs", "windows" }, "not ready: windows"},
		{"windows of EC2", readiness.Rules{}, func(e e) { e.Platform = "windows" }, "ready: tokened"},
		{"an image of ECS that cannot", readiness.Rules{}, func(e e) { e.Dialect, e.Image.Supports = "ecs", false }, "not ready: image"},
		{"an image of EC2 that does not say", readiness.Rules{}, func(e e) { e.Image.Supports = false }, "ready: tokened image-unclear"},
		{"an image that is not known", readiness.Rules{}, func(e e) { e.Dialect, e.Image = "ecs", readiness.Image{ID: "m-1"} }, "ready: tokened image-unclear"},
		{"silent", readiness.Rules{}, func(e e) { e.Recent = readiness.Counts{} }, "unknown: silent"},
		{"tokens given out, and nothing with them", readiness.Rules{}, func(e e) { e.Recent = readiness.Counts{Minted: 9} }, "unknown: silent"},
		{"with a token at the start alone", readiness.Rules{}, func(e e) { e.Recent, e.Boot = readiness.Counts{}, readiness.Counts{Tokened: 3} }, "ready: "},
		{"never observed", readiness.Rules{}, func(e e) { e.Observed = time.Time{} }, "unknown: not-observed"},
		{"observed for a week", readiness.Rules{}, func(e e) { e.Observed, e.Started = now.Add(-7*day), now.Add(-7*day) }, "unknown: observed-short"},
		{"its start was not observed", readiness.Rules{}, func(e e) { e.Observed = now.Add(-20 * day) }, "unknown: boot-not-observed"},
		{"and that does not matter", readiness.Rules{AnyBoot: true}, func(e e) { e.Observed = now.Add(-20 * day) }, "ready: tokened"},
		{"observed half a minute after its start", readiness.Rules{}, func(e e) { e.Observed = e.Started.Add(30 * time.Second) }, "ready: tokened"},
		{"its start is not known", readiness.Rules{}, func(e e) { e.Started = time.Time{} }, "unknown: boot-not-observed"},
		{"a gap", readiness.Rules{}, func(e e) { e.Gaps = []readiness.Gap{{now.Add(-day), now.Add(-day + time.Minute)}} }, "unknown: gap"},
		{"a gap that is allowed", readiness.Rules{Gaps: time.Minute}, func(e e) { e.Gaps = []readiness.Gap{{now.Add(-day), now.Add(-day + time.Minute)}} }, "ready: tokened"},
		{"a gap before the window", readiness.Rules{}, func(e e) { e.Gaps = []readiness.Gap{{now.Add(-20 * day), now.Add(-19 * day)}} }, "ready: tokened"},
		{"a gap while it started", readiness.Rules{}, func(e e) { e.Gaps = []readiness.Gap{{now.Add(-41 * day), now.Add(-40*day + time.Minute)}} }, "unknown: gap"},
		{"the same, and it does not matter", readiness.Rules{AnyBoot: true}, func(e e) { e.Gaps = []readiness.Gap{{now.Add(-41 * day), now.Add(-40*day + time.Minute)}} }, "ready: tokened"},
		{"disabled", readiness.Rules{}, func(e e) { e.Disabled = true }, "unknown: endpoint-disabled"},
		{"what breaks outweighs what is not known", readiness.Rules{}, func(e e) { e.Recent.TokenFree, e.Observed, e.Disabled = 1, time.Time{}, true }, "not ready: token-free"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := good()
			tt.change(&e)
			if got := codes(readiness.Judge(e, tt.rules)); strings.TrimSpace(got) != strings.TrimSpace(tt.want) {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

// What decides is said with who it was, where, and what to do.
func TestReasonsName(t *testing.T) {
	e := good()
	e.Recent.TokenFree, e.Recent.Suspects = 2, 1
	e.Free = []readiness.Caller{{Agent: "old/1", Item: "meta-data/ami-id", Source: netip.MustParseAddr("10.0.0.5"), Last: now.Add(-time.Hour)}}
	e.Processes = []readiness.Process{
		{Name: "python3", PID: 7, Exe: "/usr/bin/python3", Unit: "backup.service", Last: now.Add(-time.Hour)},
		{Name: "curl", PID: 8, Unit: "docker-0123456789abcdef.scope", Container: "0123456789ab", Last: now.Add(-time.Hour)},
	}
	var all []string
	for _, r := range readiness.Judge(e, readiness.Rules{}).Reasons {
		all = append(all, r.Text)
	}
	text := strings.Join(all, "\n")
	for _, want := range []string{
		"2 times in the last 14d, the last time at 2026-06-01T11:00:00Z: old/1 for meta-data/ami-id from 10.0.0.5",
		"python3 (pid 7, /usr/bin/python3, unit backup.service) asking without a token",
		"curl (pid 8, container 0123456789ab) asking",
		"imds set-options i-1 --hop-limit 2",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

func counts(t *rapid.T, name string) readiness.Counts {
	n := func(what string) uint64 { return rapid.SampledFrom([]uint64{0, 0, 1, 50}).Draw(t, name+" "+what) }
	return readiness.Counts{TokenFree: n("free"), Rejected: n("rejected"), Tokened: n("tokened"), Minted: n("minted"), Suspects: n("suspects")}
}

func when(t *rapid.T, name string) time.Time {
	if rapid.IntRange(0, 5).Draw(t, name+" known") == 0 {
		return time.Time{}
	}
	return now.Add(-time.Duration(rapid.IntRange(0, 90*24).Draw(t, name)) * time.Hour)
}

func evidence(t *rapid.T) readiness.Evidence {
	e := readiness.Evidence{
		Instance: "i-1", Dialect: rapid.SampledFrom([]string{"ecs", "ec2"}).Draw(t, "dialect"), Platform: rapid.SampledFrom([]string{"linux", "windows"}).Draw(t, "platform"),
		Disabled: rapid.Bool().Draw(t, "disabled"), Now: now, Window: 14 * day, Started: when(t, "started"), Observed: when(t, "observed"),
		Image:  readiness.Image{ID: "x", Known: rapid.Bool().Draw(t, "image"), Supports: rapid.Bool().Draw(t, "supports")},
		Recent: counts(t, "recent"), Boot: counts(t, "boot"),
	}
	for range rapid.IntRange(0, 2).Draw(t, "gaps") {
		from := now.Add(-time.Duration(rapid.IntRange(0, 90*24).Draw(t, "gap")) * time.Hour)
		e.Gaps = append(e.Gaps, readiness.Gap{From: from, To: from.Add(time.Minute)})
	}
	return e
}

// rank orders verdicts: what is known to break, what is not known, what is well.
func rank(v readiness.Verdict) int {
	return slices.Index([]readiness.Verdict{readiness.NotReady, readiness.Unknown, readiness.Ready}, v)
}

// More bad evidence never makes a verdict better, and no instance is ready that
// was seen without a token, or not seen at all.
func TestLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := evidence(t)
		rules := readiness.Rules{AnyBoot: rapid.Bool().Draw(t, "any boot"), Gaps: time.Duration(rapid.IntRange(0, 2).Draw(t, "allowed")) * time.Minute}
		before := readiness.Judge(e, rules)
		if before.Verdict == readiness.Ready && (e.Recent.TokenFree+e.Recent.Rejected+e.Boot.TokenFree+e.Boot.Rejected > 0 || e.Recent.Tokened+e.Boot.Tokened == 0 || e.Observed.IsZero()) {
			t.Fatalf("ready: %+v", e)
		}
		if len(before.Reasons) == 0 && before.Verdict != readiness.Ready {
			t.Fatal("no reason")
		}
		worse := e
		worse.Gaps = slices.Clone(e.Gaps)
		breaks := true
		switch rapid.IntRange(0, 8).Draw(t, "what") {
		case 0:
			worse.Recent.TokenFree++
		case 1:
			worse.Boot.TokenFree++
		case 2:
			worse.Recent.Rejected++
		case 3:
			worse.Recent.Suspects++
		case 4:
			worse.Processes = []readiness.Process{{Name: "x"}}
		case 5:
			worse.Gaps, breaks = append(worse.Gaps, readiness.Gap{From: now.Add(-day), To: now}), false
		case 6:
			worse.Observed, breaks = e.Observed.Add(day), false
			if e.Observed.IsZero() {
				worse.Observed = e.Observed
			}
		case 7:
			worse.Disabled, breaks = true, false
		case 8:
			worse.Window, breaks = e.Window+day, false
		}
		after := readiness.Judge(worse, rules)
		if rank(after.Verdict) > rank(before.Verdict) {
			t.Fatalf("%s became %s\n%+v\n%+v", before.Verdict, after.Verdict, e, worse)
		}
		if breaks && after.Verdict != readiness.NotReady {
			t.Fatalf("it is %s: %+v", after.Verdict, worse)
		}
		strict := readiness.Judge(e, readiness.Rules{})
		if rank(strict.Verdict) > rank(before.Verdict) {
			t.Fatalf("less is passed over and the verdict is better: %s, %s", strict.Verdict, before.Verdict)
		}
	})
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{14 * day: "14d", 36 * time.Hour: "36h", 90 * time.Second: "1m30s", time.Minute: "1m", 0: "0s", 10 * time.Second: "10s", 30 * time.Minute: "30m"} {
		if got := readiness.Span(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}
