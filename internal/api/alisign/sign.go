package alisign

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// SignV1 signs a request with HMAC-SHA1. Action, Version and the rest are
// parameters of its query, or of the body if that is a form; what the signature
// needs is added to the query. The nonce must not have been used before.
func SignV1(req *http.Request, body []byte, c Credentials, nonce string, now time.Time) error {
	query, all, err := parameters(req, body)
	if err != nil {
		return fmt.Errorf("sign request: %w", err)
	}
	if all["Action"] == "" || all["Version"] == "" {
		return errors.New("sign request: set the parameters Action and Version first")
	}
	set := map[string]string{
		"AccessKeyId":      c.AccessKeyID,
		"SignatureMethod":  methodV1,
		"SignatureVersion": versionV1,
		"SignatureNonce":   nonce,
		"Timestamp":        now.UTC().Format(timeLayout),
	}
	if c.SecurityToken != "" {
		set["SecurityToken"] = c.SecurityToken
	}
	for name, value := range set {
		query[name], all[name] = value, value
	}
	delete(query, "Signature")
	delete(all, "Signature")
	signature := signV1(c.AccessKeySecret, stringToSignV1(req, canonical(all)))
	req.URL.RawQuery = canonical(query) + "&Signature=" + escape(signature)
	return nil
}

// SignV3 signs a request with ACS3-HMAC-SHA256. The headers x-acs-action and
// x-acs-version are the caller's; the other headers of the signature are set
// here. The nonce must not have been used before.
func SignV3(req *http.Request, body []byte, c Credentials, nonce string, now time.Time) error {
	query, _, err := parameters(req, body)
	if err != nil {
		return fmt.Errorf("sign request: %w", err)
	}
	if req.Header.Get("X-Acs-Action") == "" || req.Header.Get("X-Acs-Version") == "" {
		return errors.New("sign request: set the headers x-acs-action and x-acs-version first")
	}
	req.Header.Set("X-Acs-Date", now.UTC().Format(timeLayout))
	req.Header.Set("X-Acs-Signature-Nonce", nonce)
	req.Header.Set("X-Acs-Content-Sha256", hash(body))
	req.Header.Del("X-Acs-Security-Token")
	req.Header.Del("X-Acs-Accesskey-Id")
	if c.SecurityToken != "" {
		req.Header.Set("X-Acs-Security-Token", c.SecurityToken)
		req.Header.Set("X-Acs-Accesskey-Id", c.AccessKeyID)
	}
	signed := []string{"host"}
	for key := range req.Header {
		if name := strings.ToLower(key); name == "content-type" || strings.HasPrefix(name, "x-acs-") {
			signed = append(signed, name)
		}
	}
	slices.Sort(signed)
	signed = slices.Compact(signed)
	signature := signV3(c.AccessKeySecret, stringToSignV3(req, body, query, signed))
	req.Header.Set("Authorization", algorithmV3+
		" Credential="+c.AccessKeyID+
		",SignedHeaders="+strings.Join(signed, ";")+
		",Signature="+signature)
	return nil
}
