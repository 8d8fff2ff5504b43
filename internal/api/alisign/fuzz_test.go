package alisign_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"openimds/internal/api/alisign"
)

// FuzzVerifyV1: whatever net/http can read gets an answer that is bounded by
// what came in, and nobody who does not hold the key is let in.
func FuzzVerifyV1(f *testing.F) { fuzz(f, 1) }

// FuzzVerifyV3 is the same for version 3.
func FuzzVerifyV3(f *testing.F) { fuzz(f, 3) }

func fuzz(f *testing.F, version int) {
	for _, creds := range []alisign.Credentials{forever, session} {
		for _, body := range []string{"", "Tag.1.Key=a+b&Tag.1.Value=%2A~"} {
			req, b := signed(f, version, creds, body)
			f.Add(wire(f, req, b))
		}
	}
	f.Add([]byte("GET /?a=%zz&a HTTP/1.1\r\nHost: a\r\n\r\n"))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: a\r\nAuthorization: ACS3-HMAC-SHA256 Credential=a,SignedHeaders=host,Signature=0\r\nContent-Length: 1\r\n\r\nx"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			return
		}
		body, err := io.ReadAll(io.LimitReader(req.Body, 1<<20))
		if err != nil {
			return
		}
		got, err := alisign.Verify(req, body, at(noon))
		if err == nil {
			// It is one of the seeds then, but for what signatures do not cover.
			if got.Action != "DescribeRegions" || got.Version != "2014-05-26" || got.Nonce != "nonce" || len(got.Params) > 3 {
				t.Fatalf("accepted as %v with %v:\n%s", got, got.Params, raw)
			}
			return
		}
		var e *alisign.Error
		if !errors.As(err, &e) {
			t.Fatalf("error of another kind: %v", err)
		}
		if len(e.Message) > 1000+8*len(raw) {
			t.Errorf("a message of %d bytes for a request of %d", len(e.Message), len(raw))
		}
		if strings.ContainsAny(e.Error(), "\n\r\x1b") {
			t.Errorf("Error() has control characters: %q", e.Error())
		}
	})
}
