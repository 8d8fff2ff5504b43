package item_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"openimds/internal/instance"
	"openimds/internal/item"
)

func text(get func(*instance.Instance) string) func([]byte, *item.Query) ([]byte, bool) {
	return func(dst []byte, q *item.Query) ([]byte, bool) {
		s := get(q.Instance)
		return append(dst, s...), s != ""
	}
}

func iface(get func(*instance.Interface) string) func([]byte, *item.Query) ([]byte, bool) {
	return func(dst []byte, q *item.Query) ([]byte, bool) {
		s := get(&q.Instance.Interfaces[q.Index(0)])
		return append(dst, s...), s != ""
	}
}

// spec is a small table with every feature of the engine.
func spec() item.Spec {
	return item.Spec{
		Versions: []string{"1.0", "2016-01-01", "2020-10-27"},
		Rows: []item.Row{
			{Path: "meta-data/instance-id", Get: text(func(in *instance.Instance) string { return in.ID })},
			{Path: "meta-data/instance/name", Get: text(func(in *instance.Instance) string { return in.Name })},
			{Path: "meta-data/zone", Since: "2020-08-24", Get: text(func(in *instance.Instance) string { return in.Zone })},
			{Path: "meta-data/all", Class: item.Whole, Unlisted: true},
			{Path: "meta-data/macs/{mac}/id", Get: iface(func(f *instance.Interface) string { return f.ID })},
			{Path: "meta-data/macs/{mac}/owner", Get: iface(func(f *instance.Interface) string { return f.Owner })},
			{Path: "meta-data/ram/security-credentials/{role}", Class: item.Credential, Get: func(dst []byte, _ *item.Query) ([]byte, bool) {
				return append(dst, "secret"...), true
			}},
			{Path: "meta-data/keys/{n}/key", Get: func(dst []byte, q *item.Query) ([]byte, bool) {
				return append(dst, q.Instance.KeyPairs[q.Index(0)].PublicKey...), true
			}},
			{Path: "meta-data/tags/{tag}", Get: func(dst []byte, q *item.Query) ([]byte, bool) {
				return append(dst, q.Instance.Tags[q.Key(0)]...), true
			}},
			{Path: "user-data", Class: item.Opaque, Get: func(dst []byte, q *item.Query) ([]byte, bool) {
				return append(dst, q.Instance.UserData...), q.Instance.UserData != nil
			}},
		},
		Dirs: []item.Dir{
			{Path: "meta-data", Bare: true},
			{Path: "meta-data/ram", Aliases: []string{"Ram"}},
			{Path: "meta-data/macs/{mac}", Keys: func(dst []string, q *item.Query) []string {
				for i := range q.Instance.Interfaces {
					dst = append(dst, q.Instance.Interfaces[i].MAC)
				}
				return dst
			}},
			{Path: "meta-data/ram/security-credentials/{role}", Keys: func(dst []string, q *item.Query) []string {
				if q.Instance.Role != nil {
					dst = append(dst, q.Instance.Role.Name)
				}
				return dst
			}},
			{
				Path: "meta-data/keys/{n}",
				Keys: func(dst []string, q *item.Query) []string {
					return append(dst, []string{"0", "1", "2"}[:len(q.Instance.KeyPairs)]...)
				},
				Label: func(dst []byte, q *item.Query, key string) []byte {
					return append(append(append(dst, key...), '='), q.Instance.KeyPairs[q.Index(0)].Name...)
				},
			},
			{Path: "meta-data/tags/{tag}", Keys: func(dst []string, q *item.Query) []string {
				from := len(dst)
				for k := range q.Instance.Tags {
					dst = append(dst, k)
				}
				slices.Sort(dst[from:])
				return dst
			}},
		},
	}
}

func sample() *instance.Instance {
	return &instance.Instance{
		ID: "i-1", Name: "box", Zone: "z\"1\"\r\n\x01é",
		Interfaces: []instance.Interface{{MAC: "02:00", ID: "eni-0", Owner: "o"}, {MAC: "01:00", ID: "eni-1"}},
		Role:       &instance.Role{Name: "app"},
		KeyPairs:   []instance.KeyPair{{Name: "k", PublicKey: "ssh-rsa A\n"}},
		Tags:       map[string]string{"b": "2", "a": "", "é": "x"},
		UserData:   []byte("#!"),
	}
}

func resolve(t *item.Tree, in *instance.Instance, path string) (string, item.Result) {
	out, r := t.Resolve(nil, &item.Query{Instance: in}, []byte(path))
	return string(out), r
}

func TestResolve(t *testing.T) {
	tree := item.Must(spec())
	for _, tc := range []struct {
		path, want, template string
		kind                 item.Kind
	}{
		{"", "1.0\n2016-01-01\n2020-10-27\nlatest", "/", item.Listing},
		{"latest", "meta-data\nuser-data", "/{version}/", item.Listing},
		{"latest/meta-data", "instance-id\ninstance/\nkeys/\nmacs/\nram/\ntags/\nzone", "meta-data/", item.Listing},
		{"2016-01-01/meta-data", "instance-id\ninstance/\nkeys/\nmacs/\nram/\ntags/", "meta-data/", item.Listing},
		{"2020-10-27/meta-data/instance-id", "i-1", "meta-data/instance-id", item.Leaf},
		{"1.0/meta-data/instance/name", "box", "meta-data/instance/name", item.Leaf},
		{"1.0/meta-data/zone", "", "(none)", item.Absent},
		{"2017-01-01/meta-data/instance-id", "", "(none)", item.Absent},
		{"latest/meta-data/macs", "01:00/\n02:00/", "meta-data/macs/", item.Listing},
		{"latest/meta-data/macs/02:00", "id\nowner", "meta-data/macs/{mac}/", item.Listing},
		{"latest/meta-data/macs/01:00", "id", "meta-data/macs/{mac}/", item.Listing},
		{"latest/meta-data/macs/01:00/id", "eni-1", "meta-data/macs/{mac}/id", item.Leaf},
		{"latest/meta-data/macs/01:00/owner", "", "meta-data/macs/{mac}/owner", item.Absent},
		{"latest/meta-data/macs/03:00/id", "", "(none)", item.Absent},
		{"latest/meta-data/keys", "0=k", "meta-data/keys/", item.Listing},
		{"latest/meta-data/keys/0/key", "ssh-rsa A\n", "meta-data/keys/{n}/key", item.Leaf},
		{"latest/meta-data/Ram/security-credentials", "app", "meta-data/ram/security-credentials/", item.Listing},
		{"latest/meta-data/ram/security-credentials/app", "secret", "meta-data/ram/security-credentials/{role}", item.Leaf},
		{"latest/meta-data/ram/security-credentials/other", "", "(none)", item.Absent},
		{"latest/meta-data/tags", "a\nb\né", "meta-data/tags/", item.Listing},
		{"latest/meta-data/tags/a", "", "meta-data/tags/{tag}", item.Leaf},
		{"latest/meta-data/tags/é", "x", "meta-data/tags/{tag}", item.Leaf},
		{"latest/meta-data/{mac}", "", "(none)", item.Absent},
		{"latest/meta-data/macs/{mac}", "", "(none)", item.Absent},
		{"latest/user-data", "#!", "user-data", item.Leaf},
	} {
		got, r := resolve(tree, sample(), tc.path)
		if got != tc.want || r.Kind != tc.kind || r.Node.Template != tc.template {
			t.Errorf("%q: %q, kind %d, template %s; want %q, kind %d, template %s", tc.path, got, r.Kind, r.Node.Template, tc.want, tc.kind, tc.template)
		}
	}
}

// What an instance does not have is neither listed nor served, up to the
// directories that would be empty.
func TestAbsent(t *testing.T) {
	tree := item.Must(spec())
	bare := &instance.Instance{ID: "i-2"}
	if got, _ := resolve(tree, bare, "latest"); got != "meta-data" {
		t.Errorf("version folder: %q", got)
	}
	if got, _ := resolve(tree, bare, "latest/meta-data"); got != "instance-id" {
		t.Errorf("meta-data: %q", got)
	}
	for _, path := range []string{"latest/user-data", "latest/meta-data/macs", "latest/meta-data/ram", "latest/meta-data/ram/security-credentials"} {
		if got, r := resolve(tree, bare, path); r.Kind != item.Absent || got != "" {
			t.Errorf("%s: %q, kind %d", path, got, r.Kind)
		}
	}
}

func TestWhole(t *testing.T) {
	got, _ := resolve(item.Must(spec()), sample(), "latest/meta-data/all")
	var v map[string]any
	if err := json.Unmarshal([]byte(got), &v); err != nil {
		t.Fatalf("%v in %s", err, got)
	}
	if v["zone"] != sample().Zone || v["keys"].(map[string]any)["0"].(map[string]any)["key"] != "ssh-rsa A\n" {
		t.Errorf("values changed on the way: %s", got)
	}
	if strings.Contains(got, "secret") || strings.Contains(got, "ram") || strings.Contains(got, "all") {
		t.Errorf("credentials or the item itself are included: %s", got)
	}
}

// Everything a crawl finds can be asked for, and everything listed is found.
func TestCrawl(t *testing.T) {
	tree, in := item.Must(spec()), sample()
	for _, version := range append(tree.Versions(), item.Latest) {
		found := map[string]bool{}
		tree.Crawl(&item.Query{Instance: in}, version, func(path string, row *item.Row, value []byte) {
			found[path] = true
			got, r := resolve(tree, in, strings.Trim(path, "/"))
			if got != string(value) || (r.Kind == item.Leaf) != (row != nil) {
				t.Errorf("%s: crawled %q, resolved %q", path, value, got)
			}
		})
		for path := range found {
			got, r := resolve(tree, in, strings.Trim(path, "/"))
			if r.Kind != item.Listing || strings.HasSuffix(path, "/keys/") {
				continue
			}
			for name := range strings.SplitSeq(got, "\n") {
				if p := path + name; !found[p] && !found[p+"/"] {
					t.Errorf("%s lists %s, which the crawl does not find", path, name)
				}
			}
		}
	}
}

func TestSpecErrors(t *testing.T) {
	row := func(path string) item.Row {
		return item.Row{Path: path, Get: text(func(*instance.Instance) string { return "x" })}
	}
	for want, s := range map[string]item.Spec{
		"no versions":                   {},
		"declared twice":                {Versions: []string{"1"}, Rows: []item.Row{row("a"), row("a")}},
		"is an item and a directory":    {Versions: []string{"1"}, Rows: []item.Row{row("a"), row("a/b")}},
		"no Dir that lists its keys":    {Versions: []string{"1"}, Rows: []item.Row{row("a/{k}")}},
		"placeholder {l} stands where":  {Versions: []string{"1"}, Rows: []item.Row{row("a/{k}"), row("a/{l}")}},
		"empty segment":                 {Versions: []string{"1"}, Rows: []item.Row{row("a//b")}},
		"no version is as new":          {Versions: []string{"1"}, Rows: []item.Row{{Path: "a", Since: "2", Get: row("a").Get}}},
		"has a Get unless":              {Versions: []string{"1"}, Rows: []item.Row{{Path: "a"}}},
		"has no items":                  {Versions: []string{"1"}, Rows: []item.Row{row("a")}, Dirs: []item.Dir{{Path: "b"}}},
		"more than 4 placeholders":      {Versions: []string{"1"}, Rows: []item.Row{row("{a}/{b}/{c}/{d}/{e}")}},
		"directory a/b: declared twice": {Versions: []string{"1"}, Rows: []item.Row{row("a/b/c")}, Dirs: []item.Dir{{Path: "a/b"}, {Path: "a/b"}}},
	} {
		if _, err := item.New(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New: %v, want %q", err, want)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	tree, q, buf := item.Must(spec()), &item.Query{Instance: sample()}, make([]byte, 0, 4096)
	for _, path := range []string{
		"latest/meta-data/instance-id", "latest/meta-data/macs/01:00/id", "latest/meta-data/", "latest/meta-data/all",
		"latest/meta-data/tags/b", "latest/no/such/item", "", "latest/meta-data/macs",
	} {
		p := bytes.Trim([]byte(path), "/")
		if n := testing.AllocsPerRun(100, func() { tree.Resolve(buf, q, p) }); n != 0 {
			t.Errorf("%s allocates %v times", path, n)
		}
	}
}

func BenchmarkResolve(b *testing.B) {
	tree, q, buf := item.Must(spec()), &item.Query{Instance: sample()}, make([]byte, 0, 4096)
	for _, path := range []string{"latest/meta-data/instance-id", "latest/meta-data/macs/01:00/id", "latest/meta-data", "latest/meta-data/all"} {
		b.Run(path, func(b *testing.B) {
			for b.Loop() {
				tree.Resolve(buf, q, []byte(path))
			}
		})
	}
}
