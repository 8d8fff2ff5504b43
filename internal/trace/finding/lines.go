package finding

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Append appends a finding as a line of JSON, with its line feed.
func Append(b []byte, f *Finding) ([]byte, error) {
	line, err := json.Marshal(f)
	if err != nil {
		return b, fmt.Errorf("encode a finding: %w", err)
	}
	return append(append(b, line...), '\n'), nil
}

// Read calls each for every line of r. A line that is no finding, or longer
// than MaxLine, is an error with its number; each's error ends it.
func Read(r io.Reader, each func(*Finding) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4096), MaxLine)
	n := 0
	for s.Scan() {
		n++
		if len(s.Bytes()) == 0 {
			continue
		}
		var f Finding
		if err := json.Unmarshal(s.Bytes(), &f); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if err := f.Validate(); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if err := each(&f); err != nil {
			return err
		}
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("line %d: longer than %d bytes", n+1, MaxLine)
	}
	return s.Err()
}
