// SPDX-License-Identifier: (MIT OR GPL-2.0-only)
// The connect hooks: they run in the process that connects.
#pragma once

#ifdef RICH
#define EVENT struct connect

static __always_inline void names(struct connect *e, struct task_struct *task)
{
	struct css_set *set = 0;
	struct cgroup *own = 0, *other = 0;
	struct kernfs_node *kn = 0;
	const char *name = 0;

	field(&set, &task->cgroups);
	field(&own, &set->dfl_cgrp);
	field(&kn, &own->kn);
	for (int i = 0; i < NAMES - 1; i++) {
		name = 0;
		field(&name, &kn->name);
		if (!name || bpf_probe_read_kernel_str(e->cgroup[i], NAME, name) <= 0)
			e->cgroup[i][0] = 0;
		if (has_field(((struct kernfs_node___renamed *)0)->__parent))
			field(&kn, &((struct kernfs_node___renamed *)kn)->__parent);
		else
			field(&kn, &kn->parent);
	}

	// A container whose only cgroups are those of the old hierarchies. The
	// index of the memory controller depends on how the kernel was built.
	e->cgroup[NAMES - 1][0] = 0;
	if (!__builtin_preserve_enum_value(*(typeof(enum cgroup_subsys_id) *)memory_cgrp_id, 0))
		return;
	__u64 index = __builtin_preserve_enum_value(*(typeof(enum cgroup_subsys_id) *)memory_cgrp_id, 1);
	struct cgroup_subsys_state *css = 0;
	void *table = __builtin_preserve_access_index(&set->subsys);
	bpf_probe_read_kernel(&css, sizeof(css), table + index * sizeof(css));
	field(&other, &css->cgroup);
	if (!other || other == own)
		return;
	field(&kn, &other->kn);
	name = 0;
	field(&name, &kn->name);
	if (!name || bpf_probe_read_kernel_str(e->cgroup[NAMES - 1], NAME, name) <= 0)
		e->cgroup[NAMES - 1][0] = 0;
}

static __always_inline void describe(struct connect *e)
{
	struct task_struct *task = (void *)bpf_get_current_task(), *leader = 0, *t;
	struct nsproxy *proxy = 0;
	struct net *net = 0;
	struct pid *pid = 0;
	struct mm_struct *mm = 0;
	unsigned long from = 0, to = 0;
	__u32 level = 0;
	int nr = 0;
	struct who *w = &e->head.who;

	field(&leader, &task->group_leader);
	field(&w->start, &leader->start_boottime);
	bpf_probe_read_kernel_str(w->leader, sizeof(w->leader), __builtin_preserve_access_index(&leader->comm));
	field(&w->loginuid, &task->loginuid.val);
	field(&proxy, &task->nsproxy);
	field(&net, &proxy->net_ns);
	field(&w->netns, &net->ns.inum);

	field(&pid, &leader->thread_pid);
	field(&level, &pid->level);
	void *numbers = __builtin_preserve_access_index(&pid->numbers[0]);
	bpf_probe_read_kernel(&nr, sizeof(nr), numbers + (level & 31) * __builtin_preserve_type_info(*(struct upid *)0, 1));
	w->ns_pid = nr;

	t = leader;
	for (int i = 0; i < PARENTS; i++) {
		struct parent *p = &e->parent[i];
		struct task_struct *up = 0;
		field(&up, &t->real_parent);
		p->pid = 0;
		p->start = 0;
		p->comm[0] = 0;
		if (!up || up == t)
			continue;
		field(&p->pid, &up->tgid);
		if (!p->pid)
			continue;
		// The parent is a thread: what counts is its process.
		field(&up, &up->group_leader);
		field(&p->start, &up->start_boottime);
		bpf_probe_read_kernel_str(p->comm, sizeof(p->comm), __builtin_preserve_access_index(&up->comm));
		t = up;
	}

	names(e, task);

	e->args = 0;
	field(&mm, &task->mm);
	if (!mm)
		return;
	field(&from, &mm->arg_start);
	field(&to, &mm->arg_end);
	if (to <= from)
		return;
	__u64 n = to - from;
	e->args = n;
	if (n > ARGS)
		n = ARGS;
	barrier_var(n);
	n = ((n - 1) & (ARGS - 1)) + 1;
	if (bpf_probe_read_user(e->argv, n, (void *)from))
		e->args = 0;
}
#else
#define EVENT struct small_connect
struct small_connect {
	struct head head;
};
#endif

static __always_inline void connecting(struct bpf_sock_addr *ctx, int family, __be32 a, __be32 b, __be32 c, __be32 d)
{
	// On the stack: the ring's memory is no map value to old verifiers, and they
	// do not know that it is there once it was found to be.
	struct who w = {};
	__u64 cookie = bpf_get_socket_cookie(ctx);
	__u64 id = bpf_get_current_pid_tgid();
	w.cgroup = bpf_get_current_cgroup_id();
	w.pid = id >> 32;
	w.tid = (__u32)id;
	w.uid = (__u32)bpf_get_current_uid_gid();
	w.loginuid = -1;
	bpf_get_current_comm(w.comm, sizeof(w.comm));
	EVENT *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		count(LOST_CONNECT);
		bpf_map_update_elem(&socks, &cookie, &w, 0);
		return;
	}
	struct head *h = &e->head;
	__builtin_memset(h, 0, sizeof(*h));
	h->version = VERSION;
	h->kind = CONNECT;
	h->family = family;
	h->known = 1;
	h->time = bpf_ktime_get_ns();
	h->cookie = cookie;
	((__u32 *)h->dst)[0] = a;
	((__u32 *)h->dst)[1] = b;
	((__u32 *)h->dst)[2] = c;
	((__u32 *)h->dst)[3] = d;
	h->dport = bpf_ntohs((__be16)ctx->user_port);
	__builtin_memcpy(&h->who, &w, sizeof(w));
#ifdef RICH
	describe(e);
	__builtin_memcpy(&w, &h->who, sizeof(w));
#endif
	bpf_map_update_elem(&socks, &cookie, &w, 0);
	bpf_ringbuf_submit(e, 0);
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	if (!is_port((__be16)ctx->user_port) || !is_ip4(ctx->user_ip4) || ctx->type != SOCK_STREAM)
		return 1;
	connecting(ctx, 4, ctx->user_ip4, 0, 0, 0);
	return 1;
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	if (!is_port((__be16)ctx->user_port) || ctx->type != SOCK_STREAM)
		return 1;
	__u32 a = ctx->user_ip6[0], b = ctx->user_ip6[1], c = ctx->user_ip6[2], d = ctx->user_ip6[3];
	if (!a && !b && c == 0xffff0000 && is_ip4(d)) // an IPv4 address, mapped
		connecting(ctx, 4, d, 0, 0, 0);
	else if (is_ip6(a, b, c, d))
		connecting(ctx, 6, a, b, c, d);
	return 1;
}
