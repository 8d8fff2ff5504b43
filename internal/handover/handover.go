// Package handover replaces a running process by a new one that takes over its
// listening sockets, so that no connection is refused meanwhile: the sockets
// are never closed, and what waits in them is accepted by whichever process
// comes first.
//
// The two talk over a channel, in five steps. The old process starts the new
// one and tells it what it inherits; the new one gets everything ready that the
// old one does not need, and says so; the old one lets go of what only one can
// have, such as files that are written, and says so; the new one serves, and
// says so; the old one ends its work. Until the last step the old process can
// go on as if nothing had been.
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
