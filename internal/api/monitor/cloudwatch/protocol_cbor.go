package cloudwatch

import (
	"math"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/smithy-go/encoding/cbor"
)

const typeCBOR = "application/cbor"

type cborProtocol struct{}

func (cborProtocol) parse(r *http.Request, body []byte) (string, any, error) {
	name := strings.TrimPrefix(r.URL.Path, Prefix)
	if r.Method != http.MethodPost || r.Header.Get("Smithy-Protocol") != "rpc-v2-cbor" {
		return "", nil, &failure{http.StatusBadRequest, "InvalidAction", "This path takes POST with the header Smithy-Protocol: rpc-v2-cbor."}
	}
	input, err := parseCBOR(body)
	return name, input, err
}

func parseCBOR(body []byte) (any, error) {
	if len(body) == 0 {
		return map[string]any{}, nil
	}
	v, err := cbor.Decode(body)
	if err != nil {
		return nil, malformed("The body is not CBOR.")
	}
	return fromCBOR(v)
}

// fromCBOR makes a tree of a value. The clients' timestamps are floats or
// integers with tag 1.
func fromCBOR(v cbor.Value) (any, error) {
	switch v := v.(type) {
	case cbor.Map:
		m := make(map[string]any, len(v))
		for key, value := range v {
			plain, err := fromCBOR(value)
			if err != nil {
				return nil, err
			}
			m[key] = plain
		}
		return m, nil
	case cbor.List:
		l := make([]any, len(v))
		for i, value := range v {
			plain, err := fromCBOR(value)
			if err != nil {
				return nil, err
			}
			l[i] = plain
		}
		return l, nil
	case *cbor.Tag:
		seconds, err := fromCBOR(v.Value)
		n, ok := seconds.(float64)
		if err != nil || !ok || v.ID != 1 {
			return nil, malformed("The only tag that is known is 1, of a time in seconds.")
		}
		return fromSeconds(n)
	case cbor.String:
		if !utf8.ValidString(string(v)) {
			return nil, malformed("A text is not UTF-8.")
		}
		return string(v), nil
	case cbor.Uint:
		return float64(v), nil
	case cbor.NegInt:
		if v == 0 {
			return -math.Exp2(64), nil // how the package writes the smallest
		}
		return -float64(v), nil
	case cbor.Float32:
		return float64(v), nil
	case cbor.Float64:
		return float64(v), nil
	case cbor.Bool:
		return bool(v), nil
	case *cbor.Nil, *cbor.Undefined, nil:
		return nil, nil
	}
	return nil, malformed("The body has a kind of value that no parameter has.")
}

// fromSeconds makes a time of Unix seconds, to the millisecond.
func fromSeconds(n float64) (time.Time, error) {
	const most = 1 << 36 // somewhere in the year 4147
	if math.IsNaN(n) || math.Abs(n) > most {
		return time.Time{}, malformed("A time is out of range.")
	}
	return time.UnixMilli(int64(math.Round(n * 1000))).UTC(), nil
}

func (cborProtocol) reply(w http.ResponseWriter, _, id string, out any) error {
	v, err := toCBOR(out)
	if err != nil {
		return err
	}
	w.Header().Set("Smithy-Protocol", "rpc-v2-cbor")
	send(w, http.StatusOK, typeCBOR, id, cbor.Encode(v))
	return nil
}

func (cborProtocol) refuse(w http.ResponseWriter, f *failure, id string) {
	queryError(w, f)
	w.Header().Set("Smithy-Protocol", "rpc-v2-cbor")
	send(w, f.status, typeCBOR, id, cbor.Encode(cbor.Map{
		"__type": cbor.String("com.amazonaws.cloudwatch#" + f.shape()), "message": cbor.String(f.message),
	}))
}
