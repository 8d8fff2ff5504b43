//go:build !linux

package wire

import "net"

// inlineConn is for Linux alone.
type inlineConn struct{}

func (*inlineConn) read([]byte) (int, error) { return 0, errWait }

func (*inlineConn) ended() bool { return false }

func (s *Server) acceptInline(net.Listener, any) (done bool, err error) { return false, nil }
