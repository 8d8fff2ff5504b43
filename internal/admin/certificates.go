package admin

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"reflect"

	"openimds/internal/docsign"
	"openimds/internal/fault"
)

// Certificates returns those of identity documents that are published.
type Certificates func(context.Context) ([]docsign.Certificate, error)

// published is the answer in JSON.
type published struct {
	// Certificates in the order of dialect, region, algorithm and time.
	Certificates []docsign.Certificate `json:"certificates"`
}

var certificateParams = []param{
	{name: "dialect", doc: "of this dialect", words: []string{"ecs", "ec2"}},
	{name: "region", doc: "of this region"},
	{name: "algorithm", doc: "of this algorithm", words: []string{"rsa", "dsa"}},
	{name: "state", doc: "in this state", words: []string{"previous", "current", "next"}},
	{name: "format", doc: "the form; default: pem", words: []string{"pem", "json"}},
}

// certificatesRoute needs no token: verifiers, and whoever is shown a document,
// may know the certificates.
func certificatesRoute() route {
	return route{
		method: "GET", path: "/v1/identity/certificates", id: "listCertificates", open: true, media: "application/x-pem-file", params: certificateParams,
		outs: []reflect.Type{reflect.TypeFor[published]()},
		doc:  "The certificates of identity documents: PEM, each after a line that says what it is for, or JSON",
		plain: func(h *handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Request-Id", newRequestID())
				if err := h.certificates(w, r); err != nil {
					h.refuse(w, err)
				}
			})
		},
	}
}

func (h *handler) certificates(w http.ResponseWriter, r *http.Request) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return fault.New(fault.Invalid, "the query is malformed: %v", err)
	}
	if err := checkQuery(query, certificateParams); err != nil {
		return err
	}
	if h.Certificates == nil {
		return fault.New(fault.Unsupported, "identity documents are not signed here")
	}
	all, err := h.Certificates(r.Context())
	if err != nil {
		return fault.New(fault.Unavailable, "the keys cannot be made at the moment: try again") // the log says why
	}
	chosen := []docsign.Certificate{}
	for _, c := range all {
		keep := true
		for name, value := range map[string]string{"dialect": c.Dialect, "region": c.Region, "algorithm": c.Algorithm, "state": c.State} {
			keep = keep && (query.Get(name) == "" || query.Get(name) == value)
		}
		if keep {
			chosen = append(chosen, c)
		}
	}
	if query.Get("format") == "json" {
		h.reply(w, http.StatusOK, published{chosen})
		return nil
	}
	var b bytes.Buffer
	docsign.WritePEM(&b, chosen)
	w.Header().Set("Content-Type", "application/x-pem-file")
	_, _ = w.Write(b.Bytes())
	return nil
}
