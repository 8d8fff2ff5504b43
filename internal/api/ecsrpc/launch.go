package ecsrpc

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"openimds/internal/control"
	"openimds/internal/instance"
)

// launchInput are the parameters of RunInstances and CreateInstance.
type launchInput struct {
	Image       string   `p:"ImageId"`
	Type        string   `p:"InstanceType"`
	Zone        string   `p:"ZoneId"`
	VSwitch     string   `p:"VSwitchId"`
	Group       string   `p:"SecurityGroupId"`
	Groups      []string `p:"SecurityGroupIds"`
	Address     string   `p:"PrivateIpAddress"`
	Name        string   `p:"InstanceName"`
	HostName    string   `p:"HostName"`
	HostNames   []string `p:"HostNames"`
	Description string   `p:"Description"`
	UserData    string   `p:"UserData"`
	Role        string   `p:"RamRoleName"`
	KeyPair     string   `p:"KeyPairName"`
	optionsInput
	shownInput
	unsupportedInput
	nicAddresses
	Interfaces  []nicInput  `p:"NetworkInterface"`
	SystemDisk  string      `p:"SystemDisk.DiskName"`
	DataDisks   []diskInput `p:"DataDisk"`
	Hibernation bool        `p:"HibernationOptions.Configured"`
	Tags        []tagInput  `p:"Tag"`
	Protected   bool        `p:"DeletionProtection"`
	ClientToken string      `p:"ClientToken"`
}

type runInput struct {
	launchInput
	Amount       *int `p:"Amount"`
	MinAmount    *int `p:"MinAmount"`
	UniqueSuffix bool `p:"UniqueSuffix"`
}

const maxAmount = 100

var instanceType = regexp.MustCompile(`^ecs\.[a-z0-9-]+(\.[a-z0-9-]+)+$`)

func runInstances(ctx context.Context, r *request, in runInput) (any, error) {
	most, least := 1, 0
	if in.Amount != nil {
		most = *in.Amount
	}
	if in.MinAmount != nil {
		if least = *in.MinAmount; least < 1 || least > maxAmount || in.Amount != nil && least > most {
			return nil, refuse(http.StatusForbidden, "InvalidParam.MinAmount", "The specified parameter MinAmount must be between 1 and Amount.")
		}
		most = max(most, least)
	}
	if most < 1 || most > maxAmount {
		return nil, refuse(http.StatusForbidden, "InvalidParam.Amount", "The specified parameter Amount must be between 1 and 100.")
	}
	l, err := in.launch(r)
	if err != nil {
		return nil, err
	}
	l.Min, l.Max = max(1, least), most
	if err := in.batch(&l); err != nil {
		return nil, err
	}
	done, err := r.Control.Launch(ctx, r.caller, l)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, i := range done.Instances {
		ids = append(ids, i.Spec.ID)
	}
	return struct {
		IDs []string `p:"InstanceIdSets>InstanceIdSet"`
	}{ids}, nil
}

// batch gives each instance of a batch its names.
func (in *runInput) batch(l *control.Launch) error {
	if l.Max > 1 && slices.ContainsFunc(l.Interfaces, named) {
		return refuse(http.StatusBadRequest, "InvalidPrivateIpAddress", "PrivateIpAddress cannot be specified for more than one instance.")
	}
	if len(in.HostNames) > 0 {
		if in.HostName != "" || len(in.HostNames) != l.Max {
			return invalid("HostNames")
		}
		l.Hostnames = in.HostNames
	}
	if !in.UniqueSuffix || l.Max == 1 {
		return nil
	}
	for n := range l.Max {
		suffix := fmt.Sprintf("%03d", n+1)
		if l.Name != "" {
			l.Names = append(l.Names, l.Name+suffix)
		}
		if l.Hostname != "" {
			l.Hostnames = append(l.Hostnames, l.Hostname+suffix)
		}
	}
	return nil
}

func createInstance(ctx context.Context, r *request, in launchInput) (any, error) {
	l, err := in.launch(r)
	if err != nil {
		return nil, err
	}
	l.Min, l.Max, l.Stopped = 1, 1, true
	done, err := r.Control.Launch(ctx, r.caller, l)
	if err != nil {
		return nil, err
	}
	if len(done.Instances) == 0 {
		return nil, &control.Error{Reason: control.InstanceNotFound} // the first call's has been released
	}
	return struct {
		ID string `p:"InstanceId"`
	}{done.Instances[0].Spec.ID}, nil
}

// launch checks the parameters that both actions have.
func (in *launchInput) launch(r *request) (l control.Launch, err error) {
	switch {
	case in.unsupported() != "":
		return l, refuse(http.StatusBadRequest, "UnsupportedParameter", "The parameter \""+in.unsupported()+"\" is not supported.")
	case in.Image == "":
		return l, missing("ImageId")
	case in.Type == "":
		return l, missing("InstanceType")
	case !instanceType.MatchString(in.Type) || len(in.Type) > 64:
		return l, refuse(http.StatusBadRequest, "InvalidInstanceType.ValueNotSupported", "The specified InstanceType is not supported.")
	case !plainToken(in.ClientToken):
		return l, refuse(http.StatusBadRequest, "InvalidClientToken.ValueNotSupported", "The ClientToken provided is invalid: at most 64 ASCII characters are expected.")
	}
	image, err := r.Control.Image(r.caller, in.Image)
	if err != nil {
		return l, err
	}
	windows := image.Platform == "windows"
	l = control.Launch{
		Image: in.Image, Type: in.Type, Zone: in.Zone, Role: in.Role, KeyName: in.KeyPair, Name: in.Name, Hostname: in.HostName,
		Description: in.Description, DeletionProtection: in.Protected,
		ClientToken: in.ClientToken, Sum: r.sum(),
	}
	if windows {
		l.KeyName = "" // ignored, says the documentation
	}
	if l.Options, err = in.options(); err != nil {
		return l, err
	}
	if l.UserData, err = userData(in.UserData, false); err != nil {
		return l, err
	}
	if l.Tags, err = tags(in.Tags); err != nil {
		return l, err
	}
	if l.Attributes, err = in.shown(); err != nil {
		return l, err
	}
	l.Spot, l.Hibernation, l.RootName = l.Attributes["SpotStrategy"] != "NoSpot" && l.Attributes["SpotStrategy"] != "", in.Hibernation, in.SystemDisk
	if l.Disks, err = disks(in.DataDisks); err != nil {
		return l, err
	}
	if err := checkNames(in.Name, in.HostName, in.Description, windows); err != nil {
		return l, err
	}
	for _, h := range in.HostNames {
		if !validHostName(h, windows) {
			return l, badHostName
		}
	}
	l.Interfaces, err = in.network(r)
	return l, err
}

// userData decodes user data. Raw tells whether text that is not Base64 is
// taken as it is.
func userData(text string, raw bool) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		if !raw {
			return nil, refuse(http.StatusBadRequest, "InvalidUserData.Base64FormatInvalid", "The specified parameter UserData must be base64 encoded.")
		}
		data = []byte(text)
	}
	if len(data) > instance.MaxUserDataECS {
		return nil, &control.Error{Reason: control.UserDataTooLarge}
	}
	return data, nil
}

var badHostName = refuse(http.StatusBadRequest, "InvalidHostName.Malformed", "The specified parameter \"HostName\" is not valid.")

// checkNames checks the names that a person gives; empty: not given.
func checkNames(name, host, description string, windows bool) error {
	if n := utf8.RuneCountInString(name); name != "" && (n < 2 || n > 128 || !startsWithLetter(name) || !instance.OneLine(name)) {
		return refuse(http.StatusBadRequest, "InvalidInstanceName.Malformed", "The specified parameter \"InstanceName\" is not valid.")
	}
	if host != "" && !validHostName(host, windows) {
		return badHostName
	}
	return checkDescription(description)
}

func checkDescription(text string) error {
	n := utf8.RuneCountInString(text)
	if text != "" && (n < 2 || n > 256 || hasScheme(text) || !utf8.ValidString(text)) {
		return refuse(http.StatusBadRequest, "InvalidDescription.Malformed", "The specified parameter \"Description\" is not valid.")
	}
	return nil
}

func startsWithLetter(s string) bool {
	first, _ := utf8.DecodeRuneInString(s)
	return unicode.IsLetter(first) && !hasScheme(s)
}

func hasScheme(s string) bool {
	return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://")
}

var linuxHost = regexp.MustCompile(`^[A-Za-z0-9]+([.-][A-Za-z0-9]+)*$`)

// validHostName: 2 to 64 characters in labels for Linux, 2 to 15 letters, digits
// and single hyphens, not digits alone, for Windows.
func validHostName(host string, windows bool) bool {
	most := 64
	if windows {
		most = 15
		if strings.Contains(host, ".") || strings.Trim(host, "0123456789") == "" {
			return false
		}
	}
	return len(host) >= 2 && len(host) <= most && linuxHost.MatchString(host)
}

func plainToken(token string) bool {
	return len(token) <= 64 && !strings.ContainsFunc(token, func(r rune) bool { return r < ' ' || r > '~' })
}
