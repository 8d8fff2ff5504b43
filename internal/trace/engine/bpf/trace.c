// SPDX-License-Identifier: (MIT OR GPL-2.0-only)
// Who connects to a metadata address, and what goes over the connection.
//
// Three builds of this file make the three levels of the tracer:
//
//   rich.o   connect hooks that describe the process in full (needs BTF, 5.10)
//   plain.o  connect hooks that use nothing but stable interfaces (5.8)
//   perf.o   a tracepoint in place of connect hooks, a perf buffer in place of
//            the ring buffer (5.4)
//
// The programs only observe: all of them let pass what they see.
#include "kernel.h"

char _license[] SEC("license") = "Dual MIT/GPL";

// What to watch; written before the programs are loaded, and constant for the
// verifier, which so removes the comparisons that are not needed.
enum { MAX_PORTS = 4, MAX_IP4 = 8, MAX_IP6 = 4 };
const volatile __u32 n_ports, n_ip4, n_ip6;
const volatile __be16 ports[MAX_PORTS];
const volatile __be32 ip4[MAX_IP4];
const volatile __u32 ip6[MAX_IP6 * 4];
// Where the record of the tracepoint has IPv6 addresses; it changed in 5.6.
const volatile __u32 tp_saddr6;

enum { VERSION = 1 };
enum kind { CONNECT = 1, REQUEST = 2, ANSWER = 3 };

// The process that connected.
struct who {
	__u64 start;  // of the process, ns since boot; 0: not known
	__u64 cgroup; // id in the v2 hierarchy
	__u32 netns;  // inode; 0: not known
	__u32 pid, tid, uid;
	__u32 loginuid;
	__u32 ns_pid;    // in its innermost namespace; 0: not known
	char comm[16];   // of the thread
	char leader[16]; // of the process
};

// What every record begins with.
struct head {
	__u8 version, kind;
	__u8 family; // 4 or 6
	__u8 known;  // who is filled in
	__u32 seq;   // TCP sequence number of the first byte of the segment
	__u64 time;  // monotonic, ns
	__u64 cookie;
	__u8 src[16], dst[16]; // of the packet; IPv4 in the first four bytes
	__u16 sport, dport;
	__u32 size;   // payload of the segment
	__u32 offset; // where in it this record's bytes begin
	__u32 got;    // how many bytes this record has
	__u32 skip;   // bytes of the record before them: headers of the packet
	__u32 ack;    // of an answer
	struct who who;
};

struct parent {
	__u64 start;
	__u32 pid;
	__u32 : 32;
	char comm[16];
};

enum { PARENTS = 8, NAMES = 4, NAME = 80, ARGS = 512 };

struct connect {
	struct head head;
	struct parent parent[PARENTS];
	char cgroup[NAMES][NAME]; // three names up from the process's own, and that of the v1 memory hierarchy
	__u32 args;               // bytes of the command line, which may be more than are here
	__u32 : 32;
	char argv[ARGS];
};

enum { SMALL = 512, LARGE = 4096, PIECES = 4, STATUS = 64 };

struct small {
	struct head head;
	__u8 data[SMALL];
};
struct large {
	struct head head;
	__u8 data[LARGE];
};
struct status {
	struct head head;
	__u8 data[STATUS];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64); // socket cookie
	__type(value, struct who);
} socks SEC(".maps");

enum count { LOST_CONNECT, LOST_REQUEST, LOST_ANSWER, UNKNOWN_SOCKET, CUT, COUNTS };

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTS);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

static __always_inline void count(__u32 what)
{
	__u64 *n = bpf_map_lookup_elem(&counts, &what);
	if (n)
		*n += 1;
}

static __always_inline int is_port(__be16 port)
{
	for (int i = 0; i < MAX_PORTS && i < n_ports; i++)
		if (port == ports[i])
			return 1;
	return 0;
}

static __always_inline int is_ip4(__be32 a)
{
	for (int i = 0; i < MAX_IP4 && i < n_ip4; i++)
		if (a == ip4[i])
			return 1;
	return 0;
}

static __always_inline int is_ip6(__u32 a, __u32 b, __u32 c, __u32 d)
{
	for (int i = 0; i < MAX_IP6 && i < n_ip6; i++)
		if (a == ip6[4 * i] && b == ip6[4 * i + 1] && c == ip6[4 * i + 2] && d == ip6[4 * i + 3])
			return 1;
	return 0;
}

#ifndef PERF
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 2 << 20);
} events SEC(".maps");
#include "connect.h"
#else
struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(max_entries, 0); // one for each processor, set when loaded
	__type(key, __u32);
	__type(value, __u32);
} events SEC(".maps");
#include "tracepoint.h"
#endif

#include "packet.h"
