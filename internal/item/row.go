// Package item is the item engine. A dialect declares its metadata items as
// rows of one table; the engine compiles the table into a tree and derives
// everything else from it: routing, listings, absent items, version folders,
// the whole tree as one JSON object, metric labels and the reference page.
//
// The engine knows no cloud. It renders into buffers that the caller owns and
// reads an immutable instance, so it needs neither locks nor a cache, and a
// look-up allocates nothing.
package item

import (
	"openimds/internal/instance"
)

// Class tells how an item's value comes about and how careful to be with it.
type Class uint8

const (
	// Value is a function of the instance.
	Value Class = iota
	// Opaque is a value served as raw bytes (user data, vendor data); never logged.
	Opaque
	// Credential is secret: left out of Whole, never logged.
	Credential
	// Identity is part of the identity document and its signatures.
	Identity
	// Whole is the item's own directory as one JSON object of strings. Such a row has no Get.
	Whole
)

var classNames = [...]string{"value", "opaque", "credential", "identity", "whole"}

// String returns the class in a word.
func (c Class) String() string { return classNames[c] }

// Row is one metadata item.
type Row struct {
	// Path below the version folder, without slashes at its ends. A segment
	// in braces is a placeholder whose keys a Dir of the same path lists.
	Path string
	// Since is the first version that has the item; empty: all have it.
	Since string
	// Class of the value.
	Class Class
	// Unlisted items are served but not listed.
	Unlisted bool
	// Fact is the id of the fact in docs/spec that the item implements.
	Fact string
	// Doc is one line for the reference page.
	Doc string
	// Get appends the value to dst. It reports false when the instance has
	// no such item; what it appended is then dropped. It must not keep q.
	Get func(dst []byte, q *Query) ([]byte, bool)
	// Has reports whether the instance has the item. Listings ask it, so that
	// they need not make a value that is dear. Nil: Get is asked.
	Has func(q *Query) bool
}

// Dir declares what the rows cannot say about a directory. A path whose last
// segment is a placeholder needs one, for its keys; other directories need one
// only to be printed differently.
type Dir struct {
	// Path, as in Row.
	Path string
	// Keys appends the keys of the placeholder for q's instance. Strings
	// must live as long as the instance.
	Keys func(dst []string, q *Query) []string
	// Label appends the key as a listing shows it, and its slash if it has
	// one. Nil: the key, with a slash when it is a directory.
	Label func(dst []byte, q *Query, key string) []byte
	// Bare directories are listed without a slash.
	Bare bool
	// Aliases are other spellings of the last segment; served, not listed.
	Aliases []string
}

// MaxKeys is how many placeholders a path may have.
const MaxKeys = 4

// Query is one look-up. The caller fills the exported fields and may use a
// Query again for the next one, which saves the allocation of its scratch
// space. A Query serves one goroutine at a time.
type Query struct {
	// Instance whose metadata is read.
	Instance *instance.Instance
	// Version is an index into the tree's versions.
	Version int
	// Now is the time of the request in Unix seconds.
	Now int64
	// Tokened tells that the request carried a valid session token.
	Tokened bool
	// RawQuery is the query string, undecoded.
	RawQuery []byte
	// Credentials holds those of the instance's role; nil: there are none but what the instance itself has.
	Credentials Credentials
	// Signer signs identity documents; nil: nobody does.
	Signer Signer
	// Prompt refuses, with NotPrompt, items whose values may have to be waited for or computed for long: those of class Credential and Identity.
	Prompt bool
	// Refusal is why Get gave no value, where that is not that there is none.
	// Resolve clears it.
	Refusal Refusal

	keys    [MaxKeys]string
	indexes [MaxKeys]int
	names   []string
	entries []entry
	text    []byte
}

// Signer makes the signatures of identity documents. Both methods are safe for
// concurrent use.
type Signer interface {
	// Signs reports whether a signature of this form can be had for in. It
	// does not block.
	Signs(in *instance.Instance, form string) bool
	// Sign returns the signature over document, which is in's, in a form that
	// its dialect knows, as it is served. It must not be changed, and document
	// may be changed as soon as Sign returns. Without a signature it says why.
	Sign(in *instance.Instance, form string, document []byte) ([]byte, Refusal)
}

// Refusal is why there is no value at the moment.
type Refusal uint8

// Refusals.
const (
	// NotRefused: there is a value, or there never is one.
	NotRefused Refusal = iota
	// TooMany: the instance asked for too much that is dear.
	TooMany
	// Unavailable: what makes the value does not answer.
	Unavailable
	// NotPrompt: the query wants a value at once, and this one may take longer.
	NotPrompt
)

// Key returns the key that the i-th placeholder of the path is bound to.
func (q *Query) Key(i int) string { return q.keys[i] }

// Index returns the position of that key in what Dir.Keys gave.
func (q *Query) Index(i int) int { return q.indexes[i] }

// entry is one line of a listing while it is sorted: text[from:to].
type entry struct{ from, to int }
