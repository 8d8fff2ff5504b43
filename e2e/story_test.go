//go:build linux

package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"testing"
)

// launch is what the story asks for; what is empty is not asked for.
type launch struct {
	image            string
	count            int // 0: one
	tokens, endpoint string
	hops             int
	name             string // of the tag Name
	userData         string
	once             string // client token
	dryRun           bool
}

// shown is an instance as the API describes it.
type shown struct {
	id, tokens, endpoint, name string
	hops                       int
}

// cloud puts what the story does into the actions of an API. It is the same
// for all clients of a cloud.
type cloud interface {
	launch(l launch) (ids []string, err error)
	// set changes metadata options: tokens, endpoint, tags; empty: as it is.
	set(id, tokens, endpoint, tags string) error
	// find describes the running instances with all of these; empty: any.
	find(tokens, endpoint, name string) ([]shown, error)
	// pages are the ids of the instances with a name, in pages of ten.
	pages(name string) ([][]string, error)
	tag(id, key, value string) error
	untag(id, key string) error
	userData(id string) (string, error)
	attach(id, role string) error
	detach(id, role string) error
	// stop and start return when the API shows the new state.
	stop(id string) error
	start(id string) error
	end(ids ...string) error
}

// setting is what differs between the clouds beside the actions.
type setting struct {
	connection            // without an endpoint
	dialect               dialect
	image, oldImage, role string
	unknown               string // an id that no instance has
	codes                 codes
}

// codes are what the APIs call the errors that the story provokes.
type codes struct {
	noInstance, noRole, noImage, dryRun, badValue, otherArguments, wrongSecret, noKey, slowClock, denied string
}

// told is what to compare of a refusal: some clients hide the status.
func told(t *testing.T, what string, err error, code string, status int) {
	t.Helper()
	r := refused(t, err)
	equal(t, what+": code", r.Code, code)
	if r.Status != 0 {
		equal(t, what+": status", r.Status, status)
	}
	if r.Message == "" {
		t.Errorf("%s: no message", what)
	}
}

// teller is one telling of the story, by one client.
type teller struct {
	setting
	name string // of the client
	p    *program
	c    cloud
	// as is the cloud through another connection of the same client.
	as func(t *testing.T, c connection) cloud
}

// TestStory: the clouds' own clients set the mode, and the data plane follows.
func TestStory(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"} {
		t.Setenv(name, "")
	}
	for _, name := range slices.Sorted(maps.Keys(ec2Clients)) {
		t.Run(name, func(t *testing.T) {
			tell(t, ec2Setting, ec2Clients[name], func(c client) cloud { return ec2Cloud{c} }, ec2Chapters)
		})
	}
	ofECS := clientsOfECS()
	for _, name := range slices.Sorted(maps.Keys(ofECS)) {
		t.Run(name, func(t *testing.T) {
			tell(t, ecsSetting, ofECS[name], func(c client) cloud { return ecsCloud{c} }, ecsChapters)
		})
	}
}

// chapters are parts of the story, by name.
type chapters map[string]func(*testing.T, *teller)

// tell lets one client tell the story to a program of its own.
func tell(t *testing.T, s setting, connect func(*testing.T, connection) client, in func(client) cloud, more chapters) {
	t.Parallel()
	p := start(t, nil)
	s.Endpoint = p.control
	teller := &teller{setting: s, name: path.Base(t.Name()), p: p, c: in(connect(t, s.connection))}
	teller.as = func(t *testing.T, c connection) cloud { return in(connect(t, c)) }
	all := chapters{
		"modes": storyModes, "errors": storyErrorCodes, "keys": storyKeys, "pages": storyPages, "client token": storyClientToken,
		"tags": storyTags, "user data": storyUserData, "role": storyRole, "stop and start": storyStopAndStart, "policies": storyPolicies,
	}
	maps.Copy(all, more)
	if _, ok := correctsClock[teller.name]; ok {
		all["slow clock"] = storySlowClock
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) { all[name](t, teller) })
	}
}

// one launches an instance, which ends with the test.
func (s *teller) one(t *testing.T, l launch) (id string, m *machine) {
	t.Helper()
	ids := check[[]string](t)(s.c.launch(l))
	if len(ids) != 1 {
		t.Fatalf("launched %v", ids)
	}
	t.Cleanup(func() { s.end(t, ids...) })
	return ids[0], launched(t, s.p, s.dialect, ids[0])
}

func (s *teller) end(t *testing.T, ids ...string) {
	t.Helper()
	if err := s.c.end(ids...); err != nil {
		t.Errorf("end %v: %v", ids, err)
	}
}

func (s *teller) set(t *testing.T, id, tokens, endpoint, tags string) {
	t.Helper()
	if err := s.c.set(id, tokens, endpoint, tags); err != nil {
		t.Fatal(err)
	}
}

// found fails the test unless a search finds just one instance, and returns
// it.
func (s *teller) found(t *testing.T, tokens, endpoint, name string) shown {
	t.Helper()
	all := check[[]shown](t)(s.c.find(tokens, endpoint, name))
	if len(all) != 1 {
		t.Fatalf("tokens %q, endpoint %q and name %q find %v", tokens, endpoint, name, all)
	}
	return all[0]
}

// storyModes is the heart of the story: each change is in force when the call
// returns.
func storyModes(t *testing.T, s *teller) {
	const name = "web <1> é~*+%/"
	ids := check[[]string](t)(s.c.launch(launch{image: s.image, tokens: "required", hops: 2, name: name}))
	id := ids[0]
	m := launched(t, s.p, s.dialect, id)
	m.requires(t, id)
	equal(t, "described", s.found(t, "required", "enabled", name), shown{id, "required", "enabled", name, 2})

	s.set(t, id, "optional", "", "")
	m.serves(t, id)
	s.set(t, id, "required", "", "")
	m.requires(t, id)
	s.set(t, id, "optional", "", "")
	_, token := m.mint(t)
	s.set(t, id, "", "disabled", "")
	m.refuses(t, token, http.StatusForbidden)
	equal(t, "described", s.found(t, "optional", "disabled", name), shown{id, "optional", "disabled", name, 2})
	for _, other := range [][2]string{{"required", ""}, {"", "enabled"}} {
		if none := check[[]shown](t)(s.c.find(other[0], other[1], name)); len(none) != 0 {
			t.Errorf("tokens %q and endpoint %q find %v", other[0], other[1], none)
		}
	}
	s.set(t, id, "", "enabled", "")
	m.serves(t, id)

	s.end(t, id)
	m.refuses(t, token, http.StatusNotFound)
	if none := check[[]shown](t)(s.c.find("", "", name)); len(none) != 0 {
		t.Errorf("after its end: %v", none)
	}
}

func storyErrorCodes(t *testing.T, s *teller) {
	status := http.StatusBadRequest
	if s.dialect.name == "ecs" {
		status = http.StatusNotFound
	}
	told(t, "unknown instance", s.c.set(s.unknown, "required", "", ""), s.codes.noInstance, status)
	_, err := s.c.launch(launch{image: s.image[:len(s.image)-5] + "00000"})
	told(t, "unknown image", err, s.codes.noImage, status)
	_, err = s.c.launch(launch{image: s.image, name: "dry", dryRun: true})
	dry := http.StatusPreconditionFailed
	if s.dialect.name == "ecs" {
		dry = http.StatusBadRequest
	}
	told(t, "dry run", err, s.codes.dryRun, dry)
	if none := check[[]shown](t)(s.c.find("", "", "dry")); len(none) != 0 {
		t.Errorf("a dry run made %v", none)
	}
	_, err = s.c.launch(launch{image: s.image, hops: 65})
	told(t, "hop limit 65", err, s.codes.badValue, http.StatusBadRequest)
}

// storyKeys: who signs wrongly is told so, in the vendor's word for it.
func storyKeys(t *testing.T, s *teller) {
	for _, c := range []struct {
		what, code string
		change     func(*connection)
	}{
		{"wrong secret", s.codes.wrongSecret, func(c *connection) { c.Secret = "another-secret" }},
		{"unknown key", s.codes.noKey, func(c *connection) { c.Key = c.Key[:len(c.Key)-1] + "9" }},
	} {
		other := s.connection
		c.change(&other)
		_, err := s.as(t, other).find("", "", "")
		equal(t, c.what+": code", refused(t, err).Code, c.code)
	}
}

func storyPages(t *testing.T, s *teller) {
	ids := check[[]string](t)(s.c.launch(launch{image: s.image, count: 25, name: "many", tokens: "required"}))
	defer s.end(t, ids...)
	equal(t, "launched", len(ids), 25)
	slices.Sort(ids)
	var seen []string
	for i, page := range check[[][]string](t)(s.c.pages("many")) {
		if len(page) > 10 {
			// The tool that makes one page of all has no other to show.
			if i > 0 || len(page) != 25 {
				t.Errorf("page %d has %d instances", i, len(page))
			}
		}
		seen = append(seen, page...)
	}
	slices.Sort(seen)
	equal(t, "instances on all pages", fmt.Sprint(seen), fmt.Sprint(ids))
}

func storyClientToken(t *testing.T, s *teller) {
	l := launch{image: s.image, once: "once-and-for-all", name: "once"}
	id, _ := s.one(t, l)
	again := check[[]string](t)(s.c.launch(l))
	equal(t, "launched again", fmt.Sprint(again), "["+id+"]")
	equal(t, "found", s.found(t, "", "", "once").id, id)
	l.userData = "other"
	_, err := s.c.launch(l)
	equal(t, "other arguments: code", refused(t, err).Code, s.codes.otherArguments)
}

func storyTags(t *testing.T, s *teller) {
	const path = "meta-data/tags/instance/"
	id, m := s.one(t, launch{image: s.image, tokens: "optional", name: "tagged"})
	status, _ := m.get(t, path, "")
	equal(t, "status of tags that are not shown", status, http.StatusNotFound)
	s.set(t, id, "", "", "enabled")
	equal(t, "a tag", m.read(t, path+"Name"), "tagged")
	if err := s.c.tag(id, "Team", "a b=c"); err != nil {
		t.Fatal(err)
	}
	equal(t, "another", m.read(t, path+"Team"), "a b=c")
	equal(t, "all", m.read(t, path), "Name\nTeam")
	if err := s.c.untag(id, "Team"); err != nil {
		t.Fatal(err)
	}
	equal(t, "all but one", m.read(t, path), "Name")
	s.set(t, id, "", "", "disabled")
	status, _ = m.get(t, path, "")
	equal(t, "status of tags that are shown no more", status, http.StatusNotFound)
}

func storyUserData(t *testing.T, s *teller) {
	const text = "#!/bin/sh\necho 'é & \"<1>\"'\n"
	id, m := s.one(t, launch{image: s.image, userData: text})
	equal(t, "on the data plane", m.read(t, "user-data"), text)
	equal(t, "described", check[string](t)(s.c.userData(id)), text)
	_, bare := s.one(t, launch{image: s.image, tokens: "optional"})
	status, _ := bare.get(t, "user-data", "")
	equal(t, "status without any", status, http.StatusNotFound)
}

func storyRole(t *testing.T, s *teller) {
	id, m := s.one(t, launch{image: s.image, tokens: "optional"})
	status, _ := m.get(t, s.dialect.roles, "")
	equal(t, "status without a role", status, http.StatusNotFound)
	told(t, "unknown role", s.c.attach(id, "no-such-role"), s.codes.noRole, map[string]int{"ec2": 400, "ecs": 404}[s.dialect.name])
	if err := s.c.attach(id, s.role); err != nil {
		t.Fatal(err)
	}
	equal(t, "role on the data plane", m.read(t, s.dialect.roles), s.role)
	if err := s.c.detach(id, s.role); err != nil {
		t.Fatal(err)
	}
	status, _ = m.get(t, s.dialect.roles, "")
	equal(t, "status when it is gone", status, http.StatusNotFound)
}

func storyStopAndStart(t *testing.T, s *teller) {
	id, m := s.one(t, launch{image: s.image, tokens: "required"})
	_, token := m.mint(t)
	if err := s.c.stop(id); err != nil {
		t.Fatal(err)
	}
	m.refuses(t, token, http.StatusNotFound)
	if err := s.c.start(id); err != nil {
		t.Fatal(err)
	}
	m.requires(t, id)
}

// correctsClock has the clients whose clock a test can set, and tells which of
// them set it by the answer and try again.
var correctsClock = map[string]bool{"boto3": false, "npm_client-ec2": true, "npm_ecs20140526": false, "npm_pop-core": false}

// storySlowClock: a client whose clock is wrong is told so.
func storySlowClock(t *testing.T, s *teller) {
	c := s.connection
	c.Slow = 20 * 60
	_, err := s.as(t, c).find("", "", "")
	if !correctsClock[s.name] {
		told(t, "slow clock", err, s.codes.slowClock, http.StatusBadRequest)
	} else if err != nil {
		t.Error(err)
	}
}
