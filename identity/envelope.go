package identity

import (
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// envelope is a PKCS#7 SignedData with one signer and the document inside
// (RFC 2315, RFC 5652 §5).
type envelope struct {
	content []byte
	issuer  []byte // DER of its name
	serial  *big.Int
	digest  digest
	// algorithm is the object identifier of the signature's algorithm.
	algorithm string
	signature []byte
	// signed is the DER of the attributes that the signature covers, as a SET;
	// nil: it covers the content itself.
	signed        []byte
	messageDigest []byte
	signingTime   time.Time
}

// Object identifiers, as the bytes of their encoding.
var (
	oidData          = oid(1, 2, 840, 113549, 1, 7, 1)
	oidSignedData    = oid(1, 2, 840, 113549, 1, 7, 2)
	oidContentType   = oid(1, 2, 840, 113549, 1, 9, 3)
	oidMessageDigest = oid(1, 2, 840, 113549, 1, 9, 4)
	oidSigningTime   = oid(1, 2, 840, 113549, 1, 9, 5)
	oidProtection    = oid(1, 2, 840, 113549, 1, 9, 52) // RFC 6211
)

// oid returns the content of an object identifier's encoding.
func oid(arcs ...int) string {
	der, err := asn1.Marshal(asn1.ObjectIdentifier(arcs))
	if err != nil {
		panic("identity: " + err.Error())
	}
	return string(der[2:])
}

// fields takes the elements of a sequence one after the other.
type fields struct {
	left []element
	err  error
}

// of returns the fields of e, which must have the identifier id.
func of(e element, id byte) *fields {
	if e.id != id {
		return &fields{err: fmt.Errorf("there is an element %#x where %#x belongs", e.id, id)}
	}
	return &fields{left: e.children}
}

// next takes the next element, which must have the identifier id.
func (f *fields) next(id byte) element {
	if f.err == nil && (len(f.left) == 0 || f.left[0].id != id) {
		f.err = fmt.Errorf("an element %#x is missing", id)
	}
	if f.err != nil {
		return element{}
	}
	e := f.left[0]
	f.left = f.left[1:]
	return e
}

// optional is next for what may be missing.
func (f *fields) optional(id byte) (element, bool) {
	if f.err != nil || len(f.left) == 0 || f.left[0].id != id {
		return element{}, false
	}
	return f.next(id), true
}

// end reports the first error, and elements that are left.
func (f *fields) end() error {
	if f.err == nil && len(f.left) > 0 {
		f.err = fmt.Errorf("there is an element %#x too many", f.left[0].id)
	}
	return f.err
}

// parseEnvelope reads a ContentInfo that holds SignedData.
func parseEnvelope(data []byte) (*envelope, error) {
	if len(data) > maxSize {
		return nil, fmt.Errorf("it has %d bytes", len(data))
	}
	root, err := parseBER(data)
	if err != nil {
		return nil, err
	}
	info := of(root, idSequence)
	kind := info.next(idOID)
	wrapped := info.next(idContext0)
	if err := info.end(); err != nil {
		return nil, err
	}
	if string(kind.content) != oidSignedData || len(wrapped.children) != 1 {
		return nil, errors.New("it is no signed data")
	}
	body := of(wrapped.children[0], idSequence)
	version := body.next(idInteger)
	algorithms := body.next(idSet)
	inner := body.next(idSequence)
	body.optional(idContext0) // certificates: whoever signs cannot vouch for himself
	body.optional(idContext1) // revocation lists
	signers := body.next(idSet)
	if err := body.end(); err != nil {
		return nil, err
	}
	if len(signers.children) != 1 || len(algorithms.children) != 1 {
		return nil, fmt.Errorf("it has %d signers, want one", len(signers.children))
	}
	if string(version.content) != versionOne {
		return nil, errors.New("it is of an unknown version")
	}
	e := &envelope{}
	if err := e.parseContent(inner); err != nil {
		return nil, err
	}
	if err := e.parseSigner(signers.children[0]); err != nil {
		return nil, err
	}
	if d, err := digestOf(algorithms.children[0]); err != nil || d != e.digest {
		return nil, errors.New("it names another digest than its signer")
	}
	return e, nil
}

// versionOne is the content of an INTEGER.
const versionOne = "\x01"

func (e *envelope) parseContent(inner element) error {
	f := of(inner, idSequence)
	kind := f.next(idOID)
	wrapped, attached := f.optional(idContext0)
	if err := f.end(); err != nil {
		return err
	}
	if string(kind.content) != oidData {
		return errors.New("what it holds is no data")
	}
	if !attached || len(wrapped.children) != 1 {
		return errors.New("it does not hold the document")
	}
	var err error
	e.content, err = wrapped.children[0].octets()
	return err
}

func (e *envelope) parseSigner(signer element) error {
	f := of(signer, idSequence)
	version := f.next(idInteger)
	name := f.next(idSequence)
	digestAlgorithm := f.next(idSequence)
	attributes, hasAttributes := f.optional(idContext0)
	algorithm := f.next(idSequence)
	signature := f.next(idOctets)
	f.optional(idContext1) // attributes that are not signed
	if err := f.end(); err != nil {
		return err
	}
	if string(version.content) != versionOne {
		return errors.New("its signer is of an unknown version")
	}
	id := of(name, idSequence)
	e.issuer = id.next(idSequence).raw
	serial := id.next(idInteger)
	if err := id.end(); err != nil {
		return err
	}
	if len(serial.content) == 0 || len(serial.content) > 20 || serial.content[0]&0x80 != 0 {
		return errors.New("the signer's serial number is none")
	}
	e.serial = new(big.Int).SetBytes(serial.content)
	e.signature = signature.content
	var err error
	if e.digest, err = digestOf(digestAlgorithm); err != nil {
		return err
	}
	if e.algorithm, err = algorithmOf(algorithm); err != nil {
		return err
	}
	if !hasAttributes {
		return nil
	}
	return e.parseAttributes(attributes)
}

// algorithmOf returns the identifier of an algorithm, which has no parameters
// here.
func algorithmOf(e element) (string, error) {
	f := of(e, e.id)
	id := f.next(idOID)
	null, _ := f.optional(idNull)
	if err := f.end(); err != nil {
		return "", err
	}
	if len(null.content) > 0 {
		return "", errors.New("an algorithm has parameters")
	}
	return string(id.content), nil
}

func digestOf(e element) (digest, error) {
	id, err := algorithmOf(e)
	if err != nil {
		return 0, err
	}
	if e.id != idSequence {
		return 0, errors.New("a digest is none")
	}
	for d, known := range digests {
		if id == known.oid {
			return digest(d), nil
		}
	}
	return 0, errors.New("it uses an unknown digest")
}
