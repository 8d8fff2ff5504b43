// Package alists is a source of role credentials: AssumeRole of Alibaba
// Cloud's STS, or of a service that speaks like it, called with a key of the
// broker's own and signed by package alisign.
package alists

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"openimds/internal/api/alisign"
	"openimds/internal/creds"
	"openimds/internal/fault"
	"openimds/internal/instance"
)

// Config is what a Source is made of.
type Config struct {
	// Endpoint is the URL of the service. Default: https://sts.aliyuncs.com.
	Endpoint string
	// Keys returns the broker's own key as it is now.
	Keys func() (instance.Credentials, error)
	// RoleARN is the role to assume; {account} and {role} stand for the instance's. Default: acs:ram::{account}:role/{role}.
	RoleARN string
	// ExternalID is sent, if the role asks for one.
	ExternalID string
	// Life of the sessions. Default: an hour, which every role allows.
	Life time.Duration
	// Now is the clock of signatures. Default: time.Now.
	Now func() time.Time
}

// Source assumes roles.
type Source struct {
	cfg    Config
	client *http.Client
}

// New returns a source.
func New(cfg Config) *Source {
	if cfg.Endpoint == "" {
		cfg.Endpoint = "https://sts.aliyuncs.com"
	}
	if cfg.RoleARN == "" {
		cfg.RoleARN = "acs:ram::{account}:role/{role}"
	}
	if cfg.Life == 0 {
		cfg.Life = time.Hour
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Source{cfg, &http.Client{
		// No proxy of the environment stands between, and an API does not
		// send its clients elsewhere.
		Transport:     &http.Transport{TLSHandshakeTimeout: 5 * time.Second, MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 10

// Fetch implements creds.Source. The session is named after the instance.
func (s *Source) Fetch(ctx context.Context, r creds.Request) (*instance.Credentials, error) {
	arn := strings.NewReplacer("{account}", r.Instance.Account, "{role}", r.Instance.Role.Name).Replace(s.cfg.RoleARN)
	keys, err := s.cfg.Keys()
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, err, "assume role %s: read the broker's key", arn)
	}
	query := url.Values{
		"RoleArn": {arn}, "RoleSessionName": {r.Instance.ID}, "DurationSeconds": {strconv.Itoa(int(s.cfg.Life / time.Second))}, "Format": {"JSON"},
	}
	if s.cfg.ExternalID != "" {
		query.Set("ExternalId", s.cfg.ExternalID)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(s.cfg.Endpoint, "/")+"/?"+query.Encode(), http.NoBody)
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, err, "assume role %s: the endpoint is no URL", arn)
	}
	req.Header.Set("X-Acs-Action", "AssumeRole")
	req.Header.Set("X-Acs-Version", "2015-04-01")
	req.Header.Set("Accept", "application/json")
	now := s.cfg.Now()
	if err := alisign.SignV3(req, nil, alisign.Credentials{AccessKeyID: keys.AccessKeyID, AccessKeySecret: keys.AccessKeySecret, SecurityToken: keys.SessionToken}, rand.Text(), now); err != nil {
		return nil, fault.Wrap(fault.Internal, err, "assume role %s", arn)
	}
	res, err := s.client.Do(req)
	if err != nil {
		return nil, unreachable(arn, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, unreachable(arn, err)
	}
	return read(arn, res.StatusCode, body, now.UTC())
}

// unreachable drops the URL that the error of net/http starts with.
func unreachable(arn string, err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return fault.New(fault.Unavailable, "assume role %s: STS did not answer in time", arn)
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	return fault.Wrap(fault.Unavailable, err, "assume role %s: STS cannot be reached", arn)
}

// answer is what STS says, either way.
type answer struct {
	Code        string
	Credentials *struct {
		AccessKeyID     string `json:"AccessKeyId"`
		AccessKeySecret string
		SecurityToken   string
		Expiration      time.Time
	}
}

// kinds are those of the codes that are not simply trouble, by their start.
var kinds = []struct {
	code string
	kind fault.Kind
}{
	{"NoPermission", fault.Denied}, {"Forbidden", fault.Denied}, {"EntityNotExist.Role", fault.NotFound},
	{"InvalidAccessKeyId", fault.Denied}, {"SignatureDoesNotMatch", fault.Denied}, {"InvalidSecurityToken", fault.Denied},
	{"InvalidParameter", fault.Denied}, {"MissingParameter", fault.Denied}, {"AuthenticationFail", fault.Denied},
	{"Throttling", fault.Throttled},
}

// read reads an answer. Of an error only the code is kept: the message about a
// wrong signature repeats the request.
func read(arn string, status int, body []byte, asked time.Time) (*instance.Credentials, error) {
	var a answer
	if err := json.Unmarshal(body, &a); err != nil && status == http.StatusOK {
		return nil, fault.New(fault.Unavailable, "assume role %s: the answer cannot be read", arn) // the cause could quote it
	}
	if status != http.StatusOK {
		kind := fault.Unavailable
		for _, k := range kinds {
			if strings.HasPrefix(a.Code, k.code) {
				kind = k.kind
				break
			}
		}
		return nil, fault.New(kind, "assume role %s: STS answered %d %.80q", arn, status, a.Code)
	}
	k := a.Credentials
	if k == nil || k.AccessKeyID == "" || k.AccessKeySecret == "" || k.SecurityToken == "" || k.Expiration.IsZero() {
		return nil, fault.New(fault.Unavailable, "assume role %s: the answer has no credentials", arn)
	}
	return &instance.Credentials{
		AccessKeyID: k.AccessKeyID, AccessKeySecret: k.AccessKeySecret, SessionToken: k.SecurityToken, Updated: asked, Expires: k.Expiration.UTC(),
	}, nil
}

// String says which service it is.
func (s *Source) String() string { return fmt.Sprintf("Alibaba Cloud STS %s", s.cfg.Endpoint) }

// LogValue is String: the broker's key stays out of logs.
func (s *Source) LogValue() slog.Value { return slog.StringValue(s.String()) }
