package wire

import (
	"context"
	"net"
)

// Listen opens a listener for Serve. Network is tcp, tcp4 or tcp6, address an
// IP address and a port.
//
// It speaks plain TCP, never multipath TCP, and without keep-alive probes: the
// server's own time limits are shorter. On Linux a connection is accepted once
// its first bytes are there, or after about a second without.
func Listen(ctx context.Context, network, address string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAlive: -1, Control: control}
	lc.SetMultipathTCP(false)
	return lc.Listen(ctx, network, address)
}
