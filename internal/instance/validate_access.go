package instance

import (
	"encoding/base64"
	"encoding/pem"
	"strings"
	"unicode/utf8"
)

func (c *checker) metadata(at Path, o MetadataOptions) {
	onOff := []string{Enabled, Disabled}
	c.oneOf(at.Key("httpTokens"), o.HTTPTokens, []string{Optional, Required})
	c.oneOf(at.Key("httpEndpoint"), o.HTTPEndpoint, onOff)
	// 0 is a limit that is not set: EC2's default, and no limit on ECS.
	if n := o.HTTPPutResponseHopLimit; n < 0 || n > MaxHopLimit {
		c.addf(at.Key("httpPutResponseHopLimit"), "found %d, expected a hop limit from 1 to %d", n, MaxHopLimit)
	}
	c.oneOf(at.Key("httpProtocolIpv6"), o.HTTPProtocolIPv6, onOff)
	c.oneOf(at.Key("instanceMetadataTags"), o.InstanceMetadataTags, onOff)
}

func (c *checker) role(at Path, r *Role) {
	if r == nil {
		return
	}
	name := at.Key("name")
	if c.required(name, r.Name) && (len(r.Name) > 64 || !allOf(r.Name, "_+=,.@-") || r.Name == "." || r.Name == "..") {
		c.addf(name, "found %s, expected a role name: letters, digits and _ + = , . @ - only, at most 64 of them", quote(r.Name))
	}
	if arn := r.ProfileARN; arn != "" && (!strings.HasPrefix(arn, "arn:") || !OneLine(arn) || strings.Contains(arn, " ")) {
		c.addf(at.Key("profileArn"), "found %s, expected an ARN such as arn:aws:iam::123456789012:instance-profile/web", quote(arn))
	}
	c.word(at.Key("profileId"), r.ProfileID)
	c.credentials(at.Key("credentials"), r.Credentials)
}

func (c *checker) credentials(at Path, k *Credentials) {
	if k == nil {
		return
	}
	c.secret(at.Key("accessKeyId"), k.AccessKeyID)
	c.secret(at.Key("accessKeySecret"), k.AccessKeySecret)
	c.secret(at.Key("sessionToken"), k.SessionToken)
	c.year(at.Key("updated"), k.Updated)
	c.after(at.Key("expires"), k.Expires, k.Updated, "updated")
}

// tagKeyExtra is what EC2 allows in the keys of tags that it serves, beyond
// letters and digits; tagKeyMessage is what its API says of others.
const (
	tagKeyExtra   = `-_+=,.@:`
	tagKeyMessage = `'%s' is not a valid tag key. Tag keys must match pattern ([0-9a-zA-Z\\-_+=,.@:]{1,255}), ` +
		`and must not be a reserved name ('.', '..', '_index')`
)

// tags checks tags. ECS lets keys pass that metadata cannot show: they are
// just not read there.
func (c *checker) tags(at Path, in *Instance) {
	most, counted := MaxTagsECS, 0
	if c.dialect == DialectEC2 {
		most = MaxTagsEC2
	}
	for _, key := range sortedKeys(in.Tags) {
		// The cloud's own tags do not count.
		if !strings.HasPrefix(key, "aws:") && !strings.HasPrefix(key, "acs:") {
			counted++
		}
		tag := at.Key(key)
		switch {
		case key == "":
			c.addf(tag, "found an empty tag key, expected 1 to 128 characters")
		case c.dialect == DialectEC2 && in.Metadata.TagsShown() && !servableTagKey(key):
			c.addf(tag, tagKeyMessage, strings.ReplaceAll(quote(key), `"`, ""))
		case !OneLine(key) || utf8.RuneCountInString(key) > 128:
			c.addf(tag, "found the tag key %s, expected one line of 1 to 128 characters", quote(key))
		}
		c.text(tag, in.Tags[key], 256)
	}
	if counted > most {
		c.addf(at, "found %d tags, expected at most %d", counted, most)
	}
}

func servableTagKey(key string) bool {
	return len(key) <= 255 && allOf(key, tagKeyExtra) && key != "." && key != ".." && key != "_index"
}

func (c *checker) keyPairs(at Path, pairs []KeyPair) {
	for i := range pairs {
		k, at := &pairs[i], at.Index(i)
		c.word(at.Key("id"), k.ID)
		if c.required(at.Key("name"), k.Name) {
			c.text(at.Key("name"), k.Name, 255)
		}
		if c.required(at.Key("publicKey"), k.PublicKey) {
			c.publicKey(at.Key("publicKey"), k.PublicKey)
		}
	}
	uniqueBy(c, at, pairs, "id", func(k KeyPair) string { return k.ID })
}

func (c *checker) publicKey(at Path, line string) {
	if strings.ContainsAny(line, "\r\n") {
		c.addf(at, "found a key of several lines, expected one line of an authorized_keys file; in YAML, write it after >-")
		return
	}
	fields := strings.Fields(line)
	if !OneLine(line) || len(fields) < 2 || !isWord(fields[0]) || !isBase64(fields[1]) {
		// The text is not shown: a private key may have been pasted.
		c.addf(at, "found something else, expected a public key such as: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5… name")
	}
}

func (c *checker) managedSSH(at Path, m *ManagedSSH) {
	keys := at.Key("keys")
	for i := range m.Keys {
		k, at := &m.Keys[i], keys.Index(i)
		c.id(at.Key("user"), k.User)
		c.year(at.Key("expires"), k.Expires)
		if c.required(at.Key("text"), k.Text) && !OneLine(strings.NewReplacer("\n", "", "\t", "").Replace(k.Text)) {
			c.addf(at.Key("text"), "found a control character, expected lines of UTF-8 text that end in LF")
		}
	}
	uniqueBy(c, keys, m.Keys, "user", func(k ManagedKey) string { return k.User })
	if m.SignerCertificate != "" && !isPEM(m.SignerCertificate) {
		c.addf(at.Key("signerCertificate"), "found text that is not PEM, expected one or more blocks of -----BEGIN CERTIFICATE-----")
	}
	ocsp := at.Key("signerOcsp")
	for _, fingerprint := range sortedKeys(m.SignerOCSP) {
		c.key(ocsp, fingerprint)
		if answer := m.SignerOCSP[fingerprint]; answer == "" || !isBase64(answer) {
			c.addf(ocsp.Key(fingerprint), "found text that is not base64, expected an OCSP answer in base64")
		}
	}
}

func isBase64(s string) bool {
	_, err := base64.StdEncoding.DecodeString(s)
	return err == nil
}

// isPEM reports whether text is nothing but certificates.
func isPEM(text string) bool {
	rest := []byte(text)
	for {
		block, after := pem.Decode(rest)
		if block == nil || block.Type != "CERTIFICATE" {
			return false
		}
		if strings.TrimSpace(string(after)) == "" {
			return true
		}
		rest = after
	}
}

func (c *checker) services(at Path, s *Services) {
	c.hostname(at.Key("domain"), s.Domain)
	c.word(at.Key("partition"), s.Partition)
	for i, a := range s.Nameservers {
		c.address(at.Key("nameservers").Index(i), a, anyFamily)
	}
	for i, name := range s.NTPServers {
		c.server(at.Key("ntpServers").Index(i), name)
	}
	for i, u := range s.Mirrors {
		if c.required(at.Key("mirrors").Index(i), u) {
			c.webAddress(at.Key("mirrors").Index(i), u)
		}
	}
	if s.KMSServer != "" {
		c.server(at.Key("kmsServer"), s.KMSServer)
	}
	c.webAddress(at.Key("wsusServer"), s.WSUSServer)
	c.webAddress(at.Key("wsusStatusServer"), s.WSUSStatusServer)
	c.webAddress(at.Key("assistServer"), s.AssistServer)
}
