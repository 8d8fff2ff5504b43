package cloudwatch

import (
	"net/url"
	"testing"

	"github.com/aws/smithy-go/encoding/cbor"
)

// decodeAll decodes a tree into the inputs that have all kinds of members.
func decodeAll(tree any) {
	for _, in := range []any{&getMetricDataInput{}, &putMetricAlarmInput{}, &getMetricStatisticsInput{}, &listMetricsInput{}} {
		if decode(tree, in) != nil {
			continue
		}
		switch in := in.(type) {
		case *getMetricDataInput:
			_ = in.check()
		case *putMetricAlarmInput:
			_ = in.check()
		case *getMetricStatisticsInput:
			_ = in.check()
		}
	}
}

func FuzzCBOR(f *testing.F) {
	f.Add(cbor.Encode(cbor.Map{"Period": cbor.Uint(60), "StartTime": &cbor.Tag{ID: 1, Value: cbor.Float64(1)}, "Statistics": cbor.List{cbor.String("Sum")}}))
	f.Add([]byte("\xbf\x6aDimensions\x9f\xbf\x64Name\x61a\xff\xff\xff"))
	f.Add([]byte("\x9b\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(_ *testing.T, body []byte) {
		if tree, err := parseCBOR(body); err == nil {
			decodeAll(tree)
		}
	})
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"Period":60,"Dimensions":[{"Name":"a","Value":"b"}],"StartTime":1.5,"MetricDataQueries":[{"Id":"a","MetricStat":{"Metric":{}}}]}`))
	f.Fuzz(func(_ *testing.T, body []byte) {
		if tree, err := parseJSON(body); err == nil {
			decodeAll(tree)
		}
	})
}

func FuzzQuery(f *testing.F) {
	f.Add("Dimensions.member.1.Name=a&Dimensions.member.1.Value=b&Statistics.member.2=Sum&StartTime=2026-01-01T00:00:00Z&Period=60")
	f.Add("a.member.1=x&a.member=y&member.member.member=z")
	f.Fuzz(func(_ *testing.T, body string) {
		values, err := url.ParseQuery(body)
		if err != nil {
			return
		}
		if tree, err := parseForm(values); err == nil {
			decodeAll(tree)
		}
	})
}

func FuzzSearch(f *testing.F) {
	f.Add(`{AWS/EC2,InstanceId} MetricName="MetadataNoToken" (a OR b)`)
	f.Fuzz(func(_ *testing.T, text string) {
		if wants, err := parseSearch(&parser{id: "a"}, text); err == nil {
			wants(Metric{Namespace, NoToken, []Dimension{{dimension, "i-1"}}})
		}
	})
}
