package ec2query

import (
	"cmp"
	"crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"

	"openimds/internal/control"
	"openimds/internal/state"
)

type importKeyPairIn struct {
	KeyName  string    `q:"KeyName,required"`
	Material []byte    `q:"PublicKeyMaterial,required"`
	Tags     []tagSpec `q:"TagSpecification"`
}

type keyPairOut struct {
	head
	KeyName     string   `xml:"keyName"`
	Fingerprint string   `xml:"keyFingerprint"`
	Material    string   `xml:"keyMaterial,omitempty"`
	ID          string   `xml:"keyPairId"`
	Tags        []tagXML `xml:"tagSet>item"`
}

func importKeyPair(c *call, p *importKeyPairIn) (response, error) {
	key, err := parsePublicKey(string(p.Material))
	if err != nil {
		return nil, err
	}
	fingerprint := sha256Print(key.blob)
	if key.rsa != nil {
		der, err := x509.MarshalPKIXPublicKey(key.rsa)
		if err != nil {
			return nil, badKey()
		}
		sum := md5.Sum(der) // the vendor's fingerprint of imported RSA keys
		fingerprint = colons(sum[:])
	}
	return c.keepKeyPair(p.KeyName, key.line(), fingerprint, "", p.Tags)
}

// keepKeyPair keeps a key pair; material is the private key, which is shown
// once and not kept.
func (c *call) keepKeyPair(name, line, fingerprint, material string, specs []tagSpec) (response, error) {
	if name == "" || len(name) > 255 {
		return nil, badValue("keyName", name)
	}
	tags, err := tagsFor(specs, "key-pair", "key-pair")
	if err != nil {
		return nil, err
	}
	k, err := c.cfg.Control.NewKeyPair(c.ctx, c.caller, name, line, fingerprint, tags)
	if err != nil {
		return nil, err
	}
	return &keyPairOut{KeyName: k.Name, Fingerprint: k.Fingerprint, Material: material, ID: k.ID, Tags: tagsView(k.Tags)}, nil
}

type createKeyPairIn struct {
	KeyName string    `q:"KeyName,required"`
	Type    string    `q:"KeyType"`
	Format  string    `q:"KeyFormat"`
	Tags    []tagSpec `q:"TagSpecification"`
}

func createKeyPair(c *call, p *createKeyPairIn) (response, error) {
	if f := cmp.Or(p.Format, "pem"); f != "pem" {
		return nil, badValue("keyFormat", f)
	}
	switch cmp.Or(p.Type, "rsa") {
	case "rsa":
		private, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, err
		}
		der, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			return nil, err
		}
		sum := sha1.Sum(der) // the vendor's fingerprint of RSA keys that it made
		material := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)})
		return c.keepKeyPair(p.KeyName, rsaKey(&private.PublicKey).line(), colons(sum[:]), string(material), p.Tags)
	case "ed25519":
		key, material, err := newEd25519(c.cfg.Random)
		if err != nil {
			return nil, err
		}
		return c.keepKeyPair(p.KeyName, key.line(), sha256Print(key.blob), material, p.Tags)
	}
	return nil, badValue("keyType", p.Type)
}

type describeKeyPairsIn struct {
	Names   []string `q:"KeyName"`
	IDs     []string `q:"KeyPairId"`
	Filters []filter `q:"Filter"`
	Public  bool     `q:"IncludePublicKey"`
}

type describeKeyPairsOut struct {
	head
	Keys []keyPairXML `xml:"keySet>item"`
}

type keyPairXML struct {
	ID          string   `xml:"keyPairId"`
	Type        string   `xml:"keyType"`
	Fingerprint string   `xml:"keyFingerprint"`
	Name        string   `xml:"keyName"`
	Tags        []tagXML `xml:"tagSet>item"`
	PublicKey   string   `xml:"publicKey,omitempty"`
	Created     string   `xml:"createTime"`
}

var keyPairFilters = attributes[*state.KeyPair]{
	"key-name":    func(k *state.KeyPair) []string { return []string{k.Name} },
	"key-pair-id": func(k *state.KeyPair) []string { return []string{k.ID} },
	"fingerprint": func(k *state.KeyPair) []string { return []string{k.Fingerprint} },
}

func describeKeyPairs(c *call, p *describeKeyPairsIn) (response, error) {
	all, err := c.cfg.Control.KeyPairs(c.caller)
	if err != nil {
		return nil, err
	}
	for _, name := range p.Names {
		if !slices.ContainsFunc(all, func(k *state.KeyPair) bool { return k.Name == name }) {
			return nil, &control.Error{Reason: control.KeyPairNotFound, Subject: name}
		}
	}
	for _, id := range p.IDs {
		if !slices.ContainsFunc(all, func(k *state.KeyPair) bool { return k.ID == id }) {
			return nil, invalid("InvalidKeyPair.NotFound", "The key pair ID '"+clip(id)+"' does not exist")
		}
	}
	all = slices.DeleteFunc(all, func(k *state.KeyPair) bool { return !wanted(p.Names, k.Name) || !wanted(p.IDs, k.ID) })
	if all, err = choose(all, p.Filters, keyPairFilters, func(k *state.KeyPair) map[string]string { return k.Tags }); err != nil {
		return nil, err
	}
	out := &describeKeyPairsOut{}
	for _, k := range all {
		v := keyPairXML{ID: k.ID, Type: "rsa", Fingerprint: k.Fingerprint, Name: k.Name, Tags: tagsView(k.Tags), Created: stamp(k.Created)}
		if strings.HasPrefix(k.PublicKey, ed25519Name+" ") {
			v.Type = "ed25519"
		}
		if p.Public {
			v.PublicKey = k.PublicKey
		}
		out.Keys = append(out.Keys, v)
	}
	return out, nil
}

type deleteKeyPairIn struct {
	Name string `q:"KeyName"`
	ID   string `q:"KeyPairId"`
}

type deleteKeyPairOut struct {
	head
	Return bool   `xml:"return"`
	ID     string `xml:"keyPairId,omitempty"`
}

// deleteKeyPair deletes by name, or by the id of one that exists: one that does
// not is deleted already.
func deleteKeyPair(c *call, p *deleteKeyPairIn) (response, error) {
	name := p.Name
	switch {
	case name == "" && p.ID == "":
		return nil, missing("KeyName")
	case name == "":
		k, ok := c.cfg.Control.KeyPairByID(c.caller, p.ID)
		if !ok {
			return nil, invalid("InvalidKeyPair.NotFound", "The key pair ID '"+clip(p.ID)+"' does not exist")
		}
		name = k.Name
	}
	if err := c.cfg.Control.DeleteKeyPairs(c.ctx, c.caller, []string{name}); err != nil {
		return nil, err
	}
	return &deleteKeyPairOut{Return: true, ID: p.ID}, nil
}
