package config

import (
	"strings"

	"openimds/internal/instance"
)

// Instances is the top level of an instances file.
type Instances struct {
	// The instances. Write `[]` for none.
	Instances []*instance.Instance `json:"instances"`
}

// LoadInstances reads an instances file. The error is that of the file system,
// or Problems.
func LoadInstances(path string) ([]*instance.Instance, error) {
	w := Watcher{Path: path}
	return w.Load()
}

// ParseInstances reads the text of an instances file and returns normalized
// and valid instances. The name stands in problems. The error is Problems.
func ParseInstances(name string, data []byte) ([]*instance.Instance, error) {
	doc, err := Parse(name, data)
	if err != nil {
		return nil, err
	}
	var file Instances
	problems := doc.decode(&file)
	if file.Instances == nil && len(problems) == 0 {
		problems = append(problems, doc.Problem("instances", "is required: a list of instances, or [] for none"))
	}
	problems = append(problems, validate(doc, file.Instances, problems)...)
	if err := problems.err(); err != nil {
		return nil, err
	}
	return file.Instances, nil
}

// validate normalizes the instances and returns what is wrong with them. An
// instance that could not be read whole has been reported already: what it
// lacks would only repeat that.
func validate(doc *Document, all []*instance.Instance, unread Problems) Problems {
	broken := map[string]bool{}
	for _, p := range unread {
		broken[element(p.Key)] = true
	}
	for _, in := range all {
		if in != nil {
			instance.Normalize(in)
		}
	}
	var problems Problems
	for _, p := range instance.ValidateAll(all) {
		if broken[element(p.Path)] {
			continue
		}
		if len(problems) == maxProblems {
			break
		}
		problems = append(problems, doc.Problem(p.Path, p.Msg))
	}
	return problems
}

// element returns the part of a path that names the instance: instances[3].
func element(at instance.Path) string {
	name, _, _ := strings.Cut(string(at), "]")
	return name
}
