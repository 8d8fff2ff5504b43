package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"openimds/identity"
)

func newIdentity() *cobra.Command {
	c := &cobra.Command{
		Use:   "identity",
		Short: "certificates and checks of instance identity documents",
		Long: `identity has the certificates that signed instance identity documents are
checked with, and checks documents. See docs/operate/identity.md.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newIdentityCertificates(), newIdentityVerify())
	return c
}

func newIdentityCertificates() *cobra.Command {
	var client clientOptions
	var asJSON bool
	narrow := map[string]*string{}
	c := &cobra.Command{
		Use:   "certificates",
		Short: "print the certificates of identity documents, PEM",
		Long: `certificates prints the certificates that verifiers of instance identity
documents need: the current ones, the next ones before they come into use, and
the previous ones while documents of theirs may be shown. A line before each
says what it is for.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			q := url.Values{}
			for name, value := range narrow {
				if *value != "" {
					q.Set(name, *value)
				}
			}
			if asJSON {
				q.Set("format", "json")
			}
			server, err := client.open()
			if err != nil {
				return err
			}
			text, err := server.do(c.Context(), http.MethodGet, "identity/certificates", q, nil)
			if err != nil {
				return err
			}
			if len(text) == 0 {
				return errors.New("there are no such certificates: see imds identity certificates without --dialect, --region, --algorithm and --state")
			}
			_, err = c.OutOrStdout().Write(text)
			return err
		},
	}
	client.flags(c)
	f := c.Flags()
	for name, usage := range map[string]string{
		"dialect": "only of this dialect: ec2 or ecs", "region": "only of this region",
		"algorithm": "only of this algorithm: rsa or dsa", "state": "only in this state: previous, current or next",
	} {
		narrow[name] = f.String(name, "", usage)
	}
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// verifyOptions are the flags of `imds identity verify`.
type verifyOptions struct {
	certificates, signature string
	region, audience        string
	sha1, asJSON            bool
}

func newIdentityVerify() *cobra.Command {
	var o verifyOptions
	c := &cobra.Command{
		Use:   "verify --certificates FILE [DOCUMENT]",
		Short: "check a signed instance identity document",
		Long: `verify checks what an instance has sent: the text of its item rsa2048 or pkcs7,
from a file or from standard input, or, with --signature, its document and the
text of its item signature. It prints the document that was signed, and exits
with 1 when the signature is not good.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			d, err := verify(o, args, c.InOrStdin())
			if err != nil {
				return err
			}
			fmt.Fprintf(c.ErrOrStderr(), "verified: %s instance %s of account %s in %s, signed under certificate %X\n", d.Cloud, d.InstanceID, d.Account, d.Region, d.Signer.SerialNumber)
			if !o.asJSON {
				_, err = fmt.Fprintf(c.OutOrStdout(), "%s\n", d.Bytes)
				return err
			}
			e := json.NewEncoder(c.OutOrStdout())
			e.SetIndent("", "  ")
			return e.Encode(summaryOf(d))
		},
	}
	f := c.Flags()
	f.StringVar(&o.certificates, "certificates", "", "file of the certificates that are trusted, PEM")
	f.StringVar(&o.signature, "signature", "", "file of the item signature; DOCUMENT is then the document itself (EC2)")
	f.StringVar(&o.region, "region", "", "the only region whose documents are accepted")
	f.StringVar(&o.audience, "audience", "", "the audience that the document must have been made for (ECS)")
	f.BoolVar(&o.sha1, "allow-sha1", false, "accept signatures over SHA-1: EC2's pkcs7, ECS's as Alibaba Cloud makes them")
	f.BoolVar(&o.asJSON, "json", false, "print what the document says in the same form for both clouds")
	return c
}

// maxDocument is more than any document, signed or not, has.
const maxDocument = 1 << 20

func verify(o verifyOptions, args []string, stdin io.Reader) (*identity.Document, error) {
	if o.certificates == "" {
		return nil, usageError{fmt.Errorf("whose documents are trusted? Give --certificates FILE (imds identity certificates prints them)")}
	}
	text, err := os.ReadFile(o.certificates)
	if err != nil {
		return nil, usageError{fmt.Errorf("read certificates: %w", err)}
	}
	certificates, err := identity.ParseCertificates(text)
	if err != nil {
		return nil, usageError{fmt.Errorf("%s: %w", o.certificates, err)}
	}
	if len(args) > 0 {
		f, err := os.Open(args[0])
		if err != nil {
			return nil, usageError{fmt.Errorf("read document: %w", err)}
		}
		defer f.Close()
		stdin = f
	}
	document, err := io.ReadAll(io.LimitReader(stdin, maxDocument))
	if err != nil {
		return nil, fmt.Errorf("read document: %w", err)
	}
	v := identity.Verifier{Certificates: certificates, Region: o.region, Audience: o.audience, AllowSHA1: o.sha1}
	if o.signature == "" {
		return v.PKCS7(document)
	}
	signature, err := os.ReadFile(o.signature)
	if err != nil {
		return nil, usageError{fmt.Errorf("read signature: %w", err)}
	}
	return v.Signature(document, signature)
}

// summary is what both clouds' documents say, under the same names.
type summary struct {
	Cloud        identity.Cloud `json:"cloud"`
	Instance     string         `json:"instance"`
	Account      string         `json:"account"`
	Region       string         `json:"region"`
	Zone         string         `json:"zone"`
	Image        string         `json:"image"`
	Type         string         `json:"type"`
	Architecture string         `json:"architecture,omitempty"`
	PrivateIP    string         `json:"privateIp,omitempty"`
	MAC          string         `json:"mac,omitempty"`
	SerialNumber string         `json:"serialNumber,omitempty"`
	Audience     string         `json:"audience,omitempty"`
	Started      time.Time      `json:"started,omitzero"`
	Certificate  string         `json:"certificate"`
}

func summaryOf(d *identity.Document) summary {
	return summary{
		d.Cloud, d.InstanceID, d.Account, d.Region, d.Zone, d.ImageID, d.InstanceType, d.Architecture,
		d.PrivateIP, d.MAC, d.SerialNumber, d.Audience, d.PendingTime, fmt.Sprintf("%X", d.Signer.SerialNumber),
	}
}
