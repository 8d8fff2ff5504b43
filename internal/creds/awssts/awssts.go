// Package awssts is a source of role credentials: AssumeRole of AWS STS, or of
// a service that speaks like it, called with a key of the broker's own. It is
// the one package that links AWS's SDK into a program.
package awssts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"openimds/internal/creds"
	"openimds/internal/fault"
	"openimds/internal/instance"
)

// Config is what a Source is made of.
type Config struct {
	// Region and Endpoint of the service. An empty endpoint is AWS's own of the region.
	Region, Endpoint string
	// Keys returns the broker's own key as it is now.
	Keys func() (instance.Credentials, error)
	// RoleARN is the role to assume; {account} and {role} stand for the instance's. Default: arn:aws:iam::{account}:role/{role}.
	RoleARN string
	// ExternalID is sent, if the role asks for one.
	ExternalID string
	// Life of the sessions. Default: an hour, which every role allows.
	Life time.Duration
}

// Source assumes roles.
type Source struct {
	cfg    Config
	client *sts.Client
}

// New returns a source.
func New(cfg Config) *Source {
	if cfg.RoleARN == "" {
		cfg.RoleARN = "arn:aws:iam::{account}:role/{role}"
	}
	if cfg.Life == 0 {
		cfg.Life = time.Hour
	}
	o := sts.Options{
		Region: cfg.Region,
		Credentials: aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
			k, err := cfg.Keys()
			if err != nil {
				return aws.Credentials{}, err
			}
			return credentials.NewStaticCredentialsProvider(k.AccessKeyID, k.AccessKeySecret, k.SessionToken).Retrieve(ctx)
		}),
		// The broker tries again by itself, and later.
		Retryer: retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts = 2 }),
		// No proxy of the environment stands between.
		HTTPClient: &http.Client{Transport: &http.Transport{TLSHandshakeTimeout: 5 * time.Second, MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute}},
	}
	if cfg.Endpoint != "" {
		o.BaseEndpoint = &cfg.Endpoint
	}
	return &Source{cfg, sts.New(o)}
}

// Fetch implements creds.Source. The session is named after the instance.
func (s *Source) Fetch(ctx context.Context, r creds.Request) (*instance.Credentials, error) {
	arn := strings.NewReplacer("{account}", r.Instance.Account, "{role}", r.Instance.Role.Name).Replace(s.cfg.RoleARN)
	in := &sts.AssumeRoleInput{
		RoleArn: &arn, RoleSessionName: &r.Instance.ID, DurationSeconds: aws.Int32(int32(s.cfg.Life / time.Second)),
	}
	if s.cfg.ExternalID != "" {
		in.ExternalId = &s.cfg.ExternalID
	}
	asked := time.Now().UTC()
	out, err := s.client.AssumeRole(ctx, in)
	if err != nil {
		return nil, s.explain(arn, err)
	}
	k := out.Credentials
	if k == nil || k.AccessKeyId == nil || k.SecretAccessKey == nil || k.SessionToken == nil || k.Expiration == nil {
		return nil, fault.New(fault.Unavailable, "assume role %s: the answer has no credentials", arn)
	}
	return &instance.Credentials{
		AccessKeyID: *k.AccessKeyId, AccessKeySecret: *k.SecretAccessKey, SessionToken: *k.SessionToken, Updated: asked, Expires: *k.Expiration,
	}, nil
}

// kinds are those of the codes that are not simply trouble.
var kinds = map[string]fault.Kind{
	"AccessDenied": fault.Denied, "AccessDeniedException": fault.Denied, "ValidationError": fault.Denied, "NoSuchEntity": fault.NotFound,
	"InvalidClientTokenId": fault.Denied, "SignatureDoesNotMatch": fault.Denied, "ExpiredToken": fault.Denied, "RegionDisabledException": fault.Denied,
	"Throttling": fault.Throttled, "ThrottlingException": fault.Throttled, "RequestLimitExceeded": fault.Throttled, "TooManyRequestsException": fault.Throttled,
}

// explain makes a fault of an error of the SDK. Its message is the same for
// the same problem; what differs, such as the id of a request, stands in the
// cause. Neither has a secret: the message about a wrong signature repeats the
// request, so that only those are kept that say why a request is refused.
func (s *Source) explain(arn string, err error) error {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		kind, known := kinds[api.ErrorCode()]
		if !known {
			kind = fault.Unavailable
		}
		return fault.Wrap(kind, s.told(api), "assume role %s: STS answered %s", arn, api.ErrorCode())
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return fault.New(fault.Unavailable, "assume role %s: STS did not answer in time", arn)
	}
	return fault.Wrap(fault.Unavailable, err, "assume role %s: STS cannot be reached", arn)
}

// told returns what STS says of a role that may not be assumed, or of a
// parameter; nil: its message could quote what nobody must read.
func (s *Source) told(api smithy.APIError) error {
	text := api.ErrorMessage()
	switch code := api.ErrorCode(); {
	case !strings.HasPrefix(code, "AccessDenied") && code != "ValidationError",
		s.cfg.ExternalID != "" && strings.Contains(text, s.cfg.ExternalID):
		return nil
	}
	return errors.New(text)
}

// String says which service it is.
func (s *Source) String() string { return fmt.Sprintf("AWS STS %s %s", s.cfg.Region, s.cfg.Endpoint) }

// LogValue is String: the broker's key stays out of logs.
func (s *Source) LogValue() slog.Value { return slog.StringValue(s.String()) }
