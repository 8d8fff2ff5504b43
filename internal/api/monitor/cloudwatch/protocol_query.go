package cloudwatch

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	typeXML   = "text/xml"
	namespace = "http://monitoring.amazonaws.com/doc/" + Version + "/"
	// maxIndex bounds the N of member.N, so that no request makes long lists.
	maxIndex = 1000
)

type queryProtocol struct{}

func (queryProtocol) parse(r *http.Request, body []byte) (string, any, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		return "", nil, &failure{http.StatusBadRequest, "InvalidAction", "Use GET or POST."}
	}
	all := url.Values{}
	for _, part := range []string{r.URL.RawQuery, string(body)} {
		some, err := url.ParseQuery(part)
		if err != nil {
			return "", nil, &failure{http.StatusBadRequest, "MalformedQueryString", "The query string contains a syntax error."}
		}
		for name, values := range some {
			if strings.HasPrefix(name, "X-Amz-") {
				continue // of a presigned request
			}
			if all.Has(name) || len(values) > 1 {
				return "", nil, badCombination("The parameter %s must not be repeated.", clip(name))
			}
			all[name] = values
		}
	}
	name, version := all.Get("Action"), all.Get("Version")
	if name == "" {
		return "", nil, &failure{http.StatusBadRequest, "MissingAction", "The request must contain the parameter Action."}
	}
	if version != Version {
		return "", nil, &failure{http.StatusBadRequest, "InvalidAction", "Could not find operation " + clip(name) + " for version " + clip(version)}
	}
	all.Del("Action")
	all.Del("Version")
	input, err := parseForm(all)
	return name, input, err
}

// parseForm makes a tree of parameters such as Dimensions.member.1.Name.
func parseForm(all url.Values) (any, error) {
	root := map[string]any{}
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		value := all.Get(name)
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			return nil, malformed("A parameter is not UTF-8.")
		}
		parts := strings.Split(name, ".")
		if len(parts) > 16 {
			return nil, malformed("The parameter %s has too many parts.", clip(name))
		}
		at := root
		for i, part := range parts {
			last := i == len(parts)-1
			switch next := at[part].(type) {
			case nil:
				if last {
					at[part] = text(value)
					continue
				}
				m := map[string]any{}
				at[part], at = m, m
			case map[string]any:
				if last {
					return nil, malformed("The parameter %s is given in parts and as a whole.", clip(name))
				}
				at = next
			default:
				return nil, malformed("The parameter %s is given in parts and as a whole.", clip(name))
			}
		}
	}
	return lists(root)
}

// lists makes lists of the maps that stand for one: those whose only key is
// member. Gaps in the numbers close up.
func lists(m map[string]any) (any, error) {
	if members, ok := m["member"].(map[string]any); ok && len(m) == 1 {
		numbers := make([]int, 0, len(members))
		for key := range members {
			n, err := strconv.Atoi(key)
			if err != nil || n < 1 || n > maxIndex || strconv.Itoa(n) != key {
				return nil, malformed("A list has the member %s: expected a number from 1 to %d.", clip(key), maxIndex)
			}
			numbers = append(numbers, n)
		}
		sort.Ints(numbers)
		list := make([]any, 0, len(numbers))
		for _, n := range numbers {
			v := members[strconv.Itoa(n)]
			if sub, ok := v.(map[string]any); ok {
				var err error
				if v, err = lists(sub); err != nil {
					return nil, err
				}
			}
			list = append(list, v)
		}
		return list, nil
	}
	for key, v := range m {
		if sub, ok := v.(map[string]any); ok {
			next, err := lists(sub)
			if err != nil {
				return nil, err
			}
			m[key] = next
		}
	}
	return m, nil
}

func (queryProtocol) reply(w http.ResponseWriter, action, id string, out any) error {
	var b bytes.Buffer
	b.WriteString(xml.Header + "<" + action + `Response xmlns="` + namespace + `">`)
	if _, empty := out.(nothing); !empty {
		if err := encodeXML(&b, action+"Result", out); err != nil {
			return err
		}
	}
	b.WriteString("<ResponseMetadata><RequestId>" + id + "</RequestId></ResponseMetadata></" + action + "Response>")
	send(w, http.StatusOK, typeXML, id, b.Bytes())
	return nil
}

func (queryProtocol) refuse(w http.ResponseWriter, f *failure, id string) {
	body, _ := xml.Marshal(struct { // strings always encode
		XMLName xml.Name `xml:"ErrorResponse"`
		Space   string   `xml:"xmlns,attr"`
		Type    string   `xml:"Error>Type"`
		Code    string   `xml:"Error>Code"`
		Message string   `xml:"Error>Message"`
		ID      string   `xml:"RequestId"`
	}{Space: namespace, Type: f.fault(), Code: f.code, Message: f.message, ID: id})
	send(w, f.status, typeXML, id, append([]byte(xml.Header), body...))
}
