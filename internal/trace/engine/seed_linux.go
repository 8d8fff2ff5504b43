package engine

import (
	"openimds/internal/trace/record"
)

// established is the bit of that state.
const established = 1 << 1

// openConnections finds the connections that were open before the programs
// were attached, in every network namespace, and who holds them. What cannot be
// found is seen with its next request, without a name.
func openConnections(o Options) []record.Record {
	var open []sock
	for inode, pid := range namespaces() {
		err := inNamespace(pid, func() error {
			return listSockets(established, func(s sock) {
				if o.watched(s.dst) {
					open = append(open, s)
				}
			})
		})
		if err != nil && o.Log != nil {
			o.Log.Debug("connections that are open already are not known", "netns", inode, "err", err)
		}
	}
	inodes := map[uint32]bool{}
	for _, s := range open {
		inodes[s.inode] = true
	}
	if len(inodes) == 0 {
		return nil
	}
	found := owners(inodes)
	var all []record.Record
	for _, s := range open {
		if w := found[s.inode]; w != nil {
			all = append(all, record.Record{Kind: record.Connect, Time: monotonic(), Conn: s.cookie, Dst: s.dst, Who: w, Seeded: true})
		}
	}
	return all
}
