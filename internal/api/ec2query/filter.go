package ec2query

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// filter is one of a list's filters: any of its values must match.
type filter struct {
	Name   string   `q:"Name,required"`
	Values []string `q:"Value"`
}

// maxFilterValues bounds the values of all filters of a request.
const maxFilterValues = 200

// attributes tells, by the name of a filter, what a record shows to it: a
// filter matches when any of the values does.
type attributes[T any] map[string]func(T) []string

// choose returns the records that all filters match. Tags tells a record's
// tags; nil: the records have none.
func choose[T any](found []T, filters []filter, known attributes[T], tags func(T) map[string]string) ([]T, error) {
	total := 0
	for _, f := range filters {
		tag := tags != nil && (strings.HasPrefix(f.Name, "tag:") || f.Name == "tag-key")
		if known[f.Name] == nil && !tag {
			return nil, invalid("InvalidParameterValue", "The filter '"+clip(f.Name)+"' is invalid")
		}
		if len(f.Values) == 0 {
			return nil, invalid("InvalidParameterValue", "The filter '"+clip(f.Name)+"' has no values")
		}
		total += len(f.Values)
	}
	if total > maxFilterValues {
		return nil, invalid("FilterLimitExceeded", "The maximum number of filter values specified on a single call is "+strconv.Itoa(maxFilterValues))
	}
	return slices.DeleteFunc(found, func(record T) bool {
		return slices.ContainsFunc(filters, func(f filter) bool { return !matches(record, f, known, tags) })
	}), nil
}

func matches[T any](record T, f filter, known attributes[T], tags func(T) map[string]string) bool {
	var have []string
	key, isTag := strings.CutPrefix(f.Name, "tag:")
	switch {
	case known[f.Name] != nil:
		have = known[f.Name](record)
	case isTag:
		if value, ok := tags(record)[key]; ok {
			have = []string{value}
		}
	default:
		for key := range tags(record) {
			have = append(have, key)
		}
	}
	return slices.ContainsFunc(have, func(value string) bool {
		return slices.ContainsFunc(f.Values, func(pattern string) bool { return glob(pattern, value) })
	})
}

// glob matches * with any characters and ? with one; a backslash takes either
// literally. It takes at most len(pattern)*len(text) steps.
func glob(pattern, text string) bool {
	p, t := 0, 0
	star, mark := -1, 0 // where to go on after a mismatch
	for t < len(text) {
		step, width, ok := 0, 1, false
		if p < len(pattern) {
			switch c := pattern[p]; {
			case c == '*':
				star, mark = p, t
				p++
				continue
			case c == '?':
				_, width = utf8.DecodeRuneInString(text[t:])
				step, ok = 1, true
			case c == '\\' && p+1 < len(pattern):
				step, ok = 2, pattern[p+1] == text[t]
			default:
				step, ok = 1, c == text[t]
			}
		}
		switch {
		case ok:
			p, t = p+step, t+width
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// one is what an attribute with a single value shows; an empty one shows
// nothing.
func one(value string) []string {
	if value == "" {
		return nil
	}
	return []string{value}
}
