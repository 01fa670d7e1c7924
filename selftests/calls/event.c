// SPDX-License-Identifier: GPL-2.0
/*
 * Class 6, event: no wake-up is lost, a channel that has not fired wakes
 * nobody, and a guest that says nonsense gets an error and nothing else.
 *
 * HANDOVERS: hand-overs for each of the event.handover tests; a million by hand.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hcall_call.h"
#include "vmm.h"

#define OWN	  HCALL_CHANNEL_GUEST
#define ANY	  HCALL_VCPU_ANY
#define PAGE	  (RAM + 0x10000)
#define SHARED	  (RAM + 0x20000) /* what programs and tests share */
#define ALL_CALLS 0x3f
#define SLOW_MS	  5000 /* a call that has not come back by then hangs */

/* A new one for each test: a thread of one that has failed may live on. */
static struct vm *vm;

static void new_vm(void)
{
	vm = calloc(1, sizeof(*vm));
	NEED(vm);
	vm_new(vm);
	vm_guest(vm);
}

static void setup(void)
{
	new_vm();
	vm_bind(vm);
}

static void teardown(void)
{
	vm_free(vm);
	free(vm);
	vm = NULL;
}

static int64_t on(int vcpu, uint32_t nr, uint64_t a, uint64_t b, uint64_t c,
		  uint64_t d)
{
	call_set(&vm->vcpu[vcpu], nr, a, b, c, d);
	return call_run(&vm->vcpu[vcpu]);
}

static int64_t page(uint64_t gpa)
{
	return on(0, HCALL_EVENT_PAGE, gpa, 0, 0, 0);
}

static int64_t next(void)
{
	return on(0, HCALL_EVENT_NEXT, 0, 0, 0, 0);
}

static int64_t next_on(int vcpu)
{
	return on(vcpu, HCALL_EVENT_NEXT, 0, 0, 0, 0);
}

static int64_t wait_until(uint64_t deadline, uint64_t flags)
{
	return on(0, HCALL_EVENT_WAIT, deadline, flags, 0, 0);
}

static int64_t mask(uint64_t channel, uint64_t value)
{
	return on(0, HCALL_EVENT_MASK, channel, value, 0, 0);
}

static int64_t raise_by_call(uint64_t channel)
{
	return on(0, HCALL_EVENT_RAISE, channel, 0, 0, 0);
}

/* Ownership without an interrupt. */
static int64_t own(uint64_t channel, uint64_t vcpu)
{
	return on(0, HCALL_EVENT_ROUTE, channel, vcpu, 0, 0);
}

static void wait_start(int vcpu)
{
	call_start(&vm->vcpu[vcpu], HCALL_EVENT_WAIT, 0, 0, 0, 0);
}

static struct hcall_event_page *page_at(uint64_t gpa)
{
	return at(vm, gpa);
}

static bool bit(const uint32_t *bits, uint32_t channel)
{
	return __atomic_load_n(&bits[channel / 32], __ATOMIC_SEQ_CST) >>
		       channel % 32 &
	       1;
}

static int bits_set(const uint32_t *bits)
{
	int n = 0;

	for (uint32_t i = 0; i < HCALL_CHANNELS; i++)
		n += bit(bits, i);
	return n;
}

static void op_set(struct hcall_op *op, uint32_t nr, uint64_t a, uint64_t b,
		   uint64_t c, uint64_t d)
{
	memset(op, 0, sizeof(*op));
	op->number = nr;
	op->args[0] = a;
	op->args[1] = b;
	op->args[2] = c;
	op->args[3] = d;
	op->result = 0x7777;
}

/* The call as the only element of a synchronous batch. */
static int64_t by_batch(uint32_t nr, uint64_t a, uint64_t b, uint64_t c,
			uint64_t d)
{
	struct hcall_op *op = at(vm, SHARED);

	op_set(op, nr, a, b, c, d);
	CHECK_EQ(on(0, HCALL_SYS_BATCH, SHARED, 1, 0, 0), 1);
	CHECK_EQ(op->flags, HCALL_OP_DONE);
	return op->result;
}

#define DONE (HCALL_CHANNELS - 1)

/* The same, asynchronously; clears DONE. */
static int64_t by_async(uint32_t nr, uint64_t a, uint64_t b, uint64_t c,
			uint64_t d)
{
	volatile struct hcall_op *op = at(vm, SHARED);

	op_set((struct hcall_op *)op, nr, a, b, c, d);
	CHECK_EQ(on(0, HCALL_SYS_BATCH, SHARED, 1, HCALL_BATCH_ASYNC, DONE), 1);
	for (int i = 0; i < SLOW_MS && !(op->flags & HCALL_OP_DONE); i++)
		usleep(1000);
	CHECK_EQ(op->flags, HCALL_OP_DONE);
	return op->result;
}

/* ---- Calls ------------------------------------------------------------------ */

static void probe(void)
{
	setup();
	CHECK_EQ(on(0, HCALL_SYS_PROBE, HCALL_CLASS_EVENT, 0, 0, 0), ALL_CALLS);
	CHECK_EQ(on(0, HCALL_NR(HCALL_CLASS_EVENT, 6), 0, 0, 0, 0),
		 -HCALL_ENOSYS);
	CHECK_EQ(on(0, HCALL_NR(HCALL_CLASS_EVENT, 255), 0, 0, 0, 0),
		 -HCALL_ENOSYS);
	teardown();
}

/* In a VM that is not bound, in CPL 3, and where the policy denies it. */
static void refused(int64_t error)
{
	memset(at(vm, PAGE), 0x5a, 256);
	CHECK_EQ(page(PAGE), error);
	CHECK_EQ(next(), error);
	CHECK_EQ(wait_until(0, 0), error);
	CHECK_EQ(wait_until(1, HCALL_WAIT_DEADLINE), error);
	CHECK_EQ(mask(OWN, 1), error);
	CHECK_EQ(own(OWN, 1), error);
	CHECK_EQ(route(&vm->vcpu[0], OWN, 0, 0x40, 0), error);
	CHECK_EQ(raise_by_call(OWN), error);
	for (int i = 0; i < 256; i++)
		CHECK_EQ(((uint8_t *)at(vm, PAGE))[i], 0x5a);
}

static void no_calls(void)
{
	new_vm();
	refused(-HCALL_ENOSYS);
	vm_bind(vm);
	vcpu_mode(&vm->vcpu[0], MODE_64_USER);
	refused(-HCALL_EPERM);
	vcpu_mode(&vm->vcpu[0], MODE_64);
	CHECK_EQ(vm_stats(vm, HCALL_CLASS_EVENT).calls, 0);
	/* None of them did a thing. */
	CHECK_EQ(next_on(1), -HCALL_EAGAIN);
	CHECK_EQ(mask(OWN, 0), 0);
	CHECK_EQ(raise_by_call(OWN), 0);
	CHECK_EQ(next(), OWN);
	CHECK_EQ(vm_policy(vm, HCALL_CLASS_EVENT, KVM_HCALL_DENY, 0), 0);
	refused(-HCALL_EPERM);
	CHECK_EQ(vm_stats(vm, HCALL_CLASS_EVENT).denied, 8);
	CHECK_EQ(vm_policy(vm, HCALL_CLASS_EVENT, KVM_HCALL_HANDLE, 0), 0);
	CHECK_EQ(next(), -HCALL_EAGAIN);
	close(vm->hcall);
	vm->hcall = -1;
	refused(-HCALL_ENOSYS);
	teardown();
}

/* A channel fires once until it is taken; the lowest comes first. */
static void raise_next(void)
{
	static const uint64_t wrong[] = { 0,	 63,	   64,
					  511,	 1024,	   1ull << 32 | OWN,
					  -1ull, -1024ull, 1ull << 63 | OWN };

	setup();
	CHECK_EQ(next(), -HCALL_EAGAIN);
	CHECK_EQ(raise_by_call(1023), 0);
	CHECK_EQ(raise_by_call(512), 0);
	CHECK_EQ(raise_by_call(700), 0);
	CHECK_EQ(raise_by_call(700), 0);
	CHECK_EQ(next(), 512);
	CHECK_EQ(next(), 700);
	CHECK_EQ(raise_by_call(600), 0);
	CHECK_EQ(next(), 600);
	CHECK_EQ(next(), 1023);
	CHECK_EQ(next(), -HCALL_EAGAIN);
	for (unsigned int i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		CHECK_EQ(raise_by_call(wrong[i]), -HCALL_EINVAL);
	CHECK_EQ(next(), -HCALL_EAGAIN);
	/* All of them, and those that only the launcher may. */
	for (uint32_t i = 0; i < HCALL_CHANNELS; i++)
		CHECK_EQ(host_raise(vm, i), 0);
	for (uint32_t i = 0; i < HCALL_CHANNELS; i++)
		CHECK_EQ(next(), i);
	CHECK_EQ(next(), -HCALL_EAGAIN);
	/* Registers that a call does not use do not matter. */
	CHECK_EQ(on(0, HCALL_EVENT_RAISE, OWN, -1, -2, -3), 0);
	CHECK_EQ(on(0, HCALL_EVENT_NEXT, -1, -2, -3, -4), OWN);
	teardown();
}

static void mask_call(void)
{
	setup();
	for (int paged = 0; paged < 2; paged++) {
		if (paged)
			CHECK_EQ(page(PAGE), 0);
		CHECK_EQ(mask(OWN, 0), 0);
		CHECK_EQ(mask(OWN, 1), 0);
		CHECK_EQ(mask(OWN, 1), 1);
		CHECK_EQ(raise_by_call(OWN), 0);
		CHECK_EQ(next(), -HCALL_EAGAIN);
		/* It does not hide the others. */
		CHECK_EQ(raise_by_call(OWN + 1), 0);
		CHECK_EQ(next(), OWN + 1);
		CHECK_EQ(next(), -HCALL_EAGAIN);
		CHECK_EQ(mask(OWN, 0), 1);
		CHECK_EQ(next(), OWN);
		CHECK_EQ(next(), -HCALL_EAGAIN);
		CHECK_EQ(mask(HCALL_CHANNELS, 1), -HCALL_EINVAL);
		CHECK_EQ(mask(-1, 0), -HCALL_EINVAL);
		CHECK_EQ(mask(1ull << 32, 1), -HCALL_EINVAL);
		CHECK_EQ(mask(OWN, 2), -HCALL_EINVAL);
		CHECK_EQ(mask(OWN, 1ull << 32), -HCALL_EINVAL);
		for (uint32_t i = 0; i < HCALL_CHANNELS; i++)
			CHECK_EQ(mask(i, 0), 0);
	}
	teardown();
}

/* Every call by every door that it has; in 32-bit mode, too. */
static void doors(void)
{
	setup();
	for (int mode = MODE_64; mode <= MODE_32; mode++) {
		uint64_t gpa = PAGE + 4096 * mode;

		vcpu_mode(&vm->vcpu[0], mode);
		CHECK_EQ(raise_by_call(600), 0);
		CHECK_EQ(by_batch(HCALL_EVENT_RAISE, 601, 0, 0, 0), 0);
		CHECK_EQ(by_async(HCALL_EVENT_RAISE, 602, 0, 0, 0), 0);
		CHECK_EQ(next(), 600);
		CHECK_EQ(by_batch(HCALL_EVENT_NEXT, 0, 0, 0, 0), 601);
		CHECK_EQ(by_async(HCALL_EVENT_NEXT, 0, 0, 0, 0),
			 -HCALL_EOPNOTSUPP);
		CHECK_EQ(next(), 602);
		CHECK_EQ(next(), DONE);
		CHECK_EQ(by_batch(HCALL_EVENT_NEXT, 0, 0, 0, 0), -HCALL_EAGAIN);

		CHECK_EQ(by_batch(HCALL_EVENT_WAIT, 0, 0, 0, 0),
			 -HCALL_EOPNOTSUPP);
		CHECK_EQ(by_async(HCALL_EVENT_WAIT, 0, 0, 0, 0),
			 -HCALL_EOPNOTSUPP);
		/* Its event, which is what is here for a wait. */
		CHECK_EQ(wait_until(0, 0), 0);
		CHECK_EQ(next(), DONE);
		CHECK_EQ(wait_until(1, HCALL_WAIT_DEADLINE), 0);

		CHECK_EQ(by_batch(HCALL_EVENT_MASK, 600, 1, 0, 0), 0);
		CHECK_EQ(by_async(HCALL_EVENT_MASK, 600, 1, 0, 0), 1);
		CHECK_EQ(mask(600, 0), 1);
		CHECK_EQ(by_async(HCALL_EVENT_MASK, 600, 1, 0, 0), 0);
		CHECK_EQ(by_batch(HCALL_EVENT_MASK, 600, 0, 0, 0), 1);
		CHECK_EQ(next(), DONE);

		CHECK_EQ(by_batch(HCALL_EVENT_PAGE, gpa, 0, 0, 0), 0);
		CHECK_EQ(raise_by_call(600), 0);
		CHECK(bit(page_at(gpa)->pending, 600));
		CHECK_EQ(by_async(HCALL_EVENT_PAGE, gpa + 256, 0, 0, 0), 0);
		CHECK_EQ(next(), 600);
		CHECK(bit(page_at(gpa)->pending, 600));
		CHECK(!bit(page_at(gpa + 256)->pending, 600));
		CHECK_EQ(next(), DONE);

		CHECK_EQ(by_batch(HCALL_EVENT_ROUTE, 600, 1, 0, 0), 0);
		CHECK_EQ(raise_by_call(600), 0);
		CHECK_EQ(next(), -HCALL_EAGAIN);
		CHECK_EQ(next_on(1), 600);
		CHECK_EQ(by_async(HCALL_EVENT_ROUTE, 600, 0, 0, 0), 0);
		CHECK_EQ(next(), DONE);
		CHECK_EQ(raise_by_call(600), 0);
		CHECK_EQ(next_on(1), -HCALL_EAGAIN);
		CHECK_EQ(next(), 600);
		CHECK_EQ(own(600, ANY), 0);
		/* An interrupt takes the launcher, and so a vCPU. */
		CHECK_EQ(by_batch(HCALL_EVENT_ROUTE, 600, 0, 64, 0),
			 -HCALL_EOPNOTSUPP);
		CHECK_EQ(by_batch(HCALL_EVENT_ROUTE, 600, 0, 5,
				  HCALL_ROUTE_LINE),
			 -HCALL_EOPNOTSUPP);
		CHECK_EQ(by_async(HCALL_EVENT_ROUTE, 600, 0, 64, 0),
			 -HCALL_EOPNOTSUPP);
		CHECK_EQ(next(), DONE);

		/* Errors are the same at every door. */
		CHECK_EQ(by_batch(HCALL_EVENT_RAISE, 511, 0, 0, 0),
			 -HCALL_EINVAL);
		CHECK_EQ(by_batch(HCALL_EVENT_RAISE, 1ull << 32 | 600, 0, 0, 0),
			 -HCALL_EINVAL);
		CHECK_EQ(by_async(HCALL_EVENT_RAISE, 511, 0, 0, 0),
			 -HCALL_EINVAL);
		CHECK_EQ(by_batch(HCALL_EVENT_MASK, 1024, 0, 0, 0),
			 -HCALL_EINVAL);
		CHECK_EQ(by_batch(HCALL_EVENT_PAGE, HOLE, 0, 0, 0),
			 -HCALL_EFAULT);
		CHECK_EQ(by_async(HCALL_EVENT_PAGE, ROM, 0, 0, 0),
			 -HCALL_EFAULT);
		CHECK_EQ(by_batch(HCALL_EVENT_ROUTE, 600, 99, 0, 0),
			 -HCALL_ENODEV);
		CHECK_EQ(next(), DONE);
		CHECK_EQ(next(), -HCALL_EAGAIN);
	}
	teardown();
}

static void stats(void)
{
	struct kvm_hcall_stats s;

	setup();
	for (int i = 0; i < 10; i++)
		CHECK_EQ(raise_by_call(OWN), 0);
	CHECK_EQ(next(), OWN);
	CHECK_EQ(next(), -HCALL_EAGAIN);
	CHECK_EQ(mask(9999, 0), -HCALL_EINVAL);
	s = vm_stats(vm, HCALL_CLASS_EVENT);
	CHECK_EQ(s.calls, 13);
	CHECK_EQ(s.errors, 2);
	teardown();
}

/* ---- The page ----------------------------------------------------------------- */

static void page_bits(void)
{
	struct hcall_event_page *p, *q;

	setup();
	p = page_at(PAGE);
	q = page_at(RAM2 - 256);
	/* What was before is there; what stood there is not. */
	CHECK_EQ(raise_by_call(600), 0);
	CHECK_EQ(host_raise(vm, 3), 0);
	CHECK_EQ(mask(1023, 1), 0);
	memset(p, 0xff, sizeof(*p));
	CHECK_EQ(page(PAGE), 0);
	CHECK_EQ(bits_set(p->pending), 2);
	CHECK_EQ(bits_set(p->mask), 1);
	CHECK(bit(p->pending, 600) && bit(p->pending, 3));
	CHECK(bit(p->mask, 1023));
	CHECK_EQ(((uint8_t *)(p + 1))[0], 0);
	CHECK_EQ(((uint8_t *)p)[-1], 0);
	/* Every bit has its place. */
	CHECK_EQ(next(), 3);
	CHECK_EQ(next(), 600);
	for (uint32_t i = 0; i < HCALL_CHANNELS; i++) {
		CHECK_EQ(host_raise(vm, i), 0);
		CHECK_EQ(bits_set(p->pending), 1);
		CHECK(bit(p->pending, i));
		CHECK_EQ(__atomic_fetch_and(&p->pending[i / 32],
					    ~(1u << i % 32), __ATOMIC_SEQ_CST),
			 1u << i % 32);
		CHECK_EQ(next(), -HCALL_EAGAIN);
		CHECK_EQ(mask(i, 1), i == 1023);
		CHECK(bit(p->mask, i));
		CHECK_EQ(mask(i, 0), 1);
		CHECK_EQ(bits_set(p->mask), i < 1023);
	}
	/* The guest's own writes count as the host's. */
	__atomic_fetch_or(&p->pending[20], 1 << 5, __ATOMIC_SEQ_CST);
	__atomic_fetch_or(&p->pending[20], 1 << 9, __ATOMIC_SEQ_CST);
	__atomic_fetch_or(&p->mask[20], 1 << 5, __ATOMIC_SEQ_CST);
	CHECK_EQ(next(), 649);
	CHECK_EQ(next(), -HCALL_EAGAIN);
	CHECK_EQ(mask(645, 1), 1);
	/* It moves, with what is in it, over the end of a memslot's page. */
	memset(q, 0xff, sizeof(*q));
	CHECK_EQ(page(RAM2 - 256), 0);
	CHECK_EQ(bits_set(q->pending), 1);
	CHECK_EQ(bits_set(q->mask), 1);
	CHECK(bit(q->pending, 645) && bit(q->mask, 645));
	memset(p, 0, sizeof(*p));
	CHECK_EQ(raise_by_call(700), 0);
	CHECK_EQ(bits_set(p->pending), 0);
	CHECK(bit(q->pending, 700));
	CHECK_EQ(next(), 700);
	CHECK_EQ(mask(645, 0), 1);
	CHECK_EQ(next(), 645);
	/* To where it is already. */
	CHECK_EQ(raise_by_call(701), 0);
	CHECK_EQ(mask(702, 1), 0);
	CHECK_EQ(page(RAM2 - 256), 0);
	CHECK_EQ(mask(702, 0), 1);
	CHECK_EQ(next(), 701);
	/* A guest that fills its page only fools itself. */
	memset(q, 0xff, sizeof(*q));
	CHECK_EQ(next(), -HCALL_EAGAIN);
	memset(q->mask, 0, sizeof(q->mask));
	for (uint32_t i = 0; i < HCALL_CHANNELS; i++)
		CHECK_EQ(next(), i);
	CHECK_EQ(next(), -HCALL_EAGAIN);
	teardown();
}

static void page_errors(void)
{
	struct hcall_event_page *p;
	const char *ext4 = getenv("HCALL_EXT4"); /* see with-disks */
	uint8_t *spare = mmap(NULL, 16384, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd;

	NEED(spare != MAP_FAILED && ext4);
	fd = open(ext4, O_TMPFILE | O_RDWR, 0600);
	NEED(fd >= 0 && !ftruncate(fd, 16384));
	setup();
	p = page_at(PAGE);
	/* At first with no page, then with one, which stays. */
	for (int paged = 0; paged < 2; paged++) {
		CHECK_EQ(raise_by_call(600), 0);
		CHECK_EQ(mask(601, 1), paged);
		for (int i = 1; i < 256; i += i < 16 ? 1 : 17)
			CHECK_EQ(page(PAGE + i), -HCALL_EINVAL);
		CHECK_EQ(page(HOLE + 1), -HCALL_EINVAL);
		CHECK_EQ(page(-1), -HCALL_EINVAL);
		CHECK_EQ(page(HOLE), -HCALL_EFAULT);
		CHECK_EQ(page(HOLE + 0x10000), -HCALL_EFAULT);
		CHECK_EQ(page(ROM), -HCALL_EFAULT);
		CHECK_EQ(page(ROM + ROM_BYTES - 256), -HCALL_EFAULT);
		CHECK_EQ(page(0xfee00000), -HCALL_EFAULT);
		CHECK_EQ(page(1ull << 40), -HCALL_EFAULT);
		CHECK_EQ(page(1ull << 63), -HCALL_EFAULT);
		CHECK_EQ(page(-256), -HCALL_EFAULT);
		CHECK_EQ(next(), 600);
		CHECK_EQ(mask(601, 1), 1);
		CHECK_EQ(next(), -HCALL_EAGAIN);
		CHECK_EQ(page(PAGE), 0);
	}
	/* Where the launcher has put no memory, or none that may be written. */
	vm_slot(vm, 100, 0x10000000, spare, 16384, 0);
	NEED(!mprotect(spare, 4096, PROT_READ));
	NEED(!mprotect(spare + 4096, 4096, PROT_NONE));
	NEED(!munmap(spare + 8192, 4096));
	CHECK_EQ(page(0x10000000), -HCALL_EFAULT);
	CHECK_EQ(page(0x10001000), -HCALL_EFAULT);
	CHECK_EQ(page(0x10002000), -HCALL_EFAULT);
	/* A file's pages cannot be written to without its file system. */
	NEED(mmap(spare, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		  fd, 0) == spare);
	CHECK_EQ(page(0x10000000), -HCALL_EFAULT);
	CHECK_EQ(raise_by_call(600), 0);
	CHECK(bit(p->pending, 600));
	CHECK_EQ(next(), 600);
	CHECK_EQ(page(0x10003f00), 0);
	CHECK_EQ(raise_by_call(600), 0);
	CHECK(bit((uint32_t *)(spare + 0x3f00), 600));
	teardown();
	munmap(spare, 16384);
	close(fd);
}

/* A private mapping of a file, and memory that others share, are the launcher's. */
static void page_memory(void)
{
	static const int flags[] = { 0, MFD_HUGETLB };
	pid_t pid;

	setup();
	/* A launcher that forks keeps the page; the child's is a copy. */
	CHECK_EQ(page(PAGE), 0);
	pid = fork();
	NEED(pid >= 0);
	if (!pid) {
		usleep(300000);
		_exit(bit(page_at(PAGE)->pending, 600));
	}
	CHECK_EQ(raise_by_call(600), 0);
	CHECK(bit(page_at(PAGE)->pending, 600));
	{
		int status;

		NEED(waitpid(pid, &status, 0) == pid);
		CHECK_EQ(status, 0);
	}
	CHECK_EQ(next(), 600);
	CHECK(!bit(page_at(PAGE)->pending, 600));
	for (int i = 0; i < 2; i++) {
		size_t size = flags[i] ? 2 << 20 : 4096;
		int fd = memfd_create("event", flags[i]);
		uint8_t *p = MAP_FAILED;

		if (fd >= 0 && !ftruncate(fd, size))
			p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
				 fd, 0);
		if (flags[i] && p == MAP_FAILED) {
			printf("# no huge pages here\n");
			continue;
		}
		NEED(p != MAP_FAILED);
		vm_slot(vm, 100 + i, 0x10000000 + i * 0x200000, p, size, 0);
		CHECK_EQ(page(0x10000000 + i * 0x200000 + size - 256), 0);
		CHECK_EQ(raise_by_call(600), 0);
		CHECK(bit((uint32_t *)(p + size - 256), 600));
		CHECK_EQ(next(), 600);
		munmap(p, size);
		close(fd);
		/* The page is pinned: it is still there, if out of sight. */
		CHECK_EQ(raise_by_call(600), 0);
		CHECK_EQ(next(), 600);
	}
	teardown();
}

/* The memslot goes, and so does the memory, but not under the host's feet. */
static void page_slot(void)
{
	uint8_t *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	NEED(p != MAP_FAILED);
	setup();
	vm_slot(vm, 100, 0x10000000, p, 8192, 0);
	CHECK_EQ(page(0x10000000), 0);
	CHECK_EQ(on(0, HCALL_TIMER_ARM, 0, 1, 1000000, HCALL_CLOCK_MONOTONIC),
		 0);
	CHECK_EQ(raise_by_call(600), 0);
	CHECK(bit((uint32_t *)p, 600));
	vm_slot(vm, 100, 0x10000000, p, 0, 0);
	for (int i = 0; i < 50; i++) {
		CHECK_EQ(raise_by_call(600), 0);
		CHECK_EQ(mask(601, 1), i > 0);
		usleep(1000);
	}
	CHECK_EQ(page(0x10000000), -HCALL_EFAULT);
	munmap(p, 8192);
	for (int i = 0; i < 50; i++) {
		CHECK_EQ(raise_by_call(600), 0);
		CHECK(next() >= 0);
		usleep(1000);
	}
	/* Elsewhere all is as it should be. */
	CHECK_EQ(on(0, HCALL_TIMER_CANCEL, 0, 0, 0, 0), 1);
	CHECK_EQ(page(PAGE), 0);
	while (next() >= 0)
		;
	CHECK_EQ(raise_by_call(600), 0);
	CHECK(bit(page_at(PAGE)->pending, 600));
	CHECK_EQ(next(), 600);
	teardown();
}

/*
 * Channels fire while the page moves.  The one who fires waits until it is
 * noticed before it fires the same channel again.
 */
#define MOVERS 64

static volatile bool moving, missed;
static volatile uint32_t fired[MOVERS], taken[MOVERS];

static void *fire_thread(void *arg)
{
	int first = (uintptr_t)arg, rounds = 0;

	while (moving) {
		uint64_t start;

		for (int i = first; i < MOVERS; i += 2) {
			fired[i]++;
			NEED(!host_raise(vm, (i < 32 ? 0 : OWN) + i));
		}
		start = now_ns();
		for (int i = first; i < MOVERS && moving; i += 2) {
			while (taken[i] != fired[i] && moving) {
				if (now_ns() - start < 5000000000u)
					continue;
				missed = true;
				return NULL;
			}
		}
		rounds++;
	}
	return (void *)(uintptr_t)rounds;
}

static void page_moves(void)
{
	static const uint64_t where[] = { PAGE, PAGE + 256, RAM2 - 256, RAM2,
					  TILES + 4096 };
	pthread_t thread[2];
	void *rounds[2];
	uint64_t end;

	setup();
	moving = true;
	missed = false;
	memset((void *)fired, 0, sizeof(fired));
	memset((void *)taken, 0, sizeof(taken));
	for (int i = 0; i < 2; i++)
		NEED(!pthread_create(&thread[i], NULL, fire_thread,
				     (void *)(uintptr_t)i));
	end = now_ns() + 3000000000u;
	for (int i = 0; now_ns() < end && !missed; i++) {
		CHECK_EQ(page(where[i % 5]), 0);
		for (int k = 0; k < 10; k++) {
			int64_t n = next();

			if (n == -HCALL_EAGAIN)
				break;
			CHECK(n >= 0);
			n -= n < 32 ? 0 : OWN;
			CHECK(n < MOVERS);
			taken[n] = fired[n];
		}
	}
	moving = false;
	for (int i = 0; i < 2; i++)
		NEED(!pthread_join(thread[i], &rounds[i]));
	CHECK(!missed);
	printf("# %lu and %lu rounds\n", (uintptr_t)rounds[0],
	       (uintptr_t)rounds[1]);
	CHECK((uintptr_t)rounds[0] > 1 && (uintptr_t)rounds[1] > 1);
	teardown();
}

/* The launcher's dirty log sees what the host writes, from whatever context. */
static bool dirty(void)
{
	static uint64_t bits[RAM_BYTES / 4096 / 64];
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = bits };
	uint64_t at = (PAGE - RAM) / 4096;

	memset(bits, 0, sizeof(bits));
	NEED(!ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log));
	return bits[at / 64] >> at % 64 & 1;
}

static void page_dirty(void)
{
	setup();
	vm_slot(vm, 1, RAM, vm->ram, RAM_BYTES, KVM_MEM_LOG_DIRTY_PAGES);
	CHECK_EQ(next(), -HCALL_EAGAIN);
	dirty();
	CHECK(!dirty());
	CHECK_EQ(page(PAGE), 0);
	CHECK(dirty());
	CHECK(!dirty());
	CHECK_EQ(raise_by_call(600), 0);
	CHECK(dirty());
	CHECK_EQ(next(), 600);
	CHECK(dirty());
	CHECK_EQ(next(), -HCALL_EAGAIN);
	CHECK(!dirty());
	CHECK_EQ(mask(600, 1), 0);
	CHECK(dirty());
	CHECK_EQ(mask(600, 0), 1);
	CHECK(dirty());
	CHECK_EQ(host_raise(vm, 601), 0);
	CHECK(dirty());
	CHECK_EQ(next(), 601);
	dirty();
	CHECK_EQ(on(0, HCALL_TIMER_ARM, 7, now_ns() + 20000000, 0, 0), 0);
	dirty();
	usleep(200000);
	CHECK(dirty());
	CHECK_EQ(next(), 7);
	/* A memslot that comes to be logged while the page is in it. */
	vm_slot(vm, 1, RAM, vm->ram, RAM_BYTES, 0);
	vm_slot(vm, 1, RAM, vm->ram, RAM_BYTES, KVM_MEM_LOG_DIRTY_PAGES);
	dirty();
	CHECK(!dirty());
	CHECK_EQ(host_raise(vm, 601), 0);
	CHECK(dirty());
	teardown();
}

/* ---- Whose it is ---------------------------------------------------------------- */

static void owners(void)
{
	setup();
	for (int i = 0; i < MAX_VCPUS; i++)
		CHECK_EQ(own(600 + i, i), 0);
	for (int i = MAX_VCPUS; i >= 0; i--)
		CHECK_EQ(raise_by_call(600 + i), 0);
	/* Each sees its own and what is for any, lowest first. */
	for (int i = 0; i < MAX_VCPUS; i++) {
		CHECK_EQ(on(i, HCALL_EVENT_WAIT, 0, 0, 0, 0), 0);
		CHECK_EQ(next_on(i), 600 + i);
	}
	CHECK_EQ(next_on(2), 600 + MAX_VCPUS);
	for (int i = 0; i < MAX_VCPUS; i++)
		CHECK_EQ(next_on(i), -HCALL_EAGAIN);
	/* Whoever raises it, and by what door. */
	CHECK_EQ(on(3, HCALL_EVENT_RAISE, 601, 0, 0, 0), 0);
	CHECK_EQ(host_raise(vm, 600), 0);
	CHECK_EQ(next_on(2), -HCALL_EAGAIN);
	CHECK_EQ(next_on(1), 601);
	CHECK_EQ(next_on(1), -HCALL_EAGAIN);
	CHECK_EQ(next_on(0), 600);
	/* Pending ones go with their channel. */
	CHECK_EQ(raise_by_call(602), 0);
	CHECK_EQ(own(602, 3), 0);
	CHECK_EQ(next_on(2), -HCALL_EAGAIN);
	CHECK_EQ(own(602, ANY), 0);
	CHECK_EQ(next_on(0), 602);
	/* The launcher's, too. */
	CHECK_EQ(host_route(vm, 603, 1, -1), 0);
	CHECK_EQ(raise_by_call(603), 0);
	CHECK_EQ(next_on(3), -HCALL_EAGAIN);
	CHECK_EQ(next_on(1), 603);
	teardown();
}

static void route_errors(void)
{
	static const struct {
		uint64_t channel, vcpu, vector, flags;
		int64_t want;
	} wrong[] = {
		{ 1024, 0, 0, 0, -HCALL_EINVAL },
		{ -1ull, 0, 0, 0, -HCALL_EINVAL },
		{ 1ull << 32 | 600, 0, 0, 0, -HCALL_EINVAL },
		{ 600, 0, 1, 0, -HCALL_EINVAL },
		{ 600, 0, 15, 0, -HCALL_EINVAL },
		{ 600, 0, 256, 0, -HCALL_EINVAL },
		{ 600, 0, -1ull, 0, -HCALL_EINVAL },
		{ 600, 0, 1ull << 32 | 64, 0, -HCALL_EINVAL },
		{ 600, 0, 0, 2, -HCALL_EINVAL },
		{ 600, 0, 64, 2, -HCALL_EINVAL },
		{ 600, 0, 64, 1ull << 32, -HCALL_EINVAL },
		{ 600, 0, 24, HCALL_ROUTE_LINE, -HCALL_EINVAL },
		{ 600, 0, -1ull, HCALL_ROUTE_LINE, -HCALL_EINVAL },
		{ 600, 0, 5, HCALL_ROUTE_LINE | 2, -HCALL_EINVAL },
		{ 600, ANY, 64, 0, -HCALL_EINVAL },
		{ 600, 1ull << 32, 0, 0, -HCALL_EINVAL },
		{ 600, 1ull << 32 | ANY, 0, 0, -HCALL_EINVAL },
		{ 600, -1ull, 0, 0, -HCALL_EINVAL },
		{ 600, 4, 0, 0, -HCALL_ENODEV },
		{ 600, 4096, 0, 0, -HCALL_ENODEV },
		{ 600, 4, 64, 0, -HCALL_ENODEV },
		{ 600, 4, 5, HCALL_ROUTE_LINE, -HCALL_ENODEV },
		{ 600, 0xfffffffe, 0, 0, -HCALL_ENODEV },
	};
	struct kvm_run *run;
	int efd = eventfd(0, EFD_NONBLOCK);
	uint64_t count;

	setup();
	run = vm->vcpu[0].run;
	CHECK_EQ(next(), -HCALL_EAGAIN);
	CHECK_EQ(host_route(vm, 600, 1, efd), 0);
	for (unsigned int i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		int64_t ret =
			on(0, HCALL_EVENT_ROUTE, wrong[i].channel,
			   wrong[i].vcpu, wrong[i].vector, wrong[i].flags);

		if (ret != wrong[i].want)
			printf("# route %u\n", i);
		CHECK_EQ(ret, wrong[i].want);
	}
	/* Nothing has changed. */
	CHECK_EQ(raise_by_call(600), 0);
	CHECK_EQ(read(efd, &count, 8), 8);
	CHECK_EQ(next(), -HCALL_EAGAIN);
	CHECK_EQ(next_on(1), 600);
	/* What the launcher sees, and that it has the last word. */
	CHECK_EQ(on(0, HCALL_EVENT_ROUTE, 600, 0, 255, 0), INT64_MIN);
	CHECK_EQ(run->exit_reason, KVM_EXIT_HYPERCALL);
	CHECK_EQ(run->hypercall.nr, HCALL_EVENT_ROUTE);
	CHECK_EQ(run->hypercall.args[0], 600);
	CHECK_EQ(run->hypercall.args[1], 0);
	CHECK_EQ(run->hypercall.args[2], 255);
	CHECK_EQ(run->hypercall.args[3], 0);
	CHECK_EQ(call_run(&vm->vcpu[0]), -HCALL_ENOSYS);
	vcpu_mode(&vm->vcpu[0], MODE_32);
	CHECK_EQ(on(0, HCALL_EVENT_ROUTE, 600, ANY, 23, HCALL_ROUTE_LINE),
		 INT64_MIN);
	CHECK_EQ(run->exit_reason, KVM_EXIT_HYPERCALL);
	CHECK_EQ(run->hypercall.args[1], ANY);
	CHECK_EQ(run->hypercall.args[2], 23);
	CHECK_EQ(run->hypercall.args[3], HCALL_ROUTE_LINE);
	run->hypercall.ret = -HCALL_EIO;
	CHECK_EQ(call_run(&vm->vcpu[0]), -HCALL_EIO);
	/* Still nothing has changed. */
	CHECK_EQ(raise_by_call(600), 0);
	CHECK_EQ(read(efd, &count, 8), 8);
	CHECK_EQ(next(), -HCALL_EAGAIN);
	CHECK_EQ(next_on(1), 600);
	/* The smallest of all. */
	CHECK_EQ(route(&vm->vcpu[0], 600, 0, HCALL_ROUTE_MIN_VECTOR, 0), 0);
	CHECK_EQ(route(&vm->vcpu[0], 600, ANY, 0, HCALL_ROUTE_LINE), 0);
	teardown();
	close(efd);
}

/* ---- Interrupts ------------------------------------------------------------------- */

static GUEST int64_t nap(uint64_t rounds)
{
	while (rounds--)
		__asm__ __volatile__("pause");
	return 0;
}

/* Let a vCPU take what interrupts there are for it. */
static void take_interrupts(int vcpu)
{
	guest_set(&vm->vcpu[vcpu], nap, 1000, true);
	CHECK_EQ(guest_run(&vm->vcpu[vcpu]), 0);
}

/* Is this vector waiting in the local APIC? */
static bool in_irr(int vcpu, uint8_t vector)
{
	struct kvm_lapic_state lapic;
	uint32_t irr;

	NEED(!ioctl(vm->vcpu[vcpu].fd, KVM_GET_LAPIC, &lapic));
	memcpy(&irr, lapic.regs + 0x200 + vector / 32 * 16, 4);
	return irr >> vector % 32 & 1;
}

static void wait_irr(int vcpu, uint8_t vector)
{
	for (int i = 0; i < 1000 && !in_irr(vcpu, vector); i++)
		usleep(1000);
	CHECK(in_irr(vcpu, vector));
}

static void interrupt_msi(void)
{
	setup();
	for (int i = 0; i < MAX_VCPUS; i++) {
		uint8_t vector = 0x50 + i;

		CHECK_EQ(route(&vm->vcpu[0], 600 + i, i, vector, 0), 0);
		CHECK(!in_irr(i, vector));
		CHECK_EQ(raise_by_call(600 + i), 0);
		wait_irr(i, vector);
		take_interrupts(i);
		CHECK_EQ(guest_interrupts(&vm->vcpu[i], vector), 1);
		/* Only the first is told, until it has been taken. */
		CHECK_EQ(raise_by_call(600 + i), 0);
		CHECK_EQ(host_raise(vm, 600 + i), 0);
		usleep(20000);
		take_interrupts(i);
		CHECK_EQ(guest_interrupts(&vm->vcpu[i], vector), 1);
		CHECK_EQ(next_on((i + 1) % MAX_VCPUS), -HCALL_EAGAIN);
		CHECK_EQ(next_on(i), 600 + i);
		CHECK_EQ(raise_by_call(600 + i), 0);
		wait_irr(i, vector);
		take_interrupts(i);
		CHECK_EQ(guest_interrupts(&vm->vcpu[i], vector), 2);
		CHECK_EQ(next_on(i), 600 + i);
		/* Masked: none; unmasked with something pending: one. */
		CHECK_EQ(mask(600 + i, 1), 0);
		CHECK_EQ(raise_by_call(600 + i), 0);
		usleep(20000);
		take_interrupts(i);
		CHECK_EQ(guest_interrupts(&vm->vcpu[i], vector), 2);
		CHECK_EQ(mask(600 + i, 0), 1);
		wait_irr(i, vector);
		take_interrupts(i);
		CHECK_EQ(guest_interrupts(&vm->vcpu[i], vector), 3);
		CHECK_EQ(next_on(i), 600 + i);
		/* Nobody else had any. */
		for (int k = 0; k < MAX_VCPUS; k++)
			CHECK_EQ(guest_interrupts(&vm->vcpu[k], vector),
				 k == i ? 3 : 0);
	}
	/* To another vCPU and vector; the old one is no more. */
	CHECK_EQ(route(&vm->vcpu[2], 600, 1, 0x90, 0), 0);
	CHECK_EQ(raise_by_call(600), 0);
	wait_irr(1, 0x90);
	take_interrupts(0);
	take_interrupts(1);
	CHECK_EQ(guest_interrupts(&vm->vcpu[0], 0x50), 3);
	CHECK_EQ(guest_interrupts(&vm->vcpu[1], 0x90), 1);
	CHECK_EQ(next_on(0), -HCALL_EAGAIN);
	CHECK_EQ(next_on(1), 600);
	/* No interrupt any more. */
	CHECK_EQ(own(600, 1), 0);
	CHECK_EQ(raise_by_call(600), 0);
	usleep(20000);
	take_interrupts(1);
	CHECK_EQ(guest_interrupts(&vm->vcpu[1], 0x90), 1);
	CHECK_EQ(next_on(1), 600);
	/* By a timer, from interrupt context. */
	CHECK_EQ(route(&vm->vcpu[0], 5, 2, 0x91, 0), 0);
	CHECK_EQ(on(0, HCALL_TIMER_ARM, 5, 1, 0, 0), 0);
	wait_irr(2, 0x91);
	CHECK_EQ(next_on(2), 5);
	teardown();
}

static void interrupt_lines(void)
{
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };

	setup();
	/* I/O APIC pin 20: vector 0x61, edge, to APIC 1. */
	NEED(!ioctl(vm->fd, KVM_GET_IRQCHIP, &chip));
	chip.chip.ioapic.redirtbl[20].bits = 1ull << 56 | 0x61;
	NEED(!ioctl(vm->fd, KVM_SET_IRQCHIP, &chip));
	CHECK_EQ(route(&vm->vcpu[0], 600, ANY, 20, HCALL_ROUTE_LINE), 0);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(raise_by_call(600), 0);
		wait_irr(1, 0x61);
		take_interrupts(1);
		CHECK_EQ(guest_interrupts(&vm->vcpu[1], 0x61), i + 1);
		CHECK_EQ(raise_by_call(600), 0);
		usleep(10000);
		take_interrupts(1);
		CHECK_EQ(guest_interrupts(&vm->vcpu[1], 0x61), i + 1);
		CHECK_EQ(next_on(i), 600);
	}
	/* The PIC's line 5: vector 0x25; vCPU 0 is where it goes. */
	chip = (struct kvm_irqchip){ .chip_id = KVM_IRQCHIP_PIC_MASTER };
	NEED(!ioctl(vm->fd, KVM_GET_IRQCHIP, &chip));
	chip.chip.pic.irq_base = 0x20;
	chip.chip.pic.imr = (uint8_t) ~(1 << 5);
	NEED(!ioctl(vm->fd, KVM_SET_IRQCHIP, &chip));
	CHECK_EQ(route(&vm->vcpu[0], 601, 0, 5, HCALL_ROUTE_LINE), 0);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(raise_by_call(601), 0);
		usleep(20000);
		take_interrupts(0);
		CHECK_EQ(guest_interrupts(&vm->vcpu[0], 0x25), i + 1);
		CHECK_EQ(next_on(1), -HCALL_EAGAIN);
		CHECK_EQ(next_on(0), 601);
	}
	/* The same line for two channels is the launcher's affair; we have one. */
	CHECK_EQ(own(601, ANY), 0);
	CHECK_EQ(raise_by_call(601), 0);
	usleep(20000);
	take_interrupts(0);
	CHECK_EQ(guest_interrupts(&vm->vcpu[0], 0x25), 3);
	teardown();
}

/* ---- The launcher's side ------------------------------------------------------------ */

static uint64_t drain(int efd)
{
	uint64_t count;

	return read(efd, &count, 8) == 8 ? count : 0;
}

static void eventfds(void)
{
	int efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	setup();
	CHECK_EQ(next(), -HCALL_EAGAIN);
	for (int paged = 0; paged < 2; paged++) {
		if (paged)
			CHECK_EQ(page(PAGE), 0);
		/* Two channels, one eventfd. */
		CHECK_EQ(host_route(vm, 600, ANY, efd), 0);
		CHECK_EQ(host_route(vm, 601, 2, efd), 0);
		CHECK_EQ(raise_by_call(600), 0);
		CHECK_EQ(drain(efd), 1);
		/* Only from clear to pending. */
		CHECK_EQ(raise_by_call(600), 0);
		CHECK_EQ(drain(efd), 0);
		CHECK_EQ(raise_by_call(601), 0);
		CHECK_EQ(raise_by_call(602), 0);
		CHECK_EQ(drain(efd), 1);
		CHECK_EQ(next(), 600);
		CHECK_EQ(drain(efd), 0);
		CHECK_EQ(raise_by_call(600), 0);
		CHECK_EQ(drain(efd), 1);
		/* Not while masked, but then. */
		CHECK_EQ(next(), 600);
		CHECK_EQ(mask(600, 1), 0);
		CHECK_EQ(raise_by_call(600), 0);
		CHECK_EQ(drain(efd), 0);
		CHECK_EQ(mask(600, 0), 1);
		CHECK_EQ(drain(efd), 1);
		/* Twice unmasked is not twice fired. */
		CHECK_EQ(mask(600, 0), 0);
		CHECK_EQ(drain(efd), 0);
		CHECK_EQ(next(), 600);
		CHECK_EQ(mask(600, 1), 0);
		CHECK_EQ(mask(600, 0), 1);
		CHECK_EQ(drain(efd), 0);
		/* No more: by the launcher, by the guest. */
		CHECK_EQ(host_route(vm, 600, ANY, -1), 0);
		CHECK_EQ(raise_by_call(600), 0);
		CHECK_EQ(drain(efd), 0);
		CHECK_EQ(next_on(2), 600);
		CHECK_EQ(next_on(2), 601);
		CHECK_EQ(own(601, ANY), 0);
		CHECK_EQ(raise_by_call(601), 0);
		CHECK_EQ(drain(efd), 0);
		CHECK_EQ(next(), 601);
		CHECK_EQ(next(), 602);
		CHECK_EQ(next(), -HCALL_EAGAIN);
	}
	/* It is held: closing it here takes nothing away from the module. */
	CHECK_EQ(host_route(vm, 600, ANY, efd), 0);
	close(efd);
	CHECK_EQ(raise_by_call(600), 0);
	CHECK_EQ(next(), 600);
	teardown();
}

static void ioctls(void)
{
	int efd = eventfd(0, EFD_NONBLOCK), null = open("/dev/null", O_RDWR);
	int other = open(KVM_HCALL_PATH, O_RDWR);
	struct kvm_hcall_route r = { .channel = 600, .vcpu = ANY, .fd = efd };
	struct kvm_hcall_raise e = { .channel = 600 };
	struct kvm_hcall_link l = { .mtu = 1500 };

	NEED(efd >= 0 && null >= 0 && other >= 0);
	CHECK(ioctl(other, KVM_HCALL_ROUTE, &r) && errno == ENOTCONN);
	CHECK(ioctl(other, KVM_HCALL_RAISE, &e) && errno == ENOTCONN);
	CHECK(ioctl(other, KVM_HCALL_LINK, &l) && errno == ENODEV);
	close(other);
	setup();
	CHECK_EQ(next(), -HCALL_EAGAIN);
	CHECK_EQ(host_route(vm, 600, 3, efd), 0);
	NEED(!ioctl(vm->hcall, KVM_HCALL_SEAL));
	CHECK_EQ(host_route(vm, HCALL_CHANNELS, ANY, efd), -EINVAL);
	CHECK_EQ(host_route(vm, -1, ANY, efd), -EINVAL);
	CHECK_EQ(host_route(vm, 600, MAX_VCPUS, efd), -ENODEV);
	CHECK_EQ(host_route(vm, 600, 1 << 20, -1), -ENODEV);
	CHECK_EQ(host_route(vm, 600, ANY, null), -EINVAL);
	CHECK_EQ(host_route(vm, 600, ANY, vm->hcall), -EINVAL);
	CHECK_EQ(host_route(vm, 600, ANY, 999), -EBADF);
	CHECK_EQ(host_route(vm, 600, ANY, -2), -EINVAL);
	r.flags = 1;
	CHECK(ioctl(vm->hcall, KVM_HCALL_ROUTE, &r) && errno == EINVAL);
	r.flags = 0;
	r.reserved[1] = 1;
	CHECK(ioctl(vm->hcall, KVM_HCALL_ROUTE, &r) && errno == EINVAL);
	CHECK(ioctl(vm->hcall, KVM_HCALL_ROUTE, NULL) && errno == EFAULT);
	CHECK_EQ(host_raise(vm, HCALL_CHANNELS), -EINVAL);
	CHECK_EQ(host_raise(vm, -1), -EINVAL);
	e.flags = 1;
	CHECK(ioctl(vm->hcall, KVM_HCALL_RAISE, &e) && errno == EINVAL);
	e.flags = 0;
	e.reserved = 1;
	CHECK(ioctl(vm->hcall, KVM_HCALL_RAISE, &e) && errno == EINVAL);
	CHECK(ioctl(vm->hcall, KVM_HCALL_RAISE, NULL) && errno == EFAULT);
	CHECK(ioctl(vm->hcall, KVM_HCALL_LINK, &l) && errno == ENODEV);
	l.unit = KVM_HCALL_MAX_UNITS;
	CHECK(ioctl(vm->hcall, KVM_HCALL_LINK, &l) && errno == ENODEV);
	l.flags = 2;
	CHECK(ioctl(vm->hcall, KVM_HCALL_LINK, &l) && errno == EINVAL);
	l = (struct kvm_hcall_link){ .mtu = 1500, .reserved = { 0, 0, 1 } };
	CHECK(ioctl(vm->hcall, KVM_HCALL_LINK, &l) && errno == EINVAL);
	/* Nothing of this did a thing. */
	CHECK_EQ(drain(efd), 0);
	CHECK_EQ(raise_by_call(600), 0);
	CHECK_EQ(drain(efd), 1);
	CHECK_EQ(next(), -HCALL_EAGAIN);
	CHECK_EQ(next_on(3), 600);
	/* All of it works after SEAL. */
	CHECK_EQ(host_raise(vm, 600), 0);
	CHECK_EQ(host_route(vm, 600, ANY, -1), 0);
	CHECK_EQ(next(), 600);
	teardown();
	close(efd);
	close(null);
}

/* ---- WAIT ------------------------------------------------------------------------------ */

static bool still_asleep(int vcpu, int ms)
{
	return !call_ended(&vm->vcpu[vcpu], ms);
}

#define CHECK_WAKES(vcpu_nr, want)                              \
	do {                                                    \
		CHECK(call_ended(&vm->vcpu[vcpu_nr], SLOW_MS)); \
		CHECK_EQ(vm->vcpu[vcpu_nr].result, want);       \
	} while (0)

static void wait_errors(void)
{
	setup();
	CHECK_EQ(wait_until(0, 2), -HCALL_EINVAL);
	CHECK_EQ(wait_until(0, 3), -HCALL_EINVAL);
	CHECK_EQ(wait_until(0, 1ull << 32), -HCALL_EINVAL);
	CHECK_EQ(wait_until(0, -1), -HCALL_EINVAL);
	CHECK_EQ(wait_until(1, 0), -HCALL_EINVAL);
	CHECK_EQ(wait_until(-1, 0), -HCALL_EINVAL);
	CHECK_EQ(wait_until(1ull << 63, HCALL_WAIT_DEADLINE), -HCALL_EINVAL);
	CHECK_EQ(wait_until(-1, HCALL_WAIT_DEADLINE), -HCALL_EINVAL);
	/* Errors come before what is pending. */
	CHECK_EQ(raise_by_call(600), 0);
	CHECK_EQ(wait_until(0, 2), -HCALL_EINVAL);
	CHECK_EQ(wait_until(0, 0), 0);
	CHECK_EQ(next(), 600);
	teardown();
}

/* What does not let it sleep at all. */
static void wait_at_once(void)
{
	uint64_t start;

	setup();
	for (int paged = 0; paged < 2; paged++) {
		if (paged)
			CHECK_EQ(page(PAGE), 0);
		start = now_ns();
		CHECK_EQ(wait_until(0, HCALL_WAIT_DEADLINE), 0);
		CHECK_EQ(wait_until(1, HCALL_WAIT_DEADLINE), 0);
		CHECK_EQ(wait_until(now_ns(), HCALL_WAIT_DEADLINE), 0);
		CHECK_EQ(raise_by_call(600), 0);
		CHECK_EQ(wait_until(0, 0), 0);
		CHECK_EQ(wait_until(now_ns() + 60000000000u,
				    HCALL_WAIT_DEADLINE),
			 0);
		CHECK(now_ns() - start < 5000000000u);
		CHECK_EQ(next(), 600);
	}
	teardown();
}

/* Whose event it is, and whether it is masked, decides. */
static void wait_wakes(void)
{
	setup();
	for (int paged = 0; paged < 2; paged++) {
		if (paged)
			CHECK_EQ(page(PAGE), 0);
		/* The launcher, another vCPU, a batch. */
		for (int how = 0; how < 3; how++) {
			wait_start(1);
			CHECK(call_asleep(&vm->vcpu[1]));
			if (how == 0)
				CHECK_EQ(host_raise(vm, 600), 0);
			if (how == 1)
				CHECK_EQ(raise_by_call(600), 0);
			if (how == 2)
				CHECK_EQ(by_async(HCALL_EVENT_RAISE, 600, 0, 0,
						  0),
					 0);
			CHECK_WAKES(1, 0);
			CHECK_EQ(next_on(1), 600);
		}
		CHECK_EQ(next(), DONE);
		/* Not another's, not a masked one, in its own page or not. */
		CHECK_EQ(own(600, 2), 0);
		CHECK_EQ(mask(601, 1), 0);
		wait_start(1);
		CHECK(call_asleep(&vm->vcpu[1]));
		CHECK_EQ(raise_by_call(600), 0);
		CHECK_EQ(raise_by_call(601), 0);
		CHECK(still_asleep(1, 200));
		CHECK_EQ(mask(601, 0), 1);
		CHECK_WAKES(1, 0);
		CHECK_EQ(next_on(1), 601);
		/* What is pending for another does not keep one awake. */
		wait_start(1);
		CHECK(call_asleep(&vm->vcpu[1]));
		CHECK(still_asleep(1, 100));
		/* ... nor is it told again, but the other still gets it. */
		CHECK_EQ(on(2, HCALL_EVENT_WAIT, 0, 0, 0, 0), 0);
		CHECK_EQ(next_on(2), 600);
		CHECK_EQ(own(600, 1), 0);
		CHECK_EQ(raise_by_call(600), 0);
		CHECK_WAKES(1, 0);
		CHECK_EQ(next_on(1), 600);
		CHECK_EQ(own(600, ANY), 0);
	}
	/* What is for any vCPU wakes one of them at least, and one gets it. */
	for (int i = 0; i < MAX_VCPUS; i++)
		wait_start(i);
	for (int i = 0; i < MAX_VCPUS; i++)
		CHECK(call_asleep(&vm->vcpu[i]));
	CHECK_EQ(host_raise(vm, 600), 0);
	{
		int awake = 0, got = 0;

		for (int i = 0; i < MAX_VCPUS; i++) {
			if (!call_ended(&vm->vcpu[i], 300))
				continue;
			CHECK_EQ(vm->vcpu[i].result, 0);
			awake |= 1 << i;
			got += next_on(i) == 600;
		}
		CHECK(awake);
		CHECK_EQ(got, 1);
		for (int i = 0; i < MAX_VCPUS; i++) {
			CHECK_EQ(host_route(vm, 600 + i, i, -1), 0);
			CHECK_EQ(host_raise(vm, 600 + i), 0);
			if (!(awake >> i & 1))
				CHECK_WAKES(i, 0);
			CHECK_EQ(next_on(i), 600 + i);
		}
	}
	teardown();
}

/* In 32-bit mode, and with the instruction that KVM rewrites. */
static void wait_modes(void)
{
	setup();
	for (int i = 1; i < 3; i++) {
		vcpu_mode(&vm->vcpu[i], i == 1 ? MODE_32 : MODE_64);
		vm->vcpu[i].insn = "vmcall";
		wait_start(i);
		CHECK(call_asleep(&vm->vcpu[i]));
		CHECK_EQ(host_raise(vm, 600), 0);
		CHECK_WAKES(i, 0);
		CHECK_EQ(next(), 600);
	}
	/* Its deadline does not fit in 32 bits, and so is past. */
	CHECK_EQ(on(1, HCALL_EVENT_WAIT, 1, HCALL_WAIT_DEADLINE, 0, 0), 0);
	teardown();
}

static void wait_deadline(void)
{
	uint64_t deadline, worst = 0;

	setup();
	for (int i = 0; i < 40; i++) {
		uint64_t late;

		deadline = now_ns() + i * 1000000 + 1;
		CHECK_EQ(wait_until(deadline, HCALL_WAIT_DEADLINE), 0);
		CHECK(now_ns() >= deadline);
		late = now_ns() - deadline;
		if (late > worst)
			worst = late;
		CHECK_EQ(next(), -HCALL_EAGAIN);
	}
	printf("# at most %lu us late\n", worst / 1000);
	CHECK(worst < 1000000000u);
	/* An event that comes before it. */
	call_start(&vm->vcpu[1], HCALL_EVENT_WAIT, now_ns() + 60000000000u,
		   HCALL_WAIT_DEADLINE, 0, 0);
	CHECK(call_asleep(&vm->vcpu[1]));
	CHECK_EQ(host_raise(vm, 600), 0);
	CHECK_WAKES(1, 0);
	CHECK_EQ(next(), 600);
	/* A deadline of before does not end the next sleep. */
	call_start(&vm->vcpu[1], HCALL_EVENT_WAIT, now_ns() + 300000000,
		   HCALL_WAIT_DEADLINE, 0, 0);
	CHECK(call_asleep(&vm->vcpu[1]));
	CHECK_EQ(host_raise(vm, 600), 0);
	CHECK_WAKES(1, 0);
	CHECK_EQ(next(), 600);
	wait_start(1);
	CHECK(call_asleep(&vm->vcpu[1]));
	CHECK(still_asleep(1, 600));
	CHECK_EQ(host_raise(vm, 600), 0);
	CHECK_WAKES(1, 0);
	CHECK_EQ(next(), 600);
	/* Four at a time, each with its own. */
	deadline = now_ns();
	for (int i = 0; i < MAX_VCPUS; i++)
		call_start(&vm->vcpu[i], HCALL_EVENT_WAIT,
			   deadline + (4 - i) * 100000000ull,
			   HCALL_WAIT_DEADLINE, 0, 0);
	for (int i = MAX_VCPUS - 1; i >= 0; i--) {
		CHECK_WAKES(i, 0);
		CHECK(now_ns() >= deadline + (4 - i) * 100000000ull);
	}
	/* As good as never. */
	call_start(&vm->vcpu[1], HCALL_EVENT_WAIT, INT64_MAX,
		   HCALL_WAIT_DEADLINE, 0, 0);
	CHECK(call_asleep(&vm->vcpu[1]));
	CHECK(still_asleep(1, 100));
	CHECK_EQ(host_raise(vm, 600), 0);
	CHECK_WAKES(1, 0);
	teardown();
}

/* As HLT: an interrupt that the vCPU takes ends it, one that is off does not. */
static GUEST int64_t wait_once(uint64_t arg)
{
	(void)arg;
	return guest_call(HCALL_EVENT_WAIT, 0, 0, 0, 0);
}

static void wait_interrupt(void)
{
	uint64_t before;

	setup();
	for (int i = 0; i < 3; i++) {
		before = guest_interrupts(&vm->vcpu[1], 0x44);
		guest_start(&vm->vcpu[1], wait_once, 0, true);
		CHECK(call_asleep(&vm->vcpu[1]));
		CHECK(still_asleep(1, 50));
		host_msi(vm, 1, 0x44);
		CHECK_WAKES(1, 0);
		CHECK_EQ(guest_interrupts(&vm->vcpu[1], 0x44), before + 1);
		CHECK_EQ(next_on(1), -HCALL_EAGAIN);
	}
	guest_start(&vm->vcpu[1], wait_once, 0, false);
	CHECK(call_asleep(&vm->vcpu[1]));
	host_msi(vm, 1, 0x44);
	CHECK(still_asleep(1, 200));
	CHECK_EQ(guest_interrupts(&vm->vcpu[1], 0x44), 3);
	CHECK_EQ(host_raise(vm, 600), 0);
	CHECK_WAKES(1, 0);
	CHECK_EQ(guest_interrupts(&vm->vcpu[1], 0x44), 3);
	take_interrupts(1);
	CHECK_EQ(guest_interrupts(&vm->vcpu[1], 0x44), 4);
	CHECK_EQ(next(), 600);
	/* One that is there already. */
	host_msi(vm, 1, 0x45);
	guest_start(&vm->vcpu[1], wait_once, 0, true);
	/* It was taken before the call; that now waits for the event. */
	CHECK(call_asleep(&vm->vcpu[1]));
	CHECK_EQ(guest_interrupts(&vm->vcpu[1], 0x45), 1);
	/* An event with an interrupt: both. */
	CHECK_EQ(route(&vm->vcpu[0], 601, 1, 0x46, 0), 0);
	CHECK_EQ(host_raise(vm, 601), 0);
	CHECK_WAKES(1, 0);
	take_interrupts(1);
	CHECK_EQ(guest_interrupts(&vm->vcpu[1], 0x46), 1);
	CHECK_EQ(next_on(1), 601);
	teardown();
}

/* How long until KVM_RUN of a vCPU that sleeps is back after a signal. */
static uint64_t interrupt_run(int vcpu)
{
	uint64_t start;

	vm->vcpu[vcpu].run->immediate_exit = 1;
	start = now_ns();
	pthread_kill(vm->vcpu[vcpu].thread, SIGUSR1);
	CHECK_WAKES(vcpu, INT64_MIN);
	start = now_ns() - start;
	CHECK_EQ(vm->vcpu[vcpu].run->exit_reason, KVM_EXIT_INTR);
	vm->vcpu[vcpu].run->immediate_exit = 0;
	return start;
}

static GUEST int64_t halt(uint64_t arg)
{
	while (!arg)
		guest_halt();
	return 0;
}

#define SIGNALS 20

static int by_size(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void wait_signal(void)
{
	struct kvm_mp_state runnable = { KVM_MP_STATE_RUNNABLE };
	uint64_t hlts[SIGNALS], waits[SIGNALS], hlt, wait, ns;

	harmless(SIGUSR1);
	setup();
	/* What it takes here with a HLT. */
	for (int i = 0; i < SIGNALS; i++) {
		guest_start(&vm->vcpu[1], halt, 0, true);
		CHECK(call_asleep(&vm->vcpu[1]));
		hlts[i] = interrupt_run(1);
		NEED(!ioctl(vm->vcpu[1].fd, KVM_SET_MP_STATE, &runnable));
	}
	for (int i = 0; i < SIGNALS; i++) {
		if (i % 2)
			wait_start(1);
		else
			call_start(&vm->vcpu[1], HCALL_EVENT_WAIT,
				   now_ns() + 60000000000u, HCALL_WAIT_DEADLINE,
				   0, 0);
		CHECK(call_asleep(&vm->vcpu[1]));
		waits[i] = interrupt_run(1);
		/* It sleeps on when it is run again, */
		resume_start(&vm->vcpu[1]);
		CHECK(call_asleep(&vm->vcpu[1]));
		CHECK(still_asleep(1, 20));
		/* through a signal that nobody is told of, */
		pthread_kill(vm->vcpu[1].thread, SIGUSR1);
		CHECK(still_asleep(1, 20));
		/* and wakes as ever; or has been woken meanwhile. */
		if (i % 4 < 2) {
			CHECK_EQ(host_raise(vm, 600), 0);
			CHECK_WAKES(1, 0);
		} else {
			interrupt_run(1);
			CHECK_EQ(host_raise(vm, 600), 0);
			resume_start(&vm->vcpu[1]);
			CHECK_WAKES(1, 0);
		}
		CHECK_EQ(next(), 600);
	}
	/* The middle ones: an emulated host stands still now and then. */
	qsort(hlts, SIGNALS, sizeof(hlts[0]), by_size);
	qsort(waits, SIGNALS, sizeof(waits[0]), by_size);
	hlt = hlts[SIGNALS / 2];
	wait = waits[SIGNALS / 2];
	printf("# KVM_RUN is back %lu us after a signal (longest %lu us), from HLT %lu us (%lu us)\n",
	       wait / 1000, waits[SIGNALS - 1] / 1000, hlt / 1000,
	       hlts[SIGNALS - 1] / 1000);
	CHECK(wait < (hlt > 5000000 ? 2 * hlt : 10000000));
	CHECK(waits[SIGNALS - 1] < 1000000000);
	/* A deadline counts on while the launcher is busy elsewhere. */
	ns = now_ns() + 400000000;
	call_start(&vm->vcpu[1], HCALL_EVENT_WAIT, ns, HCALL_WAIT_DEADLINE, 0,
		   0);
	CHECK(call_asleep(&vm->vcpu[1]));
	interrupt_run(1);
	usleep(600000);
	resume_start(&vm->vcpu[1]);
	CHECK_WAKES(1, 0);
	ns = now_ns() + 400000000;
	call_start(&vm->vcpu[1], HCALL_EVENT_WAIT, ns, HCALL_WAIT_DEADLINE, 0,
		   0);
	CHECK(call_asleep(&vm->vcpu[1]));
	interrupt_run(1);
	resume_start(&vm->vcpu[1]);
	CHECK_WAKES(1, 0);
	CHECK(now_ns() >= ns);
	teardown();
}

static void wait_is_free(void)
{
	setup();
	for (int i = 0; i < 2; i++) {
		uint64_t before, cost;

		call_start(&vm->vcpu[1], HCALL_EVENT_WAIT,
			   i ? now_ns() + 60000000000u : 0,
			   i ? HCALL_WAIT_DEADLINE : 0, 0, 0);
		CHECK(call_asleep(&vm->vcpu[1]));
		usleep(20000);
		before = thread_ns(vm->vcpu[1].thread);
		sleep(1);
		cost = thread_ns(vm->vcpu[1].thread) - before;
		printf("# a second of WAIT takes %lu us\n", cost / 1000);
		/* Polling takes all of it; a CPU that stands still, some ms. */
		CHECK(cost < 100000000);
		CHECK_EQ(host_raise(vm, 600), 0);
		CHECK_WAKES(1, 0);
		CHECK_EQ(next(), 600);
	}
	teardown();
}

/* Memslots come and go at once while vCPUs sleep. */
static void *slot_thread(void *arg)
{
	uint64_t *worst = arg;

	for (int i = 0; i < 20; i++) {
		uint64_t start = now_ns(), ns;

		vm_slot(vm, 3, ROM, NULL, 0, 0);
		vm_slot(vm, 3, ROM, vm->rom, ROM_BYTES, KVM_MEM_READONLY);
		ns = now_ns() - start;
		*worst = ns > *worst ? ns : *worst;
	}
	return NULL;
}

static void wait_memslots(void)
{
	uint64_t worst[2] = { 0, 0 };

	setup();
	slot_thread(&worst[0]);
	for (int i = 1; i < MAX_VCPUS; i++)
		call_start(&vm->vcpu[i], HCALL_EVENT_WAIT,
			   i == 1 ? now_ns() + 60000000000u : 0,
			   i == 1 ? HCALL_WAIT_DEADLINE : 0, 0, 0);
	for (int i = 1; i < MAX_VCPUS; i++)
		CHECK(call_asleep(&vm->vcpu[i]));
	NEED(!pthread_create(&vm->vcpu[0].thread, NULL, slot_thread,
			     &worst[1]));
	CHECK(call_ended(&vm->vcpu[0], 20000));
	printf("# memslots: at most %lu us, with sleepers %lu us\n",
	       worst[0] / 1000, worst[1] / 1000);
	CHECK(worst[1] < 4 * worst[0] + 50000000);
	for (int i = 1; i < MAX_VCPUS; i++) {
		CHECK_EQ(host_route(vm, 600 + i, i, -1), 0);
		CHECK_EQ(host_raise(vm, 600 + i), 0);
		CHECK_WAKES(i, 0);
	}
	teardown();
}

/* The instance goes: nobody could wake its sleepers any more. */
static void wait_closed(void)
{
	for (int i = 0; i < 10; i++) {
		setup();
		for (int k = 0; k < 3; k++)
			call_start(&vm->vcpu[k], HCALL_EVENT_WAIT,
				   k ? 0 : now_ns() + 60000000000u,
				   k ? 0 : HCALL_WAIT_DEADLINE, 0, 0);
		for (int k = 0; k < 3; k++)
			CHECK(call_asleep(&vm->vcpu[k]));
		close(vm->hcall);
		vm->hcall = -1;
		for (int k = 0; k < 3; k++)
			CHECK_WAKES(k, 0);
		CHECK_EQ(next(), -HCALL_ENOSYS);
		/* A new instance has nothing of the old one. */
		vm_bind(vm);
		CHECK_EQ(next(), -HCALL_EAGAIN);
		wait_start(1);
		CHECK(call_asleep(&vm->vcpu[1]));
		CHECK_EQ(host_raise(vm, 600), 0);
		CHECK_WAKES(1, 0);
		teardown();
	}
}

/* ---- VMs of another make ------------------------------------------------- */

/* No local APICs, real mode, and vCPUs that the test numbers. */
static struct {
	int kvm, vm, hcall, vcpu[2];
} mini;

static void mini_new(const int *ids)
{
	static const uint8_t code[] = { 0x0f, 0x01, 0xd9, 0xe6, 0x99 };
	static uint8_t memory[4096] __attribute__((aligned(4096)));
	struct kvm_userspace_memory_region region = {
		.memory_size = 4096, .userspace_addr = (uintptr_t)memory
	};
	struct kvm_hcall_bind bind = { 0 };
	struct kvm_sregs sregs;

	mini.kvm = open("/dev/kvm", O_RDWR);
	mini.hcall = open(KVM_HCALL_PATH, O_RDWR);
	NEED(mini.kvm >= 0 && mini.hcall >= 0);
	mini.vm = ioctl(mini.kvm, KVM_CREATE_VM, 0);
	NEED(mini.vm >= 0);
	bind.vm_fd = mini.vm;
	NEED(!ioctl(mini.hcall, KVM_HCALL_BIND, &bind));
	memcpy(memory, code, sizeof(code));
	NEED(!ioctl(mini.vm, KVM_SET_USER_MEMORY_REGION, &region));
	for (int i = 0; i < 2; i++) {
		mini.vcpu[i] = ioctl(mini.vm, KVM_CREATE_VCPU, ids[i]);
		NEED(mini.vcpu[i] >= 0);
		NEED(!ioctl(mini.vcpu[i], KVM_GET_SREGS, &sregs));
		sregs.cs.base = sregs.cs.selector = 0;
		NEED(!ioctl(mini.vcpu[i], KVM_SET_SREGS, &sregs));
	}
}

static int64_t mini_call(int vcpu, uint32_t nr, uint32_t a, uint32_t b)
{
	struct kvm_regs regs = { .rax = nr, .rbx = a, .rcx = b, .rflags = 2 };

	NEED(!ioctl(mini.vcpu[vcpu], KVM_SET_REGS, &regs));
	NEED(!ioctl(mini.vcpu[vcpu], KVM_RUN, 0));
	NEED(!ioctl(mini.vcpu[vcpu], KVM_GET_REGS, &regs));
	return (int32_t)regs.rax;
}

static void mini_free(void)
{
	close(mini.hcall);
	close(mini.vcpu[0]);
	close(mini.vcpu[1]);
	close(mini.vm);
	close(mini.kvm);
}

/* Where the launcher emulates the local APIC nobody could wake a vCPU for us. */
static void wait_no_apic(void)
{
	static const int ids[] = { 0, 1 };

	mini_new(ids);
	CHECK_EQ(mini_call(0, HCALL_EVENT_WAIT, 0, 0), -HCALL_EOPNOTSUPP);
	CHECK_EQ(mini_call(0, HCALL_EVENT_NEXT, 0, 0), -HCALL_EAGAIN);
	CHECK_EQ(mini_call(0, HCALL_EVENT_RAISE, 600, 0), 0);
	CHECK_EQ(mini_call(0, HCALL_EVENT_NEXT, 0, 0), 600);
	mini_free();
}

/* A vCPU is known by its APIC ID, not by when it was made. */
static void vcpu_ids(void)
{
	static const int ids[] = { 5, 2 };

	mini_new(ids);
	CHECK_EQ(mini_call(0, HCALL_EVENT_ROUTE, 600, 2), 0);
	CHECK_EQ(mini_call(0, HCALL_EVENT_ROUTE, 601, 5), 0);
	CHECK_EQ(mini_call(0, HCALL_EVENT_ROUTE, 600, 0), -HCALL_ENODEV);
	CHECK_EQ(mini_call(0, HCALL_EVENT_ROUTE, 600, 1), -HCALL_ENODEV);
	CHECK_EQ(mini_call(0, HCALL_EVENT_ROUTE, 600, 6), -HCALL_ENODEV);
	for (int i = 600; i < 602; i++)
		CHECK_EQ(mini_call(0, HCALL_EVENT_RAISE, i, 0), 0);
	CHECK_EQ(mini_call(0, HCALL_EVENT_NEXT, 0, 0), 601);
	CHECK_EQ(mini_call(0, HCALL_EVENT_NEXT, 0, 0), -HCALL_EAGAIN);
	CHECK_EQ(mini_call(1, HCALL_EVENT_NEXT, 0, 0), 600);
	CHECK_EQ(mini_call(1, HCALL_EVENT_NEXT, 0, 0), -HCALL_EAGAIN);
	mini_free();
}

/* ---- Devices ------------------------------------------------------------------------------ */

static void device_channel(void)
{
	struct kvm_hcall_add add = { .class_id = HCALL_CLASS_CONSOLE,
				     .name = "c" };
	struct kvm_hcall_resize resize = { .class_id = HCALL_CLASS_CONSOLE,
					   .columns = 100 };
	struct hcall_device *info;
	int a[2], b[2];
	uint32_t channel;

	setup();
	NEED(!pipe(a) && !pipe(b));
	NEED(fcntl(a[1], F_SETPIPE_SZ, 4096) >= 0);
	add.fd = a[1];
	add.fd_in = b[0];
	NEED(!ioctl(vm->hcall, KVM_HCALL_ADD, &add));
	vm_disk(vm, "d", make_disk("d", 4096), 0);
	info = at(vm, SHARED);
	CHECK_EQ(on(0, HCALL_SYS_DEVICE, 1, SHARED, 128, 0), 128);
	channel = info->channel;
	CHECK(channel >= HCALL_TIMERS && channel < HCALL_CHANNEL_GUEST);
	CHECK_EQ(on(0, HCALL_SYS_DEVICE, 0, SHARED, 128, 0), 128);
	CHECK(info->channel >= HCALL_TIMERS &&
	      info->channel < HCALL_CHANNEL_GUEST);
	CHECK(info->channel != channel);
	channel =
		info->class_id == HCALL_CLASS_CONSOLE ? info->channel : channel;
	while (next() >= 0)
		;
	/* Input. */
	wait_start(1);
	CHECK(call_asleep(&vm->vcpu[1]));
	NEED(write(b[1], "ab", 2) == 2);
	CHECK_WAKES(1, 0);
	CHECK_EQ(next(), channel);
	CHECK_EQ(on(0, HCALL_CONSOLE_GETC, 0, HCALL_NOWAIT, 0, 0), 'a');
	CHECK_EQ(on(0, HCALL_CONSOLE_GETC, 0, HCALL_NOWAIT, 0, 0), 'b');
	CHECK_EQ(on(0, HCALL_CONSOLE_GETC, 0, HCALL_NOWAIT, 0, 0),
		 -HCALL_EAGAIN);
	while (next() >= 0)
		;
	/* Room, after there was none. */
	while (on(0, HCALL_CONSOLE_WRITE, 0, SHARED, 4096, HCALL_NOWAIT) > 0)
		;
	CHECK_EQ(next(), -HCALL_EAGAIN);
	wait_start(1);
	CHECK(call_asleep(&vm->vcpu[1]));
	{
		char data[4096];

		NEED(read(a[0], data, sizeof(data)) == sizeof(data));
	}
	CHECK_WAKES(1, 0);
	CHECK_EQ(next(), channel);
	CHECK(on(0, HCALL_CONSOLE_WRITE, 0, SHARED, 16, HCALL_NOWAIT) > 0);
	while (next() >= 0)
		;
	/* Another size. */
	wait_start(1);
	CHECK(call_asleep(&vm->vcpu[1]));
	NEED(!ioctl(vm->hcall, KVM_HCALL_RESIZE, &resize));
	CHECK_WAKES(1, 0);
	CHECK_EQ(next(), channel);
	/* The end of input. */
	while (next() >= 0)
		;
	wait_start(1);
	CHECK(call_asleep(&vm->vcpu[1]));
	close(b[1]);
	CHECK_WAKES(1, 0);
	CHECK_EQ(next(), channel);
	teardown();
	close(a[0]);
	close(a[1]);
	close(b[0]);
}

/* ---- Hand-overs ----------------------------------------------------------------------------- */

/*
 * Two sides hand a token to and fro.  Each takes it, by one of several means,
 * and gives it back after a moment that differs from time to time, so that it
 * comes while the other is about to sleep, sleeps, or is just awake.
 */
enum {
	BY_NEXT, /* NEXT, WAIT */
	BY_PAGE, /* hcall_event_take(), WAIT */
	BY_DEADLINE, /* the same, with a deadline that is near or far */
	BY_INTERRUPT, /* hcall_event_take(), HLT */
	BY_MASK, /* NEXT, WAIT, with the channel masked for a while */
};

struct side {
	volatile uint64_t done;
	uint64_t count;
	uint64_t gives_first;
	uint64_t mine, other; /* channels */
	uint64_t by;
	uint64_t page;
	uint64_t random;
};

static GUEST bool side_take(struct side *s)
{
	uint32_t *word = (uint32_t *)(uintptr_t)s->page + s->mine / 32;
	uint32_t mine = 1u << s->mine % 32;

	if (s->by == BY_NEXT || s->by == BY_MASK)
		return guest_call(HCALL_EVENT_NEXT, 0, 0, 0, 0) ==
		       (int64_t)s->mine;
	return __atomic_fetch_and(word, ~mine, __ATOMIC_SEQ_CST) & mine;
}

static GUEST int64_t side_run(uint64_t arg)
{
	struct side *s = (struct side *)(uintptr_t)arg;

	while (s->done < s->count) {
		uint32_t spin;

		if (s->gives_first &&
		    guest_call(HCALL_EVENT_RAISE, s->other, 0, 0, 0))
			return -1;
		if (s->by == BY_MASK) {
			guest_call(HCALL_EVENT_MASK, s->mine, 1, 0, 0);
			guest_call(HCALL_EVENT_MASK, s->mine, 0, 0, 0);
		}
		while (!side_take(s)) {
			int64_t ret = 0;

			if (s->by == BY_INTERRUPT)
				guest_halt();
			else if (s->by == BY_DEADLINE)
				ret = guest_call(HCALL_EVENT_WAIT,
						 s->done % 2 ? INT64_MAX
							     : 1ull << 61,
						 HCALL_WAIT_DEADLINE, 0, 0);
			else
				ret = guest_call(HCALL_EVENT_WAIT, 0, 0, 0, 0);
			if (ret && ret != -HCALL_EINTR)
				return -2;
		}
		s->done++;
		s->random ^= s->random << 13;
		s->random ^= s->random >> 7;
		s->random ^= s->random << 17;
		spin = s->random >> 32 & 0xffff;
		if (s->random & 3)
			spin = 0;
		while (spin--)
			__asm__ __volatile__("");
		if (!s->gives_first &&
		    guest_call(HCALL_EVENT_RAISE, s->other, 0, 0, 0))
			return -1;
	}
	return 0;
}

static struct side *side_at(int i)
{
	return at(vm, SHARED + i * 4096);
}

static void side_set(int i, int by, uint64_t count)
{
	*side_at(i) = (struct side){
		.count = count,
		.gives_first = i == 0,
		.mine = 600 + i * 200,
		.other = 800 - i * 200,
		.by = by,
		.page = PAGE,
		.random = 0x9e3779b97f4a7c15u + i,
	};
}

/* What is known of a vCPU that does nothing any more. */
static void tell_stuck(int i)
{
	struct vcpu *vcpu = &vm->vcpu[i];
	struct side *s = side_at(i);
	struct kvm_mp_state mp;
	struct kvm_regs regs;
	struct kvm_lapic_state lapic;
	uint32_t irr[8], isr[8];

	vcpu->run->immediate_exit = 1;
	pthread_kill(vcpu->thread, SIGUSR1);
	if (!call_ended(vcpu, 1000)) {
		printf("# vCPU %d: does not even hear a signal\n", i);
		return;
	}
	NEED(!ioctl(vcpu->fd, KVM_GET_MP_STATE, &mp));
	NEED(!ioctl(vcpu->fd, KVM_GET_REGS, &regs));
	NEED(!ioctl(vcpu->fd, KVM_GET_LAPIC, &lapic));
	for (int k = 0; k < 8; k++) {
		memcpy(&isr[k], lapic.regs + 0x100 + k * 16, 4);
		memcpy(&irr[k], lapic.regs + 0x200 + k * 16, 4);
	}
	printf("# vCPU %d: %lu of %lu, pending %d, masked %d, at %#llx, flags %#llx, state %u, irr[3] %#x, isr[3] %#x, interrupts %lu\n",
	       i, s->done, s->count, bit(page_at(PAGE)->pending, s->mine),
	       bit(page_at(PAGE)->mask, s->mine), regs.rip, regs.rflags,
	       mp.mp_state, irr[3], isr[3], guest_interrupts(vcpu, 0x70 + i));
}

/* While there is progress, all is well. */
static void watch(int vcpu, uint64_t count)
{
	uint64_t before = 0, stuck = 0;
	struct side *s = side_at(vcpu);

	while (!call_ended(&vm->vcpu[vcpu], 100)) {
		stuck = s->done == before ? stuck + 1 : 0;
		before = s->done;
		if (stuck == 100) {
			tell_stuck(0);
			tell_stuck(1);
		}
		CHECK(stuck < 100);
	}
	CHECK_EQ(vm->vcpu[vcpu].result, 0);
	CHECK_EQ(s->done, count);
}

static void tell(uint64_t count, uint64_t start)
{
	printf("# %lu hand-overs, %lu us each\n", count,
	       (now_ns() - start) / 1000 / count);
}

static void handover(int by)
{
	uint64_t count = setting("HANDOVERS", 5000), start;

	harmless(SIGUSR1);
	setup();
	if (by != BY_NEXT)
		CHECK_EQ(page(PAGE), 0);
	for (int i = 0; i < 2; i++) {
		side_set(i, by, count);
		CHECK_EQ(route(&vm->vcpu[0], side_at(i)->mine, i,
			       by == BY_INTERRUPT ? 0x70 + i : 0, 0),
			 0);
	}
	start = now_ns();
	for (int i = 0; i < 2; i++)
		guest_start(&vm->vcpu[i], side_run, SHARED + i * 4096, false);
	for (int i = 0; i < 2; i++)
		watch(i, count);
	tell(count, start);
	if (by == BY_INTERRUPT)
		CHECK(guest_interrupts(&vm->vcpu[0], 0x70) > 0);
	teardown();
}

static void handover_next(void)
{
	handover(BY_NEXT);
}

static void handover_page(void)
{
	handover(BY_PAGE);
}

static void handover_deadline(void)
{
	handover(BY_DEADLINE);
}

static void handover_interrupt(void)
{
	handover(BY_INTERRUPT);
}

static void handover_mask(void)
{
	handover(BY_MASK);
}

/* The launcher is the other side: it gives by ioctl and takes by eventfd. */
static void handover_host(void)
{
	uint64_t count = setting("HANDOVERS", 2000), start;
	int efd = eventfd(0, EFD_NONBLOCK);
	struct pollfd p = { .fd = efd, .events = POLLIN };

	setup();
	CHECK_EQ(page(PAGE), 0);
	CHECK_EQ(host_route(vm, 600, ANY, efd), 0);
	side_set(1, BY_PAGE, count);
	start = now_ns();
	guest_start(&vm->vcpu[1], side_run, SHARED + 4096, false);
	for (uint64_t i = 0; i < count; i++) {
		uint64_t got = 0;

		if (i % 7 == 0)
			usleep(i % 100);
		CHECK_EQ(host_raise(vm, 800), 0);
		if (poll(&p, 1, 10000) != 1)
			printf("# stuck at %lu of %lu\n", i, count);
		CHECK_EQ(read(efd, &got, 8), 8);
		CHECK_EQ(got, 1);
		CHECK(hcall_event_take(page_at(PAGE), 600));
	}
	watch(1, count);
	tell(count, start);
	teardown();
	close(efd);
}

/* All channels to all vCPUs at once: whoever takes a token passes it on. */
struct crowd {
	volatile uint64_t taken[MAX_VCPUS];
	volatile uint64_t stop;
	uint64_t self[MAX_VCPUS];
};

static GUEST int64_t crowd_run(uint64_t self)
{
	struct crowd *c = (struct crowd *)(uintptr_t)SHARED;

	while (!c->stop) {
		int64_t n = guest_call(HCALL_EVENT_NEXT, 0, 0, 0, 0);

		if (n == -HCALL_EAGAIN) {
			n = guest_call(HCALL_EVENT_WAIT, 0, 0, 0, 0);
			if (n && n != -HCALL_EINTR)
				return -2;
			continue;
		}
		if (n < (int64_t)OWN)
			return -1;
		c->taken[self]++;
		n = n + 1 == HCALL_CHANNELS ? OWN : n + 1;
		if (guest_call(HCALL_EVENT_RAISE, n, 0, 0, 0))
			return -3;
	}
	return 0;
}

static void handover_crowd(void)
{
	struct crowd *c;
	uint64_t before = 0, sum = 0, end;
	int stuck = 0;

	setup();
	CHECK_EQ(page(PAGE), 0);
	c = at(vm, SHARED);
	memset(c, 0, sizeof(*c));
	/* One token: if a wake-up is lost, everybody sleeps. */
	CHECK_EQ(raise_by_call(OWN), 0);
	for (uint64_t i = 0; i < MAX_VCPUS; i++)
		guest_start(&vm->vcpu[i], crowd_run, i, false);
	end = now_ns() + 3000000000u;
	while (now_ns() < end) {
		usleep(100000);
		sum = 0;
		for (int i = 0; i < MAX_VCPUS; i++)
			sum += c->taken[i];
		stuck = sum == before ? stuck + 1 : 0;
		CHECK(stuck < 20);
		before = sum;
	}
	c->stop = 1;
	for (int i = 0; i < MAX_VCPUS; i++)
		CHECK_EQ(host_route(vm, i, i, -1), 0);
	for (int i = 0; i < MAX_VCPUS; i++)
		CHECK_EQ(host_raise(vm, i), 0);
	for (int i = 0; i < MAX_VCPUS; i++)
		CHECK(call_ended(&vm->vcpu[i], SLOW_MS));
	for (int i = 0; i < MAX_VCPUS; i++)
		CHECK(vm->vcpu[i].result == 0 || vm->vcpu[i].result == -1);
	printf("# %lu hand-overs\n", sum);
	teardown();
}

static const struct test tests[] = {
	{ "event.probe", probe },
	{ "event.no_calls", no_calls },
	{ "event.raise_next", raise_next },
	{ "event.mask", mask_call },
	{ "event.doors", doors },
	{ "event.stats", stats },
	{ "event.page", page_bits },
	{ "event.page_errors", page_errors },
	{ "event.page_memory", page_memory },
	{ "event.page_slot", page_slot },
	{ "event.page_moves", page_moves },
	{ "event.page_dirty", page_dirty },
	{ "event.owners", owners },
	{ "event.route_errors", route_errors },
	{ "event.msi", interrupt_msi },
	{ "event.lines", interrupt_lines },
	{ "event.eventfd", eventfds },
	{ "event.ioctls", ioctls },
	{ "event.wait_errors", wait_errors },
	{ "event.wait_at_once", wait_at_once },
	{ "event.wait_wakes", wait_wakes },
	{ "event.wait_modes", wait_modes },
	{ "event.wait_deadline", wait_deadline },
	{ "event.wait_interrupt", wait_interrupt },
	{ "event.wait_signal", wait_signal },
	{ "event.wait_is_free", wait_is_free },
	{ "event.wait_memslots", wait_memslots },
	{ "event.wait_closed", wait_closed },
	{ "event.wait_no_apic", wait_no_apic },
	{ "event.vcpu_ids", vcpu_ids },
	{ "event.device_channel", device_channel },
	{ "event.handover_next", handover_next },
	{ "event.handover_page", handover_page },
	{ "event.handover_deadline", handover_deadline },
	{ "event.handover_interrupt", handover_interrupt },
	{ "event.handover_mask", handover_mask },
	{ "event.handover_host", handover_host },
	{ "event.handover_crowd", handover_crowd },
};

KTAP_MAIN(tests)
