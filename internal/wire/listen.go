package wire

import (
	"context"
	"net"
	"syscall"
)

// Listen opens a listener for Serve. Network is tcp, tcp4 or tcp6, address an
// IP address and a port.
//
// It speaks plain TCP, never multipath TCP, and without keep-alive probes: the
// server's own time limits are shorter. On Linux a connection is accepted once
// its first bytes are there, or after about a second without. The socket is
// opened on the calling thread, and each of more is called with it before it
// is bound.
func Listen(ctx context.Context, network, address string, more ...func(network, address string, raw syscall.RawConn) error) (net.Listener, error) {
	lc := net.ListenConfig{KeepAlive: -1, Control: control}
	if len(more) > 0 {
		lc.Control = func(network, address string, raw syscall.RawConn) error {
			for _, set := range more {
				if err := set(network, address, raw); err != nil {
					return err
				}
			}
			return control(network, address, raw)
		}
	}
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return own(ln)
}
