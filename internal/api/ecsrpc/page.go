package ecsrpc

import (
	"encoding/hex"
	"net/http"
)

// paging is the old style, by number.
type paging struct {
	Number *int `p:"PageNumber"`
	Size   *int `p:"PageSize"`
}

// bounds returns number and size of the page with their defaults.
func (p paging) bounds(most int) (number, size int, err error) {
	number, size = 1, 10
	if p.Number != nil {
		number = *p.Number
	}
	if p.Size != nil {
		size = *p.Size
	}
	switch {
	case number < 1:
		return 0, 0, invalid("PageNumber")
	case size < 1 || size > most:
		return 0, 0, invalid("PageSize")
	}
	return number, size, nil
}

// from returns the items of a page and all that follow it.
func from[T any](all []T, number, size int) []T {
	if number-1 > len(all)/size {
		return nil
	}
	return all[min((number-1)*size, len(all)):]
}

// page returns the items of a page.
func page[T any](all []T, number, size int) []T {
	rest := from(all, number, size)
	return rest[:min(size, len(rest))]
}

// after returns at most size items that come after the one that token names,
// and the token of what follows them, which is empty at the end. The items are
// sorted by id. A token holds the last id that was seen: a page stays right
// when that item, or any before it, goes.
func after[T any](all []T, token string, size int, id func(T) string) ([]T, string, error) {
	if token != "" {
		last, err := hex.DecodeString(token)
		if err != nil {
			return nil, "", refuse(http.StatusBadRequest, "InvalidNextToken", "The specified parameter \"NextToken\" is not valid.")
		}
		for len(all) > 0 && id(all[0]) <= string(last) {
			all = all[1:]
		}
	}
	if len(all) <= size {
		return all, "", nil
	}
	return all[:size], hex.EncodeToString([]byte(id(all[size-1]))), nil
}
