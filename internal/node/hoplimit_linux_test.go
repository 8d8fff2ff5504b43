package node

import (
	"fmt"
	"io"
	"net/netip"
	"testing"
	"time"

	"openimds/internal/instance"
	"openimds/internal/netenv"
	"openimds/internal/testnet"
)

// behindRouter is a guest whose packets pass a router: a container in an
// instance, with addresses that the instance owns.
func behindRouter(t *testing.T, host *testnet.Namespace) (guest *testnet.Namespace) {
	t.Helper()
	host.NoDAD(t)
	router, guest := testnet.NewNamespace(t), testnet.NewNamespace(t)
	router.NoDAD(t)
	guest.NoDAD(t)
	testnet.Veth(t, host, "tap0", router, "eth0")
	testnet.Veth(t, router, "inner0", guest, "eth0")
	router.Sysctl(t, "net/ipv4/ip_forward", "1")
	router.Sysctl(t, "net/ipv6/conf/all/forwarding", "1")
	router.Sysctl(t, "net/ipv4/conf/eth0/proxy_arp", "1")
	router.Sysctl(t, "net/ipv6/conf/eth0/proxy_ndp", "1")
	router.IP(t, "link set eth0 down", "link set eth0 address "+macA, "link set eth0 up",
		"addr add 10.0.0.5/24 dev eth0", "addr add 2001:db8::5/64 dev eth0 nodad",
		"route add default dev eth0", "-6 route add default dev eth0 metric 10",
		"addr add 192.168.9.1/24 dev inner0", "addr add fd99::1/64 dev inner0 nodad",
		"route add 10.0.0.9/32 dev inner0", "-6 route add 2001:db8::9/128 dev inner0",
		"-6 neigh add proxy 2001:db8::9 dev eth0")
	guest.IP(t, "addr add 192.168.9.2/24 dev eth0", "addr add 10.0.0.9/32 dev eth0", "addr add fd99::2/64 dev eth0 nodad", "addr add 2001:db8::9/128 dev eth0 nodad",
		"route add default via 192.168.9.1 src 10.0.0.9", "-6 route add default via fd99::1 src 2001:db8::9 metric 10")
	return guest
}

// EC2-HOP-01, SEC-60: who is behind a router gets a token exactly when the hop
// limit lets it pass, on the first and on a reused connection; reads are not
// limited. What was sent and never arrived is counted.
func TestHopLimitBehindARouter(t *testing.T) {
	host := testnet.NewNamespace(t)
	guest := behindRouter(t, host)
	at := netenv.Place{Namespace: host.Path, Interface: "tap0"}
	in := attached(twinIDs[0], at, macA, "10.0.0.5", "2001:db8::5", "10.0.0.9", "2001:db8::9")
	// A client that gets no acknowledgement cannot tell the server that it has
	// given up, so it is the end of idleness that shows it.
	r := newRealNodeWith(t, Config{IdleTimeout: 2 * time.Second}, in)
	for _, a := range []string{metadata4, metadata6} {
		r.follow(Listener{Dialect: "ec2", Address: a, Namespace: host.Path, Interface: "tap0", Attach: true})
	}
	r.wait(1)
	time.Sleep(50 * time.Millisecond)
	victims := uint64(0)
	for _, limit := range []int{1, 2, 64} {
		next := *in
		next.Metadata.HTTPPutResponseHopLimit = limit
		if err := r.Update([]*instance.Instance{&next}, nil); err != nil {
			t.Fatal(err)
		}
		for _, address := range []string{metadata4, metadata6} {
			for _, reused := range []bool{false, true} {
				t.Run(fmt.Sprintf("limit %d, %s, reused %v", limit, netip.MustParseAddrPort(address).Addr(), reused), func(t *testing.T) {
					c := connect(t, guest, "", address)
					if reused {
						c.want(t, 200, twinIDs[0], whoAmI)
					}
					status, _, err := c.ask(getToken, ttl)
					switch {
					case limit >= 2 && (err != nil || status != 200):
						t.Errorf("no token: %d, %v", status, err)
					case limit < 2 && err == nil:
						t.Errorf("a token that should not arrive: %d", status)
					}
					if limit < 2 {
						victims += 2 // one below
						closing := connect(t, guest, "", address)
						if _, _, err := closing.ask(getToken, ttl, "Connection: close"); err == nil {
							t.Error("a token that should not arrive, on a connection that ends with it")
						}
						_ = c.Close()
					} else {
						c.want(t, 200, twinIDs[0], whoAmI)
					}
				})
			}
			connect(t, guest, "", address).want(t, 200, twinIDs[0], whoAmI)
		}
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		u, err := r.Usage(in.ID)
		if err != nil {
			t.Fatal(err)
		}
		if u.HopLimitSuspects == victims {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("counted %d answers that were not acknowledged, want %d", u.HopLimitSuspects, victims)
		}
	}
}

// SEC-60, SEC-69: whoever asks for a token and, without waiting, for something else,
// does not get the token with the packets of the other answer.
func TestHopLimitPipelined(t *testing.T) {
	host := testnet.NewNamespace(t)
	guest := behindRouter(t, host)
	at := netenv.Place{Namespace: host.Path, Interface: "tap0"}
	r := newRealNode(t, attached(twinIDs[0], at, macA, "10.0.0.5", "2001:db8::5", "10.0.0.9", "2001:db8::9"))
	for _, a := range []string{metadata4, metadata6} {
		r.follow(Listener{Dialect: "ec2", Address: a, Namespace: host.Path, Interface: "tap0", Attach: true})
	}
	r.wait(1)
	time.Sleep(50 * time.Millisecond)
	for _, address := range []string{metadata4, metadata6} {
		for _, pause := range []time.Duration{0, 100 * time.Millisecond} {
			c := connect(t, guest, "", address)
			head := " HTTP/1.1\r\nHost: 169.254.169.254\r\nConnection: keep-alive\r\n"
			if _, err := io.WriteString(c, getToken+head+ttl+"\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(pause)
			for range 5 {
				if _, err := io.WriteString(c, whoAmI+head+"\r\n"); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.SetReadDeadline(time.Now().Add(1500 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(c); len(b) > 0 {
				t.Errorf("%s: %q, %v", address, b, err)
			}
		}
	}
}
