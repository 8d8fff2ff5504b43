package identity

import (
	"encoding/asn1"
	"errors"
	"time"
)

// parseAttributes reads the attributes that a signature covers. Those that say
// what was signed must be there; all must be there once, and in DER, since the
// signature is over their DER.
func (e *envelope) parseAttributes(attributes element) error {
	e.signed = append([]byte{idSet}, attributes.raw[1:]...)
	var set asn1.RawValue
	if rest, err := asn1.Unmarshal(e.signed, &set); err != nil || len(rest) > 0 {
		return errors.New("the attributes are not in DER")
	}
	seen := map[string]bool{}
	for _, a := range attributes.children {
		f := of(a, idSequence)
		kind, values := string(f.next(idOID).content), f.next(idSet)
		if err := f.end(); err != nil {
			return err
		}
		if seen[kind] || len(values.children) != 1 {
			return errors.New("an attribute has several values")
		}
		seen[kind] = true
		if err := e.parseAttribute(kind, values.children[0]); err != nil {
			return err
		}
	}
	if !seen[oidContentType] || !seen[oidMessageDigest] {
		return errors.New("the attributes do not say what was signed")
	}
	return nil
}

func (e *envelope) parseAttribute(kind string, value element) error {
	switch kind {
	case oidContentType:
		if value.id != idOID || string(value.content) != oidData {
			return errors.New("the attributes are of another kind of content")
		}
	case oidMessageDigest:
		if value.id != idOctets {
			return errors.New("the digest of the content is none")
		}
		e.messageDigest = value.content
	case oidSigningTime:
		var t time.Time
		if _, err := asn1.Unmarshal(value.raw, &t); err != nil {
			return errors.New("the time of signing is none")
		}
		e.signingTime = t.UTC()
	case oidProtection:
		return e.protected(value)
	}
	return nil
}

// protected compares the algorithms that the attributes name with those of the
// signer, so that nobody puts weaker ones there (RFC 6211 §3).
func (e *envelope) protected(value element) error {
	f := of(value, idSequence)
	digest, algorithm := f.next(idSequence), f.next(idContext1)
	if err := f.end(); err != nil {
		return err
	}
	d, err := digestOf(digest)
	if err != nil {
		return err
	}
	a, err := algorithmOf(algorithm)
	if err != nil {
		return err
	}
	if d != e.digest || a != e.algorithm {
		return errors.New("the attributes name other algorithms than the signer")
	}
	return nil
}
