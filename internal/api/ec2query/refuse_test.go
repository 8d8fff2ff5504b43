package ec2query_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"openimds/internal/api/sigv4"
)

func TestRefused(t *testing.T) {
	b := newBench(t)
	id := b.launch("IamInstanceProfile.Name", "app")
	ended := b.launch()
	b.ok("TerminateInstances", "InstanceId.1", ended)
	kept := b.launch("DisableApiTermination", "true")
	b.ok("CreateLaunchTemplate", "LaunchTemplateName", "lt1", "LaunchTemplateData.ImageId", plain)
	run := func(pairs ...string) []string {
		return append([]string{"RunInstances", "ImageId", plain, "MinCount", "1", "MaxCount", "1"}, pairs...)
	}
	long := strings.Repeat("x", 300)
	for _, c := range []struct {
		status int
		code   string
		say    string // part of the message
		call   []string
	}{
		{400, "InvalidAction", "The action NoSuch is not valid for this web service.", []string{"NoSuch"}},
		{400, "UnknownParameter", "The parameter Nonsense is not recognized", []string{"DescribeInstances", "Nonsense", "1"}},
		{400, "UnknownParameter", "The parameter Filter.1.Values is not", []string{"DescribeInstances", "Filter.1.Name", "instance-id", "Filter.1.Values", "1"}},
		{400, "UnknownParameter", "InstanceId.x", []string{"DescribeInstances", "InstanceId.x", id}},
		{400, "UnknownParameter", "InstanceId", []string{"DescribeInstances", "InstanceId", id}},
		{400, "MissingParameter", "The request must contain the parameter InstanceId", []string{"ModifyInstanceMetadataOptions", "HttpTokens", "required"}},
		{400, "MissingParameter", "The request must contain the parameter InstanceId", []string{"StopInstances"}},
		{400, "MissingParameter", "Filter.1.Name", []string{"DescribeInstances", "Filter.1.Value.1", "x"}},
		{400, "InvalidInstanceID.NotFound", "The instance ID '" + absent + "' does not exist", []string{"DescribeInstances", "InstanceId.1", absent}},
		{400, "InvalidInstanceID.NotFound", "The instance ID '" + absent + "' does not exist", []string{"ModifyInstanceMetadataOptions", "InstanceId", absent, "HttpTokens", "required"}},
		{400, "InvalidInstanceID.Malformed", `Invalid id: "i-xyz"`, []string{"TerminateInstances", "InstanceId.1", "i-xyz"}},
		{400, "IncorrectInstanceState", "terminated", []string{"StartInstances", "InstanceId.1", ended}},
		{400, "IncorrectInstanceState", "running", []string{"ModifyInstanceAttribute", "InstanceId", id, "UserData.Value", "eA=="}},
		{400, "OperationNotPermitted", "disableApiTermination", []string{"TerminateInstances", "InstanceId.1", kept}},
		{400, "InvalidParameterCombination", "maxResults", []string{"DescribeInstances", "InstanceId.1", id, "MaxResults", "5"}},
		{400, "InvalidParameterValue", "maxResults", []string{"DescribeInstances", "MaxResults", "4"}},
		{400, "InvalidParameterValue", "Expected an integer", []string{"DescribeInstances", "MaxResults", "many"}},
		{400, "InvalidNextToken", "", []string{"DescribeInstances", "NextToken", "x"}},
		{400, "InvalidParameterValue", "The filter 'nonsense' is invalid", []string{"DescribeInstances", "Filter.1.Name", "nonsense", "Filter.1.Value.1", "x"}},
		{400, "InvalidParameterValue", "DryRun", []string{"DescribeInstances", "DryRun", "perhaps"}},

		{400, "InvalidParameterValue", "Tag.1.Key", []string{"CreateTags", "ResourceId.1", id, "Tag.1.Key", "\xff", "Tag.1.Value", ""}},
		{400, "InvalidParameterValue", "Tag.1.Value", []string{"CreateTags", "ResourceId.1", id, "Tag.1.Key", "k", "Tag.1.Value", "a\x00"}},
		{400, "InvalidParameterValue", "tag value", []string{"CreateTags", "ResourceId.1", id, "Tag.1.Key", "k", "Tag.1.Value", "a\nb"}},

		{400, "MissingParameter", "ImageId", []string{"RunInstances", "MinCount", "1", "MaxCount", "1"}},
		{400, "MissingParameter", "MinCount", []string{"RunInstances", "ImageId", plain, "MaxCount", "1"}},
		{400, "InvalidParameterValue", "minCount", []string{"RunInstances", "ImageId", plain, "MinCount", "0", "MaxCount", "1"}},
		{400, "InvalidParameterValue", "maxCount", []string{"RunInstances", "ImageId", plain, "MinCount", "2", "MaxCount", "1"}},
		{400, "InvalidAMIID.NotFound", "The image id '[ami-00000000]' does not exist", []string{"RunInstances", "ImageId", "ami-00000000", "MinCount", "1", "MaxCount", "1"}},
		{400, "InvalidAMIID.Malformed", "ami-", []string{"RunInstances", "ImageId", "image", "MinCount", "1", "MaxCount", "1"}},
		{400, "InvalidKeyPair.NotFound", "The key pair 'none' does not exist", run("KeyName", "none")},
		{400, "InvalidParameterValue", "Invalid IAM Instance Profile name", run("IamInstanceProfile.Name", "none")},
		{400, "InvalidParameterValue", "us-west-2a", run("Placement.AvailabilityZone", "us-west-2a")},
		{400, "InvalidUserData.Malformed", "", run("UserData", "!")},
		{400, "InvalidParameterValue", "16384", run("UserData", strings.Repeat("AAAA", 5462))},
		{400, "InvalidParameterValue", "does not fall within", run("PrivateIpAddress", "192.0.2.1")},
		{400, "InvalidParameterCombination", "", run("SubnetId", "subnet-1", "NetworkInterface.1.DeviceIndex", "0")},
		{400, "InvalidParameterValue", "volcano", run("TagSpecification.1.ResourceType", "volcano")},
		{400, "UnknownParameter", "MetadataOptions.HttpToken", run("MetadataOptions.HttpToken", "required")},
		// EC2-API-04.
		{400, "InvalidParameterValue", "A value of '' is not valid for HttpEndpoint. Specify either 'enabled' or 'disabled' and try again.", run("MetadataOptions.HttpEndpoint", "")},
		{400, "InvalidParameterValue", "A value of '' is not valid for HttpEndpoint. Specify either 'enabled' or 'disabled' and try again.", []string{"ModifyInstanceMetadataOptions", "InstanceId", id, "HttpEndpoint", ""}},
		{400, "InvalidParameterValue", "A value of 'Required' is not valid for HttpTokens.", []string{"ModifyInstanceMetadataOptions", "InstanceId", id, "HttpTokens", "Required"}},
		{400, "InvalidParameterValue", "A value of '65' is not valid for HttpPutResponseHopLimit.", []string{"ModifyInstanceMetadataOptions", "InstanceId", id, "HttpPutResponseHopLimit", "65"}},
		{400, "InvalidParameterValue", "A value of '0' is not valid for HttpPutResponseHopLimit.", []string{"ModifyInstanceMetadataDefaults", "HttpPutResponseHopLimit", "0"}},
		{400, "UnknownParameter", "HttpProtocolIpv6", []string{"ModifyInstanceMetadataDefaults", "HttpProtocolIpv6", "enabled"}},

		{400, "InvalidParameterCombination", "No attributes specified.", []string{"ModifyInstanceAttribute", "InstanceId", id}},
		{400, "InvalidParameterCombination", "multiple", []string{"ModifyInstanceAttribute", "InstanceId", id, "UserData.Value", "", "DisableApiTermination.Value", "true"}},
		{400, "InvalidParameterValue", "'v2.0'", []string{"ModifyImageAttribute", "ImageId", plain, "ImdsSupport.Value", "v1.0"}},
		{400, "InvalidAMIID.NotFound", "", []string{"DescribeImages", "ImageId.1", "ami-00000000"}},
		{400, "IncorrectState", "existing association", []string{"AssociateIamInstanceProfile", "InstanceId", id, "IamInstanceProfile.Name", "other"}},
		{400, "InvalidAssociationID.NotFound", "iip-assoc-0", []string{"DisassociateIamInstanceProfile", "AssociationId", "iip-assoc-0"}},
		{400, "InvalidLaunchTemplateName.AlreadyExistsException", "", []string{"CreateLaunchTemplate", "LaunchTemplateName", "lt1", "LaunchTemplateData.ImageId", plain}},
		{400, "InvalidLaunchTemplateName.NotFoundException", "", []string{"RunInstances", "LaunchTemplate.LaunchTemplateName", "none", "MinCount", "1", "MaxCount", "1"}},
		{400, "InvalidLaunchTemplateId.NotFound", "lt-00000000", []string{"DeleteLaunchTemplate", "LaunchTemplateId", "lt-00000000"}},
		{400, "InvalidLaunchTemplateId.VersionNotFound", "7", []string{"RunInstances", "LaunchTemplate.LaunchTemplateName", "lt1", "LaunchTemplate.Version", "7", "MinCount", "1", "MaxCount", "1"}},
		{400, "UnknownParameter", "Nonsense", []string{"CreateLaunchTemplate", "LaunchTemplateName", "lt2", "LaunchTemplateData.Nonsense", "1"}},
		{400, "InvalidKey.Format", "", []string{"ImportKeyPair", "KeyName", "k", "PublicKeyMaterial", "eA=="}},
		{400, "InvalidInstanceID.NotFound", "", []string{"CreateTags", "ResourceId.1", absent, "Tag.1.Key", "a"}},
		{400, "InvalidVolume.NotFound", "", []string{"CreateTags", "ResourceId.1", "vol-1", "Tag.1.Key", "a"}},
		{400, "InvalidParameterValue", "aws:", []string{"CreateTags", "ResourceId.1", id, "Tag.1.Key", "aws:x"}},
		{400, "InvalidParameterValue", "Duplicate tag key", []string{"CreateTags", "ResourceId.1", id, "Tag.1.Key", "a", "Tag.2.Key", "a"}},
		{400, "InvalidParameterValue", "", []string{"CreateTags", "ResourceId.1", id, "Tag.1.Key", long}},
	} {
		if message := b.refused(c.status, c.code, c.call[0], c.call[1:]...); !strings.Contains(message, c.say) {
			t.Errorf("%v: %q does not say %q", c.call, message, c.say)
		}
	}
}

// TestProtocol tries what is wrong before there is an action.
func TestProtocol(t *testing.T) {
	b := newBench(t)
	sign := func(r *http.Request, body, key, secret, service string, at time.Time) {
		t.Helper()
		if err := sigv4.Sign(r, []byte(body), sigv4.Credentials{AccessKeyID: key, SecretKey: secret}, region, service, at); err != nil {
			t.Fatal(err)
		}
	}
	const list = "Action=DescribeRegions&Version=2016-11-15"
	for name, c := range map[string]struct {
		body                 string
		key, secret, service string
		at                   time.Time
		status               int
		code                 string
	}{
		"good":          {list, "AKIATEST", secret, "ec2", morning, 200, ""},
		"not signed":    {list, "", "", "", morning, 403, "MissingAuthenticationToken"},
		"unknown key":   {list, "AKIANONE", secret, "ec2", morning, 401, "AuthFailure"},
		"other secret":  {list, "AKIATEST", "wrong", "ec2", morning, 403, "SignatureDoesNotMatch"},
		"other service": {list, "AKIATEST", secret, "s3", morning, 403, "SignatureDoesNotMatch"},
		"old":           {list, "AKIATEST", secret, "ec2", morning.Add(-16 * time.Minute), 400, "RequestExpired"},
		"no action":     {"Version=2016-11-15", "AKIATEST", secret, "ec2", morning, 400, "MissingAction"},
		"no version":    {"Action=DescribeRegions", "AKIATEST", secret, "ec2", morning, 400, "MissingParameter"},
		"other version": {"Action=DescribeRegions&Version=2006-06-26", "AKIATEST", secret, "ec2", morning, 400, "NoSuchVersion"},
		"twice":         {list + "&Action=DescribeRegions", "AKIATEST", secret, "ec2", morning, 400, "InvalidParameterCombination"},
		"bad escape":    {list + "&x=%zz", "AKIATEST", secret, "ec2", morning, 400, "MalformedQueryString"},
		"too large":     {list + "&x=" + strings.Repeat("x", 1<<20), "AKIATEST", secret, "ec2", morning, 400, "InvalidRequest"},
		"too deep":      {list + "&" + strings.Repeat("x.", 100) + "=1", "AKIATEST", secret, "ec2", morning, 400, "UnknownParameter"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:8180/", bytes.NewReader([]byte(c.body)))
			if c.key != "" {
				sign(r, c.body, c.key, c.secret, c.service, c.at)
			}
			status, body := b.do(r)
			code := ""
			if status != 200 {
				code, _ = failureOf(t, body)
			}
			if status != c.status || code != c.code {
				t.Errorf("%d %s, want %d %s", status, code, c.status, c.code)
			}
		})
	}

	t.Run("query", func(t *testing.T) {
		r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1:8180/?"+list+"&RegionName.1=us-east-1", nil)
		sign(r, "", "AKIATEST", secret, "ec2", morning)
		if status, body := b.do(r); status != 200 {
			t.Errorf("%d %s", status, body)
		}
	})
	t.Run("changed body", func(t *testing.T) {
		r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:8180/", strings.NewReader(list+"&RegionName.1=us-east-1"))
		sign(r, list, "AKIATEST", secret, "ec2", morning)
		if status, _ := b.do(r); status != 403 {
			t.Errorf("status %d", status)
		}
	})
	t.Run("method", func(t *testing.T) {
		if status, _ := b.do(httptest.NewRequest(http.MethodDelete, "/", nil)); status != 400 {
			t.Errorf("status %d", status)
		}
	})
}

func TestForm(t *testing.T) {
	b := newBench(t)
	status, body := b.form(url.Values{"Action": {"DescribeRegions"}, "Version": {"2016-11-15"}, "RegionName.1": {"<&>"}})
	if _, message := failureOf(t, body); status != 400 || message != "Invalid region provided: <&>" {
		t.Errorf("%d %q", status, message)
	}
}

// reasonNames are the constants that package control declares.
func reasonNames(t *testing.T) map[string]string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "../../control/reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok {
			if kind, ok := v.Type.(*ast.Ident); ok && kind.Name == "Reason" {
				names[v.Names[0].Name] = strings.Trim(v.Values[0].(*ast.BasicLit).Value, `"`)
			}
		}
		return true
	})
	return names
}
