//go:build unix

package sink

import "syscall"

// nofollow: who can make links in the directory must not choose the file.
const nofollow = syscall.O_NOFOLLOW
