// Package finding is what the tracer tells of a request to a metadata service:
// who made it, and whether it came with a session token. It is the form of the
// tracer's JSON lines, in files and in reports to the control plane, which
// reads them with this package too.
package finding

import (
	"errors"
	"fmt"
	"time"
)

// Version of the schema. Fields are added without a new version; a reader
// ignores fields that it does not know.
const Version = 1

// Mode is how a process reached for the service.
type Mode string

// Modes.
const (
	TokenFree    Mode = "IMDSv1"        // a request without a session token, or with an empty one
	Tokened      Mode = "IMDSv2"        // a request with a session token, which may be valid or not
	TokenRequest Mode = "token-request" // PUT of a session token
	Attempt      Mode = "attempt"       // a connection, and no request within a while
	Unreadable   Mode = "unreadable"    // not HTTP, or its headers did not end
)

// Modes are all of them.
var Modes = []Mode{TokenFree, Tokened, TokenRequest, Attempt, Unreadable}

// Level says how much a finding matters.
type Level string

// Levels.
const (
	Info    Level = "info"
	Warning Level = "warning" // token-free
	Error   Level = "error"   // unreadable
)

// Finding is one request, or several alike.
type Finding struct {
	V     int       `json:"v"`
	Time  time.Time `json:"ts"` // of the request's first byte; of several: of the last
	Level Level     `json:"level"`
	Mode  Mode      `json:"mode"`
	// Count is how many requests this stands for; findings add up. The first
	// requests of a kind are told one by one, then many at once.
	Count uint64 `json:"count"`
	// Cloud is the dialect of the address or token header: ecs, ec2, or empty.
	Cloud     string `json:"cloud,omitempty"`
	Method    string `json:"method,omitempty"`
	Path      string `json:"path,omitempty"` // without query
	Host      string `json:"host,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`
	// TokenHeader is the name of the header with the token, never its value.
	TokenHeader string `json:"token_header,omitempty"`
	// Status of the answer; 0: not seen.
	Status int `json:"status,omitempty"`
	// Refused: a request without a token that was answered 401 or 403.
	Refused   bool    `json:"refused,omitempty"`
	Dst       string  `json:"dst"` // address:port
	Src       string  `json:"src,omitempty"`
	Segments  int     `json:"segments,omitempty"`
	Truncated bool    `json:"truncated,omitempty"`
	Conn      uint64  `json:"conn,omitempty"`
	Process   Process `json:"process"`
	Engine    string  `json:"engine,omitempty"`
	// Machine is set in reports.
	Machine *Machine `json:"machine,omitempty"`
}

// Process is who made a request. What is empty could not be found out.
type Process struct {
	PID      int       `json:"pid,omitempty"` // in the tracer's namespace; 0: not known
	NSPID    int       `json:"ns_pid,omitempty"`
	TID      int       `json:"tid,omitempty"`
	UID      uint32    `json:"uid"`
	LoginUID *uint32   `json:"login_uid,omitempty"`
	Comm     string    `json:"comm,omitempty"`
	Thread   string    `json:"thread,omitempty"` // the thread's name, where it differs
	Exe      string    `json:"exe,omitempty"`
	Cmdline  string    `json:"cmdline,omitempty"` // redacted
	Start    time.Time `json:"start,omitzero"`
	// Cgroup is the path in its hierarchy, or the last parts of it.
	Cgroup    string `json:"cgroup,omitempty"`
	Container string `json:"container,omitempty"` // id, 64 hexadecimal digits
	Pod       string `json:"pod,omitempty"`       // uid
	Unit      string `json:"unit,omitempty"`      // of systemd
	NetNS     uint32 `json:"netns,omitempty"`     // inode
	// Parents are ancestors, nearest first, up to eight.
	Parents []Parent `json:"parents,omitempty"`
}

// Parent is an ancestor of a process.
type Parent struct {
	PID     int    `json:"pid"`
	Comm    string `json:"comm,omitempty"`
	Cmdline string `json:"cmdline,omitempty"` // redacted
}

// Machine says where a report comes from.
type Machine struct {
	Instance string `json:"instance,omitempty"` // the instance's id, as the operator or cloud-init gave it
	Hostname string `json:"hostname,omitempty"`
	Boot     string `json:"boot,omitempty"` // the kernel's boot id
}

// Limits of a report, for whoever receives one.
const (
	MaxLine  = 64 << 10 // bytes of a finding as JSON
	MaxBatch = 1 << 20  // bytes of one request's body
)

// Validate says what is wrong with a finding that came from elsewhere.
func (f *Finding) Validate() error {
	switch {
	case f.V < 1:
		return errors.New("no version")
	case f.Count == 0:
		return errors.New("count is 0")
	case f.Time.IsZero():
		return errors.New("no time")
	}
	for _, m := range Modes {
		if m == f.Mode {
			return nil
		}
	}
	return fmt.Errorf("unknown mode %q", f.Mode)
}
