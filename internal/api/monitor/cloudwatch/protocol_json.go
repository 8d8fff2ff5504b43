package cloudwatch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
)

const typeJSON = "application/x-amz-json-1.0"

type jsonProtocol struct{}

func (jsonProtocol) parse(r *http.Request, body []byte) (string, any, error) {
	name, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), Target)
	if !ok || r.Method != http.MethodPost {
		return "", nil, &failure{http.StatusBadRequest, "InvalidAction", "The target is not one of " + service + ", or the method is not POST."}
	}
	input, err := parseJSON(body)
	return name, input, err
}

func parseJSON(body []byte) (any, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return map[string]any{}, nil
	}
	var input any
	d := json.NewDecoder(bytes.NewReader(body))
	if err := d.Decode(&input); err != nil {
		return nil, malformed("The body is not JSON.")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, malformed("The body has more than one JSON value.")
	}
	return input, nil
}

func (jsonProtocol) reply(w http.ResponseWriter, _, id string, out any) error {
	var b bytes.Buffer
	if err := encodeJSON(&b, out); err != nil {
		return err
	}
	send(w, http.StatusOK, typeJSON, id, b.Bytes())
	return nil
}

func (jsonProtocol) refuse(w http.ResponseWriter, f *failure, id string) {
	queryError(w, f)
	body, _ := json.Marshal(map[string]string{"__type": "com.amazonaws.cloudwatch#" + f.shape(), "message": f.message}) // strings always encode
	send(w, f.status, typeJSON, id, body)
}
