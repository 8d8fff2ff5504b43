package config

import "strings"

// suggest returns the end of a message about an unknown key: the known key
// that was probably meant or, failing that, all of them if they are few.
func suggest(key string, known []string) string {
	best, least := "", min(len(key)/3, 3)+1
	for _, k := range known {
		if n := editDistance(strings.ToLower(key), strings.ToLower(k), least); n < least {
			best, least = k, n
		}
	}
	switch {
	case best != "":
		return "; did you mean " + best + "?"
	case len(known) > 0 && len(known) <= 12:
		return "; the keys here are " + strings.Join(known, ", ")
	default:
		return ""
	}
}

// editDistance returns how many letters have to be inserted, deleted, replaced
// or swapped with their neighbour to make b of a. It gives up above most and
// returns more.
func editDistance(a, b string, most int) int {
	if len(a)-len(b) > most || len(b)-len(a) > most {
		return most + 1
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
