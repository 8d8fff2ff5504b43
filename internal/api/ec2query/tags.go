package ec2query

import (
	"maps"
	"slices"

	"openimds/internal/control"
)

type tagIn struct {
	Key   string  `q:"Key,required"`
	Value *string `q:"Value"`
}

func (t tagIn) value() string {
	if t.Value == nil {
		return ""
	}
	return *t.Value
}

// tagSpec are tags for one kind of the resources that a call makes.
type tagSpec struct {
	ResourceType string  `q:"ResourceType,required"`
	Tags         []tagIn `q:"Tag"`
}

// launchTags are the tags of instances at launch. Those of what is launched
// along with them are taken and not kept.
func launchTags(specs []tagSpec) (map[string]string, error) {
	return tagsFor(specs, "instance", "instance", "volume", "network-interface", "spot-instances-request", "elastic-gpu")
}

// tagsFor returns the tags for one kind of resource; those of other allowed
// kinds are left out.
func tagsFor(specs []tagSpec, kind string, allowed ...string) (map[string]string, error) {
	var tags map[string]string
	for _, s := range specs {
		if !slices.Contains(allowed, s.ResourceType) {
			return nil, invalid("InvalidParameterValue", "'"+clip(s.ResourceType)+"' is not a valid taggable resource type for this operation.")
		}
		if s.ResourceType != kind {
			continue
		}
		some, err := tagMap(s.Tags)
		if err != nil {
			return nil, err
		}
		for key, value := range some {
			if _, repeated := tags[key]; repeated {
				return nil, duplicateKey(key)
			}
			if tags == nil {
				tags = map[string]string{}
			}
			tags[key] = value
		}
	}
	if len(tags) > 50 {
		return nil, &control.Error{Reason: control.TooManyTags}
	}
	return tags, nil
}

func duplicateKey(key string) *failure {
	return invalid("InvalidParameterValue", "Duplicate tag key '"+clip(key)+"' specified.")
}

func tagMap(tags []tagIn) (map[string]string, error) {
	m := make(map[string]string, len(tags))
	for _, t := range tags {
		if _, repeated := m[t.Key]; repeated {
			return nil, duplicateKey(t.Key)
		}
		if len([]rune(t.Key)) > 127 {
			return nil, &control.Error{Reason: control.InvalidTagKey, Subject: t.Key}
		}
		if len([]rune(t.value())) > 255 {
			return nil, invalid("InvalidParameterValue", "Tag value exceeds the maximum length of 255 characters")
		}
		m[t.Key] = t.value()
	}
	return m, nil
}

// tagsView shows tags by key.
func tagsView(tags map[string]string) []tagXML {
	var all []tagXML
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		all = append(all, tagXML{key, tags[key]})
	}
	return all
}

type tagsIn struct {
	ResourceIDs []string `q:"ResourceId,required"`
	Tags        []tagIn  `q:"Tag"`
}

func createTags(c *call, p *tagsIn) (response, error) {
	if len(p.Tags) == 0 {
		return nil, missing("Tag")
	}
	put, err := tagMap(p.Tags)
	if err != nil {
		return nil, err
	}
	if err := c.cfg.Control.Tag(c.ctx, c.caller, p.ResourceIDs, control.TagChange{Put: put}); err != nil {
		return nil, err
	}
	return &done{Return: true}, nil
}

func deleteTags(c *call, p *tagsIn) (response, error) {
	change := control.TagChange{RemoveAll: len(p.Tags) == 0, Remove: map[string]*string{}}
	for _, t := range p.Tags {
		change.Remove[t.Key] = t.Value
	}
	if err := c.cfg.Control.Tag(c.ctx, c.caller, p.ResourceIDs, change); err != nil {
		return nil, err
	}
	return &done{Return: true}, nil
}

type describeTagsOut struct {
	head
	Tags      []resourceTagXML `xml:"tagSet>item"`
	NextToken string           `xml:"nextToken,omitempty"`
}

type resourceTagXML struct {
	ResourceID   string `xml:"resourceId"`
	ResourceType string `xml:"resourceType"`
	Key          string `xml:"key"`
	Value        string `xml:"value"`
}

var tagFilters = attributes[resourceTagXML]{
	"key":           func(t resourceTagXML) []string { return []string{t.Key} },
	"value":         func(t resourceTagXML) []string { return []string{t.Value} },
	"resource-id":   func(t resourceTagXML) []string { return []string{t.ResourceID} },
	"resource-type": func(t resourceTagXML) []string { return []string{t.ResourceType} },
}

func describeTags(c *call, p *listing) (response, error) {
	tagged, err := c.cfg.Control.Tagged(c.caller)
	if err != nil {
		return nil, err
	}
	var found []resourceTagXML
	for _, r := range tagged {
		for _, t := range tagsView(r.Tags) {
			found = append(found, resourceTagXML{r.ID, r.Kind, t.Key, t.Value})
		}
	}
	itself := func(t resourceTagXML) map[string]string { return map[string]string{t.Key: t.Value} }
	if found, err = choose(found, p.Filters, tagFilters, itself); err != nil {
		return nil, err
	}
	out := &describeTagsOut{}
	out.Tags, out.NextToken, err = page(found, *p, 5, func(t resourceTagXML) string { return t.ResourceID + "/" + t.Key })
	return out, err
}
