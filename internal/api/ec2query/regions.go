package ec2query

import (
	"slices"
	"strings"

	"openimds/internal/control"
)

// regions are those that exist without opting in, and the two of China and
// GovCloud that clients are configured for.
var regions = []string{
	"ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-southeast-1", "ap-southeast-2", "ca-central-1",
	"eu-central-1", "eu-north-1", "eu-west-1", "eu-west-2", "eu-west-3", "sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2",
}

type describeRegionsIn struct {
	Names   []string `q:"RegionName"`
	All     anything `q:"AllRegions"`
	Filters []filter `q:"Filter"`
}

type describeRegionsOut struct {
	head
	Regions []regionXML `xml:"regionInfo>item"`
}

type regionXML struct {
	Name     string `xml:"regionName"`
	Endpoint string `xml:"regionEndpoint"`
	OptIn    string `xml:"optInStatus"`
}

var regionFilters = attributes[regionXML]{
	"region-name":   func(r regionXML) []string { return []string{r.Name} },
	"endpoint":      func(r regionXML) []string { return []string{r.Endpoint} },
	"opt-in-status": func(r regionXML) []string { return []string{r.OptIn} },
}

func describeRegions(c *call, p *describeRegionsIn) (response, error) {
	if err := c.cfg.Control.Permit(c.caller); err != nil {
		return nil, err
	}
	names := slices.Clone(regions)
	for _, own := range []string{c.caller.Region, c.cfg.Region} {
		if !slices.Contains(names, own) {
			names = append(names, own)
		}
	}
	for _, name := range p.Names {
		if !slices.Contains(names, name) {
			return nil, invalid("InvalidParameterValue", "Invalid region provided: "+clip(name))
		}
	}
	slices.Sort(names)
	var found []regionXML
	for _, name := range names {
		if wanted(p.Names, name) {
			domain := "amazonaws.com"
			if strings.HasPrefix(name, "cn-") {
				domain = "amazonaws.com.cn"
			}
			found = append(found, regionXML{name, "ec2." + name + "." + domain, "opt-in-not-required"})
		}
	}
	found, err := choose(found, p.Filters, regionFilters, nil)
	return &describeRegionsOut{Regions: found}, err
}

type describeZonesIn struct {
	Names   []string `q:"ZoneName"`
	IDs     []string `q:"ZoneId"`
	All     anything `q:"AllAvailabilityZones"`
	Filters []filter `q:"Filter"`
}

type describeZonesOut struct {
	head
	Zones []zoneXML `xml:"availabilityZoneInfo>item"`
}

type zoneXML struct {
	Name   string `xml:"zoneName"`
	State  string `xml:"zoneState"`
	Region string `xml:"regionName"`
	OptIn  string `xml:"optInStatus"`
	ID     string `xml:"zoneId,omitempty"`
	Group  string `xml:"groupName"`
	Border string `xml:"networkBorderGroup"`
	Type   string `xml:"zoneType"`
}

var zoneFilters = attributes[zoneXML]{
	"zone-name":   func(z zoneXML) []string { return []string{z.Name} },
	"zone-id":     func(z zoneXML) []string { return one(z.ID) },
	"region-name": func(z zoneXML) []string { return []string{z.Region} },
	"state":       func(z zoneXML) []string { return []string{z.State} },
	"zone-type":   func(z zoneXML) []string { return []string{z.Type} },
}

// describeAvailabilityZones lists the place where instances are launched, with
// its zone's id, and in any region the first three zones.
func describeAvailabilityZones(c *call, p *describeZonesIn) (response, error) {
	if err := c.cfg.Control.Permit(c.caller); err != nil {
		return nil, err
	}
	all := zonesOf(c.caller.Region, c.cfg.Control.Place(dialect))
	for _, name := range p.Names {
		if !slices.ContainsFunc(all, func(z zoneXML) bool { return z.Name == name }) {
			return nil, invalid("InvalidParameterValue", "Invalid availability zone: ["+clip(name)+"]")
		}
	}
	found := slices.DeleteFunc(all, func(z zoneXML) bool { return !wanted(p.Names, z.Name) || !wanted(p.IDs, z.ID) })
	found, err := choose(found, p.Filters, zoneFilters, nil)
	return &describeZonesOut{Zones: found}, err
}

func zonesOf(region string, place control.Place) []zoneXML {
	names := []string{region + "a", region + "b", region + "c"}
	if strings.HasPrefix(place.Zone, region) && !slices.Contains(names, place.Zone) {
		names = append(names, place.Zone)
	}
	var all []zoneXML
	for _, name := range names {
		z := zoneXML{Name: name, State: "available", Region: region, OptIn: "opt-in-not-required", Group: region, Border: region, Type: "availability-zone"}
		if name == place.Zone {
			z.ID = place.ZoneID
		}
		all = append(all, z)
	}
	return all
}
