package tally

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// client is a known client: how it shows itself, and from which version on it
// uses tokens.
type client struct {
	name    string
	agent   *regexp.Regexp // of its User-Agent; the group is the version
	minimum string
	also    string // what else there is to do
}

// clients are known by their User-Agent, the special before the general: the
// AWS CLI's names botocore too.
var clients = []client{
	{"the AWS CLI", regexp.MustCompile(`(?i)\baws-cli/(\d[\d.]*)`), "1.16.289", ""},                                    // EC2-SDK-01
	{"boto3", regexp.MustCompile(`(?i)\bboto3/(\d[\d.]*)`), "1.12.6", "with botocore 1.13.25 or later"},                // EC2-SDK-02
	{"botocore", regexp.MustCompile(`(?i)\bbotocore/(\d[\d.]*)`), "1.13.25", ""},                                       // EC2-SDK-02
	{"the AWS SDK for Go v2", regexp.MustCompile(`(?i)\baws-sdk-go-v2/(\d[\d.]*)`), "0.19.0", ""},                      // EC2-SDK-03
	{"the AWS SDK for Go", regexp.MustCompile(`(?i)\baws-sdk-go/(\d[\d.]*)`), "1.25.38", ""},                           // EC2-SDK-03
	{"the AWS SDK for Java 2", regexp.MustCompile(`(?i)\baws-sdk-java/(2\.[\d.]*)`), "2.10.21", ""},                    // EC2-SDK-04
	{"the AWS SDK for Java", regexp.MustCompile(`(?i)\baws-sdk-java/(1\.[\d.]*)`), "1.11.678", ""},                     // EC2-SDK-04
	{"the AWS SDK for JavaScript", regexp.MustCompile(`(?i)\baws-sdk-(?:js|nodejs)/(\d[\d.]*)`), "2.722.0", ""},        // EC2-SDK-05
	{"the AWS SDK for .NET", regexp.MustCompile(`(?i)\baws-sdk-dotnet[\w-]*/(\d[\d.]*)`), "3.3.634.1", ""},             // EC2-SDK-06
	{"the AWS SDK for PHP", regexp.MustCompile(`(?i)\baws-sdk-php/(\d[\d.]*)`), "3.147.7", ""},                         // EC2-SDK-06
	{"the AWS SDK for Ruby", regexp.MustCompile(`(?i)\baws-sdk-ruby\d?/(\d[\d.]*)`), "3.79.0", ""},                     // EC2-SDK-06
	{"the AWS SDK for C++", regexp.MustCompile(`(?i)\baws-sdk-cpp/(\d[\d.]*)`), "1.7.229", ""},                         // EC2-SDK-06
	{"cloud-init", regexp.MustCompile(`(?i)\bcloud-init/(\d[\d.]*)`), "23.2.2", "older ones do not use tokens on ECS"}, // ECS-SDK-02
}

// libraries are the credentials libraries of Alibaba Cloud by the program that
// runs them; their User-Agent does not tell their version. ECS-SDK-01.
var libraries = []struct{ program, name, minimum string }{
	{"java", "Java", "0.3.10"},
	{"node", "Node.js", "2.3.1"},
	{"php", "PHP", "1.2.0"},
	{"python", "Python", "0.3.6"},
}

// Advice says what to do so that a program uses tokens, in a sentence or two;
// "" for one that does nothing without a token.
func (r *Row) Advice() string {
	if r.TokenFree == 0 {
		return ""
	}
	for _, c := range clients {
		if m := c.agent.FindStringSubmatch(r.UserAgent); m != nil {
			return c.advice(m[1], r)
		}
	}
	program := strings.ToLower(path.Base(r.Exe))
	if r.Exe == "" {
		program = strings.ToLower(r.Comm)
	}
	header := "X-aws-ec2-metadata-token"
	if r.Cloud == "ecs" {
		header = "X-aliyun-ecs-metadata-token"
	}
	switch {
	case program == "curl" || program == "wget" || program == "bash" || program == "sh":
		return "a script: let it ask for a token first (PUT /latest/api/token with " + header + "-ttl-seconds) and send it as " + header + called(r)
	case strings.Contains(r.Process.Cmdline, "cloud-init"):
		return "cloud-init uses tokens on ECS from 23.2.2 on: update it before tokens are required, or the instance may not boot"
	case r.Cloud == "ecs":
		for _, l := range libraries {
			if strings.HasPrefix(program, l.program) {
				return "if it uses the Alibaba Cloud credentials library for " + l.name + ": update that to " + l.minimum + " or later"
			}
		}
		return "update its SDK (Alibaba Cloud credentials library for Go: 1.3.10 or later), or let it send " + header
	}
	if r.Tokened > 0 {
		return "it uses tokens too: some of its requests are made another way, or fall back when no token comes in time"
	}
	return "update its SDK to one that uses tokens, or let it send " + header
}

func (c client) advice(version string, r *Row) string {
	also := ""
	if c.also != "" {
		also = " (" + c.also + ")"
	}
	if less(version, c.minimum) {
		return "update " + c.name + " from " + version + " to " + c.minimum + " or later" + also
	}
	why := "see whether PUT /latest/api/token is answered"
	if r.Container != "" {
		why += "; from a container the hop limit must be 2 or more"
	}
	return c.name + " " + version + " can use tokens, and fell back: " + why
}

// called names who runs a script.
func called(r *Row) string {
	if len(r.Process.Parents) == 0 {
		return ""
	}
	up := r.Process.Parents[0]
	if up.Cmdline != "" {
		return "; it is run by: " + up.Cmdline
	}
	return "; it is run by " + up.Comm
}

// less compares versions, number by number.
func less(a, b string) bool {
	return slices.Compare(numbers(a), numbers(b)) < 0
}

func numbers(version string) []int {
	var all []int
	for part := range strings.SplitSeq(strings.Trim(version, "."), ".") {
		n, _ := strconv.Atoi(part)
		all = append(all, n)
	}
	return all
}
