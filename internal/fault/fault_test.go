package fault_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"openimds/internal/fault"
)

func TestKindOf(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want fault.Kind
	}{
		{io.EOF, fault.Internal},
		{fault.New(fault.Conflict, "two of %d", 3), fault.Conflict},
		{fmt.Errorf("apply: %w", fault.New(fault.Invalid, "x")), fault.Invalid},
		{fault.Wrap(fault.Unavailable, fault.New(fault.Denied, "inner"), "outer"), fault.Unavailable},
	} {
		if got := fault.KindOf(tc.err); got != tc.want {
			t.Errorf("KindOf(%v) = %v, want %v", tc.err, got, tc.want)
		}
	}
}

func TestErrorKeepsCause(t *testing.T) {
	err := fault.Wrap(fault.Unavailable, io.ErrUnexpectedEOF, "read %s", "state")
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("the cause is lost")
	}
	if got, want := err.Error(), "read state: unexpected EOF"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	if got := fault.Kind(99).String(); got != "kind 99" {
		t.Errorf("String of an unknown kind = %q", got)
	}
}
