package instance

import (
	"log/slog"
	"time"
)

// Values of MetadataOptions.
const (
	Optional = "optional"
	Required = "required"
	Enabled  = "enabled"
	Disabled = "disabled"
)

// MetadataOptions are the options of the metadata service that an instance
// sees. The names are those of the clouds' APIs.
type MetadataOptions struct {
	// Access mode: `optional` (normal mode, IMDSv1 works; default) or `required` (security hardening mode, IMDSv2 only).
	HTTPTokens string `json:"httpTokens,omitempty"`
	// `enabled` (default) or `disabled`: whether the instance is answered at all.
	HTTPEndpoint string `json:"httpEndpoint,omitempty"`
	// IP TTL or IPv6 hop limit of a token's answer, 1 to 64. Default: 1 for EC2; ECS is not limited unless it is set.
	HTTPPutResponseHopLimit int `json:"httpPutResponseHopLimit,omitempty"`
	// `enabled` or `disabled` (default): whether the IPv6 address answers (EC2).
	HTTPProtocolIPv6 string `json:"httpProtocolIpv6,omitempty"`
	// `enabled` or `disabled` (default): whether the tags are metadata items.
	InstanceMetadataTags string `json:"instanceMetadataTags,omitempty"`
}

// TokensRequired reports whether a request without a session token is refused.
func (o MetadataOptions) TokensRequired() bool { return o.HTTPTokens == Required }

// EndpointDisabled reports whether every request is refused.
func (o MetadataOptions) EndpointDisabled() bool { return o.HTTPEndpoint == Disabled }

// TagsShown reports whether tags are metadata items.
func (o MetadataOptions) TagsShown() bool { return o.InstanceMetadataTags == Enabled }

// Role is the role of an instance and the credentials to serve for it.
type Role struct {
	// Role name: the last segment of the credentials' path.
	Name string `json:"name"`
	// ARN of the instance profile (EC2). Default: made from account and role.
	ProfileARN string `json:"profileArn,omitempty"`
	// Identifier of the instance profile (EC2).
	ProfileID string `json:"profileId,omitempty"`
	// What is served; without it, the role is listed and its document says that no credentials could be had.
	Credentials *Credentials `json:"credentials,omitempty"`
}

// Credentials are temporary credentials of a role, given from outside.
type Credentials struct {
	// Access key id.
	AccessKeyID string `json:"accessKeyId"`
	// Secret access key.
	AccessKeySecret string `json:"accessKeySecret"`
	// Session (EC2) or security (ECS) token.
	SessionToken string `json:"sessionToken"`
	// When the set was issued. Default: the start of the process's current six-hour window.
	Updated time.Time `json:"updated,omitzero"`
	// When the set expires. Default: six and a half hours after the start of the current window, so that clients keep refreshing and never meet an expired set.
	Expires time.Time `json:"expires,omitzero"`
}

// LogValue keeps secrets out of logs.
func (c Credentials) LogValue() slog.Value {
	return slog.GroupValue(slog.String("accessKeyId", c.AccessKeyID), slog.Time("expires", c.Expires))
}

// String keeps secrets out of formatted text.
func (c Credentials) String() string { return "credentials " + c.AccessKeyID + " (secrets redacted)" }

// GoString keeps secrets out of %#v.
func (c Credentials) GoString() string { return c.String() }
