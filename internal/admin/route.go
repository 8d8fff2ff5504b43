package admin

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"openimds/internal/config"
	"openimds/internal/control"
	"openimds/internal/fault"
)

// maxBody is the largest body, in bytes: what a commit of the store can hold.
const maxBody = 8 << 20

// OperatorHeader names who uses the admin API, for the audit log. It is what
// the caller says, and proves nothing.
const OperatorHeader = "X-Imds-Operator"

// route is one method of one path.
type route struct {
	method, path string
	// id is its name in OpenAPI and, with a capital, the action in the audit log.
	id  string
	doc string
	// params are those of the query; path lists those of the path.
	params []param
	// headers are those that it reads.
	headers []param
	// in is the type of the body, nil: none. outs are those of the answer.
	in   reflect.Type
	outs []reflect.Type
	// open: no token is asked for.
	open bool
	// reporter: the token of tracers is enough.
	reporter bool
	// status of a success.
	status int
	serve  func(*call) (any, error)
	// plain answers by itself, in another form than JSON.
	plain func(*handler) http.Handler
	media string
}

// param is a parameter of the query.
type param struct {
	name, doc string
	// words are its values; nil: any.
	words []string
	// many: it may be given more than once.
	many bool
}

// answering completes a route that takes no body.
func answering[Out any](r route, serve func(*call) (Out, error)) route {
	r.outs = append(r.outs, reflect.TypeFor[Out]())
	r.serve = func(c *call) (any, error) { return serve(c) }
	return r
}

// taking completes a route that takes a body of the type In.
func taking[In, Out any](r route, serve func(*call, *In) (Out, error)) route {
	r.in = reflect.TypeFor[In]()
	r.outs = append(r.outs, reflect.TypeFor[Out]())
	r.serve = func(c *call) (any, error) {
		in := new(In)
		body, err := c.body()
		if err != nil {
			return nil, err
		}
		if err := config.DecodeJSON(body, in, config.JSONOptions{}); err != nil {
			return nil, fault.New(fault.Invalid, "%v", err)
		}
		return serve(c, in)
	}
	return r
}

// call is one request under way.
type call struct {
	*handler
	*http.Request
	query  url.Values
	caller control.Caller
	// status, if the route's own does not fit.
	status int
}

// handle makes the handler of a route: who may, what is asked, the answer or
// the error.
func (h *handler) handle(rt route) http.HandlerFunc {
	if rt.plain != nil {
		return rt.plain(h).ServeHTTP
	}
	return func(w http.ResponseWriter, r *http.Request) {
		id := newRequestID()
		w.Header().Set("X-Request-Id", id)
		w.Header().Set("Cache-Control", "no-store")
		if !rt.open && !h.authorized(r, rt.reporter) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="openimds"`)
			h.refuse(w, fault.New(fault.Unauthenticated, "a token is needed: send the header Authorization: Bearer TOKEN (imds: --token-file FILE)"))
			return
		}
		c := &call{handler: h, Request: r, status: rt.status}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		out, err := c.serve(rt, id)
		if err != nil {
			h.refuse(w, err)
			return
		}
		h.reply(w, c.status, out)
	}
}

func (c *call) serve(rt route, id string) (any, error) {
	var err error
	if c.query, err = url.ParseQuery(c.URL.RawQuery); err != nil {
		return nil, fault.New(fault.Invalid, "the query is malformed: %v", err)
	}
	if err := checkQuery(c.query, rt.params); err != nil {
		return nil, err
	}
	if c.caller, err = caller(c.Request, rt.id, id); err != nil {
		return nil, err
	}
	if c.status == 0 {
		c.status = http.StatusOK
	}
	return rt.serve(c)
}

// checkQuery refuses parameters that a route does not have.
func checkQuery(query url.Values, params []param) error {
	names := make([]string, len(params))
	for i, p := range params {
		names[i] = p.name
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		i := slices.Index(names, name)
		switch {
		case i < 0 && len(names) == 0:
			return fault.New(fault.Invalid, "found the parameter %.80q, and there are none here", name)
		case i < 0:
			return fault.New(fault.Invalid, "unknown parameter %.80q%s", name, config.Suggest(name, names))
		case len(query[name]) > 1 && !params[i].many:
			return fault.New(fault.Invalid, "%s: given %d times, expected once", name, len(query[name]))
		case params[i].words != nil && !slices.Contains(params[i].words, query.Get(name)):
			return fault.New(fault.Invalid, "%s: found %.80q, expected %s", name, query.Get(name), strings.Join(params[i].words, " or "))
		}
	}
	return nil
}

var operatorForm = regexp.MustCompile(`^[A-Za-z0-9._@+-]{1,64}$`)

// caller is who calls, for the audit log.
func caller(r *http.Request, action, id string) (control.Caller, error) {
	c := control.Caller{Admin: true, Action: strings.ToUpper(action[:1]) + action[1:], RequestID: id, UserAgent: r.UserAgent()}
	if c.User = r.Header.Get(OperatorHeader); c.User != "" && !operatorForm.MatchString(c.User) {
		return c, fault.New(fault.Invalid, "%s: found %.80q, expected at most 64 letters, digits and . _ @ + -", OperatorHeader, c.User)
	}
	if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		c.SourceIP = at.Addr().Unmap()
	}
	return c, nil
}

// newRequestID returns what an answer and its record in the audit log have in
// common.
func newRequestID() string {
	b := make([]byte, 12)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// body reads the whole body, which is JSON.
func (c *call) body() ([]byte, error) {
	if kind := c.Header.Get("Content-Type"); kind != "" {
		if media, _, err := mime.ParseMediaType(kind); err != nil || media != "application/json" {
			return nil, fault.New(fault.Invalid, "the body is %.80q: send JSON, with the header Content-Type: application/json", kind)
		}
	}
	data, err := io.ReadAll(c.Body)
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return nil, fault.New(fault.Invalid, "the body has more than %d bytes: send it in parts", maxBody)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "read the body")
	}
	return data, nil
}

// problem is the body of an error.
type problem struct {
	// Kind of error: `invalid`, `unauthenticated`, `denied`, `not found`, `exists`, `conflict`, `throttled`, `internal`, `unsupported` or `unavailable`.
	Error string `json:"error"`
	// What was wrong and what would be right, for people; one line for each mistake.
	Message string `json:"message"`
}

// statuses of error kinds; the rest is 500.
var statuses = map[fault.Kind]int{
	fault.Invalid: http.StatusBadRequest, fault.NotFound: http.StatusNotFound, fault.Exists: http.StatusConflict,
	fault.Conflict: http.StatusConflict, fault.Denied: http.StatusForbidden, fault.Unauthenticated: http.StatusUnauthorized,
	fault.Throttled: http.StatusTooManyRequests, fault.Unavailable: http.StatusServiceUnavailable,
	fault.Unsupported: http.StatusNotImplemented,
}

func (h *handler) refuse(w http.ResponseWriter, err error) {
	kind := fault.KindOf(err)
	status, known := statuses[kind]
	message := control.Explain(err)
	if !known {
		status, message = http.StatusInternalServerError, "something broke here: the log of the server says what, under request "+w.Header().Get("X-Request-Id")
		h.Logger.Error("admin API", "request", w.Header().Get("X-Request-Id"), "err", err)
	}
	h.reply(w, status, problem{kind.String(), message})
}

func (h *handler) reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		h.Logger.Debug("the client of the admin API went away", "err", err)
	}
}

func text(w http.ResponseWriter, status int, s string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(s + "\n"))
}

// noRoute answers what no route is for.
func (h *handler) noRoute(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodPatch, http.MethodDelete} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := h.mux.Handler(other); pattern != "" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) > 0 {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		h.reply(w, http.StatusMethodNotAllowed, problem{fault.Unsupported.String(), r.Method + " is not offered here: use " + strings.Join(allowed, " or ")})
		return
	}
	message := "there is nothing here: GET /v1/openapi.json describes what there is"
	if rest, ok := strings.CutPrefix(r.URL.Path, "/v1/"); ok {
		first, _, nested := strings.Cut(rest, "/")
		if k := kindNamed(first); k != nil {
			message = "resources of this kind are /v1/" + k.path()
		} else if names := topNames(); nested && slices.Contains(names, first) {
			message = "there is no /v1/" + rest + ": GET /v1/openapi.json describes what there is"
		} else if !nested || first != "" {
			message = "there is no /v1/" + first + config.Suggest(first, names)
		}
	}
	if len(message) > 400 {
		message = message[:400]
	}
	h.reply(w, http.StatusNotFound, problem{fault.NotFound.String(), strings.ToValidUTF8(message, "")})
}

// topNames are what follows /v1/.
func topNames() []string {
	var names []string
	for _, r := range routes() {
		if rest, ok := strings.CutPrefix(r.path, "/v1/"); ok {
			first, _, _ := strings.Cut(rest, "/")
			names = append(names, first)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
