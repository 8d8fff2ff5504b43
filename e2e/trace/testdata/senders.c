// Sends one or more requests for a path in a way that a tracer finds hard.
// usage: senders WAY ADDRESS PATH [TOKEN]
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *address, *path, *token = "";
static struct sockaddr_storage peer;
static socklen_t peer_size;
static int pause_us = 20000;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int make_socket(int family)
{
	int one = 1, s = socket(family, SOCK_STREAM, 0);
	if (s < 0)
		die("socket");
	setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return s;
}

static int dial(void)
{
	int s = make_socket(peer.ss_family);
	if (connect(s, (void *)&peer, peer_size))
		die("connect");
	return s;
}

static const char *request(const char *suffix, const char *more, const char *body)
{
	char *b = malloc(65536), head[256] = "";
	if (*token)
		snprintf(head, sizeof(head), "X-aws-ec2-metadata-token: %s\r\n", token);
	snprintf(b, 65536, "GET %s%s HTTP/1.1\r\nHost: meta\r\nUser-Agent: senders\r\n%s%s\r\n%s", path, suffix, head, more, body);
	return b;
}

// answers reads until so many answers began, or the end.
static void answers(int s, int want)
{
	static char b[65536];
	size_t had = 0;
	for (;;) {
		ssize_t n = recv(s, b + had, sizeof(b) - 1 - had, 0);
		if (n <= 0)
			break;
		had += n;
		b[had] = 0;
		int got = 0;
		for (char *p = b; (p = strstr(p, "HTTP/1.")); p++)
			got++;
		if (got >= want && strstr(b, "\r\n\r\n"))
			return;
	}
	if (!had) {
		fprintf(stderr, "no answer\n");
		exit(1);
	}
}

static void put(int s, const char *b, size_t n)
{
	while (n) {
		ssize_t k = write(s, b, n);
		if (k <= 0)
			die("write");
		b += k;
		n -= k;
	}
}

static void plain(const char *suffix)
{
	int s = dial();
	const char *r = request(suffix, "", "");
	put(s, r, strlen(r));
	answers(s, 1);
	close(s);
}

static void way_writev(void)
{
	const char *r = request("", "", "");
	struct iovec v[64];
	int n = 0;
	for (size_t i = 0, size = strlen(r); i < size; n++) {
		size_t k = n == 63 ? size - i : size / 60 + 1;
		if (k > size - i)
			k = size - i;
		v[n] = (struct iovec){(void *)(r + i), k};
		i += k;
	}
	int s = dial();
	if (writev(s, v, n) < 0)
		die("writev");
	answers(s, 1);
}

static void way_sendmsg(void)
{
	const char *r = request("", "", "");
	struct iovec v[2] = {{(void *)r, 10}, {(void *)(r + 10), strlen(r) - 10}};
	struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};
	int s = dial();
	if (sendmsg(s, &m, 0) < 0)
		die("sendmsg");
	answers(s, 1);
}

static void way_bytes(void)
{
	const char *r = request("", "", "");
	int s = dial();
	for (; *r; r++) {
		put(s, r, 1);
		usleep(200);
	}
	answers(s, 1);
}

// The token's header name is cut in the middle.
static void way_split(void)
{
	const char *r = request("", "X-Other: 1\r\n", "");
	const char *at = strstr(r, "metadata-token");
	size_t first = at ? (size_t)(at - r) + 5 : 20;
	int s = dial();
	put(s, r, first);
	usleep(pause_us);
	put(s, r + first, strlen(r) - first);
	answers(s, 1);
}

static void way_pipeline(void)
{
	char b[8192] = "";
	const char *keep = token;
	strcat(b, request("-1", "", ""));
	token = "dG9rZW4tZm9yLXRoZS1zZWNvbmQ=";
	strcat(b, request("-2", "", ""));
	token = keep;
	strcat(b, request("-3", "", ""));
	int s = dial();
	put(s, b, strlen(b));
	answers(s, 3);
}

static void way_keepalive(void)
{
	int s = dial();
	for (int i = 0; i < 10; i++) {
		char suffix[8];
		snprintf(suffix, sizeof(suffix), "-%d", i);
		const char *r = request(suffix, "", "");
		put(s, r, strlen(r));
		answers(s, 1);
	}
}

// The header's name is in the body, and in no header.
static void way_body(void)
{
	const char *body = "X-aws-ec2-metadata-token: AQAEAAAA\r\nGET /in/the/body HTTP/1.1\r\n\r\n";
	char length[64];
	snprintf(length, sizeof(length), "Content-Length: %zu\r\n", strlen(body));
	const char *r = request("", length, body);
	int s = dial();
	put(s, r, strlen(r));
	answers(s, 1);
}

static void way_chunked(void)
{
	const char *r = request("-1", "Transfer-Encoding: chunked\r\n",
				"5\r\nhello\r\n24;x=y\r\nX-aws-ec2-metadata-token: AQAEAAAA\r\n\r\n0\r\n\r\n");
	const char *q = request("-2", "", "");
	int s = dial();
	put(s, r, strlen(r));
	answers(s, 1);
	put(s, q, strlen(q));
	answers(s, 1);
}

static void way_large(void)
{
	char *pad = malloc(13000);
	strcpy(pad, "X-Pad: ");
	memset(pad + 7, 'p', 12000);
	strcpy(pad + 12007, "\r\n");
	const char *r = request("", pad, "");
	int s = dial();
	put(s, r, strlen(r));
	answers(s, 1);
}

static void way_sendfile(void)
{
	const char *r = request("", "", "");
	int f = memfd_create("request", 0);
	put(f, r, strlen(r));
	off_t at = 0;
	int s = dial();
	if (sendfile(s, f, &at, strlen(r)) < 0)
		die("sendfile");
	answers(s, 1);
}

static void way_splice(void)
{
	const char *r = request("", "", "");
	int p[2];
	if (pipe(p))
		die("pipe");
	put(p[1], r, strlen(r));
	int s = dial();
	if (splice(p[0], 0, s, 0, strlen(r), 0) < 0)
		die("splice");
	answers(s, 1);
}

static void way_fastopen(void)
{
	const char *r = request("", "", "");
	int s = make_socket(peer.ss_family);
	if (sendto(s, r, strlen(r), MSG_FASTOPEN, (void *)&peer, peer_size) < 0)
		die("sendto");
	answers(s, 1);
}

static void *in_thread(void *_)
{
	prctl(PR_SET_NAME, "worker-thread");
	plain("");
	return 0;
}

static void way_thread(void)
{
	pthread_t t;
	pthread_create(&t, 0, in_thread, 0);
	pthread_join(t, 0);
}

// An IPv6 socket that speaks IPv4.
static void way_mapped(void)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
	char text[80];
	snprintf(text, sizeof(text), "::ffff:%s", address);
	if (inet_pton(AF_INET6, text, &a.sin6_addr) != 1)
		die("address");
	int s = make_socket(AF_INET6);
	if (connect(s, (void *)&a, sizeof(a)))
		die("connect");
	const char *r = request("", "", "");
	put(s, r, strlen(r));
	answers(s, 1);
}

// A child that another program becomes, and that ends as soon as it has sent.
static void way_vfork(void)
{
	pid_t child = vfork();
	if (child == 0) {
		execl("/proc/self/exe", "vforked", "quick", address, path, token, NULL);
		_exit(1);
	}
	int status;
	printf("child %d\n", child);
	fflush(stdout);
	waitpid(child, &status, 0);
	exit(WEXITSTATUS(status));
}

// Sends and ends at once: the answer finds nobody.
static void way_quick(void)
{
	const char *r = request("", "", "");
	int s = dial();
	put(s, r, strlen(r));
	_exit(0);
}

static void way_nonblocking(void)
{
	const char *r = request("", "", "");
	int s = make_socket(peer.ss_family);
	fcntl(s, F_SETFL, O_NONBLOCK);
	if (connect(s, (void *)&peer, peer_size) && errno != EINPROGRESS)
		die("connect");
	while (write(s, r, strlen(r)) < 0)
		usleep(100);
	fcntl(s, F_SETFL, 0);
	answers(s, 1);
}

// Not HTTP at all.
static void way_garbage(void)
{
	int s = dial();
	put(s, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x1b[31m\n", 16);
	char b[256];
	(void)!recv(s, b, sizeof(b), 0);
}

// A connection without a request.
static void way_silent(void)
{
	int s = dial();
	sleep(7);
	close(s);
}

// io_uring without its library: connect and send through one ring.
static void way_uring(void)
{
	struct io_uring_params p = {0};
	int ring = syscall(SYS_io_uring_setup, 8, &p);
	if (ring < 0)
		die("io_uring_setup");
	size_t sq_size = p.sq_off.array + p.sq_entries * sizeof(uint32_t);
	size_t cq_size = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	char *sq = mmap(0, sq_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQ_RING);
	char *cq = mmap(0, cq_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_CQ_RING);
	struct io_uring_sqe *sqes = mmap(0, p.sq_entries * sizeof(*sqes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || sqes == MAP_FAILED)
		die("mmap");
	int s = make_socket(peer.ss_family);
	const char *r = request("", "", "");
	for (int i = 0; i < 2; i++) {
		uint32_t *tail = (void *)(sq + p.sq_off.tail), mask = *(uint32_t *)(sq + p.sq_off.ring_mask);
		uint32_t at = *tail & mask;
		struct io_uring_sqe *e = &sqes[at];
		memset(e, 0, sizeof(*e));
		e->fd = s;
		if (i == 0) {
			e->opcode = IORING_OP_CONNECT;
			e->addr = (uintptr_t)&peer;
			e->off = peer_size;
		} else {
			e->opcode = IORING_OP_SEND;
			e->addr = (uintptr_t)r;
			e->len = strlen(r);
		}
		((uint32_t *)(sq + p.sq_off.array))[at] = at;
		__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
		if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
			die("io_uring_enter");
		uint32_t *head = (void *)(cq + p.cq_off.head);
		struct io_uring_cqe *c = &((struct io_uring_cqe *)(cq + p.cq_off.cqes))[*head & *(uint32_t *)(cq + p.cq_off.ring_mask)];
		if (c->res < 0) {
			errno = -c->res;
			die("io_uring");
		}
		__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	}
	answers(s, 1);
}

// Many requests, some of them with a token: COUNT times the path, alternately.
static void way_many(void)
{
	int n = atoi(getenv("COUNT"));
	pause_us = 300;
	for (int i = 0; i < n; i++) {
		token = i % 3 == 2 ? "dG9rZW4tZm9yLXRoZS1zZWNvbmQ=" : "";
		if (i % 2) {
			way_split();
		} else {
			plain("");
		}
	}
}

static const struct {
	const char *name;
	void (*run)(void);
} ways[] = {
	{"writev", way_writev}, {"sendmsg", way_sendmsg}, {"bytes", way_bytes}, {"split", way_split},
	{"pipeline", way_pipeline}, {"keepalive", way_keepalive}, {"body", way_body}, {"chunked", way_chunked},
	{"large", way_large}, {"sendfile", way_sendfile}, {"splice", way_splice}, {"fastopen", way_fastopen},
	{"thread", way_thread}, {"mapped", way_mapped}, {"vfork", way_vfork}, {"quick", way_quick},
	{"nonblocking", way_nonblocking}, {"garbage", way_garbage}, {"silent", way_silent}, {"uring", way_uring},
	{"many", way_many},
};

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	address = argv[2];
	path = argv[3];
	if (argc > 4)
		token = argv[4];
	struct sockaddr_in *v4 = (void *)&peer;
	struct sockaddr_in6 *v6 = (void *)&peer;
	if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(80);
		peer_size = sizeof(*v4);
	} else if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(80);
		peer_size = sizeof(*v6);
	} else {
		return 2;
	}
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		if (!strcmp(ways[i].name, argv[1])) {
			ways[i].run();
			return 0;
		}
	return 2;
}
