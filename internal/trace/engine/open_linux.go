package engine

import (
	"fmt"
	"slices"
)

// Open starts the first engine that works, or the named one. The attempts that
// did not are returned too. If none works the error is *Unavailable.
func Open(o Options, name string) (Engine, []Attempt, error) {
	if err := o.Check(); err != nil {
		return nil, nil, err
	}
	names := Names
	if name != "" {
		if !slices.Contains(Names, name) {
			return nil, nil, fmt.Errorf("there is no engine %q; there are %q", name, Names)
		}
		names = []string{name}
	}
	var attempts []Attempt
	for _, n := range names {
		e, err := open(o, n)
		if err == nil {
			return e, attempts, nil
		}
		attempts = append(attempts, Attempt{n, err})
	}
	return nil, nil, &Unavailable{attempts}
}

// Try tries every engine and says which are possible.
func Try(o Options) ([]Attempt, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	var all []Attempt
	for _, n := range Names {
		e, err := open(o, n)
		if err == nil {
			err = e.Close()
		}
		all = append(all, Attempt{n, err})
	}
	return all, nil
}

func open(o Options, name string) (Engine, error) {
	if name == "afpacket" {
		return openPacket(o)
	}
	return openBPF(o, name)
}
