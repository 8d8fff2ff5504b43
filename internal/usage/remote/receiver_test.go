package remote_test

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/snappy"
	"google.golang.org/protobuf/encoding/protowire"
)

// receiver is a place that takes samples as Prometheus does: the newest of a
// series again, with the same value, and nothing that is older; of a request
// all or nothing.
type receiver struct {
	mu sync.Mutex
	// answers are what the next requests get, before samples are taken or after.
	answers []answer
	series  map[string][]value64
	got     []*http.Request
	refused []string
	largest int
}

type value64 struct {
	at    int64
	value float64
}

// answer is what a request gets; the zero value takes it.
type answer struct {
	status int
	header http.Header
	// broken: the connection breaks; taken: the samples are taken all the same.
	broken, taken bool
	text          string
}

func newReceiver() *receiver { return &receiver{series: map[string][]value64{}} }

var errBroken = errors.New("connection reset by peer")

// RoundTrip takes a request.
func (r *receiver) RoundTrip(q *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, q)
	var a answer
	if len(r.answers) > 0 {
		a, r.answers = r.answers[0], r.answers[1:]
	}
	if a.status == 0 && !a.broken {
		a.status, a.taken = http.StatusNoContent, true
	}
	if a.taken {
		if err := r.take(body); err != nil {
			r.refused = append(r.refused, err.Error())
			a = answer{status: http.StatusBadRequest, text: err.Error()}
		}
	}
	if a.broken {
		return nil, errBroken
	}
	if a.header == nil {
		a.header = http.Header{}
	}
	return &http.Response{StatusCode: a.status, Header: a.header, Body: io.NopCloser(strings.NewReader(a.text)), Request: q}, nil
}

func (r *receiver) take(body []byte) error {
	raw, err := snappy.Decode(nil, body)
	if err != nil {
		return err
	}
	fresh, err := decodeRequest(raw)
	if err != nil {
		return err
	}
	r.largest = max(r.largest, len(fresh))
	for name, samples := range fresh {
		known := r.series[name]
		for _, s := range samples {
			if n := len(known); n > 0 && (s.at < known[n-1].at || s.at == known[n-1].at && s.value != known[n-1].value) {
				return fmt.Errorf("%s: %v after %v", name, s, known[n-1])
			} else if n > 0 && s.at == known[n-1].at {
				continue
			}
			known = append(known[:len(known):len(known)], s)
		}
		fresh[name] = known
	}
	for name, samples := range fresh {
		r.series[name] = samples
	}
	return nil
}

// of returns the samples of the series whose name has all the words.
func (r *receiver) of(words ...string) (all []value64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, samples := range r.series {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(name, w) }) {
			all = append(all, samples...)
		}
	}
	return all
}

var errWire = errors.New("not a WriteRequest")

// fields calls yield for the fields of a message.
func fields(data []byte, yield func(protowire.Number, protowire.Type, []byte, uint64) error) error {
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return errWire
		}
		data = data[n:]
		var text []byte
		var v uint64
		switch kind {
		case protowire.BytesType:
			text, n = protowire.ConsumeBytes(data)
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(data)
		case protowire.Fixed64Type:
			v, n = protowire.ConsumeFixed64(data)
		default:
			n = -1
		}
		if n < 0 {
			return errWire
		}
		data = data[n:]
		if err := yield(number, kind, text, v); err != nil {
			return err
		}
	}
	return nil
}

// decodeRequest reads a WriteRequest, whose labels must be in order.
func decodeRequest(raw []byte) (map[string][]value64, error) {
	all := map[string][]value64{}
	err := fields(raw, func(_ protowire.Number, _ protowire.Type, one []byte, _ uint64) error {
		var names []string
		var name strings.Builder
		var samples []value64
		err := fields(one, func(number protowire.Number, _ protowire.Type, part []byte, _ uint64) error {
			var text [2]string
			var s value64
			err := fields(part, func(n protowire.Number, kind protowire.Type, b []byte, v uint64) error {
				switch {
				case number == 1:
					text[n-1] = string(b)
				case kind == protowire.Fixed64Type:
					s.value = math.Float64frombits(v)
				default:
					s.at = int64(v)
				}
				return nil
			})
			if number == 1 {
				names = append(names, text[0])
				fmt.Fprintf(&name, "%s=%q ", text[0], text[1])
			} else {
				samples = append(samples, s)
			}
			return err
		})
		if !slices.IsSorted(names) || len(slices.Compact(names)) != len(names) || len(all[name.String()]) > 0 {
			return fmt.Errorf("labels %q", names)
		}
		all[name.String()] = samples
		return err
	})
	return all, err
}

// requests are those that came.
func (r *receiver) requests() []*http.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// refusals are what was refused.
func (r *receiver) refusals() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.refused)
}

// most is how many samples the largest request had.
func (r *receiver) most() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.largest
}
