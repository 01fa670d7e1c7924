// SPDX-License-Identifier: GPL-2.0
/*
 * Guests whose calls selftests/tracing/test counts.  What it should find is
 * printed as lines of "name=number": results as the guest saw them, and the
 * module's own statistics.
 *
 * usage: calls COMMAND [ARGS...]
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "guests.h"

static const struct {
	const char *name;
	uint32_t class_id;
} classes[] = {
	{ "sys", HCALL_CLASS_SYS },	{ "console", HCALL_CLASS_CONSOLE },
	{ "block", HCALL_CLASS_BLOCK }, { "timer", HCALL_CLASS_TIMER },
	{ "input", HCALL_CLASS_INPUT }, { "net", HCALL_CLASS_NET },
	{ "event", HCALL_CLASS_EVENT }, { "other", 0xe0 },
};

static void print_stats(struct vm *of)
{
	for (unsigned int i = 0; i < sizeof(classes) / sizeof(*classes); i++) {
		struct kvm_hcall_stats stats =
			vm_stats(of, classes[i].class_id);
		const char *name = classes[i].name;

		printf("%s_calls=%llu\n%s_errors=%llu\n%s_bytes=%llu\n", name,
		       stats.calls, name, stats.errors, name, stats.bytes);
		printf("%s_denied=%llu\n%s_forwarded=%llu\n", name,
		       stats.denied, name, stats.forwarded);
	}
}

static int append(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	NEED(fd >= 0);
	return fd;
}

static int64_t call_on(int vcpu, uint32_t nr, uint64_t a, uint64_t b,
		       uint64_t c, uint64_t d)
{
	call_set(&vm.vcpu[vcpu], nr, a, b, c, d);
	return call_run(&vm.vcpu[vcpu]);
}

static void expect_calls(uint64_t n, uint32_t nr, uint64_t a, uint64_t b,
			 uint64_t c, uint64_t d, int64_t want)
{
	while (n--)
		CHECK_EQ(call(&vm, nr, a, b, c, d), want);
}

/* An array of so many elements that are all the same, at RAM. */
static void batch_of(uint64_t n, uint32_t nr, uint64_t a)
{
	struct hcall_op *op = at(&vm, RAM);

	for (uint64_t i = 0; i < n; i++)
		op[i] = (struct hcall_op){ .number = nr, .args = { a } };
}

static void batch_async(uint64_t n)
{
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, RAM, n, HCALL_BATCH_ASYNC, 900), n);
	CHECK(channel_fires(&vm, 900));
}

/*
 * mix DISK CONSOLE NOW RANDOM READ WRITE PUT RANGE OTHER DENIED BATCH ASYNC:
 * so many calls of each.
 */
static void mix(char **args)
{
	uint64_t n[10];
	int fd;

	for (int i = 0; i < 10; i++)
		n[i] = number(args[2 + i]);
	start();
	vm_disk(&vm, "root", args[0], 0);
	fd = append(args[1]);
	CHECK_EQ(vm_add(&vm, HCALL_CLASS_CONSOLE, "tty", fd, -1, 0), 0);
	close(fd);
	CHECK_EQ(vm_policy(&vm, HCALL_CLASS_INPUT, KVM_HCALL_DENY, 0), 0);

	/* One with arguments that are easy to find. */
	CHECK_EQ(call(&vm, HCALL_SYS_PROBE, 0x111, 0x222, ~0ull, 0x8000), 0);
	for (uint64_t i = 0; i < n[0]; i++)
		CHECK(call(&vm, HCALL_TIMER_NOW, HCALL_CLOCK_MONOTONIC, 0, 0,
			   0) > 0);
	for (uint64_t i = 0; i < n[1]; i++)
		CHECK_EQ(call_on(1, HCALL_SYS_RANDOM, RAM, 31, 0, 0), 31);
	for (uint64_t i = 0; i < n[2]; i++)
		CHECK_EQ(call(&vm, HCALL_BLOCK_READ, 0, i, RAM, 3), 3);
	for (uint64_t i = 0; i < n[3]; i++)
		CHECK_EQ(call(&vm, HCALL_BLOCK_WRITE, 0, i, RAM, 2), 2);
	memset(at(&vm, RAM), 'x', 5);
	expect_calls(n[4], HCALL_CONSOLE_WRITE, 0, RAM, 5, 0, 5);
	expect_calls(n[5], HCALL_BLOCK_READ, 0, 1ull << 40, RAM, 1,
		     -HCALL_ERANGE);
	expect_calls(n[6], HCALL_NR(0xe1, 7), 1, 2, 3, 4, -HCALL_ENOSYS);
	expect_calls(n[7], HCALL_INPUT_READ, 0, RAM, 1, HCALL_NOWAIT,
		     -HCALL_EPERM);
	batch_of(n[8], HCALL_TIMER_NOW, HCALL_CLOCK_MONOTONIC);
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, RAM, n[8], 0, 0), n[8]);
	batch_of(n[9], HCALL_TIMER_NOW, HCALL_CLOCK_MONOTONIC);
	batch_async(n[9]);
	print_stats(&vm);
	vm_free(&vm);
}

/* forward N: calls that the launcher answers. */
static void forward(char **args)
{
	start();
	CHECK_EQ(vm_policy(&vm, 0xf0, KVM_HCALL_FORWARD, 1), 0);
	for (uint64_t n = number(args[0]); n--;)
		printf("guest_saw=%lld\n",
		       (long long)call_forwarded(HCALL_NR(0xf0, 9), 5, 6, 7, 8,
						 42));
	print_stats(&vm);
	vm_free(&vm);
}

/* async DISK N: as many batches with one FLUSH, which has to wait. */
static void async(char **args)
{
	struct hcall_op *op;

	start();
	vm_disk(&vm, "root", args[0], 0);
	op = at(&vm, RAM);
	for (uint64_t n = number(args[1]); n--;) {
		batch_of(1, HCALL_BLOCK_FLUSH, 0);
		batch_async(1);
		CHECK_EQ(op->flags, HCALL_OP_DONE);
		CHECK_EQ(op->result, 0);
	}
	print_stats(&vm);
	vm_free(&vm);
}

/* What never is a call although it stands in a batch. */
static void not_calls(char **args)
{
	struct hcall_op *op;

	(void)args;
	start();
	op = at(&vm, RAM);
	memset(op, 0, 4 * sizeof(*op));
	op[0].number = HCALL_NR(HCALL_CLASS_BLOCK, 0); /* no such disk */
	op[0].args[3] = 1;
	op[0].flags = HCALL_OP_LINK;
	op[1].number = HCALL_TIMER_NOW; /* cancelled */
	op[2].number = 5; /* not of ours */
	op[3].number = HCALL_TIMER_NOW;
	op[3].flags = 1u << 17; /* no such flag */
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, RAM, 4, 0, 0), 4);
	CHECK_EQ(op[0].result, -HCALL_ENODEV);
	CHECK_EQ(op[1].result, -HCALL_ECANCELED);
	CHECK_EQ(op[2].result, -HCALL_ENOSYS);
	CHECK_EQ(op[3].result, -HCALL_EINVAL);
	vm_free(&vm);
}

/*
 * timer TAKEN LEFT: timer 3 expires so often and its event is taken, and then
 * so often without; timer 5 is periodic for a while.
 */
static void timer(char **args)
{
	uint64_t taken = number(args[0]), left = number(args[1]);

	start();
	for (uint64_t i = 0; i < taken; i++) {
		CHECK_EQ(call(&vm, HCALL_TIMER_ARM, 3, now_ns() + 1000000, 0,
			      HCALL_CLOCK_MONOTONIC),
			 0);
		CHECK(channel_fires(&vm, 3));
	}
	for (uint64_t i = 0; i < left; i++) {
		CHECK_EQ(call(&vm, HCALL_TIMER_ARM, 3, 1, 0,
			      HCALL_CLOCK_MONOTONIC),
			 0);
		while (call(&vm, HCALL_TIMER_EXPIRED, 3, 0, 0, 0) != 1)
			usleep(1000);
	}
	CHECK_EQ(call(&vm, HCALL_TIMER_ARM, 5, now_ns(), 5000000,
		      HCALL_CLOCK_MONOTONIC),
		 0);
	usleep(700000);
	CHECK_EQ(call(&vm, HCALL_TIMER_CANCEL, 5, 0, 0, 0), 1);
	printf("periods=%lld\n",
	       (long long)call(&vm, HCALL_TIMER_EXPIRED, 5, 0, 0, 0));
	vm_free(&vm);
}

/* raise N: by the guest, of 700; by the host, of 701; the first is taken. */
static void raise_events(char **args)
{
	start();
	CHECK_EQ(call(&vm, HCALL_EVENT_RAISE, 700, 0, 0, 0), 0);
	CHECK(channel_take(&vm, 700));
	for (uint64_t n = number(args[0]); n--;) {
		CHECK_EQ(call(&vm, HCALL_EVENT_RAISE, 700, 0, 0, 0), 0);
		CHECK_EQ(host_raise(&vm, 701), 0);
	}
	vm_free(&vm);
}

/* devices DISK: two disks and a console; the first disk is removed. */
static void devices(char **args)
{
	uint32_t alpha, beta;
	int fd = append("/dev/null");

	start();
	alpha = vm_disk(&vm, "alpha", args[0], KVM_HCALL_ADD_READONLY);
	beta = vm_disk(&vm, "beta", args[0], KVM_HCALL_ADD_READONLY);
	/* No console: /dev/null is none.  So nothing is attached. */
	CHECK_EQ(vm_add(&vm, HCALL_CLASS_CONSOLE, "tty", fd, -1, 0), -EINVAL);
	close(fd);
	printf("alpha=%u\nalpha_channel=%u\n", alpha,
	       vm_device(&vm, HCALL_CLASS_BLOCK, alpha).channel);
	printf("beta=%u\nbeta_channel=%u\n", beta,
	       vm_device(&vm, HCALL_CLASS_BLOCK, beta).channel);
	fflush(stdout);
	vm_remove(&vm, HCALL_CLASS_BLOCK, alpha);
	vm_free(&vm);
}

/* two A B C: VMs with so many calls; the third comes when the second is gone. */
static void two(char **args)
{
	static struct vm first;

	start();
	first = vm;
	for (int i = 0; i < 3; i++) {
		if (i)
			start();
		for (uint64_t n = number(args[i]); n--;)
			CHECK(call(&vm, HCALL_TIMER_NOW, 0, 0, 0, 0) > 0);
		if (i)
			vm_free(&vm);
	}
	vm_free(&first);
}

/* numbers N: as many calls, no two with the same number; the launcher answers. */
static void numbers(char **args)
{
	start();
	for (uint32_t i = 0; i < number(args[0]); i++) {
		uint32_t class_id = 0x10 + (i >> 8);

		if (!(i & 0xff))
			CHECK_EQ(vm_policy(&vm, class_id, KVM_HCALL_FORWARD, 1),
				 0);
		CHECK_EQ(call_forwarded(HCALL_NR(class_id, i & 0xff), 0, 0, 0,
					0, 42),
			 42);
	}
	vm_free(&vm);
}

/*
 * makes-up DISK: 4320 calls, no two with the same number or unit, for what there is
 * not: functions of classes that there are, one of which is denied, and of others,
 * and disks; and in between 240 reads of the disk that there is.
 */
static void makes_up(char **args)
{
	start();
	vm_disk(&vm, "root", args[0], 0);
	CHECK_EQ(vm_policy(&vm, HCALL_CLASS_NET, KVM_HCALL_DENY, 0), 0);
	for (uint32_t i = 16; i < 256; i++) {
		for (uint32_t j = 0; j < 17; j++) {
			uint32_t class_id = j < 7 ? j : 0x70 + j;

			CHECK_EQ(call(&vm, HCALL_NR(class_id, i), i, 0, 0, 0),
				 class_id == HCALL_CLASS_NET ? -HCALL_EPERM
							     : -HCALL_ENOSYS);
		}
		CHECK_EQ(call(&vm, HCALL_BLOCK_READ, i, 0, RAM, 1),
			 -HCALL_ENODEV);
		CHECK_EQ(call(&vm, HCALL_BLOCK_READ, 0, i, RAM, 1), 1);
	}
	vm_free(&vm);
}

/* ---- Calls until somebody says stop ------------------------------------------ */

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
	(void)signal;
	stopped = 1;
}

/* A round: by register, in a batch at the page, and one that fails. */
GUEST static int64_t load_guest(uint64_t page)
{
	struct hcall_op *op = (void *)page;

	for (int i = 0; i < 50; i++) {
		if (guest_call(HCALL_TIMER_NOW, 0, 0, 0, 0) <= 0)
			return 1;
		if (guest_call(HCALL_SYS_PROBE, 256, 0, 0, 0))
			return 2;
		op->number = HCALL_BLOCK_READ;
		op->flags = 0;
		op->args[0] = 9;
		op->args[1] = op->args[2] = 0;
		op->args[3] = 1;
		op->reserved = 0;
		op->result = 1;
		if (guest_call(HCALL_SYS_BATCH, page, 1, 0, 0) != 1)
			return 3;
		if (op->result != -HCALL_ENODEV)
			return 4;
	}
	return 0;
}

static uint64_t rounds[2];

static void *load_thread(void *arg)
{
	struct vcpu *vcpu = arg;
	int i = vcpu - vm.vcpu;

	while (!stopped) {
		guest_set(vcpu, load_guest, RAM + i * 4096, false);
		vcpu->result = guest_run(vcpu);
		if (vcpu->result)
			break;
		rounds[i]++;
	}
	return NULL;
}

/* load: two vCPUs, until SIGTERM. */
static void load(char **args)
{
	(void)args;
	signal(SIGTERM, stop);
	start();
	vm_guest(&vm);
	for (int i = 0; i < 2; i++)
		NEED(!pthread_create(&vm.vcpu[i].thread, NULL, load_thread,
				     &vm.vcpu[i]));
	for (int i = 0; i < 2; i++) {
		NEED(!pthread_join(vm.vcpu[i].thread, NULL));
		CHECK_EQ(vm.vcpu[i].result, 0);
	}
	printf("rounds=%llu\n", (unsigned long long)(rounds[0] + rounds[1]));
	print_stats(&vm);
	vm_free(&vm);
}

static const struct guest_command commands[] = {
	{ "mix", mix, 12 },	     { "forward", forward, 1 },
	{ "async", async, 2 },	     { "not-calls", not_calls, 0 },
	{ "timer", timer, 2 },	     { "raise", raise_events, 1 },
	{ "devices", devices, 1 },   { "two", two, 3 },
	{ "numbers", numbers, 1 },   { "load", load, 0 },
	{ "makes-up", makes_up, 1 }, { 0 },
};

int main(int argc, char **argv)
{
	return guests_main(argc, argv, commands);
}
