package deliver

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"openimds/internal/state"
)

// Headers of a message.
const (
	// HeaderID is the message's id, the same at every try.
	HeaderID = "Openimds-Message-Id"
	// HeaderTime is when it was sent, in Unix seconds.
	HeaderTime = "Openimds-Timestamp"
	// HeaderSignature is v1= and a Signature in hexadecimal digits.
	HeaderSignature = "Openimds-Signature"
)

// Signature is HMAC-SHA256 over the time, a point, the id, a point, and the
// body.
func Signature(secret []byte, at, id string, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(at + "." + id + "."))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

var errForbidden = errors.New("messages do not go to this address: it is this machine, a link, or a metadata service")

// metadata are the addresses of metadata services that are not link-local.
var metadata = []netip.Addr{
	netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("fd00:100::100:200"), netip.MustParseAddr("fd00:ec2::254"),
}

// Allowed reports whether messages may go to an address: whoever may put alarms
// must not reach with them what only this machine reaches.
func Allowed(a netip.Addr, loopback bool) bool {
	a = a.Unmap()
	for _, m := range metadata {
		if a.WithZone("") == m {
			return false
		}
	}
	if a.IsLoopback() {
		return loopback
	}
	return a.IsGlobalUnicast()
}

// newClient makes a client that looks at the address it connects to, follows
// nobody elsewhere and knows no proxy.
func newClient(loopback bool) *http.Client {
	d := &net.Dialer{Timeout: tryTime, Control: func(_, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil || !Allowed(to.Addr(), loopback) {
			return errForbidden
		}
		return nil
	}}
	return &http.Client{
		Timeout:       tryTime,
		Transport:     &http.Transport{DialContext: d.DialContext, MaxIdleConns: together, IdleConnTimeout: 30 * time.Second, TLSHandshakeTimeout: tryTime},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// send tries once.
func (c *Courier) send(ctx context.Context, n *state.Notice) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, n.URL, strings.NewReader(n.Body))
	if err != nil {
		return errors.New("the address cannot be read")
	}
	at := strconv.FormatInt(c.cfg.Now().Unix(), 10)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "openimds")
	r.Header.Set(HeaderID, n.ID)
	r.Header.Set(HeaderTime, at)
	if len(c.cfg.Secret) > 0 {
		r.Header.Set(HeaderSignature, "v1="+Signature(c.cfg.Secret, at, n.ID, []byte(n.Body)))
	}
	res, err := c.client.Do(r)
	if err != nil {
		return plain(err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection can be used again
	_ = res.Body.Close()
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return fmt.Errorf("%w: %d", errStatus, res.StatusCode)
	}
	return nil
}

// plain takes the address out of an error: its path may hold a secret.
func plain(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
