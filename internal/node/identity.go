package node

import (
	"slices"

	"openimds/internal/identify"
	"openimds/internal/instance"
	"openimds/internal/netenv"
)

// appendClaims appends where an instance calls from: addresses in its network,
// and addresses on interfaces of the host (SEC-61). Only a running instance is
// answered.
func appendClaims(claims []identify.Claim[*guest], in *instance.Instance, g *guest) []identify.Claim[*guest] {
	if in.State != "running" && in.State != "" {
		return claims
	}
	scope := identify.Scope{Dialect: in.Dialect, Network: in.Network}
	for _, a := range in.Addresses() {
		claims = append(claims, identify.Claim[*guest]{Scope: scope, Address: a, Target: g})
	}
	for i := range in.Interfaces {
		f := &in.Interfaces[i]
		if f.Attachment.Interface == "" {
			continue
		}
		scope := scopeOf(in.Dialect, netenv.Place{Namespace: f.Attachment.Namespace, Interface: f.Attachment.Interface}.Clean())
		for _, a := range f.Callers() {
			claims = append(claims, identify.Claim[*guest]{Scope: scope, Address: a, Network: in.Network, Target: g})
		}
	}
	return claims
}

// sameAttachments reports whether two snapshots of an instance are found on
// the same interfaces of the host, by the same addresses.
func sameAttachments(a, b *instance.Instance) bool {
	return slices.EqualFunc(a.Interfaces, b.Interfaces, func(f, g instance.Interface) bool {
		return f.Attachment == g.Attachment && slices.Equal(f.Callers(), g.Callers())
	})
}
