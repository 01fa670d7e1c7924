// SPDX-License-Identifier: GPL-2.0
/*
 * Several of everything: vCPUs, VMs, and a host that changes things while
 * calls run.  What must hold is that calls are answered right or with an
 * error of the table, and that the host's log stays empty.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vmm.h"

#define BUF(i) (RAM + 0x10000 + (i)*0x40000)

static volatile bool stop;

struct worker {
	struct vcpu *vcpu;
	pthread_t thread;
	int calls, errors, wrong;
	bool may_fail;
};

/* Reads sectors and looks at them, until told to stop. */
static void *reader(void *arg)
{
	struct worker *w = arg;
	struct vm *vm = w->vcpu->vm;
	int self = w->vcpu - vm->vcpu;
	uint8_t *p = at(vm, BUF(self));

	for (uint64_t i = self; !stop; i++) {
		uint64_t sector = i * 7 % 4000, n = 1 + i % 64, word, want;
		int64_t ret;

		call_set(w->vcpu, HCALL_BLOCK_READ, 0, sector, BUF(self), n);
		ret = call_run(w->vcpu);
		w->calls++;
		if (ret < 0) {
			w->errors++;
			w->wrong +=
				!w->may_fail ||
				(ret != -HCALL_ENODEV && ret != -HCALL_EFAULT &&
				 ret != -HCALL_ENOSYS && ret != -HCALL_EPERM &&
				 ret != -HCALL_EINTR);
			continue;
		}
		memcpy(&word, p + (ret - 1) * 512, 8);
		want = (sector + ret) * 0x9e3779b97f4a7c15u;
		w->wrong += ret < 1 || ret > (int64_t)n || word != want;
	}
	return NULL;
}

static void start(struct vm *vm, struct worker *w, int n, bool may_fail)
{
	stop = false;
	memset(w, 0, n * sizeof(*w));
	for (int i = 0; i < n; i++) {
		w[i].vcpu = &vm->vcpu[i];
		w[i].may_fail = may_fail;
		NEED(!pthread_create(&w[i].thread, NULL, reader, &w[i]));
	}
}

static void finish(struct worker *w, int n)
{
	stop = true;
	for (int i = 0; i < n; i++)
		NEED(!pthread_join(w[i].thread, NULL));
	for (int i = 0; i < n; i++) {
		CHECK(w[i].calls > 0);
		CHECK_EQ(w[i].wrong, 0);
	}
}

static void several_vcpus(void)
{
	struct worker w[MAX_VCPUS];
	struct vm vm;
	uint64_t calls = 0;

	vm_new(&vm);
	vm_bind(&vm);
	vm_disk(&vm, "d", make_disk("smp", 2 << 20), 0);
	start(&vm, w, MAX_VCPUS, false);
	sleep(2);
	finish(w, MAX_VCPUS);
	for (int i = 0; i < MAX_VCPUS; i++)
		calls += w[i].calls;
	CHECK_EQ(vm_stats(&vm, HCALL_CLASS_BLOCK).calls, calls);
	vm_free(&vm);
}

static void several_vms(void)
{
	struct worker w[4][2];
	struct vm vm[4];

	for (int i = 0; i < 4; i++) {
		vm_new(&vm[i]);
		if (i < 3) {
			vm_bind(&vm[i]);
			vm_disk(&vm[i], "d", make_disk("vms", 2 << 20), 0);
		}
	}
	for (int i = 0; i < 4; i++)
		start(&vm[i], w[i], 2, i == 3);
	sleep(2);
	for (int i = 0; i < 4; i++)
		finish(w[i], 2);
	/* The one that is not bound got nothing but errors. */
	CHECK_EQ(w[3][0].calls, w[3][0].errors);
	for (int i = 0; i < 4; i++)
		vm_free(&vm[i]);
}

/* Memslots come and go under the buffers. */
static void memslots(void)
{
	struct worker w[2];
	struct vm vm;

	vm_new(&vm);
	vm_bind(&vm);
	vm_disk(&vm, "d", make_disk("slots", 2 << 20), 0);
	start(&vm, w, 2, true);
	for (int i = 0; i < 300; i++) {
		vm_slot(&vm, 1, RAM, NULL, 0, 0);
		vm_slot(&vm, 1, RAM, vm.ram, RAM_BYTES,
			i % 2 ? KVM_MEM_LOG_DIRTY_PAGES : 0);
	}
	finish(w, 2);
	CHECK_EQ(call(&vm, HCALL_BLOCK_READ, 0, 0, RAM, 1), 1);
	vm_free(&vm);
}

/*
 * A call stands in the middle of its buffer, which crosses two memslots, for as
 * long as userfaultfd holds the first; the second goes meanwhile.
 */
static void *take_ram2(void *arg)
{
	struct vm *vm = arg;

	vm_slot(vm, 2, RAM2, vm->ram2, 0, 0);
	return NULL;
}

static void memslot_goes(void)
{
	static const struct {
		uint32_t nr;
		uint64_t args[4];
	} calls[] = {
		{ HCALL_SYS_RANDOM, { RAM2 - 128, 256 } },
		{ HCALL_SYS_DEVICE, { 0, RAM2 - 64, 128 } },
		{ HCALL_BLOCK_READ, { 0, 0, RAM2 - 512, 2 } },
		{ HCALL_BLOCK_WRITE, { 0, 0, RAM2 - 512, 2 } },
		{ HCALL_SYS_BATCH, { RAM2 - 64, 2 } },
	};

	for (unsigned int i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		struct uffdio_api api = { .api = UFFD_API };
		struct uffdio_register reg = {
			.mode = UFFDIO_REGISTER_MODE_MISSING,
			.range.len = 4096,
		};
		struct uffdio_zeropage zero = { .range.len = 4096 };
		struct uffd_msg msg;
		pthread_t thread;
		struct vm vm;
		int64_t ret;
		int uffd;

		vm_new(&vm);
		vm_bind(&vm);
		vm_disk(&vm, "d", make_disk("goes", 4096), 0);
		uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
		NEED(uffd >= 0 && !ioctl(uffd, UFFDIO_API, &api));
		reg.range.start = (uintptr_t)at(&vm, RAM2 - 4096);
		zero.range.start = reg.range.start;
		NEED(!ioctl(uffd, UFFDIO_REGISTER, &reg));
		call_start(&vm.vcpu[0], calls[i].nr, calls[i].args[0],
			   calls[i].args[1], calls[i].args[2],
			   calls[i].args[3]);
		NEED(read(uffd, &msg, sizeof(msg)) == sizeof(msg));
		NEED(!pthread_create(&thread, NULL, take_ram2, &vm));
		usleep(200000);
		NEED(!ioctl(uffd, UFFDIO_ZEROPAGE, &zero));
		ret = call_wait(&vm.vcpu[0]);
		NEED(!pthread_join(thread, NULL));
		/* All, a part, or nothing, but always an answer. */
		if (ret != -HCALL_EFAULT && ret <= 0)
			printf("# call %u\n", i);
		CHECK(ret == -HCALL_EFAULT || ret > 0);
		close(uffd);
		vm_free(&vm);
	}
}

/* Instances, devices and policies come and go under the calls. */
static void instances(void)
{
	const char *path = make_disk("inst", 2 << 20);
	struct kvm_hcall_remove remove = { .class_id = HCALL_CLASS_BLOCK };
	struct worker w[2];
	struct vm vm;

	vm_new(&vm);
	start(&vm, w, 2, true);
	for (int i = 0; i < 200; i++) {
		vm_bind(&vm);
		vm_disk(&vm, "d", path, 0);
		if (i % 4 == 1) {
			NEED(!ioctl(vm.hcall, KVM_HCALL_REMOVE, &remove));
			vm_disk(&vm, "d", path, 0);
		}
		if (i % 4 == 2) {
			vm_policy(&vm, HCALL_CLASS_BLOCK, KVM_HCALL_DENY, 0);
			vm_policy(&vm, HCALL_CLASS_BLOCK, KVM_HCALL_HANDLE, 0);
		}
		usleep(1000);
		close(vm.hcall);
		vm.hcall = -1;
	}
	finish(w, 2);
	CHECK(w[0].errors < w[0].calls);
	vm_free(&vm);
}

/* All descriptors are closed in the middle of reads, by a death. */
static void death(void)
{
	for (int i = 0; i < 20; i++) {
		pid_t pid = fork();

		NEED(pid >= 0);
		if (!pid) {
			struct worker w[MAX_VCPUS];
			struct vm vm;

			vm_new(&vm);
			vm_bind(&vm);
			vm_disk(&vm, "d", make_disk("death", 2 << 20), 0);
			start(&vm, w, MAX_VCPUS, true);
			usleep(20000 + i * 3000);
			if (i % 2) /* the instance first, the rest after */
				close(vm.hcall);
			_exit(0);
		}
		if (i % 4 == 3) {
			usleep(60000 + i * 5000);
			kill(pid, SIGKILL);
		}
		NEED(waitpid(pid, NULL, 0) == pid);
	}
}

/* Signals all the time: nothing is lost, and KVM_RUN comes back for each. */
static void signals(void)
{
	struct worker w[2];
	struct vm vm;

	harmless(SIGUSR1);
	vm_new(&vm);
	vm_bind(&vm);
	vm_disk(&vm, "d", make_disk("signals", 2 << 20), 0);
	start(&vm, w, 2, false);
	for (int i = 0; i < 2000; i++) {
		pthread_kill(w[i % 2].thread, SIGUSR1);
		usleep(500);
	}
	finish(w, 2);
	CHECK(vm.vcpu[0].exits > w[0].calls);
	vm_free(&vm);
}

/* The first asynchronous batch makes a thread, which a signal prevents. */
static void signals_async(void)
{
	int ok = 0;

	harmless(SIGALRM);
	for (int i = 0; i < 100; i++) {
		struct itimerval on = { .it_value.tv_usec = 20 + i * 3,
					.it_interval.tv_usec = 30 };
		struct itimerval off = { .it_value.tv_usec = 0 };
		struct hcall_op *op;
		struct vm vm;
		int64_t ret;

		vm_new(&vm);
		vm_bind(&vm);
		op = at(&vm, RAM);
		op->number = HCALL_SYS_PROBE;
		NEED(!setitimer(ITIMER_REAL, &on, NULL));
		ret = call(&vm, HCALL_SYS_BATCH, RAM, 1, HCALL_BATCH_ASYNC,
			   HCALL_CHANNEL_GUEST);
		NEED(!setitimer(ITIMER_REAL, &off, NULL));
		if (ret == -HCALL_EINTR)
			ret = call(&vm, HCALL_SYS_BATCH, RAM, 1,
				   HCALL_BATCH_ASYNC, HCALL_CHANNEL_GUEST);
		CHECK_EQ(ret, 1);
		ok += op->result > 0;
		vm_free(&vm);
	}
	CHECK(ok > 0);
}

/* A batch under signals: a short count, and the rest at the next call. */
static void signals_batch(void)
{
	struct vcpu *vcpu;
	struct hcall_op *op;
	struct timespec tick = { .tv_nsec = 1000000 };
	struct itimerspec its = { .it_interval = tick, .it_value = tick };
	struct sigevent sev = { .sigev_notify = SIGEV_SIGNAL,
				.sigev_signo = SIGUSR1 };
	int shorts = 0;
	timer_t timer;
	struct vm vm;

	harmless(SIGUSR1);
	vm_new(&vm);
	vm_bind(&vm);
	vm_disk(&vm, "d", make_disk("sigbatch", 2 << 20), 0);
	vcpu = &vm.vcpu[0];
	op = at(&vm, RAM);
	NEED(!timer_create(CLOCK_MONOTONIC, &sev, &timer));
	NEED(!timer_settime(timer, 0, &its, NULL));
	for (int round = 0; round < 20; round++) {
		uint32_t done = 0;

		memset(op, 0, 256 * sizeof(*op));
		for (int k = 0; k < 256; k++) {
			op[k].number = HCALL_BLOCK_READ;
			op[k].args[1] = k * 8;
			op[k].args[2] = RAM + 0x10000 + k * 4096;
			op[k].args[3] = 8;
			/* Chains of four, the second of which fails. */
			op[k].flags = k % 4 == 3 ? 0 : HCALL_OP_LINK;
			if (k % 4 == 1)
				op[k].args[1] = 1 << 20;
		}
		while (done < 256) {
			int64_t n;

			call_set(vcpu, HCALL_SYS_BATCH, RAM + done * 64,
				 256 - done, 0, 0);
			n = call_run(vcpu);
			if (n == -HCALL_EINTR)
				continue;
			CHECK(n > 0 && n <= 256 - done);
			shorts += n < 256 - done;
			done += n;
		}
		for (int k = 0; k < 256; k++) {
			static const int64_t want[] = { 8, -HCALL_ERANGE,
							-HCALL_ECANCELED,
							-HCALL_ECANCELED };

			CHECK_EQ(op[k].result, want[k % 4]);
		}
	}
	timer_delete(timer);
	CHECK(shorts > 0);
	vm_free(&vm);
}

/* ---- Everything at once ---------------------------------------------------- */

/*
 * vCPUs make calls of all classes, most of them nonsense, by all doors, while
 * devices have something to say, timers and other channels fire, interrupts
 * arrive, memslots change, and signals come a thousand times a second.  Every
 * answer is one of the table, every vCPU goes on, and KVM_RUN returns as soon
 * after a signal as it does for a guest that makes no calls.
 *
 * STORM_SECONDS: how long; 60 by hand.
 */
#define STORM		(RAM + 0x1000)
#define STORM_OPS(i)	(RAM + 0x80000 + (i)*0x10000)
#define STORM_FRAMES(i) (STORM_OPS(i) + 0x8000)
#define STORM_NR_FRAMES 8
/* From here to RAM2's end the host may write what it likes. */
#define SCRIBBLE	(RAM + 0x100000)
#define SCRIBBLE_BYTES	(RAM2 + RAM2_BYTES - SCRIBBLE)
#define STORM_FORWARDED 0xf1

struct storm_vcpu {
	uint64_t random;
	volatile uint64_t calls;
	volatile uint64_t of_class[8];
	volatile uint64_t nr; /* of the call that it is in */
	volatile uint64_t wrong, wrong_nr, wrong_result;
	volatile uint64_t good;
};

struct storm {
	volatile uint64_t stop;
	struct storm_vcpu vcpu[MAX_VCPUS];
};

static GUEST uint64_t storm_random(struct storm_vcpu *s)
{
	s->random ^= s->random << 13;
	s->random ^= s->random >> 7;
	s->random ^= s->random << 17;
	return s->random >> 3;
}

static GUEST uint64_t storm_now(void)
{
	return guest_call(HCALL_TIMER_NOW, HCALL_CLOCK_MONOTONIC, 0, 0, 0);
}

/* Something that an argument may be. */
static GUEST uint64_t storm_value(struct storm_vcpu *s)
{
	uint64_t r = storm_random(s), kind = r & 15;

	r >>= 4;
	if (kind < 3)
		return kind;
	if (kind == 3)
		return r % 70;
	if (kind == 4)
		return r % 1030;
	if (kind < 8)
		return SCRIBBLE + r % SCRIBBLE_BYTES;
	if (kind == 8)
		return (SCRIBBLE + r % SCRIBBLE_BYTES) & ~255ull;
	if (kind == 9)
		return HOLE - r % 8192;
	if (kind == 10)
		return ROM + r % ROM_BYTES;
	if (kind == 11)
		return TILES + r % (TILES_NR * 4096);
	if (kind == 12)
		return -(r % 4096);
	if (kind == 13)
		return r;
	if (kind == 14)
		return r % 70000;
	return HOLE + r % 0x100000;
}

/* Which argument is the address of something; -1: none. */
static GUEST int storm_buffer(uint32_t nr)
{
	if (nr == HCALL_SYS_RANDOM || nr == HCALL_SYS_BATCH ||
	    nr == HCALL_EVENT_PAGE)
		return 0;
	if (nr == HCALL_BLOCK_READ || nr == HCALL_BLOCK_WRITE ||
	    nr == HCALL_INPUT_CONFIG)
		return 2;
	if (nr == HCALL_SYS_DEVICE || nr == HCALL_CONSOLE_WRITE ||
	    nr == HCALL_CONSOLE_READ || nr == HCALL_INPUT_READ ||
	    nr == HCALL_INPUT_WRITE || nr == HCALL_NET_SEND ||
	    nr == HCALL_NET_RECV || nr == HCALL_NET_SENDV ||
	    nr == HCALL_NET_RECVV)
		return 1;
	return -1;
}

/* Room for frames, in memory that nobody scribbles in. */
static GUEST uint64_t storm_frames(struct storm_vcpu *s)
{
	struct storm *storm = (struct storm *)(uintptr_t)STORM;
	uint64_t gpa = STORM_FRAMES(s - storm->vcpu);
	struct hcall_frame *frame = (struct hcall_frame *)(uintptr_t)gpa;

	for (int i = 0; i < STORM_NR_FRAMES; i++) {
		frame[i].gpa = SCRIBBLE + storm_random(s) % SCRIBBLE_BYTES;
		frame[i].bytes = storm_random(s) % 2000;
	}
	return gpa;
}

static GUEST void storm_op(struct storm_vcpu *s, struct hcall_op *op)
{
	uint64_t r = storm_random(s), class_id = r % 8;
	bool sense = r >> 8 & 3;
	int buffer;

	if (class_id == 7)
		class_id = r >> 12 & 3 ? HCALL_CLASS_EVENT : STORM_FORWARDED;
	op->number = HCALL_NR(class_id, (r >> 16) % 6);
	if (class_id == HCALL_CLASS_BLOCK)
		op->number = HCALL_NR(class_id, (r >> 16) % 14);
	for (int i = 0; i < 4; i++)
		op->args[i] = storm_value(s);
	op->flags = r >> 24 & 1 ? HCALL_OP_LINK : 0;
	op->result = 0;
	op->reserved = r >> 25 & 127 ? 0 : r;
	/* The VM is to live on: seldom an EXIT, and no buffer in LOW. */
	if (op->number == HCALL_SYS_EXIT && r >> 32 & 31)
		op->number = HCALL_SYS_RANDOM;
	buffer = storm_buffer(op->number);
	if (buffer >= 0 && op->args[buffer] < SCRIBBLE)
		op->args[buffer] += SCRIBBLE;
	/* Nor one that an address in scribbled memory leads to. */
	if (op->number == HCALL_NET_RECVV)
		op->args[1] = storm_frames(s);
	if (!sense)
		return;
	r = storm_random(s);
	if (class_id == HCALL_CLASS_CONSOLE || class_id == HCALL_CLASS_BLOCK ||
	    class_id == HCALL_CLASS_INPUT || class_id == HCALL_CLASS_NET)
		op->args[0] = 0;
	if (class_id == HCALL_CLASS_INPUT || class_id == HCALL_CLASS_NET) {
		if (op->number != HCALL_NET_RECVV)
			op->args[1] = SCRIBBLE + r % SCRIBBLE_BYTES / 8 * 8;
		op->args[2] = 1 + (r >> 32) % 64;
		op->args[3] = r >> 40 & 1;
	}
	if (op->number == HCALL_NET_FEATURES)
		op->args[1] = 0;
	if (op->number == HCALL_NET_SEND || op->number == HCALL_NET_RECV)
		op->args[2] = 14 + (r >> 32) % 1500;
	if (class_id == HCALL_CLASS_BLOCK) {
		op->args[1] = r % 4096;
		op->args[3] = 1 + (r >> 32) % 16;
		op->args[2] = op->number == HCALL_BLOCK_READ ||
					      op->number == HCALL_BLOCK_WRITE
				      ? SCRIBBLE + (r >> 20) % SCRIBBLE_BYTES
				      : op->args[3];
	}
	if (op->number == HCALL_TIMER_ARM) {
		op->args[0] = r & 63;
		op->args[1] = storm_now() + (r >> 8) % 3000000;
		op->args[2] =
			r >> 40 & 3 ? 0 : HCALL_TIMER_MIN_PERIOD + r % 1000000;
		op->args[3] = 0;
	}
	if (op->number == HCALL_EVENT_WAIT) {
		op->args[0] = storm_now() + r % 3000000;
		op->args[1] = HCALL_WAIT_DEADLINE;
	}
	if (op->number == HCALL_EVENT_MASK || op->number == HCALL_EVENT_ROUTE)
		op->args[0] = r & 1023;
	if (op->number == HCALL_EVENT_MASK)
		op->args[1] = r >> 10 & 7 ? 0 : 1;
	if (op->number == HCALL_EVENT_RAISE)
		op->args[0] = 512 + r % 512;
	if (op->number == HCALL_EVENT_ROUTE) {
		op->args[1] = r >> 10 & 4 ? HCALL_VCPU_ANY : r >> 10 & 3;
		op->args[2] = op->args[3] = 0;
		/* Not the PIC's vectors, which end differently. */
		if (!(r >> 16 & 7) && op->args[1] < 4)
			op->args[2] = 0x30 + (r >> 32) % 200;
		else if (!(r >> 16 & 15))
			op->args[3] = HCALL_ROUTE_LINE;
	}
}

static GUEST bool storm_is_error(int64_t e)
{
	return e == HCALL_EPERM || e == HCALL_EINTR || e == HCALL_EIO ||
	       e == HCALL_E2BIG || e == HCALL_EAGAIN || e == HCALL_ENOMEM ||
	       e == HCALL_EFAULT || e == HCALL_ENODEV || e == HCALL_EINVAL ||
	       e == HCALL_ENOSPC || e == HCALL_EROFS || e == HCALL_ERANGE ||
	       e == HCALL_EOPNOTSUPP || e == HCALL_ECANCELED ||
	       e == HCALL_ENOSYS;
}

static GUEST int64_t storm_run(uint64_t self)
{
	struct storm *storm = (struct storm *)(uintptr_t)STORM;
	struct storm_vcpu *s = &storm->vcpu[self];
	struct hcall_op *op = (struct hcall_op *)(uintptr_t)STORM_OPS(self);

	while (!storm->stop) {
		uint64_t r = storm_random(s), class_id;
		int64_t ret;

		storm_op(s, op);
		class_id = HCALL_NR_CLASS(op->number);
		if (!(r & 15)) {
			/* A batch, of either kind. */
			class_id = HCALL_CLASS_SYS;
			for (int i = 1; i < 16; i++)
				storm_op(s, op + i);
			s->nr = HCALL_SYS_BATCH;
			ret = guest_call(HCALL_SYS_BATCH, STORM_OPS(self),
					 1 + (r >> 4) % 16, r >> 8 & 1,
					 r >> 8 & 1 ? 512 + (r >> 9) % 512 : 0);
		} else {
			s->nr = op->number;
			ret = guest_call(op->number, op->args[0], op->args[1],
					 op->args[2], op->args[3]);
		}
		s->calls++;
		s->of_class[class_id & 7]++;
		s->good += ret >= 0;
		if (ret < 0 && !storm_is_error(-ret)) {
			s->wrong++;
			s->wrong_nr = op->number;
			s->wrong_result = ret;
		}
	}
	return 0;
}

/* The same without calls. */
static GUEST int64_t storm_calm(uint64_t self)
{
	struct storm *storm = (struct storm *)(uintptr_t)STORM;

	while (!storm->stop) {
		storm->vcpu[self].calls++;
		__asm__ __volatile__("pause");
	}
	return 0;
}

#define LATENCIES 100000

static struct storm_thread {
	struct vcpu *vcpu;
	pthread_t thread;
	pthread_mutex_t lock; /* protects running, sent, sent_delay */
	bool running; /* in KVM_RUN */
	uint64_t sent; /* 0: no signal on its way */
	uint64_t sent_delay;
	bool counts; /* it came while running, and nothing else came since */
	uint64_t worst, worst_nr, worst_delay;
	int schedstat;
	int64_t result;
	int signals, exits, forwards, routes;
	uint64_t latency[LATENCIES];
} storm_thread[MAX_VCPUS];

static volatile bool storm_stop;

/* How long a thread has been ready to run, but had no CPU; in ns. */
static uint64_t storm_delay(const struct storm_thread *t)
{
	char line[128] = "";
	unsigned long run, delay;

	NEED(pread(t->schedstat, line, sizeof(line) - 1, 0) > 0);
	NEED(sscanf(line, "%lu %lu", &run, &delay) == 2);
	return delay;
}

/* A KVM_RUN has returned so long after a signal. */
static void storm_note(struct storm_thread *t, uint64_t ns)
{
	struct vm *vm = t->vcpu->vm;
	struct storm *storm = at(vm, STORM);
	uint64_t delay = 0;

	if (ns > 5000000) {
		/* That there are not enough CPUs is not its fault. */
		delay = storm_delay(t) - t->sent_delay;
		ns = ns > delay ? ns - delay : 0;
	}
	if (ns > t->worst) {
		t->worst = ns;
		t->worst_delay = delay;
		t->worst_nr = storm->vcpu[t->vcpu - vm->vcpu].nr;
	}
	t->latency[t->signals++ % LATENCIES] = ns;
}

static void *storm_vcpu_thread(void *arg)
{
	struct storm_thread *t = arg;
	struct vcpu *vcpu = t->vcpu;
	struct kvm_run *run = vcpu->run;
	struct timespec none = { 0 };
	char path[64];
	struct {
		struct kvm_signal_mask head;
		uint64_t mask;
	} in_guest = { .head.len = 8 };
	sigset_t usr1;

	/* Only KVM_RUN lets the signal through: none is taken elsewhere. */
	snprintf(path, sizeof(path), "/proc/self/task/%ld/schedstat",
		 syscall(SYS_gettid));
	t->schedstat = open(path, O_RDONLY | O_CLOEXEC);
	NEED(t->schedstat >= 0);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	NEED(!pthread_sigmask(SIG_BLOCK, &usr1, NULL));
	NEED(!ioctl(vcpu->fd, KVM_SET_SIGNAL_MASK, &in_guest));
	for (;;) {
		int ret, error;
		bool interrupted;
		uint64_t back;

		pthread_mutex_lock(&t->lock);
		t->running = true;
		pthread_mutex_unlock(&t->lock);
		ret = ioctl(vcpu->fd, KVM_RUN, 0);
		error = errno;
		back = now_ns();
		vcpu->exits++;
		interrupted = ret && (error == EINTR || error == EAGAIN);
		pthread_mutex_lock(&t->lock);
		t->running = false;
		if (interrupted && sigtimedwait(&usr1, NULL, &none) > 0) {
			if (t->counts)
				storm_note(t, back - t->sent);
			t->sent = 0;
		}
		t->counts = false;
		pthread_mutex_unlock(&t->lock);
		if (interrupted) {
			/* Nobody sleeps for ever. */
			if (storm_stop || t->signals % 16 == 0)
				NEED(!ioctl(vcpu->fd, KVM_NMI));
			continue;
		}
		if (!ret && run->exit_reason == KVM_EXIT_HYPERCALL) {
			run->hypercall.ret = vcpu->exits;
			if (run->hypercall.nr == HCALL_EVENT_ROUTE) {
				vm_route(vcpu);
				t->routes++;
			} else {
				t->forwards++;
			}
			continue;
		}
		if (!ret && run->exit_reason == KVM_EXIT_SYSTEM_EVENT) {
			t->exits++;
			continue;
		}
		if (ret)
			t->result = -error;
		else if (run->exit_reason != KVM_EXIT_IO ||
			 run->io.port != GUEST_PORT)
			t->result = run->exit_reason;
		if (t->result == KVM_EXIT_IO)
			printf("# guest: exception, vector %u\n",
			       *((uint8_t *)run + run->io.data_offset));
		return NULL;
	}
}

static void *storm_signals(void *arg)
{
	int n = (uintptr_t)arg;

	while (!storm_stop) {
		for (int i = 0; i < n; i++) {
			struct storm_thread *t = &storm_thread[i];

			pthread_mutex_lock(&t->lock);
			if (!t->sent && t->running) {
				t->counts = true;
				t->sent_delay = storm_delay(t);
				t->sent = now_ns();
				pthread_kill(t->thread, SIGUSR1);
			}
			pthread_mutex_unlock(&t->lock);
		}
		usleep(1000);
	}
	return NULL;
}

struct storm_host {
	struct vm *vm;
	int console[2]; /* what comes out, what goes in */
	int input;
	int net[2];
};

/* The other end of all devices, and a launcher that is never idle. */
static void *storm_launcher(void *arg)
{
	struct storm_host *h = arg;
	struct hcall_input_event key = { .type = 1, .code = 30 };
	uint64_t random = 88172645463325252u;
	char data[4096] = { 0 };

	while (!storm_stop) {
		ssize_t n;

		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		if (read(h->console[0], data, sizeof(data)) < 0 &&
		    errno != EAGAIN)
			break;
		n = write(h->console[1], data, 1 + random % 64);
		key.value ^= 1;
		n = write(h->input, &key, sizeof(key));
		n = read(h->net[0], data, sizeof(data));
		n = write(h->net[1], data, 14 + random % 1500);
		(void)n;
		host_raise(h->vm, random >> 16 & 1023);
		if (!(random >> 30 & 15))
			host_route(h->vm, random >> 34 & 1023, random >> 44 & 3,
				   -1);
		if (!(random >> 50 & 3)) {
			uint32_t i = random >> 52 & 15;

			vm_slot(h->vm, 4 + i, TILES + i * 4096, NULL, 0, 0);
			vm_slot(h->vm, 4 + i, TILES + i * 4096,
				h->vm->tiles + (TILES_NR - 1 - i) * 4096, 4096,
				random >> 56 & 1 ? KVM_MEM_LOG_DIRTY_PAGES : 0);
		}
		usleep(1000);
	}
	return NULL;
}

static void storm_pipe(int *p, int flags)
{
	NEED(!pipe2(p, O_CLOEXEC | O_NONBLOCK | flags));
}

static void storm_devices(struct vm *vm, struct storm_host *h)
{
	static struct kvm_hcall_input input = { .name = "storm" };
	struct kvm_hcall_add add = { .class_id = HCALL_CLASS_CONSOLE,
				     .name = "storm" };
	int a[2], b[2];

	h->vm = vm;
	storm_pipe(a, 0);
	storm_pipe(b, 0);
	add.fd = a[1];
	add.fd_in = b[0];
	NEED(!ioctl(vm->hcall, KVM_HCALL_ADD, &add));
	h->console[0] = a[0];
	h->console[1] = b[1];
	close(a[1]);
	close(b[0]);

	storm_pipe(a, 0);
	input.codes[1][30 / 8] = 1 << 30 % 8;
	add.class_id = HCALL_CLASS_INPUT;
	add.fd = -1;
	add.fd_in = a[0];
	add.input = (uintptr_t)&input;
	NEED(!ioctl(vm->hcall, KVM_HCALL_ADD, &add));
	h->input = a[1];
	close(a[0]);

	storm_pipe(a, O_DIRECT);
	storm_pipe(b, O_DIRECT);
	add.class_id = HCALL_CLASS_NET;
	add.fd = a[1];
	add.fd_in = b[0];
	add.input = 0;
	memcpy(add.mac, "\x02xyzab", 6);
	add.mtu = 1500;
	NEED(!ioctl(vm->hcall, KVM_HCALL_ADD, &add));
	h->net[0] = a[0];
	h->net[1] = b[1];
	close(a[1]);
	close(b[0]);
	vm_disk(vm, "storm", make_disk("storm", 2 << 20), 0);
	NEED(!vm_policy(vm, STORM_FORWARDED, KVM_HCALL_FORWARD, 0xff));
}

static int by_size(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/*
 * How long KVM_RUN takes to return after a signal.  An emulated host stands
 * still for a while now and then, so what counts is the 99th of a hundred; the
 * longest only must not be out of all proportion.
 */
struct storm_back {
	uint64_t most, longest;
};

static struct storm_back storm_tell(const char *what, int n)
{
	static uint64_t all[MAX_VCPUS * LATENCIES];
	int count = 0;

	for (int i = 0; i < n; i++) {
		struct storm_thread *t = &storm_thread[i];
		int k = t->signals < LATENCIES ? t->signals : LATENCIES;

		memcpy(all + count, t->latency, k * sizeof(all[0]));
		count += k;
		printf("# longest %lu us (and %lu us without a CPU), in %#lx\n",
		       t->worst / 1000, t->worst_delay / 1000, t->worst_nr);
	}
	CHECK(count > 100);
	qsort(all, count, sizeof(all[0]), by_size);
	printf("# %s: %d signals, KVM_RUN back after %lu us, 99%%: %lu us, 99.9%%: %lu us, longest %lu us\n",
	       what, count, all[count / 2] / 1000,
	       all[count - 1 - count / 100] / 1000,
	       all[count - 1 - count / 1000] / 1000, all[count - 1] / 1000);
	return (struct storm_back){ all[count - 1 - count / 100],
				    all[count - 1] };
}

static void storm_threads(struct vm *vm, int n, int64_t (*program)(uint64_t),
			  uint64_t seconds, struct storm_host *h)
{
	struct storm *storm = at(vm, STORM);
	pthread_t signaller, launcher;
	bool stuck = false;

	memset(storm, 0, sizeof(*storm));
	memset(storm_thread, 0, sizeof(storm_thread));
	storm_stop = false;
	for (int i = 0; i < n; i++) {
		struct storm_thread *t = &storm_thread[i];

		storm->vcpu[i].random = 0x9e3779b97f4a7c15u * (i + 1);
		t->vcpu = &vm->vcpu[i];
		pthread_mutex_init(&t->lock, NULL);
		guest_set(t->vcpu, program, i, true);
		NEED(!pthread_create(&t->thread, NULL, storm_vcpu_thread, t));
	}
	NEED(!pthread_create(&signaller, NULL, storm_signals,
			     (void *)(uintptr_t)n));
	if (h)
		NEED(!pthread_create(&launcher, NULL, storm_launcher, h));
	for (uint64_t s = 0; s < seconds; s++) {
		uint64_t before[MAX_VCPUS];

		for (int i = 0; i < n; i++)
			before[i] = storm->vcpu[i].calls;
		sleep(1);
		for (int i = 0; i < n; i++) {
			if (storm->vcpu[i].calls != before[i])
				continue;
			printf("# vCPU %d does nothing\n", i);
			stuck = true;
		}
	}
	storm->stop = 1;
	storm_stop = true;
	NEED(!pthread_join(signaller, NULL));
	if (h)
		NEED(!pthread_join(launcher, NULL));
	for (int i = 0; i < n; i++) {
		struct storm_thread *t = &storm_thread[i];
		struct timespec until;
		bool ended = false;

		for (int k = 0; k < 100 && !ended; k++) {
			pthread_kill(t->thread, SIGUSR1);
			NEED(!clock_gettime(CLOCK_REALTIME, &until));
			until.tv_nsec += 100000000;
			if (until.tv_nsec >= 1000000000) {
				until.tv_sec++;
				until.tv_nsec -= 1000000000;
			}
			ended = !pthread_timedjoin_np(t->thread, NULL, &until);
		}
		CHECK(ended);
		close(t->schedstat);
		CHECK_EQ(t->result, 0);
	}
	CHECK(!stuck);
}

static void storm(int n)
{
	static const uint8_t class_of[] = {
		HCALL_CLASS_SYS,   HCALL_CLASS_CONSOLE, HCALL_CLASS_BLOCK,
		HCALL_CLASS_TIMER, HCALL_CLASS_INPUT,	HCALL_CLASS_NET,
		HCALL_CLASS_EVENT,
	};
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_PIC_MASTER };
	struct vm *vm = calloc(1, sizeof(*vm));
	struct storm_host h;
	struct storm *storm;
	struct storm_back calm, wild;
	uint64_t calls[8] = { 0 }, good = 0, all = 0;
	int exits = 0, forwards = 0, routes = 0;

	NEED(vm);
	harmless(SIGUSR1);
	vm_new(vm);
	vm_guest(vm);
	vm_bind(vm);
	NEED(!ioctl(vm->fd, KVM_GET_IRQCHIP, &chip));
	chip.chip.pic.imr = 0xff;
	NEED(!ioctl(vm->fd, KVM_SET_IRQCHIP, &chip));
	storm_devices(vm, &h);
	storm = at(vm, STORM);

	storm_threads(vm, n, storm_calm, 3, NULL);
	calm = storm_tell("no calls", n);
	storm_threads(vm, n, storm_run, setting("STORM_SECONDS", 10), &h);
	for (int i = 0; i < n; i++) {
		struct storm_vcpu *s = &storm->vcpu[i];

		if (s->wrong)
			printf("# %#lx said %ld\n", s->wrong_nr,
			       (int64_t)s->wrong_result);
		CHECK_EQ(s->wrong, 0);
		good += s->good;
		all += s->calls;
		for (int k = 0; k < 8; k++)
			calls[k] += s->of_class[k];
		exits += storm_thread[i].exits;
		forwards += storm_thread[i].forwards;
		routes += storm_thread[i].routes;
	}
	wild = storm_tell("all calls", n);
	printf("# %lu calls, %lu without an error; exits %d, forwarded %d, interrupts routed %d\n",
	       all, good, exits, forwards, routes);
	for (int k = 0; k < 7; k++) {
		struct kvm_hcall_stats s = vm_stats(vm, class_of[k]);

		printf("# class %d: %llu calls, %llu errors, %llu bytes\n",
		       class_of[k], s.calls, s.errors, s.bytes);
		CHECK(calls[k] > 0);
		CHECK(s.calls >= calls[k]);
		CHECK(s.errors < s.calls);
	}
	CHECK(routes > 0 && forwards > 0);
	CHECK(wild.most < 10000000 + 2 * calm.most);
	CHECK(wild.longest < 1000000000 + 4 * calm.longest);
	/* It is as good as new. */
	call_set(&vm->vcpu[0], HCALL_EVENT_PAGE, RAM, 0, 0, 0);
	CHECK_EQ(call_run(&vm->vcpu[0]), 0);
	call_set(&vm->vcpu[0], HCALL_BLOCK_READ, 0, 0, SCRIBBLE, 1);
	CHECK_EQ(call_run(&vm->vcpu[0]), 1);
	vm_free(vm);
	free(vm);
	close(h.console[0]);
	close(h.console[1]);
	close(h.input);
	close(h.net[0]);
	close(h.net[1]);
}

static void storm_two(void)
{
	storm(2);
}

static void storm_four(void)
{
	storm(4);
}

static const struct test tests[] = {
	{ "smp.vcpus", several_vcpus },
	{ "smp.vms", several_vms },
	{ "smp.memslots", memslots },
	{ "smp.memslot_goes", memslot_goes },
	{ "smp.instances", instances },
	{ "smp.death", death },
	{ "smp.signals", signals },
	{ "smp.signals_async", signals_async },
	{ "smp.signals_batch", signals_batch },
	{ "smp.storm_two", storm_two },
	{ "smp.storm_four", storm_four },
};

KTAP_MAIN(tests)
