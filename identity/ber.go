package identity

import (
	"errors"
	"fmt"
)

// element is one element of BER: EC2's envelopes have indefinite lengths and a
// string in pieces, which encoding/asn1 does not read.
type element struct {
	id       byte // class, constructed bit and tag number
	raw      []byte
	content  []byte    // between its header and its end
	children []element // of a constructed one
}

// Identifiers of elements.
const (
	idInteger     = 0x02
	idOctets      = 0x04
	idNull        = 0x05
	idOID         = 0x06
	idOctetPieces = 0x24 // a string in pieces
	idSequence    = 0x30
	idSet         = 0x31
	idContext0    = 0xa0
	idContext1    = 0xa1
	constructed   = 0x20
)

// Bounds: a document in an envelope is some twelve levels deep and has some
// fifty elements.
const (
	maxDepth    = 24
	maxElements = 4096
)

type berReader struct{ elements int }

var errShort = errors.New("it is cut off")

// parseBER reads the one element that data is.
func parseBER(data []byte) (element, error) {
	var r berReader
	e, rest, err := r.element(data, 0)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes follow it", len(rest))
	}
	return e, err
}

// element reads the first element of data.
func (r *berReader) element(data []byte, depth int) (e element, rest []byte, err error) {
	if r.elements++; r.elements > maxElements || depth > maxDepth {
		return e, nil, errors.New("it has too many parts")
	}
	if len(data) < 2 {
		return e, nil, errShort
	}
	e.id = data[0]
	if e.id&0x1f == 0x1f {
		return e, nil, errors.New("it has a tag of more than a byte")
	}
	length, header, indefinite, err := readLength(data[1:])
	if err != nil {
		return e, nil, err
	}
	header++
	if indefinite {
		return r.indefinite(e, data, depth)
	}
	if length > len(data)-header {
		return e, nil, errShort
	}
	e.raw, e.content, rest = data[:header+length], data[header:header+length], data[header+length:]
	if e.id&constructed == 0 {
		return e, rest, nil
	}
	for left := e.content; len(left) > 0; {
		var c element
		if c, left, err = r.element(left, depth+1); err != nil {
			return e, nil, err
		}
		e.children = append(e.children, c)
	}
	return e, rest, nil
}

// indefinite reads a constructed element that ends with two zero bytes.
func (r *berReader) indefinite(e element, data []byte, depth int) (element, []byte, error) {
	const header = 2
	if e.id&constructed == 0 {
		return e, nil, errors.New("a primitive element has no length")
	}
	left := data[header:]
	for {
		if len(left) < 2 {
			return e, nil, errShort
		}
		if left[0] == 0 && left[1] == 0 {
			end := len(data) - len(left)
			e.content, e.raw = data[header:end], data[:end+2]
			return e, left[2:], nil
		}
		c, rest, err := r.element(left, depth+1)
		if err != nil {
			return e, nil, err
		}
		e.children, left = append(e.children, c), rest
	}
}

// readLength reads the length at the start of data, and tells how many bytes it
// takes.
func readLength(data []byte) (length, size int, indefinite bool, err error) {
	first := data[0]
	switch {
	case first < 0x80:
		return int(first), 1, false, nil
	case first == 0x80:
		return 0, 1, true, nil
	}
	size = int(first & 0x7f)
	if size > 3 {
		return 0, 0, false, errors.New("it has a length of more than three bytes")
	}
	if len(data) < 1+size {
		return 0, 0, false, errShort
	}
	for _, b := range data[1 : 1+size] {
		length = length<<8 | int(b)
	}
	return length, 1 + size, false, nil
}

// octets returns the bytes of an octet string, in one piece or in several.
func (e *element) octets() ([]byte, error) {
	switch e.id {
	case idOctets:
		return e.content, nil
	case idOctetPieces:
		var all []byte
		for _, c := range e.children {
			if c.id != idOctets {
				return nil, errors.New("a piece of a string is none")
			}
			all = append(all, c.content...)
		}
		return all, nil
	}
	return nil, errors.New("there is no string where one belongs")
}
