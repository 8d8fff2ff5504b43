// Package api finds the cloud API that a request means, so that one address
// serves all of them: by its signature's scope, by its headers, or by its
// parameters.
package api

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// MaxBody is the largest request body that an API takes, in bytes.
const MaxBody = 1 << 20

// Services are the APIs behind one address.
type Services struct {
	// EC2 is the EC2 Query API, ECS the ECS API.
	EC2, ECS http.Handler
	// STS is the EC2 dialect's, ECSSTS the ECS dialect's.
	STS, ECSSTS http.Handler
	// CloudWatch is the EC2 dialect's monitoring API, CMS the ECS dialect's. Nil: there is none.
	CloudWatch, CMS http.Handler
	// Other gets what is no API request.
	Other http.Handler
}

// ServeHTTP hands the request to the API it means.
func (s Services) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch s.of(w, r) {
	case ec2:
		s.EC2.ServeHTTP(w, r)
	case ecs:
		s.ECS.ServeHTTP(w, r)
	case sts:
		s.STS.ServeHTTP(w, r)
	case ecssts:
		s.ECSSTS.ServeHTTP(w, r)
	case cloudwatch:
		either(s.CloudWatch, s.Other).ServeHTTP(w, r)
	case cms:
		either(s.CMS, s.Other).ServeHTTP(w, r)
	default:
		s.Other.ServeHTTP(w, r)
	}
}

func either(api, other http.Handler) http.Handler {
	if api != nil {
		return api
	}
	return other
}

type service uint8

const (
	none service = iota
	ec2
	ecs
	sts
	ecssts
	cloudwatch
	cms
)

// Versions of the APIs beside EC2 and ECS, by which their requests are known.
const (
	versionSTS        = "2011-06-15"
	versionECSSTS     = "2015-04-01"
	versionCloudWatch = "2010-08-01"
	versionCMS        = "2019-01-01"
)

// granite is the name of the CloudWatch API in headers and paths (EC2-CW-03).
const granite = "GraniteServiceVersion20100801"

// of tells which API a request means.
func (s Services) of(w http.ResponseWriter, r *http.Request) service {
	switch {
	case strings.HasPrefix(r.URL.Path, "/service/"+granite+"/"), strings.HasPrefix(r.Header.Get("X-Amz-Target"), granite+".") && r.URL.Path == "/":
		return cloudwatch
	case r.URL.Path != "/":
		return none
	}
	authorization := r.Header.Get("Authorization")
	switch {
	case strings.HasPrefix(authorization, "ACS3-"), r.Header.Get("X-Acs-Action") != "":
		switch r.Header.Get("X-Acs-Version") {
		case versionECSSTS:
			return ecssts
		case versionCMS:
			return cms
		}
		return ecs
	case strings.HasPrefix(authorization, "AWS4-"):
		if scopedTo(authorization, "sts") {
			return sts
		}
		if scopedTo(authorization, "monitoring") {
			return cloudwatch
		}
		return ec2
	}
	query := r.URL.Query()
	if found := byParameters(query); found != none {
		return found
	}
	if r.Method != http.MethodPost || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		return none
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if err != nil {
		// What could be read is enough to answer in the right form; the API
		// finds the rest missing.
		body = body[:len(body):len(body)]
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return none
	}
	return byParameters(form)
}

// scopedTo reports whether a signature names a service: it stands in the
// credential, KEY/DAY/REGION/SERVICE/aws4_request.
func scopedTo(authorization, service string) bool {
	_, rest, _ := strings.Cut(authorization, "Credential=")
	credential, _, _ := strings.Cut(rest, ",")
	return strings.Contains(credential, "/"+service+"/")
}

func byParameters(p url.Values) service {
	switch {
	case p.Get("Version") == versionSTS:
		return sts
	case p.Get("Version") == versionECSSTS:
		return ecssts
	case p.Get("Version") == versionCloudWatch:
		return cloudwatch
	case p.Get("Version") == versionCMS:
		return cms
	case p.Has("X-Amz-Algorithm"), p.Get("Version") == "2016-11-15":
		return ec2
	case p.Has("SignatureNonce"), p.Has("AccessKeyId"), p.Get("Version") == "2014-05-26":
		return ecs
	case p.Has("Action"):
		return ec2
	}
	return none
}
