//go:build linux

package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"openimds/internal/config"
	"openimds/internal/creds"
	"openimds/internal/instance"
	"openimds/internal/item"
	"openimds/internal/node"
	"openimds/internal/token"
)

// memory is what a guest takes, in bytes.
type memory struct{ record, node float64 }

// guestAddress is what the ith guest calls from.
func guestAddress(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, 1 + byte(i>>16), byte(i >> 8), byte(i)})
}

// guestTexts are many guests that are all that the first EC2 sample is, with
// all its items, each at a tap of its own.
func guestTexts(n int) [][]byte {
	in := *config.Samples()[4]
	in.Interfaces = slices.Clone(in.Interfaces)
	texts := make([][]byte, n)
	for i := range texts {
		in.ID = fmt.Sprintf("i-%017x", i)
		in.Sources = []netip.Addr{guestAddress(i)}
		for k := range in.Interfaces {
			in.Interfaces[k].Attachment.Interface = fmt.Sprintf("t%d-%d", i, k)
		}
		text, err := json.Marshal(in)
		if err != nil {
			panic("bench/boot: a sample cannot be encoded: " + err.Error()) // its types can
		}
		texts[i] = text
	}
	return texts
}

// signer stands for one: a guest that asks for no signature holds none.
type signer struct{}

func (signer) Signs(string, string) bool { return true }

func (signer) Sign(*instance.Instance, string, []byte) ([]byte, time.Time, error) {
	return nil, time.Time{}, nil
}

// measureMemory makes records as they come from a store or a feed, and lets a
// node serve them that nobody asks anything.
func measureMemory(n int) (m memory, err error) {
	texts := guestTexts(n)
	before := heap()
	records := make([]*instance.Instance, n)
	for i, text := range texts {
		records[i] = new(instance.Instance)
		if err := json.Unmarshal(text, records[i]); err != nil {
			return m, err
		}
	}
	decoded := heap()
	masters, err := token.NewSecrets(time.Now(), rand.Reader)
	if err != nil {
		return m, err
	}
	broker := creds.New(creds.Config{})
	serving := node.New(node.Config{
		Ring: token.NewRing(masters), Signer: signer{},
		Credentials: func(id string) item.Credentials { return broker.Holder(id) },
	})
	if err := serving.Set(records); err != nil {
		return m, err
	}
	served := heap()
	runtime.KeepAlive(texts)
	runtime.KeepAlive(serving)
	return memory{(decoded - before) / float64(n), (served - decoded) / float64(n)}, nil
}

// heap is what is alive, in bytes.
func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
