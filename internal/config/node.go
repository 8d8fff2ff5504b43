package config

import (
	"net/url"
	"path/filepath"
	"strings"

	"openimds/internal/instance"
)

// Node is the top level of the file that `imds-node -c FILE` reads. Paths in it
// are relative to its folder.
type Node struct {
	// Folder of what is kept: the last good state, with which the node serves when the control plane is away. It is made, open to its owner alone, if there is none.
	State string `json:"state"`
	// Where what is to be served comes from.
	Control ControlPlane `json:"control"`
	// Where instances ask for their metadata.
	Listeners []Listener `json:"listeners"`
	// The operator's view of this node.
	Admin NodeAdmin `json:"admin,omitzero"`
	// Limit of each instance's requests.
	Throttle Throttle `json:"throttle,omitzero"`
	// Limits of connections and time.
	Limits Limits `json:"limits,omitzero"`
	// Names and addresses, besides the service's own, that clients may send as Host.
	Hosts []string `json:"hosts,omitempty"`
	// Choices where the clouds' behaviour differs or is not known.
	Security Security `json:"security,omitzero"`
}

// ControlPlane is where a node's instances come from: the `feed` of an `imds
// serve`.
type ControlPlane struct {
	// URL of the feed, such as `https://control.example:8181`.
	URL string `json:"url"`
	// File with the node's certificate (PEM). Its common name is the node's name, the `node` of the instances that it serves. Read anew for every connection, as are the other two.
	Certificate string `json:"certificate"`
	// File with the certificate's key (PEM), open to its owner alone; or, without a slash, the name of a systemd credential.
	Key string `json:"key"`
	// File with the certificates (PEM) of the authority that the control plane's certificate is signed by.
	Authority string `json:"authority"`
}

// NodeAdmin is where a node is looked at.
type NodeAdmin struct {
	// IP address and port of health, metrics and usage. It speaks plain HTTP and asks for no token: give it an address that only operators reach. Default: `127.0.0.1:8181`.
	Address string `json:"address,omitempty"`
}

// Feed is where nodes get what they serve.
type Feed struct {
	// IP address and port, such as `0.0.0.0:8182`. It speaks TLS, and with nodes alone that show a certificate of the authority.
	Address string `json:"address"`
	// File with the control plane's certificate (PEM). Read anew for every connection, as are the other two.
	Certificate string `json:"certificate"`
	// File with the certificate's key (PEM), open to its owner alone; or, without a slash, the name of a systemd credential.
	Key string `json:"key"`
	// File with the certificates (PEM) of the authority that signs nodes' certificates.
	Authority string `json:"authority"`
}

// DefaultNodeAdmin is the admin address of a file that names none.
const DefaultNodeAdmin = "127.0.0.1:8181"

// Service returns the settings that other programs have too.
func (n Node) Service() Service {
	return Service{Throttle: n.Throttle, Limits: n.Limits, Hosts: n.Hosts, Security: n.Security}
}

// LoadNode reads the file of `imds-node`. The error is that of the file system,
// or Problems.
func LoadNode(path string) (Node, error) {
	data, err := readSettings(path)
	if err != nil {
		return Node{}, err
	}
	return ParseNode(path, data)
}

// ParseNode reads the text of that file, fills in defaults and resolves paths
// against the folder of name, which also stands in problems. The error is
// Problems.
func ParseNode(name string, data []byte) (Node, error) {
	var n Node
	doc, err := Parse(name, data)
	if err != nil {
		return n, err
	}
	c := checker{doc: doc, problems: doc.decode(&n)}
	c.node(n)
	folder := filepath.Dir(name)
	n.State = wholePath(folder, n.State)
	n.Control.Certificate = wholePath(folder, n.Control.Certificate)
	n.Control.Key = wholeKey(folder, n.Control.Key)
	n.Control.Authority = wholePath(folder, n.Control.Authority)
	if n.Admin.Address == "" {
		n.Admin.Address = DefaultNodeAdmin
	}
	n.Throttle.fill()
	return n, c.problems.err()
}

// wholePath resolves a path against a folder.
func wholePath(folder, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	// A slash stays in it, which tells a key's path from a credential.
	return strings.TrimSuffix(folder, "/") + "/" + filepath.Clean(path)
}

// wholeKey is wholePath for what may be the name of a credential.
func wholeKey(folder, key string) string {
	if IsCredential(key) {
		return key
	}
	return wholePath(folder, key)
}

// fill makes paths whole.
func (f *Feed) fill(folder string) {
	f.Certificate = wholePath(folder, f.Certificate)
	f.Key = wholeKey(folder, f.Key)
	f.Authority = wholePath(folder, f.Authority)
}

// node checks the file of `imds-node`.
func (c *checker) node(n Node) {
	c.service(n.Service())
	c.expect(n.State != "", "state", "is required: the folder that keeps the last good state, such as /var/lib/imds-node")
	u, err := url.Parse(n.Control.URL)
	c.expect(err == nil && u.Scheme == "https" && u.Host != "" && strings.Trim(u.Path, "/") == "" && u.RawQuery == "",
		"control.url", "is %q: want https:// and the host and port of the control plane's feed, such as https://control.example:8182", n.Control.URL)
	c.pair("control", n.Control.Certificate, n.Control.Key, n.Control.Authority)
	c.expect(len(n.Listeners) > 0, "listeners", "is required: at least one listener")
	c.listeners(n.Listeners)
	if n.Admin.Address != "" {
		c.address("admin.address", n.Admin.Address)
	}
}

// pair checks a certificate, its key and the authority of the other side.
func (c *checker) pair(at instance.Path, certificate, key, authority string) {
	c.expect(certificate != "", at.Key("certificate"), "is required: a file that imds fleet has made, or another PEM certificate")
	c.expect(key != "", at.Key("key"), "is required: the file of the certificate's key, or the name of a systemd credential")
	c.expect(authority != "", at.Key("authority"), "is required: the file with the certificate of the authority")
}

// feed checks where nodes get what they serve.
func (c *checker) feed(f *Feed) {
	if f == nil {
		return
	}
	c.address("feed.address", f.Address)
	c.pair("feed", f.Certificate, f.Key, f.Authority)
}
