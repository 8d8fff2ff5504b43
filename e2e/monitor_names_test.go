//go:build linux

package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestCloudMonitorNames: where other names are set, the clients read by those,
// and by no others; rules are put with them, too.
func TestCloudMonitorNames(t *testing.T) {
	dir := t.TempDir()
	settings := filepath.Join(dir, "settings.yaml")
	check[any](t)(nil, os.WriteFile(settings, []byte(`monitoring:
  cloudMonitor:
    namespace: acs_ecs_dashboard
    metrics: {normalSuccess: imds.normal, normalRejected: imds_refused}
`), 0o600))
	p := start(t, map[string]string{"config": settings})
	in := sample(t, "ecs", optional)
	c := connection{Endpoint: p.control, Region: in.Region, Key: "LTAIimdsdev000000000", Secret: "imds-dev-secret"}
	burden(t, p.ecs, "X-aliyun-ecs-metadata-token", 403)
	for name, open := range cmsClients {
		t.Run(name, func(t *testing.T) {
			sdk := open(t, c)
			read := func(namespace, metric string) (values, error) {
				return sdk.call("DescribeMetricList", values{
					"Namespace": namespace, "MetricName": metric, "Period": "60", "Dimensions": `[{"instanceId":"` + in.ID + `"}]`,
					"StartTime": time.Now().Add(-time.Hour).UTC().Format(time.RFC3339),
				})
			}
			var all []any
			text, _ := check[values](t)(read("acs_ecs_dashboard", "imds.normal"))["Datapoints"].(string)
			if err := json.Unmarshal([]byte(text), &all); err != nil || sum(any(all), "Sum") != tokenFree {
				t.Errorf("%v, %v", all, err)
			}
			for namespace, metric := range map[string]string{"openimds_ecs_metadata": "normal_success", "acs_ecs_dashboard": "normal_success"} {
				_, err := read(namespace, metric)
				told(t, "the name that is not used", err, "ResourceNotFound", 404)
			}
			meta := check[values](t)(sdk.call("DescribeMetricMetaList", values{"Namespace": "acs_ecs_dashboard"}))
			if names := each(at(meta, "Resources", "Resource"), "MetricName"); !contains(names, "imds_refused") || !contains(names, "token_success") || len(names) != 7 {
				t.Errorf("the metrics are %v", names)
			}
			rule := ruleOf("rule", in.ID, "imds_refused")
			rule["Namespace"] = "acs_ecs_dashboard"
			check[values](t)(sdk.call("PutResourceMetricRule", rule))
			_, err := sdk.call("PutResourceMetricRule", ruleOf("rule", in.ID, "normal_rejected"))
			told(t, "a rule by the name that is not used", err, "ResourceNotFound", 404)
		})
	}
}

// TestMetricsOfTheGone: what instances did is read by the account that had them
// when they are gone, exactly.
func TestMetricsOfTheGone(t *testing.T) {
	p := start(t, nil)
	ec2, ecs := sample(t, "ec2", optional), sample(t, "ecs", optional)
	burden(t, p.ec2, "X-aws-ec2-metadata-token", 401)
	burden(t, p.ecs, "X-aliyun-ecs-metadata-token", 403)
	for _, id := range []string{ec2.ID, ecs.ID} {
		r := check[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodDelete, p.control+"/v1/instances/"+id, nil))
		res := check[*http.Response](t)(http.DefaultClient.Do(r))
		_ = res.Body.Close()
		equal(t, "status", res.StatusCode, 200)
	}
	c := connection{Endpoint: p.control, Region: ec2.Region, Key: "AKIAIMDSDEV000000000", Secret: "imds-dev-secret"}
	w := watcher{in: ec2.ID, from: time.Now().Add(-time.Hour).UTC()}
	for _, name := range []string{"aws-sdk-go-v2", "awscli"} {
		t.Run(name, func(t *testing.T) {
			sdk := cloudWatchClients[name](t, c)
			reply := check[values](t)(sdk.call("GetMetricStatistics", w.statistics(ec2.ID, "MetadataNoToken")))
			equal(t, "sum", sum(reply["Datapoints"], "Sum"), tokenFree)
			list := check[values](t)(sdk.call("ListMetrics", values{"Namespace": "AWS/EC2", "MetricName": "MetadataNoToken"}))
			if ids := each(list["Metrics"], "Dimensions", 0, "Value"); !contains(ids, ec2.ID) {
				t.Errorf("listed are %v", ids)
			}
		})
	}
	c = connection{Endpoint: p.control, Region: ecs.Region, Key: "LTAIimdsdev000000000", Secret: "imds-dev-secret"}
	for _, dimensions := range []string{`[{"instanceId":"` + ecs.ID + `"}]`, ""} {
		reply := check[values](t)(cmsClients["alibaba-cloud-sdk-go"](t, c).call("DescribeMetricLast", values{
			"Namespace": "openimds_ecs_metadata", "MetricName": "normal_success", "Dimensions": dimensions,
		}))
		var all []any
		text, _ := reply["Datapoints"].(string)
		if err := json.Unmarshal([]byte(text), &all); err != nil || sum(any(all), "Sum") != tokenFree {
			t.Errorf("%q: %v, %v", dimensions, text, err)
		}
	}
}
