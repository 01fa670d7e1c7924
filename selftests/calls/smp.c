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
static void nothing(int sig)
{
	(void)sig;
}

static void signals(void)
{
	struct sigaction act = { .sa_handler = nothing };
	struct worker w[2];
	struct vm vm;

	sigaction(SIGUSR1, &act, NULL);
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
	struct sigaction act = { .sa_handler = nothing };
	int ok = 0;

	sigaction(SIGALRM, &act, NULL);
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
			   RAM + 4096);
		NEED(!setitimer(ITIMER_REAL, &off, NULL));
		if (ret == -HCALL_EINTR)
			ret = call(&vm, HCALL_SYS_BATCH, RAM, 1,
				   HCALL_BATCH_ASYNC, RAM + 4096);
		CHECK_EQ(ret, 1);
		ok += op->result > 0;
		vm_free(&vm);
	}
	CHECK(ok > 0);
}

/* A batch under signals: a short count, and the rest at the next call. */
static void signals_batch(void)
{
	struct sigaction act = { .sa_handler = nothing };
	struct vcpu *vcpu;
	struct hcall_op *op;
	struct timespec tick = { .tv_nsec = 1000000 };
	struct itimerspec its = { .it_interval = tick, .it_value = tick };
	struct sigevent sev = { .sigev_notify = SIGEV_SIGNAL,
				.sigev_signo = SIGUSR1 };
	int shorts = 0;
	timer_t timer;
	struct vm vm;

	sigaction(SIGUSR1, &act, NULL);
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
};

KTAP_MAIN(tests)
