package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"openimds/internal/config"
	"openimds/internal/feed/hub"
	"openimds/internal/instance"
	"openimds/internal/item"
	"openimds/internal/node"
	"openimds/internal/pki"
	"openimds/internal/session"
	"openimds/internal/token"
)

// fleet serves the nodes of a fleet: a hub, and the TLS server that it is
// behind.
type fleet struct {
	*hub.Hub
	listener net.Listener
	server   *http.Server
}

// openFleet listens for nodes.
func openFleet(ctx context.Context, l *line, f *config.Feed, credentials string, p *plane, keys *keyring, signer hub.Signer) (*fleet, error) {
	key, err := keyPath(f.Key, credentials)
	if err != nil {
		return nil, usageError{fmt.Errorf("feed.%w", err)}
	}
	tls, err := pki.Files{Certificate: f.Certificate, Key: key, Authority: f.Authority}.ServerConfig()
	if err != nil {
		return nil, usageError{fmt.Errorf("feed: %w (imds fleet init makes all three)", err)}
	}
	ln, err := l.listen(ctx, "feed", f.Address)
	if err != nil {
		return nil, setting{"feed", "as feed.address"}.problem(f.Address, err)
	}
	h := hub.New(hub.Config{
		Usage: p.usage.report,
		DB:    p.db, Lease: keys.lease, Epoch: func() int64 { return keys.ring.Secrets().First },
		Credentials: p.keeper.deliver, Signer: signer, Document: documentOf, Logger: p.log,
	})
	keys.changed = h.Rotate
	server := &http.Server{
		Handler: h.Handler(), TLSConfig: tls,
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelWarn),
	}
	return &fleet{h, ln, server}, nil
}

// list returns what lists the nodes; nil where there is no fleet.
func (f *fleet) list() func() []hub.Node {
	if f == nil {
		return nil
	}
	return f.Nodes
}

// serve serves nodes until Shutdown.
func (f *fleet) serve() error {
	if err := f.server.ServeTLS(f.listener, "", ""); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve nodes on %s: %w", f.listener.Addr(), err)
	}
	return nil
}

// shutdown ends the streams, and what was asked besides.
func (f *fleet) shutdown(ctx context.Context) error {
	f.Close()
	return f.server.Shutdown(ctx)
}

// lease derives the token keys of an instance.
func (k *keyring) lease(id string) (token.Lease, error) {
	s := k.ring.Secrets()
	return s.Lease(id)
}

// deliver returns the credentials that an instance of a node is to be given
// now, which are those that it would be given here.
func (k *keeper) deliver(in *instance.Instance, delivery string) (*instance.Credentials, error) {
	return k.Holder(in.ID).Get(in, delivery == session.Tokened, time.Now().Unix())
}

// documentOf makes the identity document of an instance, as the data plane
// does.
func documentOf(in *instance.Instance) []byte {
	for _, d := range node.Dialects() {
		if d.Name != in.Dialect {
			continue
		}
		text, found := d.Tree.Resolve(nil, &item.Query{Instance: in}, []byte(item.Latest+"/dynamic/instance-identity/document"))
		if found.Kind == item.Leaf {
			return text
		}
	}
	return nil
}
