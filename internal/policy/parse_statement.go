package policy

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

func (r *reader) statement(n *node, path string) (s statement) {
	if n.shape != shapeObject {
		r.report(n.at, path, "is %s: want an object with Effect, Action and Resource", n.shape)
		return s
	}
	r.known(n, path, "Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition")
	if sid := n.member("Sid"); sid != nil {
		s.sid = sid.text
		if err := r.checkSid(sid); err != nil {
			r.report(sid.at, path+".Sid", "%v", err)
		}
	}
	switch effect := n.member("Effect"); {
	case effect == nil:
		r.report(n.at, path, `has no Effect: want "Allow" or "Deny"`)
	case effect.shape != shapeString || effect.text != "Allow" && effect.text != "Deny":
		r.report(effect.at, path+".Effect", `is %s: want "Allow" or "Deny"`, r.show(effect))
	default:
		s.deny = effect.text == "Deny"
	}
	s.actions, s.notAction = r.patterns(n, path, "Action", r.action)
	s.resources, s.notResource = r.patterns(n, path, "Resource", r.resource)
	if c := n.member("Condition"); c != nil {
		s.conditions = r.conditions(c, path+".Condition")
	}
	for i, c := range s.conditions {
		if i > 0 {
			s.summary += ", "
		}
		s.summary += c.written + " " + c.keyText
	}
	return s
}

// checkSid checks a statement's id: IAM takes letters and digits only.
func (r *reader) checkSid(sid *node) error {
	const most = 128
	bad := func(c rune) bool { return !unicode.IsPrint(c) }
	want := "printable characters"
	if r.lang == IAM {
		bad = func(c rune) bool { return !letterOrDigit(c) }
		want = "letters A-Z, a-z and digits"
	}
	if sid.shape != shapeString || len(sid.text) > most || strings.ContainsFunc(sid.text, bad) {
		return fmt.Errorf("is %s: want at most %d %s", r.show(sid), most, want)
	}
	return nil
}

func letterOrDigit(c rune) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// patterns reads Action or NotAction, or Resource or NotResource: exactly one
// of the two.
func (r *reader) patterns(n *node, path, name string, read func(string) (template, error)) (all []template, not bool) {
	v, inverse := n.member(name), n.member("Not"+name)
	switch {
	case v == nil && inverse == nil:
		r.report(n.at, path, "has no %s: want one, or Not%s", name, name)
		return nil, false
	case v != nil && inverse != nil:
		r.report(inverse.at, path+".Not"+name, "stands beside %s: want one of them", name)
		return nil, false
	case v == nil:
		v, name, not = inverse, "Not"+name, true
	}
	path += "." + name
	for _, item := range r.texts(v, path, false) {
		t, err := read(item.text)
		if err != nil {
			r.report(item.at, item.path, "%v", err)
		}
		all = append(all, t)
	}
	return all, not
}

// textAt is a string of the document with its place.
type textAt struct {
	text string
	at   int
	path string
	bare bool // a number or a boolean, without quotes
}

// texts returns the strings of a value that is one or a list of some. With
// loose, numbers and booleans count as strings.
func (r *reader) texts(v *node, path string, loose bool) (all []textAt) {
	list := []node{*v}
	if v.shape == shapeList {
		list = v.items
	}
	if len(list) == 0 {
		r.report(v.at, path, "is empty: want at least one string")
	}
	for i, item := range list {
		t := textAt{item.text, item.at, path, item.shape != shapeString}
		if v.shape == shapeList {
			t.path = fmt.Sprintf("%s[%d]", path, i)
		}
		text := item.shape == shapeString || loose && (item.shape == shapeNumber || item.shape == shapeBool)
		switch {
		case !text:
			r.report(t.at, t.path, "is %s: want a string", item.shape)
		case len(item.text) > maxText:
			r.report(t.at, t.path, "has %d bytes: want at most %d", len(item.text), maxText)
		default:
			all = append(all, t)
		}
	}
	return all
}

// action compiles the name of an action, whose case does not count
// (POL-DOC-06).
func (r *reader) action(text string) (template, error) {
	service, name, ok := strings.Cut(text, ":")
	bad := func(c rune) bool { return !letterOrDigit(c) && !strings.ContainsRune("-_*?", c) }
	if text != "*" && (!ok || service == "" || name == "" || strings.ContainsFunc(service, bad) || strings.ContainsFunc(name, bad)) {
		return template{}, fmt.Errorf(`is %s: want service:Name, such as %s, or "*"`, quote(text), map[Language]string{IAM: "ec2:RunInstances", RAM: "ecs:RunInstances"}[r.lang])
	}
	return compile(text, wildcards|foldCase)
}

// resource compiles the name of a resource (POL-DOC-07, POL-DOC-08).
func (r *reader) resource(text string) (template, error) {
	if text == "*" {
		return compile(text, wildcards)
	}
	full := text
	var err error
	if r.lang == RAM {
		err = checkACS(text)
	} else {
		full, err = completeARN(text)
	}
	if err != nil {
		return template{}, err
	}
	t, err := compile(full, r.form(wildcards))
	t.source = text
	return t, err
}

// completeARN checks an IAM resource name and adds an asterisk for every part
// that is missing. A variable can stand in the last part alone (POL-VAR-05).
func completeARN(text string) (string, error) {
	head := strings.SplitN(text, ":", arnParts)
	if head[0] != "arn" || len(head) < 2 || head[1] == "" || len(head) > 2 && head[2] == "" || len(head) == arnParts && head[5] == "" {
		return "", fmt.Errorf(`is %s: want arn:partition:service:region:account:resource, or "*"`, quote(text))
	}
	for _, part := range head[1:min(len(head), arnParts-1)] {
		switch {
		case strings.Contains(part, "${"):
			return "", fmt.Errorf("is %s: a variable can stand only after the fifth colon", quote(text))
		case strings.ContainsFunc(part, func(c rune) bool { return !letterOrDigit(c) && !strings.ContainsRune("-*?", c) }):
			return "", fmt.Errorf("is %s: %s is no partition, service, region or account", quote(text), quote(part))
		}
	}
	return text + strings.Repeat(":*", arnParts-len(head)), nil
}

// checkACS checks a RAM resource name.
func checkACS(text string) error {
	const parts = 5
	head := strings.SplitN(text, ":", parts)
	if head[0] != "acs" || len(head) != parts || head[1] == "" || head[4] == "" {
		return fmt.Errorf(`is %s: want acs:service:region:account:resource, or "*"`, quote(text))
	}
	if strings.Contains(text, "${") {
		return errors.New("has a variable, which policies of RAM do not have")
	}
	return nil
}
