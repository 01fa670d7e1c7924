// SPDX-License-Identifier: GPL-2.0
/*
 * Sixteen VMs that do the worst that they may, beside one that works: what it loses
 * is the share of the CPUs that it would lose to any others.
 *
 * Each VM is a process of its own.  The neighbours are in one control group and the
 * worker is in another, and the phases are: the worker alone; beside neighbours that
 * spin in their guests, which is no business of ours; beside the same ones that call.
 * Each of the last two with equal groups, and with a group of neighbours that has next
 * to nothing: what a hostile guest has done elsewhere than in its own group, in
 * interrupts or in threads that are nobody's, shows there.
 *
 * All guests see one page of the test, which says what phase it is, and where they
 * count.  PHASE_SECONDS and NEIGHBOURS are settings.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_ring.h>
#include <net/if.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm.h"

#define MAX_NEIGHBOURS 64

enum phase {
	STARTING,
	ALONE,
	SPINNING,
	SPINNING_LIGHT,
	HOSTILE,
	HOSTILE_LIGHT,
	PHASES,
	ENDING = PHASES,
};

static const char *const phase_name[PHASES] = {
	[ALONE] = "alone",
	[SPINNING] = "beside spinning ones",
	[SPINNING_LIGHT] = "beside spinning ones of weight 1",
	[HOSTILE] = "beside hostile ones",
	[HOSTILE_LIGHT] = "beside hostile ones of weight 1",
};

#define ATTACKS 10

static const char *const attack_name[ATTACKS] = {
	"timers",  "batches",  "biggest", "rings", "waits",
	"console", "channels", "edges",	  "net",   "unknown",
};

/* The page that all share. */
struct board {
	uint32_t phase;
	uint32_t ready; /* processes */
	uint64_t works[PHASES]; /* calls of the worker */
	uint64_t spins; /* vCPUs that have got to spin */
	uint64_t attacks[ATTACKS]; /* calls of the neighbours */
};

#define BOARD	   0x3000000u
#define BOARD_SLOT 20

#define DISK_BYTES (4u << 20)

/* Guest memory of a neighbour. */
#define PAGE	   (RAM + 0x1000u) /* struct hcall_event_page */
#define OPS	   (RAM + 0x8000u) /* 256 elements: 16 KiB */
#define FRAMES	   (RAM + 0xc000u)
#define QUEUES	   (RAM + 0x10000u) /* 16 KiB for each */
#define DATA	   (RAM + 0x100000u)

#define RINGS	   4

/* ---- Guests ------------------------------------------------------------------- */

static GUEST uint32_t phase_is(void)
{
	return ((volatile struct board *)(uintptr_t)BOARD)->phase;
}

static GUEST uint64_t rnd(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* The one that works: reads and writes pages of its disk. */
static GUEST int64_t works(uint64_t unused)
{
	volatile struct board *board = (void *)(uintptr_t)BOARD;
	uint64_t i = unused;
	uint32_t phase;

	while ((phase = board->phase) != ENDING) {
		if (guest_call(i % 4 == 3 ? HCALL_BLOCK_WRITE
					  : HCALL_BLOCK_READ,
			       0, i * 8 % (DISK_BYTES / 512), DATA, 8) != 8)
			return -1;
		board->works[phase]++;
		i++;
	}
	return 0;
}

/* All of them, always: a timer whose events are looked at keeps its rate. */
static GUEST uint64_t timers(uint64_t *seed)
{
	uint64_t calls = 0;

	for (uint64_t i = 0; i < HCALL_TIMERS; i++) {
		guest_call(HCALL_TIMER_ARM, i, rnd(seed) & 1,
			   HCALL_TIMER_MIN_PERIOD, HCALL_CLOCK_MONOTONIC);
		calls++;
	}
	return calls;
}

static GUEST void put_ops(uint32_t number, uint64_t a, uint64_t b, uint64_t c,
			  uint64_t d)
{
	struct hcall_op *op = (void *)(uintptr_t)OPS;

	for (uint32_t i = 0; i < HCALL_BATCH_MAX_OPS; i++) {
		op[i].number = number;
		op[i].flags = 0;
		op[i].args[0] = a;
		op[i].args[1] = b;
		op[i].args[2] = c;
		op[i].args[3] = d;
		op[i].reserved = 0;
	}
}

/* As many asynchronous ones as there can be, each of 256 MiB. */
static GUEST uint64_t batches(uint64_t *seed)
{
	uint64_t calls = 0;

	put_ops(HCALL_BLOCK_READ, 0, 0, DATA, HCALL_BLOCK_MAX_SECTORS);
	do {
		calls++;
	} while (guest_call(HCALL_SYS_BATCH, OPS, HCALL_BATCH_MAX_OPS,
			    HCALL_BATCH_ASYNC,
			    HCALL_CHANNEL_GUEST + rnd(seed) % 512) > 0 &&
		 calls < 128);
	return calls;
}

/* In the vCPU's own time. */
static GUEST uint64_t biggest(uint64_t *seed)
{
	uint64_t at = RAM2 - (rnd(seed) & 0x7ffff);

	guest_call(HCALL_BLOCK_READ, 0, 0, at, HCALL_BLOCK_MAX_SECTORS);
	guest_call(HCALL_BLOCK_WRITE, 0, 0, at, HCALL_BLOCK_MAX_SECTORS);
	guest_call(HCALL_BLOCK_FLUSH, 0, 0, 0, 0);
	guest_call(HCALL_BLOCK_WRITE_ZEROES, 0, 0, DISK_BYTES / 512, 0);
	guest_call(HCALL_BLOCK_DISCARD, 0, 0, DISK_BYTES / 512, 0);
	put_ops(HCALL_SYS_RANDOM, DATA, HCALL_RANDOM_MAX_BYTES, 0, 0);
	guest_call(HCALL_SYS_BATCH, OPS, HCALL_BATCH_MAX_OPS, 0, 0);
	return 6;
}

static GUEST void scribble(uint64_t gpa, uint32_t words, uint64_t *seed)
{
	volatile uint64_t *to = (void *)(uintptr_t)gpa;

	for (uint32_t i = 0; i < words; i++)
		to[i] = rnd(seed);
}

/* Descriptors that are good now and then, in rings that are not. */
static GUEST void put_ring(uint64_t area, uint64_t *seed)
{
	volatile struct vring_desc *desc = (void *)(uintptr_t)area;
	volatile struct vring_avail *avail =
		(void *)(uintptr_t)(area + 0x1000u);

	for (uint32_t i = 0; i < HCALL_VIRTIO_MAX_SIZE; i++) {
		desc[i].addr = DATA + (rnd(seed) & 0xfffff);
		desc[i].len = rnd(seed) & 0x1ffff;
		desc[i].flags = rnd(seed) & 3;
		desc[i].next = rnd(seed) & (HCALL_VIRTIO_MAX_SIZE - 1);
		avail->ring[i] = rnd(seed) & (HCALL_VIRTIO_MAX_SIZE - 1);
	}
	avail->flags = 0;
	avail->idx = HCALL_VIRTIO_MAX_SIZE;
}

static GUEST uint64_t ring(uint32_t dev, uint32_t index, uint64_t *seed)
{
	uint64_t area = QUEUES + index * 0x4000ull, calls = 5;
	volatile struct hcall_virtio_queue *info =
		(void *)(uintptr_t)(area + 0x3000u);
	int64_t ret;

	info->size = HCALL_VIRTIO_MAX_SIZE;
	info->channel = HCALL_CHANNEL_GUEST + index;
	info->desc = area;
	info->driver = area + 0x1000u;
	info->device = area + 0x2000u;
	info->reserved = 0;
	put_ring(area, seed);
	guest_call(HCALL_VIRTIO_STATUS, dev, 0, 0, 0);
	guest_call(HCALL_VIRTIO_STATUS, dev, 3, 0, 0);
	guest_call(HCALL_VIRTIO_FEATURES, dev, 1ull << 32, 0, 0);
	guest_call(HCALL_VIRTIO_STATUS, dev, 11, 0, 0);
	guest_call(HCALL_VIRTIO_QUEUE, dev, index & 1, area + 0x3000u,
		   sizeof(*info));
	guest_call(HCALL_VIRTIO_STATUS, dev, 15, 0, 0);
	do {
		ret = guest_call(HCALL_VIRTIO_KICK, dev, index & 1, 0, 0);
		calls++;
	} while ((ret == -HCALL_EAGAIN || ret == -HCALL_EINTR) && calls < 64);
	return calls;
}

static GUEST uint64_t rings(uint64_t *seed)
{
	return ring(HCALL_VIRTIO_DEV(HCALL_CLASS_BLOCK, 0), 0, seed) +
	       ring(HCALL_VIRTIO_DEV(HCALL_CLASS_CONSOLE, 0), 1, seed) +
	       ring(HCALL_VIRTIO_RNG, 2, seed) +
	       ring(HCALL_VIRTIO_DEV(HCALL_CLASS_NET, 0), 3, seed);
}

/* Each with an alarm of its own, which rings at once. */
static GUEST uint64_t waits(uint64_t *seed)
{
	int64_t now = guest_call(HCALL_TIMER_NOW, 0, 0, 0, 0);
	uint64_t i;

	for (i = 0; i < 64; i++)
		guest_call(HCALL_EVENT_WAIT, now + i * 1000 + (*seed & 1023),
			   HCALL_WAIT_DEADLINE, 0, 0);
	return i;
}

/* A reader that reads nothing. */
static GUEST uint64_t console(uint64_t *seed)
{
	uint64_t i;

	for (i = 0; i < 64; i++) {
		guest_call(HCALL_CONSOLE_WRITE, 0, DATA,
			   HCALL_CONSOLE_MAX_BYTES - (*seed & 7), HCALL_NOWAIT);
		guest_call(HCALL_CONSOLE_PUTC, 0, 'x', HCALL_NOWAIT, 0);
	}
	return 2 * i;
}

static GUEST uint64_t channels(uint64_t *seed)
{
	uint64_t calls = 0;

	for (uint64_t i = HCALL_CHANNEL_GUEST; i < HCALL_CHANNELS; i++) {
		guest_call(HCALL_EVENT_RAISE, i, 0, 0, 0);
		guest_call(HCALL_EVENT_MASK, i, rnd(seed) & 1, 0, 0);
		guest_call(HCALL_EVENT_ROUTE, i, i & 1 ? 1 : HCALL_VCPU_ANY, 0,
			   0);
		guest_call(HCALL_EVENT_MASK, i, 0, 0, 0);
		calls += 4;
	}
	while (guest_call(HCALL_EVENT_NEXT, 0, 0, 0, 0) >= 0)
		calls++;
	return calls;
}

static GUEST uint64_t edge(uint64_t *seed)
{
	uint64_t r = rnd(seed), low = r >> 32 & 0x1fff;

	switch (r & 7) {
	case 0:
		return RAM2 - low;
	case 1:
		return HOLE - low;
	case 2:
		return ROM - low;
	case 3:
		return ROM + ROM_BYTES - low;
	case 4:
		return TILES + TILES_NR * 4096 - low * 8;
	case 5:
		return 0 - low;
	case 6:
		return (1ull << 52) - low;
	default:
		return TILES + low;
	}
}

static GUEST uint64_t edges(uint64_t *seed)
{
	uint64_t i;

	for (i = 0; i < 64; i += 8) {
		guest_call(HCALL_BLOCK_READ, 0, 0, edge(seed),
			   1 + (rnd(seed) & 127));
		guest_call(HCALL_BLOCK_WRITE, 0, 0, edge(seed),
			   1 + (rnd(seed) & 127));
		guest_call(HCALL_SYS_RANDOM, edge(seed), rnd(seed) & 4095, 0,
			   0);
		guest_call(HCALL_SYS_BATCH, edge(seed) & ~7ull, 256, 0, 0);
		guest_call(HCALL_CONSOLE_WRITE, 0, edge(seed),
			   rnd(seed) & 0xffff, HCALL_NOWAIT);
		guest_call(HCALL_NET_SENDV, 0, edge(seed) & ~7ull, 256,
			   HCALL_NOWAIT);
		guest_call(HCALL_EVENT_PAGE, edge(seed) & ~255ull, 0, 0, 0);
		guest_call(HCALL_EVENT_PAGE, PAGE, 0, 0, 0);
	}
	return i;
}

/* To a tap, whose host takes all; and to one that has no room for more. */
static GUEST uint64_t net(uint64_t *seed)
{
	volatile struct hcall_frame *frame = (void *)(uintptr_t)FRAMES;
	uint64_t i;

	scribble(DATA, 190, seed);
	for (i = 0; i < HCALL_NET_MAX_FRAMES; i++) {
		frame[i].gpa = DATA;
		frame[i].bytes = 60 + (rnd(seed) & 1023);
	}
	for (i = 0; i < 8; i++) {
		guest_call(HCALL_NET_SENDV, 0, FRAMES, HCALL_NET_MAX_FRAMES,
			   HCALL_NOWAIT);
		guest_call(HCALL_NET_RECVV, 0, FRAMES, HCALL_NET_MAX_FRAMES,
			   HCALL_NOWAIT);
		guest_call(HCALL_NET_SEND, 1, DATA, 1514, HCALL_NOWAIT);
		guest_call(HCALL_NET_FEATURES, 0, i & 1, 0, 0);
	}
	return 4 * i;
}

static GUEST uint64_t unknown(uint64_t *seed)
{
	uint64_t i;

	for (i = 0; i < 256; i++)
		guest_call(HCALL_PREFIX | (rnd(seed) & 0xf0f0), rnd(seed),
			   rnd(seed), rnd(seed), rnd(seed));
	return i;
}

static GUEST uint64_t attack(uint64_t kind, uint64_t *seed)
{
	switch (kind) {
	case 0:
		return timers(seed);
	case 1:
		return batches(seed);
	case 2:
		return biggest(seed);
	case 3:
		return rings(seed);
	case 4:
		return waits(seed);
	case 5:
		return console(seed);
	case 6:
		return channels(seed);
	case 7:
		return edges(seed);
	case 8:
		return net(seed);
	default:
		return unknown(seed);
	}
}

static GUEST void spin(void)
{
	struct board *board = (void *)(uintptr_t)BOARD;

	__atomic_fetch_add(&board->spins, 1, __ATOMIC_RELAXED);
	while (phase_is() < HOSTILE)
		__asm__ __volatile__("pause");
}

static GUEST int64_t attacks(uint64_t self)
{
	struct board *board = (void *)(uintptr_t)BOARD;
	uint64_t seed = 0x9e3779b97f4a7c15u * (self + 1), kind, calls;

	spin();
	guest_call(HCALL_EVENT_PAGE, PAGE, 0, 0, 0);
	timers(&seed);
	for (kind = self; phase_is() != ENDING; kind++) {
		calls = attack(kind % ATTACKS, &seed);
		__atomic_fetch_add(&board->attacks[kind % ATTACKS], calls,
				   __ATOMIC_RELAXED);
	}
	return 0;
}

/* The other vCPU takes all events at once, and changes what calls read. */
static GUEST int64_t helps(uint64_t self)
{
	struct hcall_event_page *page = (void *)(uintptr_t)PAGE;
	uint64_t seed = self + 1;

	spin();
	while (phase_is() != ENDING) {
		for (uint32_t i = 0; i < HCALL_CHANNELS / 32; i++)
			__atomic_fetch_and(&page->pending[i], 0,
					   __ATOMIC_RELAXED);
		scribble(QUEUES + (rnd(&seed) & 0xffc0), 1, &seed);
	}
	return 0;
}

/* ---- Launchers ------------------------------------------------------------------ */

static struct board *board;
static char groups[] = "/tmp/hcall-groups-XXXXXX";

static void group_write(const char *group, const char *file, const char *text)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s/%s", groups, group, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	NEED(fd >= 0);
	NEED(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

/* Time that all of a group has run, also those who have ended. */
static uint64_t group_ns(const char *group)
{
	unsigned long long us;
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s/cpu.stat", groups, group);
	f = fopen(path, "r");
	NEED(f);
	NEED(fscanf(f, "usage_usec %llu", &us) == 1);
	fclose(f);
	return us * 1000;
}

static void groups_make(void)
{
	char path[128];

	NEED(mkdtemp(groups));
	NEED(!mount("none", groups, "cgroup2", 0, NULL));
	group_write(".", "cgroup.subtree_control", "+cpu");
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", groups,
			 i ? "worker" : "neighbours");
		NEED(!mkdir(path, 0755));
	}
}

static void groups_remove(void)
{
	char path[128];

	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", groups,
			 i ? "worker" : "neighbours");
		/* The dead are gone from there a moment later. */
		for (int k = 0; k < 500 && rmdir(path); k++)
			usleep(10000);
	}
	NEED(!umount(groups));
	NEED(!rmdir(groups));
}

static struct vm vm;

static void launcher(const char *group, int i)
{
	char name[32];

	group_write(group, "cgroup.procs", "0");
	vm_new(&vm);
	vm_guest(&vm);
	vm_slot(&vm, BOARD_SLOT, BOARD, board, 4096, 0);
	vm_bind(&vm);
	snprintf(name, sizeof(name), "neighbour-%d", i);
	NEED(vm_disk(&vm, "disk", make_disk(name, DISK_BYTES), 0) == 0);
}

static void ready(void)
{
	__atomic_fetch_add(&board->ready, 1, __ATOMIC_SEQ_CST);
}

static void await_phase(uint32_t phase)
{
	while (__atomic_load_n(&board->phase, __ATOMIC_SEQ_CST) < phase)
		usleep(10000);
}

static int tap(int i)
{
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq req = { .ifr_flags = IFF_TAP | IFF_NO_PI };

	NEED(fd >= 0 && sock >= 0);
	snprintf(req.ifr_name, IFNAMSIZ, "neighbour%d", i);
	NEED(!ioctl(fd, TUNSETIFF, &req));
	req.ifr_flags = IFF_UP;
	NEED(!ioctl(sock, SIOCSIFFLAGS, &req));
	close(sock);
	return fd;
}

static void add_net_device(const char *name, int fd, int fd_in)
{
	struct kvm_hcall_add add = {
		.class_id = HCALL_CLASS_NET,
		.fd = fd,
		.fd_in = fd_in,
		.mac = { 2, 'h', 'c', 'a', 'l', 'l' },
		.mtu = 1500,
	};

	strcpy(add.name, name);
	NEED(vm_add_device(&vm, &add) >= 0);
}

static int neighbour(int i)
{
	int out[2], in[2];

	launcher("neighbours", i);
	NEED(!pipe2(out, O_CLOEXEC) && !pipe2(in, O_CLOEXEC));
	NEED(vm_add(&vm, HCALL_CLASS_CONSOLE, "con", out[1], in[0], 0) == 0);
	add_net_device("tap", tap(i), -1);
	NEED(!pipe2(out, O_CLOEXEC | O_DIRECT) &&
	     !pipe2(in, O_CLOEXEC | O_DIRECT));
	add_net_device("full", out[1], in[0]);
	ready();
	await_phase(SPINNING);
	guest_start(&vm.vcpu[0], attacks, i, false);
	guest_start(&vm.vcpu[1], helps, i, false);
	for (int k = 0; k < 2; k++)
		NEED(call_wait(&vm.vcpu[k]) == 0);
	vm_free(&vm);
	return 0;
}

static int worker(void)
{
	launcher("worker", MAX_NEIGHBOURS);
	ready();
	await_phase(ALONE);
	guest_set(&vm.vcpu[0], works, 0, false);
	NEED(guest_run(&vm.vcpu[0]) == 0);
	vm_free(&vm);
	return 0;
}

static pid_t launch(int i)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	NEED(pid >= 0);
	if (!pid) {
		NEED(!prctl(PR_SET_PDEATHSIG, SIGKILL));
		exit(i < 0 ? worker() : neighbour(i));
	}
	return pid;
}

/* ---- What comes of it ------------------------------------------------------------ */

struct measure {
	uint64_t wall_ns, calls, worker_ns, neighbours_ns;
};

static struct measure look(enum phase phase)
{
	return (struct measure){
		.wall_ns = now_ns(),
		.calls = ((volatile struct board *)board)->works[phase],
		.worker_ns = group_ns("worker"),
		.neighbours_ns = group_ns("neighbours"),
	};
}

/* Calls of a second. */
static double rate(const struct measure *m)
{
	return m->calls * 1e9 / m->wall_ns;
}

static struct measure measure(enum phase phase, uint64_t seconds)
{
	struct measure before, after;

	group_write("neighbours", "cpu.weight",
		    phase == SPINNING_LIGHT || phase == HOSTILE_LIGHT ? "1"
								      : "100");
	__atomic_store_n(&board->phase, phase, __ATOMIC_SEQ_CST);
	sleep(1);
	before = look(phase);
	sleep(seconds);
	after = look(phase);
	after.wall_ns -= before.wall_ns;
	after.calls -= before.calls;
	after.worker_ns -= before.worker_ns;
	after.neighbours_ns -= before.neighbours_ns;
	printf("# %s: %.0f calls/s, %.0f of each second that it had; worker %.1f %% of a CPU, neighbours %.1f %%\n",
	       phase_name[phase], rate(&after),
	       after.calls * 1e9 / (after.worker_ns ?: 1),
	       after.worker_ns * 100. / after.wall_ns,
	       after.neighbours_ns * 100. / after.wall_ns);
	return after;
}

/* Lines that the kernel has logged since @kmsg was opened; ours are shown. */
static void count_log(int kmsg, unsigned int *all, unsigned int *ours)
{
	char line[8192];
	ssize_t n;

	*all = *ours = 0;
	for (;;) {
		n = read(kmsg, line, sizeof(line) - 1);
		if (n < 0 && errno == EPIPE) {
			/* So many that some were overwritten. */
			*all += 1000;
			continue;
		}
		if (n <= 0)
			return;
		line[n] = 0;
		(*all)++;
		if (!strstr(line, "hcall"))
			continue;
		(*ours)++;
		printf("# %s", line);
	}
}

static void await_end(pid_t pid)
{
	int status;

	for (int i = 0; i < 3000; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid) {
			CHECK_EQ(status, 0);
			return;
		}
		usleep(10000);
	}
	CHECK(!"it ends");
}

static void fair(void)
{
	static pid_t pids[MAX_NEIGHBOURS + 1];
	uint64_t n = setting("NEIGHBOURS", 16);
	uint64_t seconds = setting("PHASE_SECONDS", 4);
	struct measure m[PHASES];
	unsigned int all, ours;
	int kmsg;

	NEED(n <= MAX_NEIGHBOURS);
	NEED(!system("modprobe tun"));
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	NEED(kmsg >= 0);
	board = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	NEED(board != MAP_FAILED);
	groups_make();
	for (uint64_t i = 0; i <= n; i++)
		pids[i] = launch((int)i - 1);
	for (int i = 0; i < 6000 && board->ready <= n; i++)
		usleep(10000);
	CHECK_EQ(board->ready, n + 1);

	m[ALONE] = measure(ALONE, seconds);
	/* New interfaces have their lines in the log. */
	NEED(lseek(kmsg, 0, SEEK_END) >= 0);
	__atomic_store_n(&board->phase, SPINNING, __ATOMIC_SEQ_CST);
	for (int i = 0; i < 3000 && board->spins < 2 * n; i++)
		usleep(10000);
	CHECK_EQ(board->spins, 2 * n);
	for (int phase = SPINNING; phase < PHASES; phase++)
		m[phase] = measure(phase, seconds);
	__atomic_store_n(&board->phase, ENDING, __ATOMIC_SEQ_CST);
	for (uint64_t i = 0; i <= n; i++)
		await_end(pids[i]);
	groups_remove();
	count_log(kmsg, &all, &ours);
	close(kmsg);

	for (int i = 0; i < ATTACKS; i++)
		printf("# %s: %lu calls\n", attack_name[i], board->attacks[i]);
	printf("# %u lines in the log, %u of ours\n", all, ours);
	for (int i = 0; i < ATTACKS; i++)
		CHECK(board->attacks[i] > 0);
	CHECK_EQ(ours, 0);
	CHECK(all < 20);
	/*
	 * Emulated CPUs take turns on one real CPU, where what is costly to emulate
	 * for one is time of the other, too: twice as slow has been seen.
	 */
	CHECK(rate(&m[HOSTILE]) > rate(&m[SPINNING]) / 4);
	CHECK(rate(&m[HOSTILE_LIGHT]) > rate(&m[SPINNING_LIGHT]) / 4);
	munmap(board, 4096);
}

static const struct test tests[] = {
	{ "neighbours.fair", fair },
};

KTAP_MAIN(tests)
