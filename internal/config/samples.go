package config

import (
	_ "embed"
	"fmt"

	"openimds/internal/instance"
)

//go:embed samples.yaml
var samples string

// Samples returns the built-in sample instances: in each dialect one for each
// of the source addresses 127.0.0.1 to 127.0.0.4. Every call makes new ones,
// so that a caller may change them.
func Samples() []*instance.Instance {
	all, err := ParseInstances("samples.yaml", []byte(samples))
	if err != nil {
		panic(fmt.Sprintf("config: the built-in samples are broken:\n%v", err))
	}
	return all
}

// SamplesFile returns the text of the instances file that Samples reads.
func SamplesFile() []byte { return []byte(samples) }
