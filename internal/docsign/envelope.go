package docsign

import (
	"encoding/asn1"
	"encoding/base64"
	"time"
)

// The forms of signatures are the clouds' to the byte, but for key, name and
// serial number.

// lineLength is how many characters of Base64 EC2 puts on a line
// (EC2-IDENT-08).
const lineLength = 76

// ec2Signature is a bare signature over the document (EC2-IDENT-09).
func ec2Signature(k *key, document []byte) ([]byte, error) {
	raw, err := k.sign(sha256, document)
	if err != nil {
		return nil, err
	}
	return folded(raw), nil
}

// pieceLength is how long the pieces of a document in EC2's envelope are.
const pieceLength = 1000

// ec2Envelope is the document in BER of indefinite length, in which there are
// neither certificates nor lists; the signature is over attributes
// (EC2-IDENT-10).
func ec2Envelope(k *key, h hash, document []byte, at time.Time) ([]byte, error) {
	var pieces []byte
	for rest := document; ; {
		n := min(len(rest), pieceLength)
		pieces = append(pieces, tlv(idOctets, rest[:n])...)
		if rest = rest[n:]; len(rest) == 0 {
			break
		}
	}
	when, err := asn1.Marshal(at.UTC().Truncate(time.Second))
	if err != nil {
		return nil, err
	}
	attributes := set(
		tlv(idSequence, der(oidContentType), tlv(idSet, der(oidData))),
		tlv(idSequence, der(oidSigningTime), tlv(idSet, when)),
		tlv(idSequence, der(oidMessageDigest), tlv(idSet, tlv(idOctets, h.of(document)))),
		tlv(idSequence, der(oidProtection), tlv(idSet, tlv(idSequence, h.algorithm(), tlv(idContext1, k.algorithm(h, false))))),
	)
	signature, err := k.sign(h, tlv(idSet, attributes))
	if err != nil {
		return nil, err
	}
	signer := tlv(idSequence,
		der(1), k.issuerAndSerial(), h.algorithm(), tlv(idContext0, attributes),
		tlv(idSequence, k.algorithm(h, false)), tlv(idOctets, signature),
	)
	return folded(indefinite(idSequence, der(oidSignedData),
		indefinite(idContext0, indefinite(idSequence,
			der(1), tlv(idSet, h.algorithm()),
			indefinite(idSequence, der(oidData), indefinite(idContext0, indefinite(idOctetPieces, pieces))),
			tlv(idSet, signer),
		)),
	)), nil
}

// ecsEnvelope is the document in DER, without attributes: the signature is over
// the document itself (ECS-IDENT-07).
func ecsEnvelope(k *key, h hash, document []byte) ([]byte, error) {
	signature, err := k.sign(h, document)
	if err != nil {
		return nil, err
	}
	signer := tlv(idSequence, der(1), k.issuerAndSerial(), h.algorithm(), tlv(idSequence, k.algorithm(h, true)), tlv(idOctets, signature))
	envelope := tlv(idSequence, der(oidSignedData), tlv(idContext0, tlv(idSequence,
		der(1), tlv(idSet, h.algorithm()),
		tlv(idSequence, der(oidData), tlv(idContext0, tlv(idOctets, document))),
		tlv(idSet, signer),
	)))
	return base64.StdEncoding.AppendEncode(nil, envelope), nil
}

// issuerAndSerial is how an envelope names the certificate of its signer.
func (k *key) issuerAndSerial() []byte {
	return tlv(idSequence, k.certificate.RawIssuer, der(k.certificate.SerialNumber))
}

// folded returns Base64 in lines, without a line end after the last.
func folded(raw []byte) []byte {
	text := base64.StdEncoding.AppendEncode(nil, raw)
	lines := make([]byte, 0, len(text)+len(text)/lineLength)
	for len(text) > lineLength {
		lines = append(append(lines, text[:lineLength]...), '\n')
		text = text[lineLength:]
	}
	return append(lines, text...)
}
