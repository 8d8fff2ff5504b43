package ecsrpc

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"openimds/internal/control"
	"openimds/internal/instance"
	"openimds/internal/state"
)

type imageView struct {
	ID           string       `p:"ImageId"`
	Name         string       `p:"ImageName"`
	Description  string       `p:"Description"`
	Family       string       `p:"ImageFamily"`
	Version      string       `p:"ImageVersion"`
	OwnerAlias   string       `p:"ImageOwnerAlias"`
	Architecture string       `p:"Architecture"`
	OSName       string       `p:"OSName"`
	OSNameEn     string       `p:"OSNameEn"`
	OSType       string       `p:"OSType"`
	Platform     string       `p:"Platform"`
	Size         int          `p:"Size"` // GiB
	Status       string       `p:"Status"`
	Progress     string       `p:"Progress"`
	Usage        string       `p:"Usage"`
	Created      string       `p:"CreationTime"`
	Product      string       `p:"ProductCode"`
	Public       bool         `p:"IsPublic"`
	Subscribed   bool         `p:"IsSubscribed"`
	Copied       bool         `p:"IsCopied"`
	CloudInit    bool         `p:"IsSupportCloudinit"`
	IOOptimized  bool         `p:"IsSupportIoOptimized"`
	Features     featuresView `p:"Features"`
	Tags         []tagView    `p:"Tags>Tag"`
}

type featuresView struct {
	IMDS   string `p:"ImdsSupport"`
	NVMe   string `p:"NvmeSupport"`
	CPU    string `p:"CpuOnlineUpgrade"`
	Memory string `p:"MemoryOnlineUpgrade"`
}

func imdsSupport(supported bool) string {
	if supported {
		return "v2"
	}
	return "v1"
}

// parseSupport reads Features.ImdsSupport; empty is fallback.
func parseSupport(text string, fallback bool) (bool, error) {
	switch text {
	case "":
		return fallback, nil
	case "v1":
		return false, nil
	case "v2":
		return true, nil
	}
	return false, invalid("Features.ImdsSupport")
}

func viewImage(i *state.Image, caller control.Caller) imageView {
	v := imageView{
		ID: i.ID, Name: i.Name, Description: i.Description, OwnerAlias: ownerAlias(i, caller), Architecture: i.Architecture,
		OSName: osName(i.Platform), OSNameEn: osName(i.Platform), OSType: osType(i.Platform), Platform: osName(i.Platform),
		Size: 20, Status: "Available", Progress: "100%", Usage: "none", Created: i.Created.UTC().Format("2006-01-02T15:04:05Z"),
		Public: i.Account != caller.Account, CloudInit: i.Platform != "windows", IOOptimized: true,
		Features: featuresView{IMDS: imdsSupport(i.ImdsSupport), NVMe: "supported", CPU: "unsupported", Memory: "unsupported"},
		Tags:     viewTags(i.Tags),
	}
	if v.Architecture == "" {
		v.Architecture = "x86_64"
	}
	return v
}

func ownerAlias(i *state.Image, caller control.Caller) string {
	if i.Account == caller.Account {
		return "self"
	}
	return "system"
}

type describeImagesInput struct {
	paging
	ID           string     `p:"ImageId"` // several, separated by commas
	Name         string     `p:"ImageName"`
	Family       string     `p:"ImageFamily"`
	OwnerAlias   string     `p:"ImageOwnerAlias"`
	Status       string     `p:"Status"`
	OSType       string     `p:"OSType"`
	Architecture string     `p:"Architecture"`
	Tags         []tagInput `p:"Tag"`
}

func describeImages(_ context.Context, r *request, in describeImagesInput) (any, error) {
	number, size, err := in.bounds(100)
	if err != nil {
		return nil, err
	}
	if err := checkTagCount(in.Tags); err != nil {
		return nil, err
	}
	all, err := r.Control.Images(r.caller)
	if err != nil {
		return nil, err
	}
	var ids []string
	if in.ID != "" {
		ids = strings.Split(in.ID, ",")
	}
	statuses := "Available"
	if in.Status != "" {
		statuses = in.Status
	}
	is := func(want, have string) bool { return want == "" || want == have }
	var found []imageView
	for _, i := range all {
		v := viewImage(i, r.caller)
		if (len(ids) == 0 || slices.Contains(ids, v.ID)) && is(i.Region, r.caller.Region) && glob(in.Name, v.Name) &&
			is(in.Family, v.Family) && is(in.OwnerAlias, v.OwnerAlias) && slices.Contains(strings.Split(statuses, ","), v.Status) &&
			is(in.OSType, v.OSType) && is(in.Architecture, v.Architecture) && hasTags(i.Tags, in.Tags) {
			found = append(found, v)
		}
	}
	return struct {
		Images     []imageView `p:"Images>Image"`
		Region     string      `p:"RegionId"`
		PageNumber int         `p:"PageNumber"`
		PageSize   int         `p:"PageSize"`
		TotalCount int         `p:"TotalCount"`
	}{page(found, number, size), r.caller.Region, number, size, len(found)}, nil
}

type createImageInput struct {
	Instance     string     `p:"InstanceId"`
	Snapshot     string     `p:"SnapshotId"`
	Name         string     `p:"ImageName"`
	Description  string     `p:"Description"`
	Platform     string     `p:"Platform"`
	Architecture string     `p:"Architecture"`
	ImdsSupport  string     `p:"Features.ImdsSupport"`
	Tags         []tagInput `p:"Tag"`
}

// createImage makes an image of an instance, from which it inherits what the
// request does not say, or of a snapshot, of which nothing is known.
func createImage(ctx context.Context, r *request, in createImageInput) (any, error) {
	if in.Instance == "" && in.Snapshot == "" {
		return nil, missing("InstanceId")
	}
	if err := checkImageName(in.Name, in.Description); err != nil {
		return nil, err
	}
	image := state.Image{Name: in.Name, Description: in.Description, Architecture: in.Architecture, Source: in.Snapshot}
	if strings.HasPrefix(strings.ToLower(in.Platform), "windows") {
		image.Platform = "windows"
	}
	if in.Instance != "" {
		from, err := r.Control.Find(r.caller, in.Instance)
		if err != nil {
			return nil, err
		}
		image.Source, image.Platform, image.Architecture = from.Spec.ID, from.Spec.Platform, from.Spec.Architecture
		if base, err := r.Control.Image(r.caller, from.Spec.Image.ID); err == nil {
			image.ImdsSupport = base.ImdsSupport
		}
	}
	var err error
	if image.ImdsSupport, err = parseSupport(in.ImdsSupport, image.ImdsSupport); err != nil {
		return nil, err
	}
	if image.Tags, err = tags(in.Tags); err != nil {
		return nil, err
	}
	made, err := r.Control.NewImage(ctx, r.caller, image)
	if err != nil {
		return nil, err
	}
	return struct {
		ID string `p:"ImageId"`
	}{made.ID}, nil
}

func checkImageName(name, description string) error {
	if n := utf8.RuneCountInString(name); name != "" && (n < 2 || n > 128 || !startsWithLetter(name) || !instance.OneLine(name)) {
		return refuse(http.StatusBadRequest, "InvalidImageName.Malformed", "The specified Image name is wrongly formed.")
	}
	return checkDescription(description)
}

type modifyImageInput struct {
	ID          string  `p:"ImageId,required"`
	Name        string  `p:"ImageName"`
	Description *string `p:"Description"`
	ImdsSupport string  `p:"Features.ImdsSupport"`
}

func modifyImageAttribute(ctx context.Context, r *request, in modifyImageInput) (any, error) {
	description := ""
	if in.Description != nil {
		description = *in.Description
	}
	if err := checkImageName(in.Name, description); err != nil {
		return nil, err
	}
	support, err := parseSupport(in.ImdsSupport, false)
	if err != nil {
		return nil, err
	}
	return nil, r.Control.ModifyImage(ctx, r.caller, in.ID, func(i *state.Image) error {
		if in.Name != "" {
			i.Name = in.Name
		}
		if in.Description != nil {
			i.Description = description
		}
		if in.ImdsSupport != "" {
			i.ImdsSupport = support
		}
		return nil
	})
}
