package sigv4_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"openimds/internal/api/sigv4"
)

// FuzzVerify: whatever net/http can read gets an answer that is bounded by
// what came in, and nobody who does not hold the key is let in.
func FuzzVerify(f *testing.F) {
	for _, creds := range []sigv4.Credentials{forever, session} {
		req := build(f, "POST", "http://127.0.0.1:8180/a%20b?x=1&y=%2B+", "", "Content-Type: text/plain", "X-Amz-Target: a  b")
		if err := sigv4.Sign(req, []byte("body"), creds, "us-east-1", "ec2", noon); err != nil {
			f.Fatal(err)
		}
		f.Add(wire(f, req, []byte("body")))
	}
	f.Add(wire(f, presigned(f, "&X-Amz-Expires=60&X-Amz-Security-Token=x"), nil))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: AWS4-HMAC-SHA256 Credential=a/20260301/b/c/aws4_request,SignedHeaders=host,Signature=0\r\nDate: Sun, 01 Mar 2026 12:00:00 GMT\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
		if err != nil {
			return
		}
		body, err := io.ReadAll(io.LimitReader(req.Body, 1<<20))
		if err != nil {
			return
		}
		cfg := at(noon)
		cfg.UnsignedPayload = len(body)%2 == 1
		id, err := sigv4.Verify(req, body, cfg)
		if err == nil {
			// It is one of the seeds then, but for what signatures do not cover.
			if id.Region != "us-east-1" || id.Service != "ec2" || string(body) != "body" || req.Method != "POST" ||
				req.URL.Path != "/a b" || req.FormValue("y") != "+ " || req.Header.Get("X-Amz-Target") == "" {
				t.Fatalf("accepted as %v:\n%s", id, raw)
			}
			return
		}
		var e *sigv4.Error
		if !errors.As(err, &e) {
			t.Fatalf("error of another kind: %v", err)
		}
		if len(e.Message) > 2000+16*len(raw) {
			t.Errorf("a message of %d bytes for a request of %d", len(e.Message), len(raw))
		}
		if strings.ContainsAny(e.Error(), "\n\r\x1b") {
			t.Errorf("Error() has control characters: %q", e.Error())
		}
	})
}
