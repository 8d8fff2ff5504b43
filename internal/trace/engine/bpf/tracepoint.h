// SPDX-License-Identifier: (MIT OR GPL-2.0-only)
// The tracepoint sock/inet_sock_set_state in place of connect hooks. At
// SYN_SENT the process is known, but not yet its port; at ESTABLISHED the port
// is known, but another process may be running; the socket's address in the
// kernel joins the two.
#pragma once

struct tuple {
	__u8 src[16], dst[16];
	__u16 sport, dport;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64); // address of the socket
	__type(value, struct who);
} pending SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct tuple);
	__type(value, struct who);
} tuples SEC(".maps");

// The part of the record that has always been the same.
struct set_state {
	__u64 common;
	__u64 sock;
	int from, to;
	__u16 sport, dport, family;
	__u8 protocol;
};

static __always_inline struct who *adopt(struct head *h)
{
	struct tuple t;
	__builtin_memcpy(t.src, h->src, 16);
	__builtin_memcpy(t.dst, h->dst, 16);
	t.sport = h->sport;
	t.dport = h->dport;
	struct who *w = bpf_map_lookup_elem(&tuples, &t);
	if (!w)
		return 0;
	struct who copy;
	__builtin_memcpy(&copy, w, sizeof(copy));
	bpf_map_update_elem(&socks, &h->cookie, &copy, 0);
	return bpf_map_lookup_elem(&socks, &h->cookie);
}

SEC("tracepoint/sock/inet_sock_set_state")
int set_state(struct set_state *ctx)
{
	struct head h = {};
	struct tuple t = {};
	__u32 a[8]; // source and destination, IPv6; IPv4 is mapped into it
	__u64 sock = ctx->sock;
	int to = ctx->to;

	if (to != TCP_SYN_SENT && to != TCP_ESTABLISHED && to != TCP_CLOSE)
		return 0;
	if (ctx->protocol != IPPROTO_TCP || !is_port(bpf_htons(ctx->dport)))
		return 0;
	if (bpf_probe_read(a, sizeof(a), (void *)ctx + tp_saddr6))
		return 0;
	if (!a[4] && !a[5] && a[6] == 0xffff0000) {
		if (!is_ip4(a[7]))
			return 0;
		h.family = 4;
		*(__u32 *)t.src = a[3];
		*(__u32 *)t.dst = a[7];
	} else {
		if (!is_ip6(a[4], a[5], a[6], a[7]))
			return 0;
		h.family = 6;
		__builtin_memcpy(t.src, a, 16);
		__builtin_memcpy(t.dst, a + 4, 16);
	}
	t.sport = ctx->sport;
	t.dport = ctx->dport;

	if (to == TCP_ESTABLISHED) {
		struct who *w = bpf_map_lookup_elem(&pending, &sock);
		if (w) {
			__builtin_memcpy(&h.who, w, sizeof(h.who));
			bpf_map_update_elem(&tuples, &t, &h.who, 0);
			bpf_map_delete_elem(&pending, &sock);
		}
		return 0;
	}
	if (to == TCP_CLOSE) {
		bpf_map_delete_elem(&pending, &sock);
		return 0;
	}
	__u64 id = bpf_get_current_pid_tgid();
	h.version = VERSION;
	h.kind = CONNECT;
	h.known = 1;
	h.time = bpf_ktime_get_ns();
	__builtin_memcpy(h.dst, t.dst, 16);
	h.dport = t.dport;
	h.who.cgroup = bpf_get_current_cgroup_id();
	h.who.pid = id >> 32;
	h.who.tid = (__u32)id;
	h.who.uid = (__u32)bpf_get_current_uid_gid();
	h.who.loginuid = -1;
	bpf_get_current_comm(h.who.comm, sizeof(h.who.comm));
	bpf_map_update_elem(&pending, &sock, &h.who, 0);
	if (bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &h, sizeof(h)))
		count(LOST_CONNECT);
	return 0;
}
