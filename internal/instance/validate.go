package instance

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Problem is one thing that is wrong with an instance.
type Problem struct {
	// Path is where; empty: the instance as a whole.
	Path Path
	// Msg says what was found and what is expected. It never shows secrets,
	// user data or tokens.
	Msg string
}

// String returns the problem as one line.
func (p Problem) String() string {
	if p.Path == "" {
		return p.Msg
	}
	return string(p.Path) + ": " + p.Msg
}

// Limits of what an instance may carry.
const (
	MaxUserDataEC2 = 16384
	MaxUserDataECS = 32768
	MaxTagsEC2     = 50
	MaxTagsECS     = 20
	MaxHopLimit    = 64
)

// Validate returns what is wrong with a normalized instance, in the order of
// its fields; nil: nothing. Beyond the clouds' rules it refuses what would
// break the form of an answer, such as a line end in a name. Values that
// Normalize would fill in may be empty.
func Validate(in *Instance) []Problem {
	c := &checker{dialect: in.Dialect}
	c.instance("", in)
	return c.problems
}

var (
	architectures = []string{"x86_64", "arm64", "i386"}
	states        = []string{"running", "pending", "stopping", "stopped", "shutting-down", "terminated"}
	lifecycles    = []string{"on-demand", "spot"}
	scalingStates = []string{"Detached", "InService", "Standby", "Terminated",
		"Warmed:Hibernated", "Warmed:Running", "Warmed:Stopped", "Warmed:Terminated"}
)

func (c *checker) instance(at Path, in *Instance) {
	c.instanceID(at.Key("id"), in.ID)
	if c.required(at.Key("dialect"), in.Dialect) {
		c.oneOf(at.Key("dialect"), in.Dialect, []string{DialectECS, DialectEC2})
	}
	c.word(at.Key("network"), in.Network)
	for i, a := range in.Sources {
		c.address(at.Key("sources").Index(i), a, anyFamily)
	}
	unique(c, at.Key("sources"), in.Sources)
	c.text(at.Key("name"), in.Name, 128)
	c.hostname(at.Key("hostname"), in.Hostname)
	if c.required(at.Key("account"), in.Account) {
		c.account(at.Key("account"), in.Account)
	}
	c.id(at.Key("region"), in.Region)
	c.id(at.Key("zone"), in.Zone)
	c.word(at.Key("zoneId"), in.ZoneID)
	c.id(at.Key("type"), in.Type)
	c.word(at.Key("serial"), in.Serial)
	c.oneOf(at.Key("platform"), in.Platform, []string{"linux", "windows"})
	c.oneOf(at.Key("architecture"), in.Architecture, architectures)
	c.oneOf(at.Key("state"), in.State, states)
	c.count(at.Key("launchIndex"), in.LaunchIndex)
	c.word(at.Key("reservationId"), in.ReservationID)
	c.year(at.Key("started"), in.Started)
	c.year(at.Key("landed"), in.Landed)
	c.oneOf(at.Key("lifecycle"), in.Lifecycle, lifecycles)
	c.image(at.Key("image"), &in.Image)
	c.machine(at.Key("machine"), &in.Machine)
	c.text(at.Key("placement").Key("groupName"), in.Placement.GroupName, 255)
	c.word(at.Key("placement").Key("hostId"), in.Placement.HostID)
	c.count(at.Key("placement").Key("partition"), in.Placement.Partition)
	c.metadata(at.Key("metadata"), in.Metadata)
	c.interfaces(at.Key("interfaces"), in)
	c.disks(at.Key("disks"), in.Disks)
	c.keyPairs(at.Key("keyPairs"), in.KeyPairs)
	c.role(at.Key("role"), in.Role)
	c.credentials(at.Key("identity"), in.Identity)
	c.tags(at.Key("tags"), in)
	c.data(at, in)
	c.events(at.Key("events"), &in.Events)
	c.oneOf(at.Key("autoScaling"), in.AutoScaling, scalingStates)
	c.services(at.Key("services"), &in.Services)
	c.managedSSH(at.Key("managedSsh"), &in.ManagedSSH)
	c.associations(at.Key("elasticGpus"), in.ElasticGPUs)
	c.associations(at.Key("elasticInference"), in.ElasticInference)
}

// instanceID asks for the prefix and harmless characters only: ids of every
// length have been handed out.
func (c *checker) instanceID(at Path, id string) {
	if !c.id(at, id) {
		return
	}
	if rest, ok := strings.CutPrefix(id, "i-"); !ok || !plainWord(rest) {
		c.addf(at, "found %s, expected i- and letters or digits, such as i-0123456789abcdef0", quote(id))
	}
}

func (c *checker) account(at Path, id string) {
	digits := strings.Trim(id, "0123456789") == ""
	switch {
	case c.dialect == DialectEC2 && (!digits || len(id) != 12):
		c.addf(at, "found %s, expected an account id of 12 digits", quote(id))
	case !digits || len(id) > 20:
		c.addf(at, "found %s, expected an account id, digits alone (ECS has 16, EC2 12)", quote(id))
	}
}

func (c *checker) image(at Path, m *Image) {
	c.id(at.Key("id"), m.ID)
	c.text(at.Key("manifestPath"), m.ManifestPath, 1024)
	c.words(at.Key("ancestors"), m.Ancestors)
	c.words(at.Key("productCodes"), m.ProductCodes)
	if c.dialect == DialectECS && len(m.ProductCodes) > 1 {
		c.addf(at.Key("productCodes"), "found %d product codes, ECS has at most one", len(m.ProductCodes))
	}
	c.word(at.Key("chargeType"), m.ChargeType)
	c.words(at.Key("billingProducts"), m.BillingProducts)
	c.word(at.Key("kernelId"), m.KernelID)
	c.word(at.Key("ramdiskId"), m.RAMDiskID)
}

func (c *checker) machine(at Path, m *Machine) {
	c.oneOf(at.Key("system"), m.System, []string{"nitro", "xen"})
	c.oneOf(at.Key("profile"), m.Profile, []string{"default-hvm", "default-paravirtual"})
	c.text(at.Key("solution"), m.Solution, 128)
	c.text(at.Key("solutionVersion"), m.SolutionVersion, 64)
	c.count(at.Key("egressKbps"), m.EgressKbps)
	c.count(at.Key("ingressKbps"), m.IngressKbps)
	c.count(at.Key("maxPps"), m.MaxPPS)
	c.count(at.Key("maxConnections"), m.MaxConnections)
	c.oneOf(at.Key("action"), m.Action, []string{"none", "shutdown", "bundle-pending"})
}

// data checks sizes alone: user data and vendor data are served as they are.
func (c *checker) data(at Path, in *Instance) {
	limit := MaxUserDataECS
	if c.dialect == DialectEC2 {
		limit = MaxUserDataEC2
	}
	if n := len(in.UserData); n > limit {
		c.addf(at.Key("userData"), "found %d bytes, expected at most %d", n, limit)
	}
	if n := len(in.VendorData); n > MaxUserDataECS {
		c.addf(at.Key("vendorData"), "found %d bytes, expected at most %d", n, MaxUserDataECS)
	}
}

func (c *checker) associations(at Path, byID map[string]string) {
	for _, id := range sortedKeys(byID) {
		c.key(at, id)
		if !json.Valid([]byte(byID[id])) {
			c.addf(at.Key(id), "found text that is not JSON, expected a JSON text")
		}
	}
}

func (c *checker) events(at Path, e *Events) {
	if s := e.Spot; s != nil {
		spot := at.Key("spot")
		c.oneOf(spot.Key("action"), s.Action, []string{"terminate", "stop", "hibernate"})
		c.requiredTime(spot.Key("time"), s.Time)
	}
	c.year(at.Key("rebalance"), e.Rebalance)
	c.maintenance(at.Key("maintenance"), e.Maintenance)
	system := at.Key("system")
	for i := range e.System {
		ev, at := &e.System[i], system.Index(i)
		c.id(at.Key("id"), ev.ID)
		c.id(at.Key("type"), ev.Type)
		c.oneOf(at.Key("status"), ev.Status, []string{"Scheduled", "Executing", "Inquiring"})
		c.requiredTime(at.Key("notBefore"), ev.NotBefore)
	}
	uniqueBy(c, system, e.System, "id", func(ev SystemEvent) string { return ev.ID })
}

var (
	maintenanceCodes  = []string{"instance-reboot", "system-reboot", "system-maintenance", "instance-retirement", "instance-stop"}
	maintenanceStates = []string{EventActive, EventCompleted, EventCanceled}
)

func (c *checker) maintenance(list Path, events []Maintenance) {
	for i := range events {
		ev, at := &events[i], list.Index(i)
		c.id(at.Key("id"), ev.ID)
		if c.required(at.Key("code"), ev.Code) {
			c.oneOf(at.Key("code"), ev.Code, maintenanceCodes)
		}
		c.text(at.Key("description"), ev.Description, 1024)
		c.requiredTime(at.Key("notBefore"), ev.NotBefore)
		c.after(at.Key("notAfter"), ev.NotAfter, ev.NotBefore, "notBefore")
		c.oneOf(at.Key("state"), ev.State, maintenanceStates)
	}
	uniqueBy(c, list, events, "id", func(ev Maintenance) string { return ev.ID })
}

// after refuses a time that is set and earlier than another.
func (c *checker) after(at Path, t, earlier time.Time, name string) {
	c.year(at, t)
	if !t.IsZero() && t.Before(earlier) {
		c.addf(at, "found %s, expected a time after %s, which is %s", stamp(t), name, stamp(earlier))
	}
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// checker collects problems.
type checker struct {
	dialect  string
	problems []Problem
}

func (c *checker) addf(at Path, format string, args ...any) {
	c.problems = append(c.problems, Problem{at, fmt.Sprintf(format, args...)})
}
