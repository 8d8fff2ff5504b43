// SPDX-License-Identifier: (MIT OR GPL-2.0-only)
// The packet hooks: every packet of every socket in the cgroup passes here, so
// the way out for those that are of no interest is short.
#pragma once

struct place {
	__u32 payload; // where it begins, from the IP header on
	__u32 size;
	__u32 tcp;
};

// watched tells whether the peer of a socket is a metadata address.
static __always_inline int watched(struct __sk_buff *skb, struct bpf_sock *sk)
{
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return is_ip4(sk->dst_ip4);
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return is_ip6(sk->dst_ip6[0], sk->dst_ip6[1], sk->dst_ip6[2], sk->dst_ip6[3]);
	return 0;
}

// find returns where the payload of a TCP segment is; 0: it is none, or empty.
static __always_inline int find(struct __sk_buff *skb, struct place *p)
{
	__u8 first, proto, words;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		if (bpf_skb_load_bytes(skb, 0, &first, 1) || bpf_skb_load_bytes(skb, 9, &proto, 1))
			return 0;
		p->tcp = (first & 15) * 4;
	} else {
		if (bpf_skb_load_bytes(skb, 6, &proto, 1))
			return 0;
		p->tcp = 40;
	}
	if (proto != IPPROTO_TCP || bpf_skb_load_bytes(skb, p->tcp + 12, &words, 1))
		return 0;
	p->payload = p->tcp + (words >> 4) * 4;
	if (skb->len <= p->payload)
		return 0;
	p->size = skb->len - p->payload;
	return 1;
}

static __always_inline void fill(struct __sk_buff *skb, const struct place *p, struct head *h, __u8 kind)
{
	__u32 word = 0;
	__be16 port = 0;
	__builtin_memset(h, 0, sizeof(*h));
	h->version = VERSION;
	h->kind = kind;
	h->time = bpf_ktime_get_ns();
	h->cookie = bpf_get_socket_cookie(skb);
	h->size = p->size;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		h->family = 4;
		bpf_skb_load_bytes(skb, 12, h->src, 4);
		bpf_skb_load_bytes(skb, 16, h->dst, 4);
	} else {
		h->family = 6;
		bpf_skb_load_bytes(skb, 8, h->src, 16);
		bpf_skb_load_bytes(skb, 24, h->dst, 16);
	}
	bpf_skb_load_bytes(skb, p->tcp, &port, 2);
	h->sport = bpf_ntohs(port);
	bpf_skb_load_bytes(skb, p->tcp + 2, &port, 2);
	h->dport = bpf_ntohs(port);
	bpf_skb_load_bytes(skb, p->tcp + 4, &word, 4);
	h->seq = bpf_ntohl(word);
	bpf_skb_load_bytes(skb, p->tcp + 8, &word, 4);
	h->ack = bpf_ntohl(word);
}

static __always_inline struct who *owner(struct head *h)
{
	__u64 cookie = h->cookie; // before 6.2 a key cannot lie in the ring's memory
	struct who *w = bpf_map_lookup_elem(&socks, &cookie);
#ifdef PERF
	if (!w)
		w = adopt(h);
#endif
	if (w) {
		__builtin_memcpy(&h->who, w, sizeof(*w));
		h->known = 1;
	} else {
		count(UNKNOWN_SOCKET);
	}
	return w;
}

#ifdef PERF
// The bytes of the packet are appended by the kernel, headers and all.
enum { APPENDED = 16384 };

static __always_inline void request(struct __sk_buff *skb, const struct place *p)
{
	struct head h;
	fill(skb, p, &h, REQUEST);
	owner(&h);
	__u64 n = p->payload + p->size;
	if (n > APPENDED) {
		n = APPENDED;
		count(CUT);
	}
	h.skip = p->payload;
	h.got = n - p->payload;
	if (bpf_perf_event_output(skb, &events, BPF_F_CURRENT_CPU | n << 32, &h, sizeof(h)))
		count(LOST_REQUEST);
}

static __always_inline void answer(struct __sk_buff *skb, const struct place *p)
{
	struct head h;
	__u32 n = p->size < STATUS ? p->size : STATUS;
	fill(skb, p, &h, ANSWER);
	h.skip = p->payload;
	h.got = n;
	if (bpf_perf_event_output(skb, &events, BPF_F_CURRENT_CPU | (__u64)(p->payload + n) << 32, &h, sizeof(h)))
		count(LOST_ANSWER);
}
#else
// piece sends up to max bytes of the payload, from offset on.
#define piece(type, max)                                                                \
	{                                                                               \
		type *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);                  \
		if (!e) {                                                               \
			count(LOST_REQUEST);                                            \
			return;                                                         \
		}                                                                       \
		__u32 n = left;                                                         \
		if (n > max)                                                            \
			n = max;                                                        \
		barrier_var(n);                                                         \
		n = ((n - 1) & (max - 1)) + 1;                                          \
		fill(skb, p, &e->head, REQUEST);                                        \
		owner(&e->head);                                                        \
		e->head.offset = offset;                                                \
		e->head.got = n;                                                        \
		if (bpf_skb_load_bytes(skb, p->payload + offset, e->data, n)) {         \
			bpf_ringbuf_discard(e, 0);                                      \
			count(LOST_REQUEST);                                            \
			return;                                                         \
		}                                                                       \
		bpf_ringbuf_submit(e, 0);                                               \
	}

static __always_inline void request(struct __sk_buff *skb, const struct place *p)
{
	__u32 offset = 0, left = p->size;
	if (left <= SMALL) {
		piece(struct small, SMALL);
		return;
	}
#pragma unroll
	for (int i = 0; i < PIECES; i++) {
		piece(struct large, LARGE);
		if (left <= LARGE)
			return;
		offset += LARGE;
		left -= LARGE;
	}
	count(CUT);
}

static __always_inline void answer(struct __sk_buff *skb, const struct place *p)
{
	struct status *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		count(LOST_ANSWER);
		return;
	}
	__u32 n = p->size;
	if (n > STATUS)
		n = STATUS;
	barrier_var(n);
	n = ((n - 1) & (STATUS - 1)) + 1;
	fill(skb, p, &e->head, ANSWER);
	e->head.got = n;
	if (bpf_skb_load_bytes(skb, p->payload, e->data, n)) {
		bpf_ringbuf_discard(e, 0);
		return;
	}
	bpf_ringbuf_submit(e, 0);
}
#endif

SEC("cgroup_skb/egress")
int egress(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct place p;
	if (!sk || !is_port(sk->dst_port) || !watched(skb, sk) || !find(skb, &p))
		return 1;
	request(skb, &p);
	return 1;
}

SEC("cgroup_skb/ingress")
int ingress(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;
	struct place p;
	__u32 word;
	if (!sk || !is_port(sk->dst_port) || !watched(skb, sk) || !find(skb, &p))
		return 1;
	// Only the segment that an answer begins with.
	if (bpf_skb_load_bytes(skb, p.payload, &word, 4) || word != 0x50545448) // HTTP
		return 1;
	answer(skb, &p);
	return 1;
}
