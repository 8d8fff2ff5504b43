package config

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"openimds/internal/instance"
)

// sample returns the sample of a dialect that calls from 127.0.0.n.
func sample(t *testing.T, dialect string, n byte) *instance.Instance {
	t.Helper()
	from := netip.AddrFrom4([4]byte{127, 0, 0, n})
	for _, in := range Samples() {
		if in.Dialect == dialect && slices.Equal(in.Addresses(), []netip.Addr{from}) {
			return in
		}
	}
	t.Fatalf("no %s sample calls from %s", dialect, from)
	return nil
}

func TestSamples(t *testing.T) {
	if n := len(Samples()); n != 8 {
		t.Errorf("got %d samples, want 8", n)
	}
	for _, dialect := range []string{instance.DialectECS, instance.DialectEC2} {
		if m := sample(t, dialect, 1).Metadata; m.TokensRequired() || m.EndpointDisabled() || !m.TagsShown() {
			t.Errorf("%s .1: got %+v", dialect, m)
		}
		if m := sample(t, dialect, 2).Metadata; !m.TokensRequired() || m.EndpointDisabled() {
			t.Errorf("%s .2: got %+v", dialect, m)
		}
		if m := sample(t, dialect, 3).Metadata; !m.EndpointDisabled() {
			t.Errorf("%s .3: got %+v", dialect, m)
		}
		for n := byte(1); n <= 3; n++ {
			in := sample(t, dialect, n)
			for part, there := range map[string]bool{
				"two interfaces": len(in.Interfaces) == 2,
				"data disk":      slices.ContainsFunc(in.Disks, func(d instance.Disk) bool { return d.Kind == instance.DiskData }),
				"root disk":      slices.ContainsFunc(in.Disks, func(d instance.Disk) bool { return d.Kind == instance.DiskRoot }),
				"key pair":       len(in.KeyPairs) > 0,
				"credentials":    in.Role != nil && in.Role.Credentials != nil,
				"tags":           len(in.Tags) > 0,
				"user data":      len(in.UserData) > 0,
				"IPv6":           len(in.Primary().IPv6) > 0,
				"public address": len(in.Primary().Public) > 0,
			} {
				if !there {
					t.Errorf("%s has no %s", in.ID, part)
				}
			}
		}
	}
	if in := sample(t, instance.DialectECS, 4); in.Platform != "windows" || in.KeyPairs != nil || in.Services.Mirrors != nil || in.Services.KMSServer == "" {
		t.Errorf("ECS .4 is no Windows: %+v", in)
	}
	in := sample(t, instance.DialectEC2, 4)
	for _, f := range in.Interfaces {
		if f.IPv4 != nil || f.Public != nil || len(f.IPv6) == 0 {
			t.Errorf("EC2 .4 is not IPv6-only: %+v", f)
		}
	}
	if in.Role != nil || in.KeyPairs != nil || in.Metadata.HTTPProtocolIPv6 != instance.Enabled || !strings.HasPrefix(in.Hostname, in.ID+".") {
		t.Errorf("EC2 .4: %+v", in)
	}
}

// The samples show every key that the schema has.
func TestSamplesUseEveryKey(t *testing.T) {
	used := map[string]bool{}
	for _, in := range Samples() {
		data, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		var tree any
		if err := json.Unmarshal(data, &tree); err != nil {
			t.Fatal(err)
		}
		keysUsed(tree, "", used)
	}
	eachKey(reflect.TypeFor[instance.Instance](), "", func(key string) {
		if key == ".node" || strings.HasPrefix(key, ".interfaces[].attachment") {
			return // of hosts, which loopback has none of
		}
		if !used[key] && !used[strings.TrimSuffix(key, "[]")] {
			t.Errorf("no sample has %s", key)
		}
	})
}

func keysUsed(v any, at string, used map[string]bool) {
	used[at] = true
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			keysUsed(x, at+"."+k, used)
		}
	case []any:
		for _, x := range v {
			keysUsed(x, at+"[]", used)
		}
	}
}

func eachKey(t reflect.Type, at string, yield func(string)) {
	switch {
	case t.Kind() == reflect.Pointer:
		eachKey(t.Elem(), at, yield)
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		eachKey(t.Elem(), at+"[]", yield)
	case t.Kind() == reflect.Struct && t != reflect.TypeFor[time.Time]() && t != reflect.TypeFor[netip.Addr]() && t != reflect.TypeFor[netip.Prefix]():
		for i := range t.NumField() {
			key, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			eachKey(t.Field(i).Type, at+"."+key, yield)
		}
	default:
		yield(at)
	}
}

// A caller may change what Samples returns.
func TestSamplesAreFresh(t *testing.T) {
	a, b := Samples(), Samples()
	a[0].Tags["x"] = "y"
	a[0].Interfaces[0].MAC = "x"
	if b[0].Tags["x"] != "" || b[0].Interfaces[0].MAC == "x" {
		t.Error("two calls share values")
	}
}

func BenchmarkParseInstances(b *testing.B) {
	var text strings.Builder
	text.WriteString("instances:\n")
	_, body, _ := strings.Cut(file("x"), "\n")
	for i := range 10000 {
		one := strings.ReplaceAll(body, "i-0123456789abcdef0", fmt.Sprintf("i-%d", i))
		one = strings.ReplaceAll(one, "02:00:5e:10:00:01", fmt.Sprintf("02:00:5e:10:%02x:%02x", i>>8, i&255))
		text.WriteString(strings.ReplaceAll(one, "10.0.0.5", fmt.Sprintf("10.0.%d.%d", i>>8, i&255)))
	}
	data := []byte(text.String())
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseInstances("x", data); err != nil {
			b.Fatal(err)
		}
	}
}
