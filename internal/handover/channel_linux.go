package handover

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
)

// Words that the two say, a line each.
const (
	sayReady   = "ready"   // new: everything is good so far
	sayGo      = "go"      // old: what only one can have is free
	sayServing = "serving" // new: it serves
)

// channel is one end of what the two talk over.
type channel struct {
	file *os.File
	in   *bufio.Reader
}

func newChannel(f *os.File) channel { return channel{f, bufio.NewReader(f)} }

func (c channel) say(word string) error {
	if _, err := c.file.WriteString(word + "\n"); err != nil {
		return fmt.Errorf("hand over: say %q: %w", word, err)
	}
	return nil
}

// hear waits for a word. What else the other side says is why it gives up.
func (c channel) hear(word string) error {
	line, err := c.in.ReadString('\n')
	if err != nil {
		return fmt.Errorf("hand over: wait for %q: the other process is gone: %w", word, err)
	}
	if line = strings.TrimSuffix(line, "\n"); line != word {
		return errors.New("hand over: the other process says: " + line)
	}
	return nil
}

// table is what a new process is told of the descriptors it inherits.
type table struct {
	Sockets []string `json:"sockets"` // by key, from firstFile on
	Files   []string `json:"files"`   // by name, behind them
}

// firstFile is the descriptor of the first inherited socket: the channel is
// that before it.
const firstFile = 4
