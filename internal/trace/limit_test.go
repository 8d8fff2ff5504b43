package trace

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"openimds/internal/trace/finding"
)

var start = time.Date(2026, 11, 22, 0, 35, 29, 414e6, time.UTC)

// request is a finding of a process.
func request(pid int, mode finding.Mode, path string) finding.Finding {
	return finding.Finding{
		V: finding.Version, Time: start, Level: finding.Warning, Mode: mode, Count: 1, Method: "GET", Path: path,
		Dst: "169.254.169.254:80", Process: finding.Process{PID: pid, Comm: "curl", Start: start},
	}
}

func sum(all []finding.Finding) (n uint64) {
	for _, f := range all {
		n += f.Count
	}
	return n
}

func TestLimiterTellsTheFirstAndTheSum(t *testing.T) {
	l := Limiter{Each: 3, Rate: 100}
	var told []finding.Finding
	for range 10 {
		told = append(told, l.Add(request(1, finding.TokenFree, "/a"), start)...)
	}
	if len(told) != 3 || l.Suppressed != 7 {
		t.Fatalf("%d told, %d not", len(told), l.Suppressed)
	}
	if more := l.Tick(start.Add(59 * time.Second)); len(more) != 0 {
		t.Errorf("%+v before the minute is over", more)
	}
	rest := l.Tick(start.Add(time.Minute))
	if len(rest) != 1 || rest[0].Count != 7 || rest[0].Path != "/a" || rest[0].Process.PID != 1 {
		t.Errorf("%+v", rest)
	}
	if again := l.Add(request(1, finding.TokenFree, "/a"), start.Add(61*time.Second)); len(again) != 1 {
		t.Error("a new minute does not begin anew")
	}
}

func TestLimiterIsPerProcessAndMode(t *testing.T) {
	l := Limiter{Each: 1, Rate: 100}
	n := 0
	for _, f := range []finding.Finding{
		request(1, finding.TokenFree, "/a"), request(2, finding.TokenFree, "/a"), request(1, finding.Tokened, "/a"), request(1, finding.TokenFree, "/b"),
	} {
		n += len(l.Add(f, start))
	}
	if n != 4 {
		t.Errorf("%d told, want 4", n)
	}
}

func TestLimiterRate(t *testing.T) {
	l := Limiter{Each: 5, Rate: 10}
	n := 0
	for pid := range 100 {
		n += len(l.Add(request(pid+1, finding.TokenFree, "/a"), start))
	}
	if n != 10 {
		t.Errorf("%d told in a second, want 10", n)
	}
	if got := sum(l.Flush(start)); got != 90 {
		t.Errorf("%d in sums, want 90", got)
	}
}

// A process that asks for ever other paths, or sends garbage, gets few lines.
func TestLimiterFlood(t *testing.T) {
	l := Limiter{Each: 5, Rate: 1000}
	n := 0
	for i := range 100000 {
		mode := finding.TokenFree
		if i%2 == 0 {
			mode = finding.Unreadable
		}
		n += len(l.Add(request(1, mode, "/"+time.Duration(i).String()), start.Add(time.Duration(i)*100*time.Microsecond)))
	}
	if limit := 5 * (maxOfProcess + 3); n > limit {
		t.Errorf("%d told one by one, want at most %d", n, limit)
	}
	if len(l.kinds) > maxOfProcess+len(finding.Modes) {
		t.Errorf("%d kinds are kept", len(l.kinds))
	}
}

func TestLimiterMemory(t *testing.T) {
	l := Limiter{Each: 1, Rate: 10}
	for pid := range 3 * maxKinds {
		l.Add(request(pid+1, finding.TokenFree, "/a"), start)
	}
	if len(l.kinds) > 2*maxKinds+len(finding.Modes) {
		t.Errorf("%d kinds are kept", len(l.kinds))
	}
}

// Whatever comes, the counts add up.
func TestLimiterLosesNoCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Limiter{Each: rapid.IntRange(1, 3).Draw(t, "each"), Rate: rapid.IntRange(1, 20).Draw(t, "rate")}
		now := start
		var in, out uint64
		for range rapid.IntRange(1, 300).Draw(t, "requests") {
			now = now.Add(time.Duration(rapid.IntRange(0, 2000).Draw(t, "pause")) * time.Millisecond)
			f := request(rapid.IntRange(0, 3).Draw(t, "pid"), rapid.SampledFrom(finding.Modes).Draw(t, "mode"), rapid.StringMatching(`/[a-c]{1,2}`).Draw(t, "path"))
			in++
			out += sum(l.Add(f, now))
		}
		out += sum(l.Flush(now))
		if in != out {
			t.Fatalf("took %d, told %d", in, out)
		}
	})
}
