// Package sts is the security token service of both clouds, over the use cases
// of the control plane: AssumeRole and GetCallerIdentity, in the Query API of
// AWS STS (2011-06-15) and in the RPC API of Alibaba Cloud STS (2015-04-01).
package sts

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"openimds/internal/control"
)

const maxBody = 1 << 20

// Config is what the APIs are made of. Control is required.
type Config struct {
	Control *control.Control
	// Now is the clock that signatures are held against. Default: time.Now.
	Now func() time.Time
	// Region is meant where a request names none.
	Region string
	Logger *slog.Logger
	// Random makes request ids. Default: crypto/rand.
	Random io.Reader
}

func (cfg *Config) complete(region string) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Region == "" {
		cfg.Region = region
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
}

// requestID returns a new UUID.
func (cfg *Config) requestID() string {
	var b [16]byte
	_, _ = io.ReadFull(cfg.Random, b[:]) // crypto/rand never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// failure is an error as the client sees it.
type failure struct {
	status        int
	code, message string
}

// Error returns the code alone: the message may repeat the request.
func (f *failure) Error() string { return f.code }

// readBody reads a request's body, which may be empty.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, errors.New("read the request")
	}
	return body, nil
}

// from fills in what a request says of its caller beside the signature.
func from(r *http.Request, caller control.Caller, action, id string) control.Caller {
	caller.Action, caller.RequestID, caller.UserAgent = action, id, r.UserAgent()
	if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		caller.SourceIP = at.Addr().Unmap()
	}
	return caller
}

// seconds reads a number of seconds; empty: 0.
func seconds(text string) (time.Duration, bool) {
	if text == "" {
		return 0, true
	}
	n, err := strconv.ParseUint(text, 10, 31)
	return time.Duration(n) * time.Second, err == nil && n > 0
}

// isExpired reports whether a session's key is over.
func isExpired(err error) bool {
	e, ok := errors.AsType[*control.Error](err)
	return ok && e.Reason == control.SessionExpired
}
