package tally

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"openimds/internal/trace/finding"
)

var at = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

func request(mode finding.Mode, comm, agent, path string, pid int) *finding.Finding {
	return &finding.Finding{V: 1, Time: at.Add(time.Duration(pid) * time.Second), Mode: mode, Count: 2, Cloud: "ec2", Path: path, UserAgent: agent,
		Process: finding.Process{PID: pid, Comm: comm, Exe: "/usr/bin/" + comm, Parents: []finding.Parent{{PID: 1, Comm: "cron", Cmdline: "/etc/cron.hourly/x"}}}}
}

func TestRows(t *testing.T) {
	var table Table
	table.Add(request(finding.Tokened, "agent", "", "/t", 5))
	table.Add(request(finding.TokenFree, "curl", "curl/8", "/a", 7))
	table.Add(request(finding.TokenFree, "curl", "curl/8", "/b", 8))
	table.Add(request(finding.TokenFree, "curl", "curl/8", "/b", 6))
	refused := request(finding.TokenFree, "curl", "curl/8", "/b", 6)
	refused.Refused = true
	table.Add(refused)
	rows := table.Rows()
	if len(rows) != 2 || rows[0].Comm != "curl" || rows[0].TokenFree != 8 || rows[0].Refused != 2 || rows[0].Processes() != 3 || rows[1].Tokened != 2 {
		t.Fatalf("%+v", rows)
	}
	r := rows[0]
	if r.LastPath != "/b" || r.Process.PID != 8 || len(r.Paths) != 2 || r.Paths[0] != (Path{"/b", 6}) || !r.First.Equal(at.Add(6*time.Second)) {
		t.Errorf("%+v", r)
	}
	if rows[1].Advice() != "" || !strings.Contains(r.Advice(), "/etc/cron.hourly/x") {
		t.Errorf("%q, %q", rows[1].Advice(), r.Advice())
	}
}

// A process that had ended before its file was read is counted with the others
// of its name, whichever comes first, unless these are of several files.
func TestRowsWithoutFile(t *testing.T) {
	add := func(table *Table, comm, exe string, pid int) {
		f := request(finding.TokenFree, comm, "", "/", pid)
		f.Process.Exe = exe
		table.Add(f)
	}
	var table Table
	add(&table, "curl", "", 1)
	add(&table, "curl", "/usr/bin/curl", 2)
	add(&table, "curl", "", 3)
	add(&table, "wget", "", 4)
	rows := table.Rows()
	if len(rows) != 2 || rows[0].Exe != "/usr/bin/curl" || rows[0].TokenFree != 6 || rows[0].Processes() != 3 || rows[1].Exe != "" || rows[1].Comm != "wget" {
		t.Errorf("%+v", rows)
	}
	add(&table, "curl", "/opt/curl", 5)
	add(&table, "curl", "", 6)
	if rows := table.Rows(); len(rows) != 4 || rows[0].TokenFree != 6 {
		t.Errorf("%d rows", len(rows))
	}
}

func TestTableIsBounded(t *testing.T) {
	var table Table
	for i := range maxRows + 5 {
		table.Add(request(finding.TokenFree, fmt.Sprint("p", i), "", "/", 1))
	}
	if len(table.Rows()) != maxRows || table.Missed != 10 {
		t.Errorf("%d rows, %d missed", len(table.Rows()), table.Missed)
	}
}

// EC2-SDK-01, EC2-SDK-02, EC2-SDK-03, EC2-SDK-04, EC2-SDK-05, EC2-SDK-06,
// ECS-SDK-02: the versions from which on clients use tokens.
func TestAdviceByUserAgent(t *testing.T) {
	for agent, want := range map[string]string{
		"aws-cli/1.16.1 Python/3.6 botocore/1.11.1":      "update the AWS CLI from 1.16.1 to 1.16.289",
		"Boto3/1.9.0 Python/3.6 Botocore/1.12.0":         "update boto3 from 1.9.0 to 1.12.6 or later (with botocore 1.13.25",
		"Botocore/1.12.0":                                "to 1.13.25",
		"aws-sdk-go/1.25.37 (go1.13)":                    "to 1.25.38",
		"aws-sdk-go-v2/0.18.0":                           "to 0.19.0",
		"aws-sdk-java/1.11.9 Linux":                      "to 1.11.678",
		"aws-sdk-java/2.10.20 Linux":                     "to 2.10.21",
		"aws-sdk-nodejs/2.100.0":                         "to 2.722.0",
		"aws-sdk-dotnet-coreclr/3.3.634.0":               "to 3.3.634.1",
		"aws-sdk-php/3.147.6":                            "to 3.147.7",
		"aws-sdk-ruby3/3.78.9":                           "to 3.79.0",
		"aws-sdk-cpp/1.7.228":                            "to 1.7.229",
		"Cloud-Init/22.4.2":                              "to 23.2.2",
		"Boto3/1.34.0 Python/3.11 Botocore/1.34.0":       "can use tokens, and fell back",
		"aws-cli/1.16.289 Python/3.6 botocore/1.13.25":   "can use tokens, and fell back",
		"aws-sdk-go/1.44.0 (go1.20) amazon-ssm-agent/3.": "can use tokens, and fell back",
	} {
		r := Row{TokenFree: 1, UserAgent: agent, Cloud: "ec2"}
		if got := r.Advice(); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", agent, got, want)
		}
	}
	r := Row{TokenFree: 1, UserAgent: "Botocore/1.34.0", Container: "0123"}
	if got := r.Advice(); !strings.Contains(got, "hop limit") {
		t.Errorf("in a container: %q", got)
	}
}

// ECS-SDK-01: the credentials libraries.
func TestAdviceByProgram(t *testing.T) {
	for exe, want := range map[string]string{
		"/usr/lib/jvm/bin/java": "0.3.10", "/usr/bin/node": "2.3.1", "/usr/bin/php8.2": "1.2.0", "/usr/bin/python3.11": "0.3.6",
		"/opt/agent": "1.3.10", "/usr/bin/curl": "X-aliyun-ecs-metadata-token-ttl-seconds",
	} {
		r := Row{TokenFree: 1, Exe: exe, Cloud: "ecs"}
		if got := r.Advice(); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", exe, got, want)
		}
	}
}

func TestLess(t *testing.T) {
	for _, c := range [][2]string{{"1.9", "1.10"}, {"1.25.37", "1.25.38"}, {"3.3", "3.3.1"}} {
		if !less(c[0], c[1]) || less(c[1], c[0]) || less(c[0], c[0]) {
			t.Errorf("%s and %s", c[0], c[1])
		}
	}
}
