package config

import (
	"fmt"
	"net/netip"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"openimds/internal/instance"
)

// checker holds decoded settings against what they may be.
type checker struct {
	doc      *Document
	problems Problems
}

// expect reports what is not ok. Of a value that could not be read, that has
// been said, and is enough.
func (c *checker) expect(ok bool, at instance.Path, format string, args ...any) {
	if !ok && !slices.ContainsFunc(c.problems, func(p Problem) bool { return p.Key == at }) {
		c.problems = append(c.problems, c.doc.Problem(at, fmt.Sprintf(format, args...)))
	}
}

// service checks what all programs share.
func (c *checker) service(s Service) {
	c.expect(s.Throttle.Rate >= 0, "throttle.rate", "is %d: want requests a second, 0 for no limit", s.Throttle.Rate)
	c.expect(s.Throttle.Burst >= 0, "throttle.burst", "is %d: want a number of requests", s.Throttle.Burst)
	c.expect(s.Limits.Connections >= 0, "limits.connections", "is %d: want a number of connections", s.Limits.Connections)
	c.expect(s.Limits.ConnectionsPerInstance >= 0, "limits.connectionsPerInstance", "is %d: want a number of connections", s.Limits.ConnectionsPerInstance)
	c.expect(s.Limits.HeaderTimeout >= 0 && s.Limits.HeaderTimeout <= 5*time.Second, "limits.headerTimeout", "is %v: want at most 5s", s.Limits.HeaderTimeout)
	c.expect(s.Limits.IdleTimeout >= 0, "limits.idleTimeout", "is %v: want a time such as 60s", s.Limits.IdleTimeout)
	for at, value := range map[instance.Path]string{
		"security.ec2ForwardedReads": s.Security.EC2ForwardedReads, "security.ecsForwardedReads": s.Security.ECSForwardedReads,
	} {
		c.expect(value == "" || value == Allow || value == Refuse, at, "is %q: want %s or %s", value, Allow, Refuse)
	}
	d := s.Identity.ECSDigest
	c.expect(d == "" || d == SHA1 || d == SHA256, "identity.ecsDigest", "is %q: want %s or %s", d, SHA1, SHA256)
	c.credentials(s.Credentials)
	c.monitoring(s.Monitoring)
	for i, h := range s.Hosts {
		c.expect(h != "", instance.Path("hosts").Index(i), "is empty: want a name or an address")
	}
}

// serve checks the file of `imds serve`.
func (c *checker) serve(s Serve) {
	c.service(s.Service())
	c.expect(s.State != "", "state", "is required: the folder that keeps the state, such as /var/lib/imds")
	c.expect(s.Key != "", "key", "is required: a file that imds store key FILE has made, or the name of a systemd credential")
	for i, k := range s.OlderKeys {
		c.expect(k != "", instance.Path("olderKeys").Index(i), "is empty: want a file or the name of a systemd credential")
	}
	if s.Control.Address != "" {
		c.address("control.address", s.Control.Address)
	}
	c.expect(len(s.Listeners) > 0, "listeners", "is required: at least one listener")
	c.listeners(s.Listeners)
	c.feed(s.Feed)
	c.usage(s.Usage)
	c.place("places.ec2", instance.DialectEC2, s.Places.EC2)
	c.place("places.ecs", instance.DialectECS, s.Places.ECS)
	c.expect(s.Audit.RotateSize >= 0, "audit.rotateSize", "is %d: want a number of bytes", s.Audit.RotateSize)
	c.expect(s.Audit.RotateAfter >= 0, "audit.rotateAfter", "is %v: want a time such as 24h", s.Audit.RotateAfter)
	c.expect(s.Audit.Keep >= 0, "audit.keep", "is %d: want a number of files", s.Audit.Keep)
}

// longestInterface is IFNAMSIZ of Linux without the byte behind the name.
const longestInterface = 15

func (c *checker) listeners(all []Listener) {
	for i, l := range all {
		at := instance.Path("listeners").Index(i)
		c.listener(at, l)
		for k, other := range all[:i] {
			if l.Interface != "" && l.Interface == other.Interface && l.Namespace == other.Namespace && l.Network != "" && other.Network != "" {
				c.expect(l.Network == other.Network, at.Key("network"), "is %q, and that of listeners[%d] is %q: both claim %s, and an interface belongs to one network",
					l.Network, k, other.Network, l.Interface)
			}
		}
	}
}

func (c *checker) listener(at instance.Path, l Listener) {
	c.expect(l.Dialect == instance.DialectECS || l.Dialect == instance.DialectEC2, at.Key("dialect"), "is %q: want %s or %s", l.Dialect, instance.DialectECS, instance.DialectEC2)
	c.address(at.Key("address"), l.Address)
	for key, pattern := range map[string]string{"interface": l.Interface, "namespace": l.Namespace} {
		_, err := path.Match(pattern, "")
		c.expect(err == nil, at.Key(key), "is %q: want a name, or a pattern with * for any letters, ? for one and [a-z] for one of a range", pattern)
	}
	c.expect(!l.Attach || l.Interface != "", at.Key("attach"), "is true without an interface: name the interface that the address belongs on")
	c.expect(!l.CheckHardwareAddress || l.Interface != "", at.Key("checkHardwareAddress"), "is true without an interface: neighbours are known at an interface alone")
	c.expect(l.ProxyKeyFile == "" || filepath.IsAbs(l.ProxyKeyFile), at.Key("proxyKeyFile"), "is %q: want an absolute path", l.ProxyKeyFile)
	c.expect(l.ProxyKeyFile == "" || l.Interface == "", at.Key("proxyKeyFile"), "is given with an interface: forwarders do not come over those of instances")
	c.expect(len(l.Interface) <= longestInterface || strings.ContainsAny(l.Interface, `*?[\`), at.Key("interface"), "is %q: the kernel's names of interfaces have %d letters at most", l.Interface, longestInterface)
	c.expect(l.MinTTL >= 0 && l.MinTTL <= 255, at.Key("minTTL"), "is %d: want 1 to 255", l.MinTTL)
}

func (c *checker) address(at instance.Path, address string) {
	_, err := netip.ParseAddrPort(address)
	c.expect(err == nil, at, "is %q: want an IP address and a port, such as 127.0.0.1:8180 or [::1]:8180", address)
}

// place checks a place as what it will be: part of an instance.
func (c *checker) place(at instance.Path, dialect string, p *Place) {
	if p == nil {
		return
	}
	c.expect(p.Subnet.IPv4.IsValid(), at.Key("subnet").Key("ipv4"), "is required: the block that launched instances get their addresses from")
	c.expect(p.Sources == p.Sources.Masked(), at.Key("sources"), "found %v, which has bits after its length, expected %v", p.Sources, p.Sources.Masked())
	c.expect(p.Public == p.Public.Masked(), at.Key("public"), "found %v, which has bits after its length, expected %v", p.Public, p.Public.Masked())
	c.expect(!p.Public.IsValid() || p.Public.Addr().Is4(), at.Key("public"), "found %v, expected an IPv4 block", p.Public)
	in := &instance.Instance{
		Dialect: dialect, Region: p.Region, Zone: p.Zone, ZoneID: p.ZoneID, Network: p.Network, Services: p.Services,
		Interfaces: []instance.Interface{{VPC: p.VPC, Subnet: p.Subnet, SecurityGroups: p.SecurityGroups}},
	}
	for _, problem := range instance.Validate(in) {
		path, _ := strings.CutPrefix(string(problem.Path), "interfaces[0].")
		for _, own := range []string{"region", "zone", "zoneId", "network", "services", "vpc", "subnet", "securityGroups"} {
			if path == own || strings.HasPrefix(path, own+".") || strings.HasPrefix(path, own+"[") {
				c.expect(false, at+"."+instance.Path(path), "%s", problem.Msg)
			}
		}
	}
}
