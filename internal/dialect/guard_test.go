package dialect_test

import (
	"testing"

	"openimds/internal/dialect"
	"openimds/internal/wire"
)

var session = dialect.Dialect{Session: dialect.Session{
	TokenHeader: "x-aws-ec2-metadata-token", TTLHeader: "x-aws-ec2-metadata-token-ttl-seconds",
}}

func marks(headers ...string) dialect.Marks {
	var r wire.Request
	for i := 0; i < len(headers); i += 2 {
		r.Headers = append(r.Headers, wire.Header{Name: []byte(headers[i]), Value: []byte(headers[i+1])})
	}
	return session.Mark(&r)
}

func TestMark(t *testing.T) {
	for _, name := range []string{"X-Forwarded-For", "x-forwarded-for", "X_Forwarded_For", "X-FORWARDED_FOR"} { // SEC-03, SEC-05
		for _, value := range []string{"", "10.0.0.1"} { // SEC-04
			if !marks(name, value).Forwarded {
				t.Errorf("%s: %q is not seen", name, value)
			}
		}
	}
	for _, name := range []string{"X-Forwarded-Fo", "X-Forwarded-Forr", "X Forwarded-For", "Forwarded-For"} {
		if marks(name, "1").Forwarded {
			t.Errorf("%s is taken for X-Forwarded-For", name)
		}
	}
	for _, name := range []string{"Origin", "ORIGIN", "Sec-Fetch-Mode", "sec-fetch-site", "Sec-Fetch-"} { // SEC-09
		if !marks(name, "").Browser {
			t.Errorf("%s is not seen", name)
		}
	}
	for _, name := range []string{"Forwarded", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via", "True-Client-IP"} { // SEC-07
		if m := marks(name, ""); !m.Proxied || m.Forwarded {
			t.Errorf("%s: %+v", name, m)
		}
	}
	if m := marks("Host", "x", "Accept", "*/*", "X_aws_ec2_metadata_token", "t", "Originator", "x"); m.Tokens != 0 || m.Browser || m.Forwarded || m.Proxied { // SEC-10
		t.Errorf("harmless headers are marked: %+v", m)
	}
	if m := marks("X-AWS-EC2-Metadata-Token", "a", "x-aws-ec2-metadata-token", "b"); m.Tokens != 2 { // SEC-02
		t.Errorf("%d tokens, want 2", m.Tokens)
	}
}

// SEC-11
func TestParseTTL(t *testing.T) {
	const ttl = "X-aws-ec2-metadata-token-ttl-seconds"
	for value, want := range map[string]int{"1": 1, "60": 60, "21600": 21600} {
		m := marks(ttl, value)
		if got, ok := dialect.ParseTTL(&m); !ok || got != want {
			t.Errorf("%q: %d, %v", value, got, ok)
		}
	}
	for _, value := range []string{"", "0", "-1", "21601", "60.0", "1e2", "0x3c", "60,60", "+60", "060", "99999999999999999999", "６０", "6 0", "99999"} {
		m := marks(ttl, value)
		if got, ok := dialect.ParseTTL(&m); ok {
			t.Errorf("%q is accepted as %d", value, got)
		}
	}
	for _, m := range []dialect.Marks{marks(), marks(ttl, "60", ttl, "60")} {
		if _, ok := dialect.ParseTTL(&m); ok {
			t.Errorf("%d headers are accepted", m.TTLs)
		}
	}
}
