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
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86intrin.h>

#include "vmm.h"

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
#define SECTOR	   512

/* One row: what the guest asks for. */
struct row {
	const char *name;
	uint32_t number;
	uint32_t bytes;
	uint32_t batch; /* elements of a batch, 0: none */
	int goal; /* tax */
};

static const struct row rows[] = {
	{ "null", HCALL_SYS_PROBE, 0, 0, 80 },
	{ "blk_read_512", HCALL_BLOCK_READ, 512, 0, 0 },
	{ "blk_read_4k", HCALL_BLOCK_READ, 4096, 0, 0 },
	{ "blk_read_64k", HCALL_BLOCK_READ, 65536, 0, 0 },
	{ "blk_write_512", HCALL_BLOCK_WRITE, 512, 0, 0 },
	{ "blk_write_4k", HCALL_BLOCK_WRITE, 4096, 0, 0 },
	{ "blk_write_64k", HCALL_BLOCK_WRITE, 65536, 0, 0 },
	{ "blk_batch32_512", HCALL_BLOCK_READ, 512, BATCH, 60 },
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

/* ---- Measuring ------------------------------------------------------------ */

static long switches(void)
{
	struct rusage r;

	NEED(!getrusage(RUSAGE_THREAD, &r));
	return r.ru_nvcsw + r.ru_nivcsw;
}

static struct taken shortest(const struct work *work, long n)
{
	struct taken best = { .insn = INFINITY };

	for (int i = 0; i < TRIES; i++) {
		long before = switches();
		uint64_t start = __rdtsc();
		long exits = work->run(work, n);
		uint64_t end = __rdtsc();

		if (end - start < best.insn)
			best = (struct taken){ end - start, exits,
					       switches() - before };
	}
	return best;
}

static struct taken measure(const struct work *work)
{
	struct taken a = shortest(work, SHORT), b = shortest(work, LONG);
	double n = LONG - SHORT;

	return (struct taken){ (b.insn - a.insn) / n, (b.exits - a.exits) / n,
			       (b.switches - a.switches) / n };
}

/* ---- The guest ------------------------------------------------------------ */

/* 1: mov %r9d,%eax; CALL; dec %edi; jnz 1b; out %al,$PORT_END */
#define GUEST_LOOP(back, ...)                                               \
	{                                                                   \
		0x44, 0x89, 0xc8, __VA_ARGS__ 0xff, 0xcf, 0x75, back, 0xe6, \
			PORT_END                                            \
	}

static const uint8_t guest_empty[] = GUEST_LOOP(0xf9);
static const uint8_t guest_vmmcall[] = GUEST_LOOP(0xf6, 0x0f, 0x01, 0xd9, );
static const uint8_t guest_port[] = GUEST_LOOP(0xf7, 0xe7, PORT_CALL, );

static void vcpu_start(struct vm *vm, long n, uint32_t rax,
		       const uint64_t args[4])
{
	struct kvm_regs regs = {
		.rbx = args[0],
		.rcx = args[1],
		.rdx = args[2],
		.rsi = args[3],
		.rdi = n,
		.r9 = rax,
		.rip = LOOP,
		.rflags = 2,
	};

	NEED(!ioctl(vm->vcpu[0].fd, KVM_SET_REGS, &regs));
}

/*
 * The userspace of the Solo5 way: check as Solo5's hvt does, then pread() into
 * the guest's memory.  All of a batch comes with one exit, which is more than
 * Solo5 has.
 */
static void serve(struct vm *vm, const struct row *row, uint32_t gpa)
{
	uint32_t n = row->batch ? row->batch : 1;
	struct request *r = (void *)(vm->low + gpa);

	NEED(gpa <= LOW_BYTES - n * sizeof(*r));
	for (uint32_t i = 0; i < n; i++, r++) {
		if (r->gpa < RAM || r->gpa >= RAM2 ||
		    r->bytes > RAM2 - r->gpa) {
			r->result = -EFAULT;
			continue;
		}
		switch (r->number) {
		case HCALL_BLOCK_READ:
			r->result = pread(file, at(vm, r->gpa), r->bytes,
					  r->offset);
			break;
		case HCALL_BLOCK_WRITE:
			r->result = pwrite(file, at(vm, r->gpa), r->bytes,
					   r->offset);
			break;
		default:
			r->result = 0;
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

/* The register arguments of a row. */
static void row_args(const struct row *row, uint64_t args[4])
{
	memset(args, 0, 4 * sizeof(*args));
	if (row->batch) {
		args[0] = OPS;
		args[1] = row->batch;
	} else if (row->bytes) {
		args[1] = OFFSET / SECTOR;
		args[2] = BUFFER;
		args[3] = row->bytes / SECTOR;
	}
}

static void fill_batch(const struct row *row)
{
	struct hcall_op *op = at(&bound, OPS);

	for (uint32_t i = 0; i < row->batch; i++)
		op[i] = (struct hcall_op){
			.number = row->number,
			.args = { 0, OFFSET / SECTOR + i,
				  BUFFER + i * row->bytes,
				  row->bytes / SECTOR },
		};
}

static void fill_requests(const struct row *row)
{
	struct request *r = (void *)(stock.low + REQUEST);

	for (uint32_t i = 0; i < (row->batch ? row->batch : 1); i++)
		r[i] = (struct request){ OFFSET + i * row->bytes,
					 BUFFER + i * row->bytes, row->bytes,
					 row->number, INT64_MIN };
}

/* ---- What is measured ----------------------------------------------------- */

static long run_empty(const struct work *work, long n)
{
	memcpy(work->vm->low + LOOP, guest_empty, sizeof(guest_empty));
	vcpu_start(work->vm, n, 0, (uint64_t[4]){ 0 });
	return vcpu_run(work);
}

static long run_stock(const struct work *work, long n)
{
	memcpy(work->vm->low + LOOP, guest_vmmcall, sizeof(guest_vmmcall));
	vcpu_start(work->vm, n, STOCK_CALL, (uint64_t[4]){ 0 });
	return vcpu_run(work);
}

static long run_call(const struct work *work, long n)
{
	uint64_t args[4];

	memcpy(work->vm->low + LOOP, guest_vmmcall, sizeof(guest_vmmcall));
	row_args(work->row, args);
	vcpu_start(work->vm, n,
		   work->row->batch ? HCALL_SYS_BATCH : work->row->number,
		   args);
	return vcpu_run(work);
}

static long run_user(const struct work *work, long n)
{
	memcpy(work->vm->low + LOOP, guest_port, sizeof(guest_port));
	vcpu_start(work->vm, n, REQUEST, (uint64_t[4]){ 0 });
	return vcpu_run(work);
}

/* The system call itself, without what libc does around it. */
static inline long bare(long nr, long a, const void *b, long c, long d)
{
	register long r10 __asm__("r10") = d;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10)
			 : "rcx", "r11", "memory");
	return ret;
}

static long run_bare(const struct work *work, long n)
{
	const struct row *row = work->row;
	void *buffer = at(work->vm, BUFFER);
	long nr = SYS_getppid, i;

	if (row)
		nr = row->number == HCALL_BLOCK_READ ? SYS_pread64
						     : SYS_pwrite64;
	for (i = 0; i < n; i++)
		bare(nr, file, buffer, row ? row->bytes : 0, OFFSET);
	return 0;
}

/* ---- Did it do what it says? ---------------------------------------------- */

static void check_row(const struct row *row, struct vm *vm,
		      long (*run)(const struct work *, long))
{
	uint32_t bytes = row->bytes * (row->batch ? row->batch : 1);
	struct work work = { .run = run, .vm = vm, .row = row };
	uint8_t *buffer = at(vm, BUFFER);
	static uint8_t want[65536];
	struct kvm_regs regs;

	for (uint32_t i = 0; i < sizeof(want); i++)
		want[i] = i * 251 + i / 512 + row->number + (run == run_user);
	if (row->number == HCALL_BLOCK_WRITE) {
		memcpy(buffer, want, bytes);
	} else {
		memset(buffer, 0, sizeof(want));
		NEED(pwrite(file, want, sizeof(want), OFFSET) == sizeof(want));
	}
	run(&work, 1);
	NEED(!ioctl(vm->vcpu[0].fd, KVM_GET_REGS, &regs));
	if (run == run_call) {
		if (row->batch)
			NEED(regs.rax == row->batch);
		else if (row->bytes)
			NEED(regs.rax == row->bytes / SECTOR);
		else
			NEED((int64_t)regs.rax > 0);
	}
	if (row->number == HCALL_BLOCK_WRITE) {
		memset(buffer, 0, bytes);
		NEED(pread(file, buffer, bytes, OFFSET) == bytes);
	}
	NEED(!memcmp(buffer, want, bytes));
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

/* Twice, to see how far apart two measurements are. */
static double wobble;

static struct taken measure_twice(const struct work *work)
{
	struct taken a, b;

	settle();
	a = measure(work);
	b = measure(work);
	wobble = fmax(wobble, fabs(a.insn - b.insn));
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
	double n = row->batch ? row->batch : 1;
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

static void table(const char *path, const char *module)
{
	double loop, stock_call, syscall_own, limit[ROWS];
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

		limit[i] = stock_call / (row->batch ? row->batch : 1);
		if (row->bytes)
			limit[i] += insns(run_bare, &stock, row) - syscall_own;
		fill_requests(row);
		check_row(row, &stock, run_user);
		user[i] = measure_twice(&work);
	}

	load_module(module);
	vm_bind(&bound);
	vm_disk(&bound, "disk", path, 0);
	for (int i = 0; i < ROWS; i++) {
		const struct row *row = &rows[i];
		struct work work = { .run = run_call,
				     .vm = &bound,
				     .row = row };

		fill_batch(row);
		check_row(row, &bound, run_call);
		sprintf(goal, "%d", row->goal);
		print_row(row, "", measure_twice(&work), loop, limit[i], goal);
		print_row(row, "_user", user[i], loop, limit[i], "");
	}
	/* What a VM notices that is not bound. */
	print_row(&unbound, "",
		  measure_twice(&(struct work){ run_stock, &stock, &unbound }),
		  loop, stock_call, "");
	fprintf(stderr,
		"calls: two measurements of a loop differ by %.2f instructions at most\n",
		wobble);
}

/* The parts of a row's tax, again and again: profile looks at us meanwhile. */
static void repeat(const char *path, const char *module, const char *name)
{
	const struct row *row = rows;

	while (row < rows + ROWS && strcmp(row->name, name))
		row++;
	NEED(row < rows + ROWS);
	load_module(module);
	vm_bind(&bound);
	vm_disk(&bound, "disk", path, 0);
	fill_batch(row);
	check_row(row, &bound, run_call);
	settle();

	puts("repeating");
	fflush(stdout);
	for (;;) {
		struct work call = { .vm = &bound, .row = row };
		struct work own = { .vm = &bound };

		run_call(&call, LONG);
		run_stock(&own, LONG);
		run_bare(&own, LONG);
		if (row->bytes)
			run_bare(&call, LONG);
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
