package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Predecessor is the old process, as the new one sees it. Nil: there is none,
// and everything is free at once.
type Predecessor struct{ channel }

// Inherit takes what an old process hands over. Value is that of the program's
// Variable: empty where there is no old process.
func Inherit(value string) (*Sockets, *Predecessor, error) {
	if value == "" {
		return &Sockets{}, nil, nil
	}
	at, err := strconv.Atoi(value)
	if err != nil || at != firstFile-1 {
		return nil, nil, fmt.Errorf("inherit sockets: found descriptor %q, expected %d: the variable is for a process that starts its successor", value, firstFile-1)
	}
	p := &Predecessor{newChannel(inherited(at, "predecessor"))}
	line, err := p.in.ReadString('\n')
	if err != nil {
		return nil, nil, fmt.Errorf("inherit sockets: %w", err)
	}
	var t table
	if err := json.Unmarshal([]byte(line), &t); err != nil {
		return nil, nil, fmt.Errorf("inherit sockets: read their table: %w", err)
	}
	var files []*os.File
	for i, name := range slices.Concat(t.Sockets, t.Files) {
		files = append(files, inherited(firstFile+i, name))
	}
	return t.sockets(files), p, nil
}

// inherited is a descriptor that came with the process, and is to end with it.
func inherited(fd int, name string) *os.File {
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), name)
}

// Ready tells the predecessor that everything is good so far, and waits until
// what only one can have is free.
func (p *Predecessor) Ready() error {
	if p == nil {
		return nil
	}
	if err := p.say(sayReady); err != nil {
		return err
	}
	return p.hear(sayGo)
}

// Serving tells the predecessor that it may end.
func (p *Predecessor) Serving() error {
	if p == nil {
		return nil
	}
	return errors.Join(p.say(sayServing), p.file.Close())
}

// Refuse tells the predecessor why it has to go on by itself.
func (p *Predecessor) Refuse(why error) {
	if p != nil {
		_ = p.say(strings.ReplaceAll(why.Error(), "\n", "; ")) // it sees the end, too
		_ = p.file.Close()
	}
}
