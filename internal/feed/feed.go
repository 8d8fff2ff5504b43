// Package feed brings instances from the control plane to the nodes that serve
// them. A feed is a stream of frames, one JSON text a line: first what is, then
// what changes. The node keeps a recording of it on disk, and serves from that
// when the control plane cannot be reached.
package feed

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"openimds/internal/fault"
	"openimds/internal/instance"
	"openimds/internal/token"
)

// Version of the frames. A stream of another one is not followed.
const Version = 1

// Path at which a control plane serves feeds. Its query has the names below.
const Path = "/feed/v1/stream"

// Query parameters: what the node has already.
const (
	QueryStore    = "store"    // the store it comes from
	QueryRevision = "revision" // the revision it shows
	QueryEpoch    = "epoch"    // the first epoch of its token keys
)

// Frame is one line of a feed. Exactly one member is set; a reader leaves out
// frames that it does not know.
type Frame struct {
	// Hello begins a stream, or begins it anew.
	Hello *Hello `json:"hello,omitempty"`
	// Put adds or replaces a guest.
	Put *Guest `json:"put,omitempty"`
	// Keys replaces the token keys of a guest.
	Keys *Keys `json:"keys,omitempty"`
	// Remove takes a guest away, by the identifier of its instance.
	Remove string `json:"remove,omitempty"`
	// Drop tells what credentials are void. It is in force at once, and is not
	// recorded: credentials are held in memory alone.
	Drop *Drop `json:"drop,omitempty"`
	// Commit puts all frames since the one before in force, together. The
	// state is then that of this revision. Without frames before it, it tells
	// that there is nothing new.
	Commit uint64 `json:"commit,omitempty"`
	// Sum, on disk, is the CRC-32C of the lines since the commit before, in
	// hexadecimal: a damaged line may still be a frame.
	Sum string `json:"sum,omitempty"`
}

// Hello is the first frame of a stream.
type Hello struct {
	Version int `json:"version"`
	// Store identifies the history that revisions belong to.
	Store string `json:"store"`
	// Node is the name that the control plane knows the reader by.
	Node string `json:"node"`
	// Forms of signatures over identity documents that the control plane makes, by dialect.
	Forms map[string][]string `json:"forms,omitempty"`
	// Snapshot: what the reader has is void; everything follows up to the next commit.
	Snapshot bool `json:"snapshot,omitempty"`
}

// Drop is what credentials must not be given out any more: they were revoked,
// or their role has changed.
type Drop struct {
	All bool `json:"all,omitempty"`
	// Roles, each as dialect, account and name.
	Roles [][3]string `json:"roles,omitempty"`
	// Instances by identifier.
	Instances []string `json:"instances,omitempty"`
}

// Guest is an instance with what a node needs to serve it.
type Guest struct {
	Instance *instance.Instance `json:"instance"`
	Keys     token.Lease        `json:"keys"`
}

// Keys are the token keys of a guest that is there already.
type Keys struct {
	ID   string      `json:"id"`
	Keys token.Lease `json:"keys"`
}

// maxLine bounds a frame in bytes. A record of the store is at most 1.5 MiB.
const maxLine = 4 << 20

// Append appends a frame as a line.
func Append(dst []byte, f Frame) ([]byte, error) {
	b := bytes.NewBuffer(dst)
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	if err := e.Encode(f); err != nil {
		return dst, fmt.Errorf("encode frame: %w", err)
	}
	return b.Bytes(), nil
}

// Reader reads frames.
type Reader struct {
	lines *bufio.Scanner
	sum   uint32 // of the lines since the last commit
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sumOf is the text of a sum.
func sumOf(sum uint32) string { return fmt.Sprintf("%08x", sum) }

// NewReader returns a reader of the frames of r.
func NewReader(r io.Reader) *Reader {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 64<<10), maxLine)
	s.Split(wholeLines)
	return &Reader{lines: s}
}

// errTorn is the end of a stream within a line.
var errTorn = errors.New("the last line has no end")

// wholeLines is bufio.ScanLines but for a last line without its end: that is a
// frame which was cut off, not one.
func wholeLines(data []byte, atEOF bool) (int, []byte, error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, errTorn
	}
	return 0, nil, nil
}

// Next returns the next frame, io.EOF at the end of the stream, and
// io.ErrUnexpectedEOF if it ends within a frame.
func (r *Reader) Next() (Frame, error) {
	if !r.lines.Scan() {
		switch err := r.lines.Err(); {
		case err == nil:
			return Frame{}, io.EOF
		case errors.Is(err, errTorn):
			return Frame{}, io.ErrUnexpectedEOF
		default:
			return Frame{}, err
		}
	}
	var f Frame
	if err := json.Unmarshal(r.lines.Bytes(), &f); err != nil {
		return Frame{}, fault.Wrap(fault.Invalid, err, "the feed has a line that is no frame")
	}
	if f.Commit == 0 {
		r.sum = crc32.Update(r.sum, castagnoli, r.lines.Bytes())
		return f, nil
	}
	if f.Sum != "" && f.Sum != sumOf(r.sum) {
		return Frame{}, fault.New(fault.Invalid, "the lines before commit %d are not what was written", f.Commit)
	}
	r.sum = 0
	return f, nil
}
