package ecs

import (
	"openimds/internal/dialect"
	"openimds/internal/item"
)

// pkcs7 is the identity document in an envelope, signed by the key of the
// region. It covers the document's bytes as they are served, the audience of
// the query string with them (ECS-IDENT-06).
func pkcs7() item.Row {
	r := item.Row{
		Path: "dynamic/instance-identity/pkcs7", Class: item.Identity, Fact: "ECS-ITEM-063",
		Doc: "The document in a signed PKCS#7 envelope, Base64 on one line; `?audience=` adds an audience.",
	}
	r.Get, r.Has = dialect.Signed(dialect.FormPKCS7, identityDocument)
	return r
}
