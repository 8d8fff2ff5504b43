package remote

import (
	"math"
	"net/http"

	"github.com/klauspost/compress/snappy"
	"google.golang.org/protobuf/encoding/protowire"
)

// sample is one value of one series.
type sample struct {
	labels []label // in the order of their names
	value  uint64
	at     int64 // milliseconds since 1970
}

// Numbers of the fields of prometheus.WriteRequest, protocol 1.0.
const (
	requestSeries protowire.Number = 1
	seriesLabels  protowire.Number = 1
	seriesSamples protowire.Number = 2
	labelNameNo   protowire.Number = 1
	labelValueNo  protowire.Number = 2
	sampleValueNo protowire.Number = 1
	sampleTimeNo  protowire.Number = 2
)

// encode writes samples, each of a series of its own, as a compressed
// prometheus.WriteRequest.
func encode(samples []sample) []byte {
	var request, one, part []byte
	for _, s := range samples {
		one = one[:0]
		for _, l := range s.labels {
			part = protowire.AppendTag(part[:0], labelNameNo, protowire.BytesType)
			part = protowire.AppendString(part, l.name)
			part = protowire.AppendTag(part, labelValueNo, protowire.BytesType)
			part = protowire.AppendString(part, l.value)
			one = protowire.AppendTag(one, seriesLabels, protowire.BytesType)
			one = protowire.AppendBytes(one, part)
		}
		part = protowire.AppendTag(part[:0], sampleValueNo, protowire.Fixed64Type)
		part = protowire.AppendFixed64(part, math.Float64bits(float64(s.value)))
		part = protowire.AppendTag(part, sampleTimeNo, protowire.VarintType)
		part = protowire.AppendVarint(part, uint64(s.at)) //nolint:gosec // a time after 1970
		one = protowire.AppendTag(one, seriesSamples, protowire.BytesType)
		one = protowire.AppendBytes(one, part)
		request = protowire.AppendTag(request, requestSeries, protowire.BytesType)
		request = protowire.AppendBytes(request, one)
	}
	return snappy.Encode(nil, request)
}

// writeHeader are the headers of remote write 1.0.
func writeHeader() http.Header {
	return http.Header{
		"Content-Type":                      {"application/x-protobuf"},
		"Content-Encoding":                  {"snappy"},
		"X-Prometheus-Remote-Write-Version": {"0.1.0"},
	}
}
