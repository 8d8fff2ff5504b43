// Package ec2 is the dialect of AWS EC2: its addresses, its versions, its
// table of metadata items, the exact form of its values and of its answers.
// The facts that it implements stand, with their sources, in docs/spec/ec2.md;
// what was chosen where the vendor is silent, in docs/divergences.md.
package ec2

import (
	"net/http"
	"net/netip"

	"openimds/internal/dialect"
	"openimds/internal/item"
)

// New returns the dialect. The table is part of the program: a mistake in it
// panics.
func New() *dialect.Dialect {
	return &dialect.Dialect{
		Name: "ec2",
		Addresses: []netip.Addr{
			netip.AddrFrom4([4]byte{169, 254, 169, 254}), // EC2-ADDR-01
			netip.MustParseAddr("fd00:ec2::254"),         // EC2-ADDR-02
		},
		Tree: item.Must(item.Spec{Versions: versions(), Rows: rows(), Dirs: dirs()}),
		Session: dialect.Session{
			TokenHeader: "x-aws-ec2-metadata-token",
			TTLHeader:   "x-aws-ec2-metadata-token-ttl-seconds",
			Prefix:      [4]byte{1, 0, 4, 0}, // EC2-TOK-03
		},
		Refusals: dialect.Refusals{
			MissingToken:     http.StatusUnauthorized,       // EC2-TOK-08
			InexactTokenPath: http.StatusForbidden,          // EC2-TOK-13
			Throttled:        http.StatusServiceUnavailable, // EC2-THR-01
			ForwardedRead:    http.StatusForbidden,          // EC2-TOK-12
			Expect100:        http.StatusExpectationFailed,  // EC2-HDR-11
			TokenPathAllow:   "OPTIONS, PUT",                // EC2-TOK-14
		},
		CloseByDefault:  true, // EC2-HDR-05
		DefaultHopLimit: 1,    // EC2-HOP-01
		IPv6OptIn:       true, // EC2-ADDR-02
		Append:          newWriter().append,
	}
}

// versions returns the version folders from the oldest to the newest
// (EC2-VER-01).
func versions() []string {
	return []string{
		"1.0",
		"2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15",
		"2008-02-01", "2008-09-01",
		"2009-04-04",
		"2011-01-01", "2011-05-01",
		"2012-01-12",
		"2014-02-25", "2014-11-05",
		"2015-10-20",
		"2016-04-19", "2016-06-30", "2016-09-02",
		"2018-03-28", "2018-08-17", "2018-09-24",
		"2019-10-01",
		"2020-10-27",
		"2021-01-03", "2021-03-23", "2021-07-15",
		"2022-07-09", "2022-09-24",
		"2024-04-11",
	}
}
