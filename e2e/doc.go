// Package e2e runs the real program and lets real clients read from it: the
// clouds' SDKs, cloud-init and command line tools, none of them changed.
// Everything runs in a network namespace of its own, so that a client whose
// address is built in finds our program there and can find nothing else.
//
// What Go does not bring, scripts/install-test-deps does.
package e2e
