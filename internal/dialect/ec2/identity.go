package ec2

import (
	"openimds/internal/dialect"
	"openimds/internal/item"
)

// Signatures are by keys of the region, and cover the document's bytes as they
// are served (EC2-IDENT-07).
func signatures() []item.Row {
	return []item.Row{
		signed(dialect.FormPKCS7, "EC2-ITEM-083", "The document in a PKCS#7 envelope, signed with DSA and SHA-1, Base64; where the service makes such."),
		signed(dialect.FormRSA2048, "EC2-ITEM-084", "The document in a PKCS#7 envelope, signed with RSA and SHA-256, Base64."),
		signed(dialect.FormSignature, "EC2-ITEM-081", "Signature over the document with RSA and SHA-256, Base64."),
	}
}

func signed(form, fact, doc string) item.Row {
	r := item.Row{Path: "dynamic/instance-identity/" + form, Since: "2009-04-04", Class: item.Identity, Fact: fact, Doc: doc}
	r.Get, r.Has = dialect.Signed(form, identityDocument)
	return r
}
