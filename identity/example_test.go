package identity_test

import (
	"fmt"
	"io"
	"net/http"
	"os"

	"openimds/identity"
)

// A service that lets instances in by what they are.
func ExampleVerifier_PKCS7() {
	pem, err := os.ReadFile("/etc/openimds/identity.pem") // imds identity certificates
	if err != nil {
		fmt.Println("no certificates here")
		return
	}
	certs, err := identity.ParseCertificates(pem)
	if err != nil {
		fmt.Println(err)
		return
	}
	v := identity.Verifier{Certificates: certs, Region: "us-east-1"}
	http.HandleFunc("POST /join", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
		if err != nil {
			return
		}
		d, err := v.PKCS7(body)
		if err != nil {
			http.Error(w, "who are you?", http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, "welcome, %s of %s\n", d.InstanceID, d.Account)
	})
	// Output: no certificates here
}
