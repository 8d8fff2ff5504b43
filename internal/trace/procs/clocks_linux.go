package procs

import (
	"time"

	"golang.org/x/sys/unix"
)

// ReadClocks reads the kernel's clocks.
func ReadClocks() Clocks {
	return Clocks{Now: time.Now(), Monotonic: clock(unix.CLOCK_MONOTONIC), Boot: clock(unix.CLOCK_BOOTTIME)}
}

func clock(id int32) time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(id, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
