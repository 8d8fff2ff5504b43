package imdstest

import (
	"time"

	"openimds/internal/instance"
)

// Required turns security hardening mode on: requests without a session token
// are refused.
func Required(s *Spec) { s.Metadata.HTTPTokens = instance.Required }

// Optional turns it off: requests are answered with and without a token.
func Optional(s *Spec) { s.Metadata.HTTPTokens = instance.Optional }

// Disabled turns the endpoint off: every request is refused.
func Disabled(s *Spec) { s.Metadata.HTTPEndpoint = instance.Disabled }

// Enabled turns the endpoint on.
func Enabled(s *Spec) { s.Metadata.HTTPEndpoint = instance.Enabled }

// NoRole takes the role away.
func NoRole(s *Spec) { s.Role = nil }

// Role gives the instance a role with the credentials of the sample, whose
// secrets are obviously not real.
func Role(name string) Change {
	return func(s *Spec) {
		creds := instance.Credentials{
			AccessKeyID: "ASIAIMDSTEST00000001", AccessKeySecret: "imdstest-secret", SessionToken: "imdstest-session-token",
		}
		if s.Role != nil && s.Role.Credentials != nil {
			creds = *s.Role.Credentials
		}
		s.Role = &instance.Role{Name: name, Credentials: &creds}
	}
}

// Credentials gives the role of the instance other credentials.
func Credentials(accessKeyID, accessKeySecret, sessionToken string, expires time.Time) Change {
	return func(s *Spec) {
		if s.Role == nil {
			s.Role = &instance.Role{Name: "imdstest"}
		}
		s.Role.Credentials = &instance.Credentials{
			AccessKeyID: accessKeyID, AccessKeySecret: accessKeySecret, SessionToken: sessionToken,
			Updated: expires.Add(-6 * time.Hour), Expires: expires,
		}
	}
}

// Tags gives the instance exactly these tags and shows them as metadata.
func Tags(tags map[string]string) Change {
	return func(s *Spec) {
		s.Tags = tags
		s.Metadata.InstanceMetadataTags = instance.Enabled
	}
}

// UserData gives the instance other user data; nil: none.
func UserData(data []byte) Change { return func(s *Spec) { s.UserData = data } }

// Region moves the instance to a region and zone.
func Region(region, zone string) Change {
	return func(s *Spec) { s.Region, s.Zone = region, zone }
}

// SpotInterruption announces that the instance is taken back: action is
// terminate, stop or hibernate.
func SpotInterruption(action string, at time.Time) Change {
	return func(s *Spec) { s.Events.Spot = &instance.SpotInterruption{Action: action, Time: at} }
}

// RebalanceRecommendation announces a raised risk of interruption (EC2).
func RebalanceRecommendation(noticed time.Time) Change {
	return func(s *Spec) { s.Events.Rebalance = noticed }
}

// NoEvents takes all events away.
func NoEvents(s *Spec) { s.Events = instance.Events{} }

// RevokeTokens makes every session token minted so far invalid.
func RevokeTokens(s *Spec) { s.Generation++ }

// expired makes the role's credentials expire at the given time.
func expired(at time.Time) Change {
	return func(s *Spec) {
		if s.Role != nil && s.Role.Credentials != nil {
			s.Role.Credentials.Updated, s.Role.Credentials.Expires = at.Add(-6*time.Hour), at
		}
	}
}
