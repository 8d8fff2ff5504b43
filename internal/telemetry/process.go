package telemetry

import (
	"bytes"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"syscall"
	"time"
)

// Process is the source of figures of this process, which began at start. What
// the system does not tell is left out.
func Process(start time.Time) Source {
	return Source{processMetrics(), func(emit Emit) {
		emit(processStart, seconds(start))
		if pages, ok := residentPages(); ok {
			emit(processMemory, float64(pages*os.Getpagesize()))
		}
		if open, err := os.ReadDir("/proc/self/fd"); err == nil {
			emit(processFiles, float64(len(open)-1)) // without the one that lists them
		}
		var most syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &most); err == nil {
			emit(processMaximum, float64(most.Cur))
		}
		emit(goroutines, float64(runtime.NumGoroutine()))
		heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		metrics.Read(heap)
		if heap[0].Value.Kind() == metrics.KindUint64 {
			emit(heapBytes, float64(heap[0].Value.Uint64()))
		}
	}}
}

// residentPages is the second word of statm.
func residentPages() (int, bool) {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, false
	}
	words := bytes.Fields(data)
	if len(words) < 2 {
		return 0, false
	}
	n, err := strconv.Atoi(string(words[1]))
	return n, err == nil
}
