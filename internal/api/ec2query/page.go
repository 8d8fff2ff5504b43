package ec2query

import (
	"cmp"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
)

// listing are the parameters that all lists have.
type listing struct {
	Filters    []filter `q:"Filter"`
	MaxResults *int     `q:"MaxResults"`
	NextToken  string   `q:"NextToken"`
}

const tokenPrefix = "ec2-1:"

// page sorts what was found by key and cuts the page that is asked for out of
// it. The next token holds the last key that was shown, so that what comes and
// goes between two pages moves nothing: none that stays is shown twice or left
// out. Least is the smallest page that may be asked for.
func page[T any](found []T, l listing, least int, key func(T) string) (shown []T, next string, err error) {
	slices.SortFunc(found, func(a, b T) int { return cmp.Compare(key(a), key(b)) })
	if l.NextToken != "" {
		text, err := base64.RawURLEncoding.DecodeString(l.NextToken)
		last, ours := strings.CutPrefix(string(text), tokenPrefix)
		if err != nil || !ours {
			return nil, "", invalid("InvalidNextToken", "The specified NextToken is not valid.")
		}
		from := slices.IndexFunc(found, func(t T) bool { return key(t) > last })
		if from < 0 {
			from = len(found)
		}
		found = found[from:]
	}
	if l.MaxResults == nil {
		return found, "", nil
	}
	most := *l.MaxResults
	if most < least || most > 1000 {
		return nil, "", invalid("InvalidParameterValue", "Value ( "+strconv.Itoa(most)+" ) for parameter maxResults is invalid. Expecting a value between "+strconv.Itoa(least)+" and 1000.")
	}
	if len(found) <= most {
		return found, "", nil
	}
	found = found[:most]
	return found, base64.RawURLEncoding.EncodeToString([]byte(tokenPrefix + key(found[most-1]))), nil
}
