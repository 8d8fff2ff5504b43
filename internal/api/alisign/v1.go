package alisign

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"net/http"
)

const (
	methodV1  = "HMAC-SHA1"
	versionV1 = "1.0"
)

// mandatoryV1 is in the order in which the vendor's reference asks for them.
var mandatoryV1 = []string{
	"Action", "AccessKeyId", "Signature", "Timestamp", "Version",
	"SignatureMethod", "SignatureVersion", "SignatureNonce",
}

// claimV1 takes its own parameters out of params.
func claimV1(req *http.Request, _ []byte, _, params map[string]string) (claim, error) {
	for _, name := range mandatoryV1 {
		if params[name] == "" {
			return claim{}, refuse(MissingParameter, notSupplied(name))
		}
	}
	switch {
	case params["SignatureMethod"] != methodV1:
		return claim{}, refuse(InvalidScheme, notValid("SignatureMethod"))
	case params["SignatureVersion"] != versionV1:
		return claim{}, refuse(InvalidScheme, notValid("SignatureVersion"))
	case params["SignatureType"] != "":
		return claim{}, refuse(InvalidScheme, notValid("SignatureType"))
	}
	timestamp, err := parseTime("Timestamp", params["Timestamp"])
	if err != nil {
		return claim{}, err
	}
	c := claim{
		accessKeyID: params["AccessKeyId"],
		token:       params["SecurityToken"],
		nonce:       params["SignatureNonce"],
		action:      params["Action"],
		version:     params["Version"],
		timestamp:   timestamp,
		signature:   params["Signature"],
		sign:        signV1,
	}
	if sum, err := base64.StdEncoding.DecodeString(c.signature); err != nil || len(sum) != sha1.Size {
		return claim{}, incomplete("Signature must be 20 bytes in Base64.")
	}
	delete(params, "Signature")
	text := canonical(params)
	c.toSign = func() string { return stringToSignV1(req, text) }
	for _, name := range mandatoryV1 {
		delete(params, name)
	}
	delete(params, "SecurityToken")
	delete(params, "SignatureType")
	return c, nil
}

// stringToSignV1 takes the method and the path from the request: a client
// signs "/", the only path there is.
func stringToSignV1(req *http.Request, params string) string {
	return req.Method + "&" + escape(path(req.URL)) + "&" + escape(params)
}

func signV1(secret, text string) string {
	h := hmac.New(sha1.New, []byte(secret+"&"))
	h.Write([]byte(text))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}
