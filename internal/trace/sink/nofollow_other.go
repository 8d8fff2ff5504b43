//go:build !unix

package sink

const nofollow = 0
