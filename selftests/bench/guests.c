// SPDX-License-Identifier: GPL-2.0
/*
 * Host instructions, exits and context switches for what a stock Linux guest
 * does with its virtio disk and its virtio network interface, whoever has made
 * these: one line a row, see run.  The test host has one CPU whose clock counts
 * instructions.
 *
 * usage: guests FILE TAP ROW COMMAND...	COMMAND boots the guest (guest.c), whose disk is
 *					FILE, and whose network TAP; ROW is "all", or
 *					one to repeat for ever, for profile
 *
 * Frames order what the guest does, and how often; the time from the order to the
 * answer counts, what the CPU is idle meanwhile does not.  As in calls.c a figure is
 * the difference between many turns and few, divided by their difference.
 *
 * What the guest itself executes is taken off.  BPF programs at KVM's tracepoints
 * measure it, and count, in a second go: the figure is of a host where they are
 * not attached.  From where one says that the guest is entered to where the other
 * says that it has been left there is some host, too; CPUID shows how much, as its
 * exit has nothing else.
 *
 * Frames, single or in bulk, are sent to the guest without a pause; then we wait until
 * the CPU is idle, that is until all are where they have to be.  What this waiting
 * costs is taken off.  A single frame that the guest sends is an echo; what it costs
 * to have it receive one is taken off.
 *
 * Meanwhile the CPU's timer is off (no_ticks): an interrupt would be counted, and
 * the emulator may deliver an interrupt of the guest's twice when there is one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <math.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guests.h"
#include "guests.skel.h"

#define TRIES	     7
#define BOOT_SECONDS 10
#define WORK_SECONDS 10

#define NEED(cond)                                                             \
	do {                                                                   \
		if (!(cond)) {                                                 \
			fprintf(stderr, "%s:%d: not true: %s: %s\n", __FILE__, \
				__LINE__, #cond, strerror(errno));             \
			exit(1);                                               \
		}                                                              \
	} while (0)

struct row {
	const char *name;
	enum work work;
	uint32_t bytes; /* of a frame */
	uint32_t many; /* done in a turn */
};

static const struct row rows[] = {
	{ "exit", WORK_EXIT, 0, 1 },
	{ "settle", WORK_NOTHING, 0, 1 },
	{ "blk_read_4k", WORK_READ, 0, 1 },
	{ "blk_read32_4k", WORK_READ_DEEP, 0, DEPTH },
	{ "net_recv_64", WORK_RECEIVE, 64, 1 },
	{ "net_send_64", WORK_ECHO, 64, 1 },
	{ "net_recv_1514", WORK_RECEIVE, 1514, 1 },
	{ "net_send_1514", WORK_ECHO, 1514, 1 },
	{ "net_recv64_64", WORK_RECEIVE, 64, BULK },
	{ "net_send64_64", WORK_SEND_BULK, 64, BULK },
	{ "net_recv64_1514", WORK_RECEIVE, 1514, BULK },
	{ "net_send64_1514", WORK_SEND_BULK, 1514, BULK },
};

#define ROWS ((int)(sizeof(rows) / sizeof(rows[0])))

struct taken {
	double insn; /* idle time left out */
	double guest; /* of these, the guest's own */
	double exits;
	double exits_user;
	double switches;
};

static const char *tap;
static int orders;
static struct guests_bpf *bpf;
static struct ring_buffer *idle;

/* ---- Frames -------------------------------------------------------------------- */

static int packet(uint16_t ethertype, int seconds)
{
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ethertype),
		.sll_ifindex = if_nametoindex(tap),
	};
	struct timeval patience = { .tv_sec = seconds };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	NEED(fd >= 0);
	NEED(!bind(fd, (struct sockaddr *)&to, sizeof(to)));
	NEED(!setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience,
			 sizeof(patience)));
	return fd;
}

static int idle_came(void *, void *, size_t)
{
	return 0;
}

/* Let all others run until none wants to. */
static void settle(void)
{
	bpf->bss->tell = true;
	NEED(ring_buffer__poll(idle, -1) == 1);
}

/* Is there something that we do in each turn? */
static bool feeds(const struct row *row)
{
	return row->work == WORK_NOTHING || row->work == WORK_RECEIVE ||
	       row->work == WORK_ECHO;
}

static void feed(const struct row *row, uint32_t turns)
{
	uint8_t frame[MAX_FRAME];

	frame_fill(frame, row->bytes, guest_mac, bench_mac);
	for (; turns; turns--) {
		for (uint32_t i = 0; row->bytes && i < row->many; i++)
			NEED(send(orders, frame, row->bytes, 0) == row->bytes);
		settle();
	}
}

/* Have the guest do it.  Return: its answer */
static int64_t ask(const struct row *row, uint32_t turns)
{
	struct order order = { .work = row->work,
			       .turns = turns,
			       .bytes = row->bytes };

	frame_head(order.to, guest_mac, bench_mac, ETHERTYPE_ORDER);
	if (feeds(row))
		order.turns *= row->many;
	NEED(send(orders, &order, sizeof(order), 0) == sizeof(order));
	if (feeds(row)) {
		settle();
		feed(row, turns);
	}
	NEED(recv(orders, &order, sizeof(order), 0) == sizeof(order));
	NEED(order.answer >= 0);
	settle();
	return order.answer;
}

/* ---- Measuring ------------------------------------------------------------------ */

static double now(void)
{
	struct timespec t;

	NEED(!clock_gettime(CLOCK_MONOTONIC, &t));
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static void ticks(bool on)
{
	int fd = open("/sys/module/no_ticks/parameters/on",
		      O_WRONLY | O_CLOEXEC);

	NEED(fd >= 0);
	NEED(write(fd, on ? "N" : "Y", 1) == 1);
	close(fd);
}

static struct taken so_far(void)
{
	return (struct taken){ now() - bpf->bss->idle_ns, bpf->bss->guest_ns,
			       bpf->bss->exits, bpf->bss->exits_user,
			       bpf->bss->switches };
}

/* (a - b) / n */
static struct taken part(struct taken a, struct taken b, double n)
{
	return (struct taken){ (a.insn - b.insn) / n, (a.guest - b.guest) / n,
			       (a.exits - b.exits) / n,
			       (a.exits_user - b.exits_user) / n,
			       (a.switches - b.switches) / n };
}

/* a - b / n */
static struct taken less(struct taken a, struct taken b, double n)
{
	return (struct taken){ a.insn - b.insn / n, a.guest - b.guest / n,
			       a.exits - b.exits / n,
			       a.exits_user - b.exits_user / n,
			       a.switches - b.switches / n };
}

static struct taken shortest(const struct row *row, uint32_t turns)
{
	struct taken best = { .insn = INFINITY };

	for (int i = 0; i < TRIES; i++) {
		struct taken before, taken;

		ticks(false);
		before = so_far();
		ask(row, turns);
		taken = part(so_far(), before, 1);
		if (taken.insn < best.insn)
			best = taken;
	}
	return best;
}

static struct taken difference(const struct row *row)
{
	uint32_t few = row->many > 1 ? 4 : 40, many = 4 * few;
	struct taken a = shortest(row, few), b = shortest(row, many);

	return part(b, a, (double)(many - few) * row->many);
}

/* Attach what counts, or no more. */
static void count(bool on)
{
	static struct bpf_link *links[4];
	struct bpf_program *programs[] = { bpf->progs.kvm_entry,
					   bpf->progs.kvm_exit,
					   bpf->progs.kvm_userspace_exit,
					   bpf->progs.sched_switch };

	ticks(true); /* RCU wants them */
	for (int i = 0; i < 4; i++) {
		if (on)
			NEED(links[i] = bpf_program__attach(programs[i]));
		else
			NEED(!bpf_link__destroy(links[i]));
	}
	ticks(false);
}

static struct taken measure(const struct row *row)
{
	struct taken plain = difference(row), counted;

	count(true);
	counted = difference(row);
	count(false);
	counted.insn = plain.insn;
	return counted;
}

/* ---- Did it do what it says? ------------------------------------------------------ */

static void check_disk(const char *path)
{
	static const struct row row = { .work = WORK_SUM };
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t block[BLOCK];
	uint64_t sum = 0;

	NEED(fd >= 0);
	for (uint32_t i = 0; i < DISK / BLOCK; i++) {
		NEED(read(fd, block, BLOCK) == BLOCK);
		sum += block_sum(block, i);
	}
	NEED(!read(fd, block, BLOCK));
	close(fd);
	NEED(ask(&row, 1) == (int64_t)(sum >> 1));
}

static void check_send(const struct row *row)
{
	uint8_t want[MAX_FRAME], got[MAX_FRAME];
	int sniffer;

	ticks(true); /* RCU wants them */
	sniffer = packet(ETHERTYPE_DATA, 1);
	frame_fill(want, row->bytes, bench_mac, guest_mac);
	ask(row, 1);
	for (uint32_t i = 0; i < row->many; i++) {
		NEED(recv(sniffer, got, sizeof(got), 0) == row->bytes);
		NEED(!memcmp(got, want, row->bytes));
	}
	NEED(recv(sniffer, got, sizeof(got), MSG_DONTWAIT) < 0);
	close(sniffer);
	ticks(false);
}

/* ---- The table -------------------------------------------------------------------- */

/* Not -0.00, either. */
static double hundredths(double value)
{
	return round(value * 100) / 100 + 0.0;
}

static void print(const char *name, struct taken taken)
{
	printf("%s\t%.0f\t%.0f\t%.2f\t%.2f\t%.2f\n", name,
	       taken.insn - taken.guest, taken.guest, hundredths(taken.exits),
	       hundredths(taken.exits_user), hundredths(taken.switches));
	fflush(stdout);
}

/* Return: when the guest says hello; the launcher's pid */
static pid_t boot(char **command)
{
	struct order hello;
	pid_t pid;

	orders = packet(ETHERTYPE_ORDER, BOOT_SECONDS);
	pid = fork();
	NEED(pid >= 0);
	if (!pid) {
		NEED(!prctl(PR_SET_PDEATHSIG, SIGKILL));
		execv(command[0], command);
		NEED(!"it can be executed");
	}
	NEED(recv(orders, &hello, sizeof(hello), 0) == sizeof(hello));
	close(orders);
	orders = packet(ETHERTYPE_ORDER, WORK_SECONDS);
	return pid;
}

static void table(void)
{
	struct taken taken, waiting = {}, before = {};
	double host = 0;

	for (int i = 0; i < ROWS; i++) {
		const struct row *row = &rows[i];

		if (row->work == WORK_ECHO || row->work == WORK_SEND_BULK)
			check_send(row);
		taken = measure(row);
		/* There CPUID is all that is the guest's. */
		if (row->work == WORK_EXIT)
			host = taken.guest / taken.exits;
		taken.guest -= host * taken.exits;
		if (row->work == WORK_NOTHING)
			waiting = taken;
		if (row->work == WORK_RECEIVE)
			taken = less(taken, waiting, row->many);
		if (row->work == WORK_ECHO)
			print(row->name,
			      less(less(taken, waiting, 1), before, 1));
		else
			print(row->name, taken);
		before = taken;
	}
}

static void repeat(const char *name)
{
	for (int i = 0; i < ROWS; i++) {
		if (strcmp(rows[i].name, name))
			continue;
		puts("repeating");
		fflush(stdout);
		for (;;)
			ask(&rows[i], 16);
	}
	NEED(!"there is such a row");
}

int main(int argc, char **argv)
{
	struct sched_param first = { .sched_priority = 1 };
	int status;
	pid_t pid;

	if (argc < 5) {
		fprintf(stderr, "usage: guests FILE TAP ROW COMMAND...\n");
		return 2;
	}
	tap = argv[2];
	NEED(!mlockall(MCL_CURRENT | MCL_FUTURE));
	pid = boot(argv + 4);
	/* Nobody gets a frame before all of them have been sent. */
	NEED(!sched_setscheduler(0, SCHED_FIFO, &first));
	bpf = guests_bpf__open_and_load();
	NEED(bpf);
	NEED(bpf_program__attach(bpf->progs.cpu_idle));
	idle = ring_buffer__new(bpf_map__fd(bpf->maps.idle), idle_came, NULL,
				NULL);
	NEED(idle);

	ticks(false);
	check_disk(argv[1]);
	if (strcmp(argv[3], "all"))
		repeat(argv[3]);
	table();
	ticks(true);
	NEED(!kill(pid, SIGKILL));
	NEED(waitpid(pid, &status, 0) == pid);
	return 0;
}
