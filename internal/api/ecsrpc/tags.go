package ecsrpc

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"openimds/internal/control"
	"openimds/internal/instance"
)

// tagInput is a tag as it is written; it is read as TagKey and TagValue.
type tagInput struct {
	Key   string `p:"Key"`
	Value string `p:"Value"`
}

const (
	maxTagText     = 128 // characters of a key or a value
	maxResourceIDs = 50
	tagPage        = 50
)

// checkTagCount checks tags that are to be found.
func checkTagCount(tags []tagInput) error {
	if len(tags) > instance.MaxTagsECS {
		return &control.Error{Reason: control.TooManyTags}
	}
	for _, t := range tags {
		if t.Key == "" && t.Value != "" {
			return refuse(http.StatusBadRequest, "InvalidTag.Mismatch", "The specified Tag.n.Key and Tag.n.Value are not match.")
		}
	}
	return nil
}

// tags checks tags that are to be set, and returns them by key.
func tags(given []tagInput) (map[string]string, error) {
	if err := checkTagCount(given); err != nil {
		return nil, err
	}
	set := make(map[string]string, len(given))
	for _, t := range given {
		if err := checkTagKey(t.Key); err != nil {
			return nil, err
		}
		if utf8.RuneCountInString(t.Value) > maxTagText || !instance.OneLine(t.Value) ||
			strings.Contains(t.Value, "http://") || strings.Contains(t.Value, "https://") {
			return nil, refuse(http.StatusBadRequest, "InvalidTagValue.Malformed", "The specified Tag.n.Value is not valid.")
		}
		if _, twice := set[t.Key]; twice {
			return nil, refuse(http.StatusBadRequest, "Duplicate.TagKey", "The Tag.N.Key contain duplicate key.")
		}
		set[t.Key] = t.Value
	}
	return set, nil
}

func checkTagKey(key string) error {
	lower := strings.ToLower(key)
	if key == "" || utf8.RuneCountInString(key) > maxTagText || !instance.OneLine(key) ||
		strings.HasPrefix(lower, "aliyun") || strings.HasPrefix(lower, "acs:") ||
		strings.Contains(lower, "http://") || strings.Contains(lower, "https://") {
		return &control.Error{Reason: control.InvalidTagKey, Subject: key}
	}
	return nil
}

// hasTags reports whether all wanted tags are there. Without a value, any will
// do.
func hasTags(have map[string]string, want []tagInput) bool {
	for _, w := range want {
		value, ok := have[w.Key]
		if w.Key != "" && (!ok || w.Value != "" && w.Value != value) {
			return false
		}
	}
	return true
}

// resources are what the tag actions are about.
type resources struct {
	Type string   `p:"ResourceType,required"`
	IDs  []string `p:"ResourceId"`
}

func (in resources) check(required bool) error {
	if in.Type != "instance" && in.Type != "image" {
		return refuse(http.StatusNotFound, "InvalidResourceType.NotFound", "The ResourceType provided does not exist in our records.")
	}
	if len(in.IDs) > maxResourceIDs {
		return refuse(http.StatusBadRequest, "NumberExceed.ResourceIds", "The maximum number of ResourceIds is exceeded.")
	}
	if required && len(in.IDs) == 0 {
		return refuse(http.StatusNotFound, "MissingParameter.ResourceIds", "The parameter ResourceIds is required.")
	}
	for _, id := range in.IDs {
		if strings.HasPrefix(id, "i-") != (in.Type == "instance") {
			return &control.Error{Reason: control.ResourceNotFound, Subject: id}
		}
	}
	return nil
}

func tagResources(ctx context.Context, r *request, in struct {
	resources
	Tags []tagInput `p:"Tag"`
}) (any, error) {
	if err := in.check(true); err != nil {
		return nil, err
	}
	if len(in.Tags) == 0 {
		return nil, refuse(http.StatusNotFound, "MissingParameter.Tag", "The parameter Tag is required.")
	}
	if len(in.Tags) > instance.MaxTagsECS {
		return nil, tooManyTags
	}
	put, err := tags(in.Tags)
	if err != nil {
		return nil, err
	}
	return nil, tagError(r.Control.Tag(ctx, r.caller, in.IDs, control.TagChange{Put: put}))
}

var tooManyTags = refuse(http.StatusBadRequest, "NumberExceed.Tags", "The maximum number of Tags is exceeded.")

// tagError gives a refusal the code that it has in the tag actions.
func tagError(err error) error {
	if isReason(err, control.TooManyTags) {
		return tooManyTags
	}
	return err
}

func untagResources(ctx context.Context, r *request, in struct {
	resources
	Keys []string `p:"TagKey"`
	All  bool     `p:"All"`
}) (any, error) {
	if err := in.check(true); err != nil {
		return nil, err
	}
	if len(in.Keys) > instance.MaxTagsECS {
		return nil, tooManyTags
	}
	change := control.TagChange{Remove: map[string]*string{}, RemoveAll: in.All && len(in.Keys) == 0}
	if len(in.Keys) == 0 && !in.All {
		return nil, refuse(http.StatusNotFound, "MissingParameter.TagKey", "The parameter TagKey is required, or All must be true.")
	}
	for _, key := range in.Keys {
		change.Remove[key] = nil
	}
	return nil, tagError(r.Control.Tag(ctx, r.caller, in.IDs, change))
}

type tagResource struct {
	Type  string `p:"ResourceType"`
	ID    string `p:"ResourceId"`
	Key   string `p:"TagKey"`
	Value string `p:"TagValue"`
}

func listTagResources(_ context.Context, r *request, in struct {
	resources
	Tags      []tagInput `p:"Tag"`
	NextToken string     `p:"NextToken"`
}) (any, error) {
	if err := in.check(false); err != nil {
		return nil, err
	}
	if len(in.IDs) == 0 && len(in.Tags) == 0 {
		return nil, refuse(http.StatusNotFound, "MissingParameter.ResourceIds", "The parameter ResourceIds or Tag is required.")
	}
	if err := checkTagCount(in.Tags); err != nil {
		return nil, err
	}
	all, err := r.Control.Tagged(r.caller) // by kind, then by id
	if err != nil {
		return nil, err
	}
	var found []tagResource
	for _, t := range all {
		if t.Kind != in.Type || len(in.IDs) > 0 && !slices.Contains(in.IDs, t.ID) || !hasTags(t.Tags, in.Tags) {
			continue
		}
		for _, v := range viewTags(t.Tags) {
			found = append(found, tagResource{in.Type, t.ID, v.Key, v.Value})
		}
	}
	// The separator sorts before every character of an id.
	place := func(t tagResource) string { return t.ID + "\x00" + t.Key }
	found, next, err := after(found, in.NextToken, tagPage, place)
	return struct {
		NextToken string        `p:"NextToken"`
		Resources []tagResource `p:"TagResources>TagResource"`
	}{next, found}, err
}
