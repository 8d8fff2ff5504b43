package ec2query

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"openimds/internal/control"
	"openimds/internal/instance"
)

// launchData are the parameters that RunInstances and the data of a launch
// template have in common.
type launchData struct {
	ImageID        string      `q:"ImageId"`
	InstanceType   string      `q:"InstanceType"`
	KeyName        string      `q:"KeyName"`
	UserData       string      `q:"UserData"`
	GroupIDs       []string    `q:"SecurityGroupId"`
	GroupNames     []string    `q:"SecurityGroup"`
	Profile        *profileIn  `q:"IamInstanceProfile"`
	Placement      placementIn `q:"Placement"`
	Interfaces     []nicIn     `q:"NetworkInterface"`
	Tags           []tagSpec   `q:"TagSpecification"`
	Options        optionsIn   `q:"MetadataOptions"`
	Market         marketIn    `q:"InstanceMarketOptions"`
	KeepFromEnding bool        `q:"DisableApiTermination"`
	Disks          []diskIn    `q:"BlockDeviceMapping"`
	Hibernation    struct {
		Configured bool `q:"Configured"`
	} `q:"HibernationOptions"`
	Monitoring struct {
		Enabled bool `q:"Enabled"`
	} `q:"Monitoring"`
	Enclave struct {
		Enabled *bool `q:"Enabled"`
	} `q:"EnclaveOptions"`
	KeepRunning  *bool  `q:"DisableApiStop"`
	Shutdown     string `q:"InstanceInitiatedShutdownBehavior"`
	EBSOptimized *bool  `q:"EbsOptimized"`
}

type runIn struct {
	launchData
	Min         *int         `q:"MinCount"`
	Max         *int         `q:"MaxCount"`
	ClientToken string       `q:"ClientToken"`
	SubnetID    string       `q:"SubnetId"`
	PrivateIP   string       `q:"PrivateIpAddress"`
	IPv6        []nicIPv6In  `q:"Ipv6Address"`
	MoreIPv6    int          `q:"Ipv6AddressCount"`
	Template    *templateRef `q:"LaunchTemplate"`
}

type placementIn struct {
	Zone      string   `q:"AvailabilityZone"`
	ZoneID    anything `q:"AvailabilityZoneId"`
	GroupName string   `q:"GroupName"`
	GroupID   anything `q:"GroupId"`
	Tenancy   anything `q:"Tenancy"`
	Affinity  anything `q:"Affinity"`
	HostID    string   `q:"HostId"`
	Partition int      `q:"PartitionNumber"`
}

type marketIn struct {
	Type string `q:"MarketType"`
	Spot spotIn `q:"SpotOptions"`
}

type spotIn struct {
	Type     string   `q:"SpotInstanceType"`
	Behavior string   `q:"InstanceInterruptionBehavior"`
	Price    anything `q:"MaxPrice"`
	Until    anything `q:"ValidUntil"`
	Minutes  anything `q:"BlockDurationMinutes"`
}

// diskIn is a disk to launch with.
type diskIn struct {
	Device  string    `q:"DeviceName,required"`
	Virtual string    `q:"VirtualName"`
	EBS     *anything `q:"Ebs"`
	None    *string   `q:"NoDevice"`
}

type templateRef struct {
	ID      string `q:"LaunchTemplateId"`
	Name    string `q:"LaunchTemplateName"`
	Version string `q:"Version"`
}

type runOut struct {
	head
	reservationXML
}

var (
	imageIDs      = regexp.MustCompile(`^ami-([0-9a-f]{8}|[0-9a-f]{17})$`)
	instanceTypes = regexp.MustCompile(`^[a-z0-9-]+\.[a-z0-9-]+$`)
)

func runInstances(c *call, asked *runIn) (response, error) {
	p := asked
	l := control.Launch{ClientToken: asked.ClientToken, Sum: c.sum()}
	var err error
	if l.Options, err = asked.Options.options(); err != nil {
		return nil, err
	}
	if asked.Template != nil {
		t, err := c.template(*asked.Template)
		if err != nil {
			return nil, err
		}
		if l.Template, err = t.Options.options(); err != nil {
			return nil, err
		}
		if p, err = c.overTemplate(t.parameters); err != nil {
			return nil, err
		}
		l.From, l.Overridden = t.of, c.overridden()
		if l.Tags, err = launchTags(t.Tags); err != nil {
			return nil, err
		}
	}
	if err := p.nameGroups(c.cfg.Control.Place(dialect)); err != nil {
		return nil, err
	}
	if err := p.fill(&l); err != nil {
		return nil, err
	}
	own, err := launchTags(asked.Tags)
	if err != nil {
		return nil, err
	}
	if l.Tags == nil {
		l.Tags = own
	} else {
		maps.Copy(l.Tags, own)
	}
	if err := p.checkPlace(c.caller.Region); err != nil {
		return nil, err
	}
	launched, err := c.cfg.Control.Launch(c.ctx, c.caller, l)
	if err != nil {
		return nil, err
	}
	out := &runOut{reservationXML: reservationXML{ID: launched.Reservation, Owner: c.caller.Account}}
	for _, in := range launched.Instances {
		v := instanceView(in)
		v.MetadataOptions = optionsView(in, true)
		if stateOf(in) == "running" {
			v.State = stateView("pending")
		}
		out.Instances = append(out.Instances, v)
	}
	return out, nil
}

// fill completes a launch with everything but the metadata options and tags.
func (p *runIn) fill(l *control.Launch) error {
	switch {
	case p.ImageID == "":
		return missing("ImageId")
	case !imageIDs.MatchString(p.ImageID):
		return malformed("InvalidAMIID.Malformed", p.ImageID, "ami-")
	case p.Min == nil:
		return missing("MinCount")
	case p.Max == nil:
		return missing("MaxCount")
	case *p.Min < 1:
		return badValue("minCount", strconv.Itoa(*p.Min))
	case *p.Max < *p.Min:
		return badValue("maxCount", strconv.Itoa(*p.Max))
	case len(p.ClientToken) > 64:
		return invalid("InvalidParameterValue", "The client token is longer than 64 characters.")
	}
	l.Image, l.Min, l.Max, l.KeyName, l.DeletionProtection = p.ImageID, *p.Min, *p.Max, p.KeyName, p.KeepFromEnding
	l.Zone = p.Placement.Zone
	if l.Type = cmp.Or(p.InstanceType, "m1.small"); !instanceTypes.MatchString(l.Type) {
		return invalid("InvalidParameterValue", "Invalid value '"+clip(l.Type)+"' for InstanceType.")
	}
	err := p.attributes(l)
	if err != nil {
		return err
	}
	if l.Disks, err = disks(p.Disks); err != nil {
		return err
	}
	if l.UserData, err = userData(p.UserData); err != nil {
		return err
	}
	if p.Profile != nil {
		if l.Role, err = p.Profile.role(); err != nil {
			return err
		}
	}
	return p.network(l)
}

// nameGroups finds the ids of the groups that are named by their names.
func (p *runIn) nameGroups(place control.Place) error {
	for _, name := range p.GroupNames {
		i := slices.IndexFunc(place.SecurityGroups, func(g instance.SecurityGroup) bool { return g.Name == name })
		if i < 0 {
			return invalid("InvalidGroup.NotFound", "The security group '"+clip(name)+"' does not exist")
		}
		p.GroupIDs = append(p.GroupIDs, place.SecurityGroups[i].ID)
	}
	return nil
}

// checkPlace refuses a zone of another region.
func (p *runIn) checkPlace(region string) error {
	if zone := p.Placement.Zone; zone != "" && (!strings.HasPrefix(zone, region) || len(zone) == len(region)) {
		return invalid("InvalidParameterValue", "Invalid availability zone: ["+clip(zone)+"]")
	}
	return nil
}

// userData decodes user data, which is base64 on the wire.
func userData(text string) ([]byte, error) {
	if text == "" {
		return nil, nil
	}
	data, err := base64.StdEncoding.DecodeString(strings.NewReplacer("\n", "", "\r", "").Replace(text))
	if err != nil {
		return nil, invalid("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.")
	}
	if len(data) > instance.MaxUserDataEC2 {
		return nil, &control.Error{Reason: control.UserDataTooLarge}
	}
	return data, nil
}

// sum is a digest of what the call asks for: the same client token with
// another one is a mistake (EC2-API-07).
func (c *call) sum() string {
	h := sha256.New()
	h.Write([]byte(c.caller.Region))
	for _, name := range slices.Sorted(maps.Keys(c.values)) {
		if name != "ClientToken" {
			h.Write([]byte("\n" + strconv.Quote(name) + "=" + strconv.Quote(c.values.Get(name))))
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// byMember are the parameters that a request overrides member by member; of
// any other, what it names at all replaces what the template says.
var byMember = []string{"MetadataOptions", "Placement"}

// overTemplate decodes the request's parameters laid over those of a launch
// template. Options and tags are merged elsewhere.
func (c *call) overTemplate(template map[string]string) (*runIn, error) {
	all := maps.Clone(c.values)
	named := map[string]bool{}
	for name := range c.values {
		top, _, _ := strings.Cut(name, ".")
		named[top] = true
	}
	for _, instead := range [][2]string{{"SubnetId", "NetworkInterface"}, {"NetworkInterface", "SecurityGroupId"}} {
		if named[instead[0]] {
			named[instead[1]] = true
		}
	}
	for name, value := range template {
		top, _, _ := strings.Cut(name, ".")
		if !all.Has(name) && (!named[top] || slices.Contains(byMember, top)) {
			all[name] = []string{value}
		}
	}
	return decodeRun(all)
}

func decodeRun(values url.Values) (*runIn, error) {
	tree, err := parseTree(values)
	if err != nil {
		return nil, err
	}
	p := &runIn{}
	return p, decode(tree, p, slices.Concat(templateWithoutEffect, launchWithoutEffect))
}
