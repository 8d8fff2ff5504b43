package cms

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// parameters are those of a call.
type parameters map[string]string

// required returns a parameter that must be there.
func (p parameters) required(name string) (string, error) {
	if p[name] == "" {
		return "", missing(name)
	}
	return p[name], nil
}

// number returns a whole number between bounds, or usual where it is absent.
func (p parameters) number(name string, usual, least, most int) (int, error) {
	text := p[name]
	if text == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, invalid(name, "expected a number from "+strconv.Itoa(least)+" to "+strconv.Itoa(most))
	}
	return n, nil
}

// period returns a multiple of a minute, which is the resolution of these
// metrics.
func (p parameters) period() (time.Duration, error) {
	n, err := p.number("Period", 60, 60, 86400)
	if err != nil || n%60 != 0 {
		return 0, invalid("Period", "expected seconds, 60 or a multiple of it")
	}
	return time.Duration(n) * time.Second, nil
}

// beijing is the zone of times that name none (ECS-CMS-04).
var beijing = time.FixedZone("UTC+8", 8*60*60)

// time returns a time, or usual where it is absent: in milliseconds or seconds
// since 1970, or in words.
func (p parameters) time(name string, usual time.Time) (time.Time, error) {
	text := strings.TrimSpace(p[name])
	if text == "" {
		return usual, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 && n < math.MaxInt64/1_000_000 {
		if n < 100_000_000_000 {
			return time.Unix(n, 0).UTC(), nil
		}
		return time.UnixMilli(n).UTC(), nil
	}
	for _, layout := range []string{time.DateTime, "2006-01-02 15:04"} {
		if t, err := time.ParseInLocation(layout, text, beijing); err == nil {
			return t.UTC(), nil
		}
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.UTC(), nil
	}
	return time.Time{}, invalid(name, "expected milliseconds since 1970, YYYY-MM-DD hh:mm:ss, or YYYY-MM-DDThh:mm:ssZ")
}

// repeated returns Name.1, Name.2 and so on. Gaps in the numbers close up.
func (p parameters) repeated(name string) ([]string, error) {
	found := map[int]string{}
	for key, value := range p {
		rest, ok := strings.CutPrefix(key, name+".")
		if !ok {
			continue
		}
		n, err := strconv.Atoi(rest)
		if err != nil || n < 1 || n > 100 || strconv.Itoa(n) != rest {
			return nil, invalid(name+".N", "expected N from 1 to 100")
		}
		if value != "" {
			found[n] = value
		}
	}
	all := make([]string, 0, len(found))
	for _, n := range slices.Sorted(maps.Keys(found)) {
		all = append(all, found[n])
	}
	return all, nil
}

// maxInstances is how many instances a call may name (ECS-CMS-05).
const maxInstances = 50

// instances returns the instances that a JSON text names: one object or a list
// of them, of which only instanceId counts; all reports that it means every
// one.
func (p parameters) instances(name string, most int) (ids []string, all bool, err error) {
	text := strings.TrimSpace(p[name])
	if text == "" {
		return nil, true, nil
	}
	wrong := invalid(name, `expected JSON such as [{"instanceId":"i-…"}]`)
	var list []map[string]string
	if strings.HasPrefix(text, "{") {
		text = "[" + text + "]"
	}
	if json.Unmarshal([]byte(text), &list) != nil {
		return nil, false, wrong
	}
	if len(list) > most {
		return nil, false, invalid(name, "it names more than "+strconv.Itoa(most))
	}
	for _, d := range list {
		switch {
		case d["instanceId"] != "":
			ids = append(ids, d["instanceId"])
		case d["resource"] == "_ALL", len(d) == 0, len(d) == 1 && d["userId"] != "":
			all = true
		default:
			return nil, false, wrong
		}
	}
	return ids, all || len(ids) == 0, nil
}
