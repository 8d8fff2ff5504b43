package api_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"openimds/internal/api"
)

func TestServices(t *testing.T) {
	said := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			_, _ = io.WriteString(w, name+" "+string(body))
		})
	}
	s := api.Services{EC2: said("ec2"), ECS: said("ecs"), STS: said("sts"), ECSSTS: said("ecssts"), CloudWatch: said("cloudwatch"), CMS: said("cms"), Other: said("other")}
	for _, tc := range []struct {
		method, target, header, body, want string
	}{
		{"POST", "/", "Authorization: AWS4-HMAC-SHA256 Credential=x", "Action=A", "ec2 Action=A"},
		{"POST", "/", "Authorization: AWS4-HMAC-SHA256 Credential=K/20260301/us-east-1/sts/aws4_request, SignedHeaders=host", "Action=A", "sts Action=A"},
		{"POST", "/", "Authorization: AWS4-HMAC-SHA256 Credential=K/20260301/us-east-1/ec2/aws4_request, SignedHeaders=/sts/", "Action=A", "ec2 Action=A"},
		{"GET", "/?Action=A&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256", "", "", "sts "},
		{"POST", "/", "Content-Type: application/x-www-form-urlencoded", "Action=A&Version=2015-04-01", "ecssts Action=A&Version=2015-04-01"},
		{"GET", "/?Action=A&X-Amz-Algorithm=AWS4-HMAC-SHA256", "", "", "ec2 "},
		{"POST", "/?InstanceId=x", "Authorization: ACS3-HMAC-SHA256 Credential=x", "", "ecs "},
		{"POST", "/", "x-acs-action: RunInstances", "", "ecs "},
		{"GET", "/?Action=A&AccessKeyId=x&SignatureNonce=1", "", "", "ecs "},
		{"POST", "/", "Content-Type: application/x-www-form-urlencoded", "Action=A&Version=2014-05-26", "ecs Action=A&Version=2014-05-26"},
		{"POST", "/", "Content-Type: application/x-www-form-urlencoded", "Action=A&Version=2016-11-15", "ec2 Action=A&Version=2016-11-15"},
		{"POST", "/", "Content-Type: application/x-www-form-urlencoded; charset=utf-8", "Action=A", "ec2 Action=A"},
		{"GET", "/?Action=A", "", "", "ec2 "},
		{"GET", "/?Action=A&AccessKeyId=x&SignatureNonce=1&Version=2015-04-01", "", "", "ecssts "},
		{"POST", "/", "Authorization: AWS4-HMAC-SHA256 Credential=K/20260301/us-east-1/monitoring/aws4_request, SignedHeaders=host", "Action=A", "cloudwatch Action=A"},
		{"POST", "/", "X-Amz-Target: GraniteServiceVersion20100801.ListMetrics", "{}", "cloudwatch {}"},
		{"POST", "/service/GraniteServiceVersion20100801/operation/ListMetrics", "", "{}", "cloudwatch {}"},
		{"POST", "/service/Other/operation/ListMetrics", "", "{}", "other {}"},
		{"GET", "/?Action=A&Version=2010-08-01&X-Amz-Algorithm=AWS4-HMAC-SHA256", "", "", "cloudwatch "},
		{"GET", "/?Action=A&AccessKeyId=x&SignatureNonce=1&Version=2019-01-01", "", "", "cms "},
		{"POST", "/", "Content-Type: application/x-www-form-urlencoded", "Action=A&Version=2019-01-01", "cms Action=A&Version=2019-01-01"},
		{"GET", "/", "", "", "other "},
		{"GET", "/healthz?Action=A", "", "", "other "},
		{"POST", "/", "Content-Type: application/json", "{}", "other {}"},
	} {
		r := httptest.NewRequest(tc.method, tc.target, strings.NewReader(tc.body))
		if name, value, ok := strings.Cut(tc.header, ": "); ok {
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if got := w.Body.String(); got != tc.want {
			t.Errorf("%s %s %s: %q, want %q", tc.method, tc.target, tc.header, got, tc.want)
		}
	}
}
