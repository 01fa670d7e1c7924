// SPDX-License-Identifier: GPL-2.0
/*
 * Host instructions for each call, beside what a stock kernel needs for the
 * same: one line a row, see run, which boots a host where the time stamp
 * counter counts instructions.
 *
 * usage: calls FILE MODULE	rows; MODULE is loaded on the way
 *	  calls FILE MODULE ROW	repeat that row and its limit for ever, for profile
 *
 * A guest makes n calls in a loop, then leaves.  The figure for a call is the
 * difference between a long and a short loop, divided by the difference of
 * their n: what it costs to enter and leave the guest cancels out.  The same
 * difference of an empty loop, and for system calls of getppid(), is taken off.
 * Each loop runs TRIES times and the shortest counts, that is one without a
 * timer interrupt, of which there is one in four million instructions, and
 * without what happens only once in a while, as the update of a file's times.
 *
 * What a call takes away, an event, a key, a frame, is made ready before the
 * loop, as much as all of its turns take, and outside the measured part.  The
 * system call finds the same.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <math.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include <bpf/libbpf.h>

#include "peers.h"
#include "vmm.h"
#include "watch.skel.h"

#define SHORT	   8
#define LONG	   40
#define TRIES	   25

#define LOOP	   0x2000u /* the guest's code */
#define REQUEST	   0x3000u /* and what it hands over in the Solo5 way */
#define PORT_CALL  0x98 /* in userspace */
#define PORT_END   0x99
#define STOCK_CALL 77 /* no hypercall of KVM's, nor of ours */
#define OFFSET	   (64 << 10) /* in the file */
#define BUFFER	   RAM
#define OPS	   (RAM + (1 << 20))
#define BATCH	   32
#define FRAMES	   64
#define SECTOR	   512
#define CHANNEL	   HCALL_CHANNEL_GUEST

/* One row: what the guest asks for. */
struct row {
	const char *name;
	uint32_t number;
	uint32_t bytes; /* that one element moves */
	uint32_t many; /* elements of a batch or vector, 0: none */
	uint32_t share; /* of these an exit may be spent on */
	int goal; /* tax */
	bool empty; /* there is nothing to read */
};

static const struct row rows[] = {
	{ "null", HCALL_SYS_PROBE, .goal = 80 },
	{ "blk_read_512", HCALL_BLOCK_READ, .bytes = 512 },
	{ "blk_read_4k", HCALL_BLOCK_READ, .bytes = 4096 },
	{ "blk_read_64k", HCALL_BLOCK_READ, .bytes = 65536 },
	{ "blk_write_512", HCALL_BLOCK_WRITE, .bytes = 512 },
	{ "blk_write_4k", HCALL_BLOCK_WRITE, .bytes = 4096 },
	{ "blk_write_64k", HCALL_BLOCK_WRITE, .bytes = 65536 },
	{ "blk_batch32_512", HCALL_BLOCK_READ, .bytes = 512, .many = BATCH,
	  .share = BATCH, .goal = 60 },
	{ "timer_now", HCALL_TIMER_NOW, .goal = 0 },
	{ "timer_arm", HCALL_TIMER_ARM, .goal = 0 },
	{ "event_next", HCALL_EVENT_NEXT, .goal = 0 },
	{ "event_wait", HCALL_EVENT_WAIT, .goal = 0 },
	{ "event_raise", HCALL_EVENT_RAISE, .goal = 0 },
	{ "input_read_empty", HCALL_INPUT_READ, .bytes = 512, .empty = true },
	{ "input_read_1", HCALL_INPUT_READ, .bytes = 8 },
	{ "net_send_64", HCALL_NET_SEND, .bytes = 64 },
	{ "net_send_1514", HCALL_NET_SEND, .bytes = 1514 },
	{ "net_sendv64_64", HCALL_NET_SENDV, .bytes = 64, .many = FRAMES,
	  .share = 32 },
	{ "net_sendv64_1514", HCALL_NET_SENDV, .bytes = 1514, .many = FRAMES,
	  .share = 32 },
	{ "net_send_batch64_64", HCALL_NET_SEND, .bytes = 64, .many = FRAMES,
	  .share = 32 },
	{ "net_send_batch64_1514", HCALL_NET_SEND, .bytes = 1514,
	  .many = FRAMES, .share = 32 },
	{ "net_recv_64", HCALL_NET_RECV, .bytes = 64 },
	{ "net_recv_1514", HCALL_NET_RECV, .bytes = 1514 },
	{ "net_recvv64_64", HCALL_NET_RECVV, .bytes = 64, .many = FRAMES,
	  .share = 32 },
	{ "net_recvv64_1514", HCALL_NET_RECVV, .bytes = 1514, .many = FRAMES,
	  .share = 32 },
	{ "net_recv_batch64_64", HCALL_NET_RECV, .bytes = 64, .many = FRAMES,
	  .share = 32 },
	{ "net_recv_batch64_1514", HCALL_NET_RECV, .bytes = 1514,
	  .many = FRAMES, .share = 32 },
};

/* A null call that BPF programs see, against one that nobody sees. */
enum {
	WATCH_CLASS,
	WATCH_ENTER,
	WATCH_EXIT,
	WATCH_TRACEPOINT,
	WATCH_NONE,
	WATCHED
};

static const struct row watched[WATCHED] = {
	{ "null_watch_class", HCALL_SYS_PROBE, .goal = 0 },
	{ "null_watch_enter", HCALL_SYS_PROBE, .goal = 200 },
	{ "null_watch_exit", HCALL_SYS_PROBE, .goal = 0 },
	{ "null_watch_tracepoint", HCALL_SYS_PROBE, .goal = 0 },
	{ "null_watch_none", HCALL_SYS_PROBE, .goal = 0 },
};

static const struct row unbound = { .name = "unbound" };

#define ROWS ((int)(sizeof(rows) / sizeof(rows[0])))

/* What a loop took, and what one turn of it takes. */
struct taken {
	double insn;
	double exits; /* returns of KVM_RUN */
	double switches; /* of context */
};

/* What the guest passes to userspace in the Solo5 way; it does not look in. */
struct request {
	uint64_t offset;
	uint64_t gpa;
	uint32_t bytes;
	uint32_t number;
	int64_t result;
};

/* Something that is done n times. */
struct work {
	long (*run)(const struct work *work, long n); /* Return: exits */
	struct vm *vm;
	const struct row *row;
};

static int file; /* what is also the disk */
static struct vm stock, bound;
static uint64_t far; /* a time that does not come */

static uint32_t elements(const struct row *row)
{
	return row->many ? row->many : 1;
}

static bool is_vector(const struct row *row)
{
	return row->number == HCALL_NET_SENDV || row->number == HCALL_NET_RECVV;
}

static bool is_batch(const struct row *row)
{
	return row->many && !is_vector(row);
}

static bool is_send(const struct row *row)
{
	return row->number == HCALL_NET_SEND || row->number == HCALL_NET_SENDV;
}

static bool is_recv(const struct row *row)
{
	return row->number == HCALL_NET_RECV || row->number == HCALL_NET_RECVV;
}

/* Where element @i of a row has its data. */
static uint64_t data_of(const struct row *row, uint32_t i)
{
	return BUFFER +
	       i * (is_send(row) || is_recv(row) ? MAX_FRAME : row->bytes);
}

/* ---- The guest ------------------------------------------------------------ */

/*
 * 1: mov %r9d,%eax; CALL; add %r10,%rbx; dec %edi; jnz 1b; out %al,$PORT_END
 */
#define GUEST_LOOP(back, ...)                                               \
	{                                                                   \
		0x44, 0x89, 0xc8, __VA_ARGS__ 0x4c, 0x01, 0xd3, 0xff, 0xcf, \
			0x75, back, 0xe6, PORT_END                          \
	}

static const uint8_t guest_empty[] = GUEST_LOOP(0xf6);
static const uint8_t guest_vmmcall[] = GUEST_LOOP(0xf3, 0x0f, 0x01, 0xd9, );
static const uint8_t guest_port[] = GUEST_LOOP(0xf4, 0xe7, PORT_CALL, );

/* @step is added to the first argument after each call. */
static void vcpu_start(struct vm *vm, long n, uint32_t rax,
		       const uint64_t args[4], uint64_t step)
{
	struct kvm_regs regs = {
		.rbx = args[0],
		.rcx = args[1],
		.rdx = args[2],
		.rsi = args[3],
		.rdi = n,
		.r9 = rax,
		.r10 = step,
		.rip = LOOP,
		.rflags = 2,
	};

	NEED(!ioctl(vm->vcpu[0].fd, KVM_SET_REGS, &regs));
}

/* ---- The system call beside it --------------------------------------------- */

struct sys {
	long nr;
	long args[4];
};

#define SYS(name, a, b, c, d) \
	((struct sys){ SYS_##name, { (long)(a), (long)(b), (long)(c), (d) } })

/*
 * The system call that does what a row's call does, for its element at @data.
 *
 * WAIT only looks, as poll(2) does; NEXT takes, as read(2) of an eventfd does,
 * and if that is a semaphore each of many reads finds something.  The tap and
 * the keyboard are the files that the module has, opened with O_NONBLOCK.
 */
static struct sys sys_of(const struct row *row, void *data)
{
	static const struct itimerspec once = { .it_value.tv_sec = 1 << 20 };
	static const uint64_t one = 1;
	static struct pollfd fds;
	static struct timespec now;
	static uint64_t count;
	uint32_t bytes = row->bytes;

	switch (row->number) {
	case HCALL_BLOCK_READ:
		return SYS(pread64, file, data, bytes, OFFSET);
	case HCALL_BLOCK_WRITE:
		return SYS(pwrite64, file, data, bytes, OFFSET);
	case HCALL_TIMER_NOW:
		return SYS(clock_gettime, CLOCK_MONOTONIC, &now, 0, 0);
	case HCALL_TIMER_ARM:
		return SYS(timerfd_settime, peers.timer, TFD_TIMER_ABSTIME,
			   &once, 0);
	case HCALL_EVENT_NEXT:
		return SYS(read, peers.counted, &count, sizeof(count), 0);
	case HCALL_EVENT_WAIT:
		fds = (struct pollfd){ peers.readable, POLLIN, 0 };
		return SYS(poll, &fds, 1, 0, 0);
	case HCALL_EVENT_RAISE:
		return SYS(write, peers.raised, &one, sizeof(one), 0);
	case HCALL_INPUT_READ:
		bytes = bytes / sizeof(struct hcall_input_event) *
			sizeof(struct input_event);
		return SYS(read, peers.evdev, data, bytes, 0);
	case HCALL_NET_SEND:
	case HCALL_NET_SENDV:
		return SYS(write, peers.tap, data, bytes, 0);
	case HCALL_NET_RECV:
	case HCALL_NET_RECVV:
		return SYS(read, peers.tap, data, MAX_FRAME, 0);
	default:
		return SYS(getppid, 0, 0, 0, 0);
	}
}

/* What it says. */
static long sys_result(const struct row *row)
{
	switch (row->number) {
	case HCALL_TIMER_NOW:
	case HCALL_TIMER_ARM:
		return 0;
	case HCALL_EVENT_WAIT:
		return 1;
	case HCALL_EVENT_NEXT:
	case HCALL_EVENT_RAISE:
		return 8;
	case HCALL_INPUT_READ:
		return row->empty ? -EAGAIN : (long)sizeof(struct input_event);
	default:
		return row->bytes;
	}
}

/* The system call itself, without what libc does around it. */
static inline long bare(const struct sys *sys)
{
	const long *args = sys->args;
	register long r10 __asm__("r10") = args[3];
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "0"(sys->nr), "D"(args[0]), "S"(args[1]),
			   "d"(args[2]), "r"(r10)
			 : "rcx", "r11", "memory");
	return ret;
}

/*
 * The userspace of the Solo5 way: check as Solo5's hvt does, then the system
 * call, straight to or from guest memory.  All of a batch comes with one exit,
 * which is more than Solo5 has.
 */
static void serve(struct vm *vm, const struct row *row, uint32_t gpa)
{
	uint32_t n = elements(row);
	struct request *r = (void *)(vm->low + gpa);
	struct sys sys;

	NEED(gpa <= LOW_BYTES - n * sizeof(*r));
	for (uint32_t i = 0; i < n; i++, r++) {
		if (r->gpa < RAM || r->gpa >= RAM2 ||
		    r->bytes > RAM2 - r->gpa) {
			r->result = -EFAULT;
			continue;
		}
		switch (r->number) {
		case HCALL_SYS_PROBE:
			r->result = 0;
			break;
		case HCALL_BLOCK_READ:
			r->result = pread(file, at(vm, r->gpa), r->bytes,
					  r->offset);
			break;
		case HCALL_BLOCK_WRITE:
			r->result = pwrite(file, at(vm, r->gpa), r->bytes,
					   r->offset);
			break;
		default:
			sys = sys_of(row, at(vm, r->gpa));
			r->result = bare(&sys);
		}
	}
}

static long vcpu_run(const struct work *work)
{
	const struct vcpu *vcpu = &work->vm->vcpu[0];
	long exits = 0;

	for (;;) {
		NEED(!ioctl(vcpu->fd, KVM_RUN, 0));
		exits++;
		NEED(vcpu->run->exit_reason == KVM_EXIT_IO);
		if (vcpu->run->io.port == PORT_END)
			return exits;
		serve(work->vm, work->row,
		      *(uint32_t *)((uint8_t *)vcpu->run +
				    vcpu->run->io.data_offset));
	}
}

/* The arguments of a row's call, or of element @i of a batch of them. */
static void call_args(const struct row *row, uint32_t i, uint64_t args[4])
{
	memset(args, 0, 4 * sizeof(*args));
	switch (row->number) {
	case HCALL_BLOCK_READ:
	case HCALL_BLOCK_WRITE:
		args[1] = OFFSET / SECTOR + i;
		args[2] = data_of(row, i);
		args[3] = row->bytes / SECTOR;
		break;
	case HCALL_TIMER_NOW:
		args[0] = HCALL_CLOCK_MONOTONIC;
		break;
	case HCALL_TIMER_ARM:
		args[1] = far;
		args[3] = HCALL_CLOCK_MONOTONIC;
		break;
	case HCALL_EVENT_RAISE:
		args[0] = CHANNEL + i;
		break;
	case HCALL_INPUT_READ:
		args[1] = BUFFER;
		args[2] = row->bytes / sizeof(struct hcall_input_event);
		args[3] = HCALL_NOWAIT;
		break;
	case HCALL_NET_SEND:
	case HCALL_NET_RECV:
		args[1] = data_of(row, i);
		args[2] = is_send(row) ? row->bytes : MAX_FRAME;
		args[3] = HCALL_NOWAIT;
		break;
	case HCALL_NET_SENDV:
	case HCALL_NET_RECVV:
		args[1] = OPS;
		args[2] = row->many;
		args[3] = HCALL_NOWAIT;
		break;
	}
}

/* The register arguments of a row. */
static void row_args(const struct row *row, uint64_t args[4])
{
	call_args(row, 0, args);
	if (is_batch(row)) {
		memset(args, 0, 4 * sizeof(*args));
		args[0] = OPS;
		args[1] = row->many;
	}
}

/* What the last of @n such calls says; of TIMER_NOW and PROBE not known. */
static int64_t row_result(const struct row *row, long n)
{
	if (row->many)
		return row->many;
	switch (row->number) {
	case HCALL_BLOCK_READ:
	case HCALL_BLOCK_WRITE:
		return row->bytes / SECTOR;
	case HCALL_EVENT_NEXT:
		return CHANNEL + n - 1;
	case HCALL_INPUT_READ:
		return row->empty ? -HCALL_EAGAIN : 1;
	case HCALL_NET_RECV:
		return row->bytes;
	default:
		return 0;
	}
}

/* The elements of a batch, or the frames of a vector. */
static void fill_ops(const struct row *row)
{
	struct hcall_frame *frame = at(&bound, OPS);
	struct hcall_op *op = at(&bound, OPS);

	for (uint32_t i = 0; is_vector(row) && i < row->many; i++)
		frame[i] = (struct hcall_frame){
			.gpa = data_of(row, i),
			.bytes = is_send(row) ? row->bytes : MAX_FRAME,
		};
	for (uint32_t i = 0; is_batch(row) && i < row->many; i++) {
		op[i] = (struct hcall_op){ .number = row->number };
		call_args(row, i, op[i].args);
	}
}

static void fill_requests(const struct row *row)
{
	struct request *r = (void *)(stock.low + REQUEST);

	for (uint32_t i = 0; i < elements(row); i++)
		r[i] = (struct request){ OFFSET + i * row->bytes,
					 data_of(row, i), row->bytes,
					 row->number, INT64_MIN };
}

/* ---- What is measured ----------------------------------------------------- */

static long run_empty(const struct work *work, long n)
{
	memcpy(work->vm->low + LOOP, guest_empty, sizeof(guest_empty));
	vcpu_start(work->vm, n, 0, (uint64_t[4]){ 0 }, 0);
	return vcpu_run(work);
}

static long run_stock(const struct work *work, long n)
{
	memcpy(work->vm->low + LOOP, guest_vmmcall, sizeof(guest_vmmcall));
	vcpu_start(work->vm, n, STOCK_CALL, (uint64_t[4]){ 0 }, 0);
	return vcpu_run(work);
}

static long run_call(const struct work *work, long n)
{
	const struct row *row = work->row;
	uint64_t args[4];

	memcpy(work->vm->low + LOOP, guest_vmmcall, sizeof(guest_vmmcall));
	row_args(row, args);
	vcpu_start(work->vm, n, is_batch(row) ? HCALL_SYS_BATCH : row->number,
		   args, row->number == HCALL_EVENT_RAISE);
	return vcpu_run(work);
}

static long run_user(const struct work *work, long n)
{
	memcpy(work->vm->low + LOOP, guest_port, sizeof(guest_port));
	vcpu_start(work->vm, n, REQUEST, (uint64_t[4]){ 0 }, 0);
	return vcpu_run(work);
}

static long bare_result; /* of the last one */

static long run_bare(const struct work *work, long n)
{
	struct sys sys = SYS(getppid, 0, 0, 0, 0);

	if (work->row)
		sys = sys_of(work->row, at(work->vm, BUFFER));
	for (long i = 0; i < n; i++)
		bare_result = bare(&sys);
	return 0;
}

/* ---- Before and after ------------------------------------------------------ */

/* Nothing is pending; then @n channels are. */
static void channels_refill(long n)
{
	while (call(&bound, HCALL_EVENT_NEXT, 0, 0, 0, 0) >= 0)
		;
	for (long i = 0; i < n; i++)
		NEED(!host_raise(&bound, CHANNEL + i));
}

/* Make ready what @n turns of @work are about. */
static void make_ready(const struct work *work, long n)
{
	const struct row *row = work->row;
	bool ours = work->run == run_call;

	if (!row)
		return;
	if (is_recv(row)) {
		tap_refill(work->run == run_bare ? n : n * elements(row),
			   row->bytes);
	} else if (is_send(row)) {
		for (uint32_t i = 0; i < elements(row); i++)
			frame_fill(at(work->vm, data_of(row, i)), row->bytes,
				   i);
	} else if (row->number == HCALL_INPUT_READ) {
		keys_refill(row->empty ? 0 : n);
	} else if (row->number == HCALL_EVENT_NEXT && !ours) {
		counted_refill(n);
	} else if (ours && (row->number == HCALL_EVENT_NEXT ||
			    row->number == HCALL_EVENT_WAIT)) {
		channels_refill(n);
	} else if (ours && row->number == HCALL_EVENT_RAISE) {
		channels_refill(0);
	}
}

/* The last of @n turns found what it wants. */
static void check_last(const struct work *work, long n)
{
	const struct row *row = work->row;
	struct kvm_regs regs;

	if (row && work->run == run_bare)
		NEED(bare_result == sys_result(row));
	if (work->run != run_call)
		return;
	NEED(!ioctl(work->vm->vcpu[0].fd, KVM_GET_REGS, &regs));
	if (row->number == HCALL_SYS_PROBE || row->number == HCALL_TIMER_NOW)
		NEED((int64_t)regs.rax > 0);
	else
		NEED((int64_t)regs.rax == row_result(row, n));
}

/* ---- Measuring ------------------------------------------------------------- */

static long switches(void)
{
	struct rusage r;

	NEED(!getrusage(RUSAGE_THREAD, &r));
	return r.ru_nvcsw + r.ru_nivcsw;
}

/* Turns instead of @n, so that no queue is too short and no loop too long. */
static long turns(const struct work *work, long n)
{
	const struct row *row = work->row;

	if (row && row->many > BATCH)
		n = n * BATCH / row->many / 4;
	if (row && work->run == run_bare)
		n *= elements(row);
	return n;
}

static struct taken shortest(const struct work *work, long n)
{
	struct taken best = { .insn = INFINITY };

	for (int i = 0; i < TRIES; i++) {
		uint64_t start, end;
		long before, exits;

		make_ready(work, n);
		before = switches();
		start = __rdtsc();
		exits = work->run(work, n);
		end = __rdtsc();

		if (end - start < best.insn)
			best = (struct taken){ end - start, exits,
					       switches() - before };
		check_last(work, n);
	}
	return best;
}

static struct taken measure(const struct work *work)
{
	long few = turns(work, SHORT), many = turns(work, LONG);
	struct taken a = shortest(work, few), b = shortest(work, many);
	double n = many - few;

	return (struct taken){ (b.insn - a.insn) / n, (b.exits - a.exits) / n,
			       (b.switches - a.switches) / n };
}

/* ---- Did it do what it says? ---------------------------------------------- */

static void check_block(const struct row *row, struct vm *vm,
			const struct work *work)
{
	uint32_t bytes = row->bytes * elements(row);
	uint8_t *buffer = at(vm, BUFFER);
	static uint8_t want[65536];

	for (uint32_t i = 0; i < sizeof(want); i++)
		want[i] = i * 251 + i / 512 + row->number +
			  (work->run == run_user);
	if (row->number == HCALL_BLOCK_WRITE) {
		memcpy(buffer, want, bytes);
	} else {
		memset(buffer, 0, sizeof(want));
		NEED(pwrite(file, want, sizeof(want), OFFSET) == sizeof(want));
	}
	work->run(work, 1);
	if (row->number == HCALL_BLOCK_WRITE) {
		memset(buffer, 0, bytes);
		NEED(pread(file, buffer, bytes, OFFSET) == bytes);
	}
	NEED(!memcmp(buffer, want, bytes));
}

static void check_send(const struct row *row, const struct work *work)
{
	int sniffer = sniffer_open();

	work->run(work, 1);
	for (uint32_t i = 0; i < elements(row); i++)
		NEED(sniffer_has(sniffer, row->bytes, i));
	NEED(!sniffer_has(sniffer, row->bytes, 0));
	close(sniffer);
}

static void check_recv(const struct row *row, struct vm *vm,
		       const struct work *work)
{
	uint8_t want[MAX_FRAME];

	for (uint32_t i = 0; i < elements(row); i++)
		memset(at(vm, data_of(row, i)), 0, row->bytes);
	work->run(work, 1);
	for (uint32_t i = 0; i < elements(row); i++) {
		frame_fill(want, row->bytes, i);
		NEED(!memcmp(at(vm, data_of(row, i)), want, row->bytes));
	}
}

/* A key is there, as an event of evdev's or of the guest's. */
static void check_key(struct vm *vm, bool ours)
{
	const struct hcall_input_event *theirs = at(vm, BUFFER);
	const struct input_event *evdev = at(vm, BUFFER);

	if (ours)
		NEED(theirs->type == EV_KEY && theirs->code == KEY_A);
	else
		NEED(evdev->type == EV_KEY && evdev->code == KEY_A);
}

static void check_row(const struct row *row, struct vm *vm,
		      long (*run)(const struct work *, long))
{
	struct work work = { .run = run, .vm = vm, .row = row };
	bool ours = run == run_call;
	struct itimerspec left;

	make_ready(&work, 1);
	if (is_send(row))
		check_send(row, &work);
	else if (is_recv(row))
		check_recv(row, vm, &work);
	else if (HCALL_NR_CLASS(row->number) == HCALL_CLASS_BLOCK)
		check_block(row, vm, &work);
	else
		run(&work, 1);
	check_last(&work, 1);
	if (run == run_user && row->number != HCALL_SYS_PROBE) {
		const struct request *r = (void *)(stock.low + REQUEST);

		for (uint32_t i = 0; i < elements(row); i++)
			NEED(r[i].result == sys_result(row));
	}
	if (row->number == HCALL_INPUT_READ && !row->empty)
		check_key(vm, ours);
	if (row->number == HCALL_TIMER_ARM && ours)
		NEED(call(vm, HCALL_TIMER_CANCEL, 0, 0, 0, 0) == 1);
	if (row->number == HCALL_TIMER_ARM && !ours)
		NEED(!timerfd_gettime(peers.timer, &left) &&
		     left.it_value.tv_sec);
	if (row->number == HCALL_EVENT_RAISE && ours)
		NEED(call(vm, HCALL_EVENT_NEXT, 0, 0, 0, 0) == CHANNEL);
	for (uint32_t i = 0; ours && is_batch(row) && i < row->many; i++) {
		const struct hcall_op *op = at(vm, OPS);

		NEED(op[i].flags == HCALL_OP_DONE);
		NEED(op[i].result == (is_recv(row)   ? row->bytes
				      : is_send(row) ? 0
						     : row->bytes / SECTOR));
	}
}

/* ---- The table ------------------------------------------------------------ */

/*
 * A read looks whether the file was read after it was written; that takes
 * longer if both were in the same second.  Make it another.
 */
static void settle(void)
{
	char c;

	sleep(2);
	NEED(pread(file, &c, 1, 0) == 1);
}

/* Twice, to see how far apart two measurements are, for each element. */
static double wobble;
static const char *wobbler = "none";

static struct taken measure_twice(const struct work *work)
{
	struct taken a, b;
	double apart;

	settle();
	a = measure(work);
	b = measure(work);
	apart = fabs(a.insn - b.insn);
	if (work->row && work->run != run_bare)
		apart /= elements(work->row);
	if (apart > wobble) {
		wobble = apart;
		wobbler = work->row ? work->row->name : "a part of all rows";
	}
	return a.insn < b.insn ? a : b;
}

static double insns(long (*run)(const struct work *, long), struct vm *vm,
		    const struct row *row)
{
	struct work work = { .run = run, .vm = vm, .row = row };

	return measure_twice(&work).insn;
}

static void print_row(const struct row *row, const char *suffix,
		      struct taken taken, double loop, double limit,
		      const char *goal)
{
	double n = elements(row);
	double insn = (taken.insn - loop) / n;

	printf("%s%s\t%.0f\t%.0f\t%.0f\t%g\t%g\t%s\n", row->name, suffix, insn,
	       limit, round(insn) - round(limit), taken.exits / n,
	       taken.switches / n, goal);
}

static void load_module(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	NEED(fd >= 0);
	NEED(!syscall(SYS_finit_module, fd, "", 0));
	close(fd);
}

/* Attach what the row is about, if anything.  Return: the link or NULL */
static struct bpf_link *watch_row(struct watch_bpf *watch,
				  const struct row *row)
{
	struct bpf_map *sets[] = { watch->maps.watch_class,
				   watch->maps.watch_enter,
				   watch->maps.watch_exit };
	struct bpf_link *link;
	long i = row - watched;

	if (i == WATCH_NONE)
		return NULL;
	link = i == WATCH_TRACEPOINT
		       ? bpf_program__attach(watch->progs.tracepoint)
		       : bpf_map__attach_struct_ops(sets[i]);
	NEED(link);
	return link;
}

/*
 * What it costs a call that a program is there, each as small as can be; and that
 * one was there: none comes last.  @null: a call without
 */
static void watched_rows(double loop, double null)
{
	struct watch_bpf *watch = watch_bpf__open_and_load();

	NEED(watch);
	for (int i = 0; i < WATCHED; i++) {
		const struct row *row = &watched[i];
		struct work work = { .run = run_call,
				     .vm = &bound,
				     .row = row };
		struct bpf_link *link = watch_row(watch, row);
		char goal[16] = "";

		if (i == WATCH_ENTER || i == WATCH_NONE)
			sprintf(goal, "%d", row->goal);
		print_row(row, "", measure_twice(&work), loop, null, goal);
		NEED(!bpf_link__destroy(link));
	}
	watch_bpf__destroy(watch);
}

static void table(const char *path, const char *module)
{
	double loop, stock_call, syscall_own, null, limit[ROWS];
	struct taken user[ROWS];
	char goal[16];

	loop = insns(run_empty, &stock, NULL);
	stock_call = insns(run_stock, &stock, NULL) - loop;
	syscall_own = insns(run_bare, &stock, NULL);
	for (int i = 0; i < ROWS; i++) {
		const struct row *row = &rows[i];
		struct work work = { .run = run_user,
				     .vm = &stock,
				     .row = row };

		limit[i] = stock_call / (row->share ? row->share : 1);
		if (row->number != HCALL_SYS_PROBE)
			limit[i] += insns(run_bare, &stock, row) - syscall_own;
		fill_requests(row);
		check_row(row, &stock, run_user);
		user[i] = measure_twice(&work);
	}

	load_module(module);
	vm_bind(&bound);
	vm_disk(&bound, "disk", path, 0);
	peers_add(&bound);
	for (int i = 0; i < ROWS; i++) {
		const struct row *row = &rows[i];
		struct work work = { .run = run_call,
				     .vm = &bound,
				     .row = row };

		fill_ops(row);
		check_row(row, &bound, run_call);
		sprintf(goal, "%d", row->goal);
		print_row(row, "", measure_twice(&work), loop, limit[i], goal);
		print_row(row, "_user", user[i], loop, limit[i], "");
	}
	null = insns(run_call, &bound, &rows[0]) - loop;
	watched_rows(loop, null);
	/* What a VM notices that is not bound. */
	print_row(&unbound, "",
		  measure_twice(&(struct work){ run_stock, &stock, &unbound }),
		  loop, stock_call, "");
	fprintf(stderr,
		"calls: two measurements of a loop differ by %.2f instructions at most (%s)\n",
		wobble, wobbler);
}

static void repeat_part(long (*run)(const struct work *, long),
			const struct row *row)
{
	struct work work = { .run = run, .vm = &bound, .row = row };
	/* Three turns of 64 frames are enough to see one whole. */
	long n = row && row->many > BATCH && run == run_call ? 3 : LONG;

	make_ready(&work, n);
	run(&work, n);
}

/* The parts of a row's tax, again and again: profile looks at us meanwhile. */
static void repeat(const char *path, const char *module, const char *name)
{
	const struct row *row = NULL;
	bool is_watched = false;

	for (int i = 0; i < ROWS; i++) {
		if (!strcmp(rows[i].name, name))
			row = &rows[i];
	}
	for (int i = 0; i < WATCHED; i++) {
		if (!strcmp(watched[i].name, name)) {
			row = &watched[i];
			is_watched = true;
		}
	}
	NEED(row);
	load_module(module);
	if (is_watched)
		watch_row(watch_bpf__open_and_load(), row);
	vm_bind(&bound);
	vm_disk(&bound, "disk", path, 0);
	peers_add(&bound);
	fill_ops(row);
	check_row(row, &bound, run_call);
	settle();

	puts("repeating");
	fflush(stdout);
	for (;;) {
		repeat_part(run_call, row);
		repeat_part(run_stock, NULL);
		repeat_part(run_bare, NULL);
		if (row->number != HCALL_SYS_PROBE)
			repeat_part(run_bare, row);
	}
}

int main(int argc, char **argv)
{
	if (argc < 3 || argc > 4) {
		fprintf(stderr, "usage: calls FILE MODULE [ROW]\n");
		return 2;
	}
	file = open(argv[1], O_RDWR | O_CLOEXEC);
	NEED(file >= 0);
	far = now_ns() + ((uint64_t)1 << 50);
	peers_new();
	vm_new(&stock);
	vm_new(&bound);
	/* No fault of the guest's or of ours may fall into a measurement. */
	memset(stock.ram, 1, RAM_BYTES);
	memset(bound.ram, 1, RAM_BYTES);
	if (argc == 4)
		repeat(argv[1], argv[2], argv[3]);
	else
		table(argv[1], argv[2]);
	return 0;
}
