package main

import (
	"log/slog"

	"openimds/internal/config"
	"openimds/internal/node"
	"openimds/internal/throttle"
	"openimds/internal/token"
)

// settings are the service's settings from a file.
type settings struct{ config.Service }

// node turns settings into those of a data plane. Loopback is for development.
func (s settings) node(ring *token.Ring, log *slog.Logger, loopback bool) node.Config {
	return node.Config{
		Ring: ring, Logger: log, Loopback: loopback,
		Throttle:               throttle.PerSecond(float64(s.Throttle.Rate), s.Throttle.Burst),
		Hosts:                  s.Hosts,
		StrictForwarding:       s.Security.StrictForwarding,
		ForwardedReads:         s.Security.ForwardedReads(),
		Connections:            s.Limits.Connections,
		ConnectionsPerInstance: s.Limits.ConnectionsPerInstance,
		HeaderTimeout:          s.Limits.HeaderTimeout,
		IdleTimeout:            s.Limits.IdleTimeout,
	}
}
