package identity

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// Document is an instance identity document whose signature was good.
type Document struct {
	// Cloud whose form it has.
	Cloud Cloud
	// InstanceID, Account, Region, Zone, ImageID, InstanceType and PrivateIP
	// are in both forms. On an instance that has IPv6 alone PrivateIP is an
	// IPv6 address (EC2) or empty (ECS).
	InstanceID, Account, Region, Zone, ImageID, InstanceType, PrivateIP string

	// Architecture and PendingTime, the time of the last start, are in EC2's
	// form. PendingTime is zero where the document has null.
	Architecture string
	PendingTime  time.Time

	// SerialNumber, MAC and Audience are in ECS's form.
	SerialNumber, MAC, Audience string

	// Bytes are what was signed.
	Bytes []byte
	// Signer is the certificate that the signature was checked with.
	Signer *x509.Certificate
	// SigningTime is what the envelope says; zero where it says nothing.
	SigningTime time.Time
}

// Cloud is a form of document.
type Cloud string

// Clouds.
const (
	EC2 Cloud = "ec2"
	ECS Cloud = "ecs"
)

// members are those of both forms.
type members struct {
	AccountID        string     `json:"accountId"`
	Architecture     string     `json:"architecture"`
	AvailabilityZone string     `json:"availabilityZone"`
	ImageID          string     `json:"imageId"`
	InstanceID       string     `json:"instanceId"`
	InstanceType     string     `json:"instanceType"`
	PendingTime      *time.Time `json:"pendingTime"`
	PrivateIP        *string    `json:"privateIp"`
	Region           string     `json:"region"`

	ECSZone         string `json:"zone-id"`
	ECSSerial       string `json:"serial-number"`
	ECSInstanceID   string `json:"instance-id"`
	ECSRegion       string `json:"region-id"`
	ECSPrivateIPv4  string `json:"private-ipv4"`
	ECSAccount      string `json:"owner-account-id"`
	ECSMAC          string `json:"mac"`
	ECSImageID      string `json:"image-id"`
	ECSInstanceType string `json:"instance-type"`
	ECSAudience     string `json:"audience"`
}

// parse reads Bytes.
func (d *Document) parse() error {
	var m members
	if err := json.Unmarshal(d.Bytes, &m); err != nil {
		return fmt.Errorf("read the document: %w", err)
	}
	switch {
	case m.InstanceID != "" && m.ECSInstanceID == "":
		d.Cloud = EC2
		d.InstanceID, d.Account, d.Region, d.Zone = m.InstanceID, m.AccountID, m.Region, m.AvailabilityZone
		d.ImageID, d.InstanceType, d.Architecture = m.ImageID, m.InstanceType, m.Architecture
		if m.PrivateIP != nil {
			d.PrivateIP = *m.PrivateIP
		}
		if m.PendingTime != nil {
			d.PendingTime = *m.PendingTime
		}
	case m.ECSInstanceID != "" && m.InstanceID == "":
		d.Cloud = ECS
		d.InstanceID, d.Account, d.Region, d.Zone = m.ECSInstanceID, m.ECSAccount, m.ECSRegion, m.ECSZone
		d.ImageID, d.InstanceType, d.PrivateIP = m.ECSImageID, m.ECSInstanceType, m.ECSPrivateIPv4
		d.SerialNumber, d.MAC, d.Audience = m.ECSSerial, m.ECSMAC, m.ECSAudience
	default:
		return errors.New("it names no instance")
	}
	if d.Account == "" || d.Region == "" {
		return errors.New("it names no account or no region")
	}
	return nil
}

// maxSize is more than any document, signed or not, has.
const maxSize = 64 << 10

// decode reads Base64, with or without PEM armour and line ends.
func decode(text []byte) ([]byte, error) {
	if len(text) > 2*maxSize {
		return nil, fmt.Errorf("%w: it has %d bytes", ErrMalformed, len(text))
	}
	if block, rest := pem.Decode(text); block != nil {
		if len(bytes.TrimSpace(rest)) > 0 {
			return nil, fmt.Errorf("%w: something follows it", ErrMalformed)
		}
		return block.Bytes, nil
	}
	raw, err := base64.StdEncoding.AppendDecode(nil, bytes.TrimSpace(text))
	if err != nil || len(raw) == 0 {
		return nil, fmt.Errorf("%w: it is not Base64", ErrMalformed)
	}
	return raw, nil
}
