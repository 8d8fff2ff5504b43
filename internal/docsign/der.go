package docsign

import (
	"bytes"
	"encoding/asn1"
	"slices"
)

// Identifiers of elements.
const (
	idOctets      = 0x04
	idOctetPieces = 0x24
	idSequence    = 0x30
	idSet         = 0x31
	idContext0    = 0xa0
	idContext1    = 0xa1
)

// Object identifiers of PKCS#7, its attributes (RFC 5652, RFC 6211) and its
// algorithms.
var (
	oidData          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidSignedData    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidContentType   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidSigningTime   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 5}
	oidProtection    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 52}
	oidSHA1          = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	oidSHA256        = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidRSA           = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}
	oidSHA256WithRSA = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}
	oidDSA           = asn1.ObjectIdentifier{1, 2, 840, 10040, 4, 1}
	oidDSAWithSHA1   = asn1.ObjectIdentifier{1, 2, 840, 10040, 4, 3}
)

// null is the parameters of an algorithm that has none.
var null = []byte{5, 0}

// der encodes a value of this package, which cannot fail.
func der(value any) []byte {
	b, err := asn1.Marshal(value)
	if err != nil {
		panic("docsign: " + err.Error())
	}
	return b
}

// tlv encodes an element of definite length.
func tlv(id byte, parts ...[]byte) []byte {
	content := bytes.Join(parts, nil)
	n := len(content)
	b := []byte{id}
	switch {
	case n < 1<<7:
		b = append(b, byte(n))
	case n < 1<<8:
		b = append(b, 0x81, byte(n))
	case n < 1<<16:
		b = append(b, 0x82, byte(n>>8), byte(n))
	default:
		b = append(b, 0x83, byte(n>>16), byte(n>>8), byte(n))
	}
	return append(b, content...)
}

// indefinite encodes a constructed element without a length, which two zero
// bytes end.
func indefinite(id byte, parts ...[]byte) []byte {
	b := append([]byte{id, 0x80}, bytes.Join(parts, nil)...)
	return append(b, 0, 0)
}

// set returns the content of a SET OF in the order of DER.
func set(elements ...[]byte) []byte {
	slices.SortFunc(elements, bytes.Compare)
	return bytes.Join(elements, nil)
}
