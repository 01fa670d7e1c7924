// SPDX-License-Identifier: GPL-2.0
/*
 * Sets of BPF programs (struct hcall_ops): who is asked, in which order, what
 * they can do to a call, what they cannot, and how they come and go.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ring.h>

#include "ops.h"
#include "vmm.h"

#include <linux/kvm_hcall_bpf.h>

/* As hcall.bpf.h has it. */
struct hcall_ejection {
	__u32 reason;
	__u32 vm;
	__u32 nr;
	__s64 value;
	char text[HCALL_EJECTION_TEXT_BYTES];
};

#include "ops.skel.h"
#include "rejected.skel.h"

#define SERVED(function) HCALL_NR(0xe3, function)

static struct vm vm;
static struct ops_bpf *bpf;
static struct bpf_link *links[HCALL_OPS_MAX + 1];
static char messages[4096];

static int quiet(enum libbpf_print_level level, const char *format,
		 va_list args)
{
	(void)level;
	vsnprintf(messages, sizeof(messages), format, args);
	return 0;
}

/* ---- Means --------------------------------------------------------------------- */

static void fresh(void)
{
	struct ops_bpf *old = bpf;

	libbpf_set_print(quiet);
	/* What a test that failed left behind. */
	for (unsigned int i = 0; i < sizeof(links) / sizeof(*links); i++) {
		bpf_link__destroy(links[i]);
		links[i] = NULL;
	}
	bpf = NULL;
	ops_bpf__destroy(old);
	bpf = ops_bpf__open();
	NEED(bpf);
}

static void load(void)
{
	if (ops_bpf__load(bpf)) {
		printf("# %s", messages);
		NEED(!"load");
	}
}

static void setup(void)
{
	vm_new(&vm);
	vm_bind(&vm);
	fresh();
}

static void done(void)
{
	fresh();
	vm_free(&vm);
}

/* Return: 0 or -errno; the link is links[i]. */
static int attach(int i, struct bpf_map *map)
{
	links[i] = bpf_map__attach_struct_ops(map);
	return links[i] ? 0 : -errno;
}

static void detach(int i)
{
	CHECK_EQ(bpf_link__destroy(links[i]), 0);
	links[i] = NULL;
}

/* The link has been taken away: its descriptor tells.  Not longer than 5 s. */
static bool hung_up(int i)
{
	struct pollfd poll_link = { .fd = bpf_link__fd(links[i]) };

	return poll(&poll_link, 1, 5000) == 1 && poll_link.revents & POLLHUP;
}

static bool hung_up_soon(int i)
{
	struct pollfd poll_link = { .fd = bpf_link__fd(links[i]) };

	return poll(&poll_link, 1, 200) == 1;
}

static bool said_why(void)
{
	for (int i = 0;
	     i < 5000 && !*(volatile __u32 *)&bpf->bss->ejection.reason; i++)
		usleep(1000);
	return bpf->bss->ejection.reason;
}

static const struct seen *seen(unsigned int i)
{
	CHECK(i < bpf->bss->nr_seen);
	return &bpf->bss->seen[i];
}

#define EXPECT_SEEN(i, what_, set_)             \
	do {                                    \
		CHECK_EQ(seen(i)->what, what_); \
		CHECK_EQ(seen(i)->set, set_);   \
	} while (0)

static int64_t probe(struct vm *of)
{
	return call(of, HCALL_SYS_PROBE, HCALL_CLASS_SYS, 1, 2, 3);
}

#define PROBED 0x1f

/* ---- What a set can do -------------------------------------------------------------- */

static void sees(void)
{
	const struct seen *enter, *leave;

	setup();
	load();
	CHECK_EQ(attach(0, bpf->maps.set0), 0);
	CHECK_EQ(seen(0)->what, SEEN_ATTACH);
	CHECK_EQ(call(&vm, HCALL_SYS_RANDOM, RAM, 37, 3, 4), 37);
	CHECK_EQ(bpf->bss->nr_seen, 3);
	EXPECT_SEEN(1, SEEN_ENTER, 0);
	EXPECT_SEEN(2, SEEN_EXIT, 0);
	enter = seen(1);
	leave = seen(2);
	CHECK_EQ(enter->vm, seen(0)->vm);
	CHECK_EQ(enter->nr, HCALL_SYS_RANDOM);
	CHECK_EQ(enter->door, 0);
	CHECK_EQ(enter->vcpu, 0);
	CHECK_EQ(enter->args[0], RAM);
	CHECK_EQ(enter->args[1], 37);
	CHECK_EQ(enter->args[2], 3);
	CHECK_EQ(enter->args[3], 4);
	CHECK_EQ(leave->nr, HCALL_SYS_RANDOM);
	CHECK_EQ(leave->result, 37);
	CHECK_EQ(leave->bytes, 37);
	CHECK_EQ(leave->args[1], 37);
	call_set(&vm.vcpu[2], HCALL_SYS_PROBE, 0, 0, 0, 0);
	CHECK_EQ(call_run(&vm.vcpu[2]), PROBED);
	CHECK_EQ(seen(3)->vcpu, 2);
	detach(0);
	EXPECT_SEEN(5, SEEN_DETACH, 0);
	CHECK_EQ(probe(&vm), PROBED);
	CHECK_EQ(bpf->bss->nr_seen, 6);
	done();
}

static void denies(void)
{
	struct kvm_hcall_stats before, after;

	setup();
	load();
	bpf->bss->set[0].verdict = -HCALL_EROFS;
	before = vm_stats(&vm, HCALL_CLASS_SYS);
	CHECK_EQ(attach(0, bpf->maps.set0), 0);
	memset(at(&vm, RAM), 0, 16);
	CHECK_EQ(call(&vm, HCALL_SYS_RANDOM, RAM, 16, 0, 0), -HCALL_EROFS);
	for (int i = 0; i < 16; i++)
		CHECK_EQ(((char *)at(&vm, RAM))[i], 0);
	EXPECT_SEEN(2, SEEN_EXIT, 0);
	CHECK_EQ(seen(2)->result, -HCALL_EROFS);
	after = vm_stats(&vm, HCALL_CLASS_SYS);
	CHECK_EQ(after.calls - before.calls, 1);
	CHECK_EQ(after.errors - before.errors, 1);
	CHECK_EQ(after.denied - before.denied, 1);
	CHECK_EQ(after.bytes - before.bytes, 0);
	/* ... the end of the guest, too. */
	CHECK_EQ(call(&vm, HCALL_SYS_EXIT, 0, 0, 0, 0), -HCALL_EROFS);
	bpf->bss->set[0].verdict = -HCALL_ENOSYS;
	CHECK_EQ(probe(&vm), -HCALL_ENOSYS);
	detach(0);
	CHECK_EQ(probe(&vm), PROBED);
	done();
}

static void answers(void)
{
	struct kvm_hcall_stats before, after;

	setup();
	load();
	CHECK_EQ(attach(0, bpf->maps.set0), 0);
	bpf->bss->set[0].verdict = HCALL_OPS_ANSWERED;
	CHECK_EQ(probe(&vm), 0);
	bpf->bss->set[0].set_result = 1;
	bpf->bss->set[0].result = 0x123456789abcdef;
	before = vm_stats(&vm, HCALL_CLASS_SYS);
	CHECK_EQ(probe(&vm), 0x123456789abcdef);
	after = vm_stats(&vm, HCALL_CLASS_SYS);
	CHECK_EQ(after.calls - before.calls, 1);
	CHECK_EQ(after.errors - before.errors, 0);
	CHECK_EQ(after.denied - before.denied, 0);
	bpf->bss->set[0].result = -HCALL_EIO;
	CHECK_EQ(probe(&vm), -HCALL_EIO);
	CHECK_EQ(vm_stats(&vm, HCALL_CLASS_SYS).errors - after.errors, 1);
	/* A class that nobody serves, and one that policy denies. */
	bpf->bss->set[0].result = 5;
	CHECK_EQ(call(&vm, HCALL_NR(0x77, 1), 0, 0, 0, 0), 5);
	CHECK_EQ(vm_policy(&vm, HCALL_CLASS_BLOCK, KVM_HCALL_DENY, 0), 0);
	CHECK_EQ(call(&vm, HCALL_BLOCK_READ, 0, 0, RAM, 1), 5);
	/* A guest in 32-bit mode gets the lower half. */
	bpf->bss->set[0].result = 0x1122334455667788;
	vcpu_mode(&vm.vcpu[0], MODE_32);
	CHECK_EQ(probe(&vm), 0x55667788);
	done();
}

/* What a set that passed has set is nobody's result. */
static void forgets_results(void)
{
	setup();
	load();
	CHECK_EQ(attach(0, bpf->maps.set0), 0);
	CHECK_EQ(attach(1, bpf->maps.set1), 0);
	bpf->bss->set[0].set_result = 1;
	bpf->bss->set[1].verdict = HCALL_OPS_ANSWERED;
	bpf->bss->set[0].result = 5;
	CHECK_EQ(probe(&vm), 0);
	bpf->bss->set[0].result = -4000;
	CHECK_EQ(probe(&vm), 0);
	CHECK_EQ(probe(&vm), 0);
	CHECK_EQ(bpf->bss->ejection.reason, 0);
	done();
}

static void changes_arguments(void)
{
	setup();
	load();
	CHECK_EQ(attach(0, bpf->maps.set0), 0);
	CHECK_EQ(attach(1, bpf->maps.set1), 0);
	bpf->bss->set[0].arg_index = 1;
	bpf->bss->set[0].arg = 7;
	bpf->bss->nr_seen = 0;
	CHECK_EQ(call(&vm, HCALL_SYS_RANDOM, RAM, 16, 0, 0), 7);
	CHECK_EQ(seen(0)->args[1], 16);
	CHECK_EQ(seen(1)->args[1], 7);
	CHECK_EQ(seen(2)->args[1], 7);
	CHECK_EQ(seen(3)->args[1], 7);
	/* What it makes of them is checked as if the guest had said it. */
	bpf->bss->set[0].arg_index = 0;
	bpf->bss->set[0].arg = HOLE;
	CHECK_EQ(call(&vm, HCALL_SYS_RANDOM, RAM, 16, 0, 0), -HCALL_EFAULT);
	bpf->bss->set[0].arg_index = 4;
	CHECK_EQ(call(&vm, HCALL_SYS_RANDOM, RAM, 16, 0, 0), 16);
	/* The guest's registers stay as they are. */
	CHECK_EQ(vm.vcpu[0].run->exit_reason, KVM_EXIT_IO);
	/* In exit it is too late. */
	memset(bpf->bss->set, 0, sizeof(bpf->bss->set));
	bpf->bss->set[1].exit_arg = 77;
	bpf->bss->nr_seen = 0;
	CHECK_EQ(call(&vm, HCALL_SYS_RANDOM, RAM, 16, 0, 0), 16);
	EXPECT_SEEN(3, SEEN_EXIT, 0);
	CHECK_EQ(seen(3)->args[0], RAM);
	done();
}

static void changes_result(void)
{
	setup();
	load();
	CHECK_EQ(attach(0, bpf->maps.set0), 0);
	CHECK_EQ(attach(1, bpf->maps.set1), 0);
	bpf->bss->nr_seen = 0;
	bpf->bss->set[1].change = 1;
	bpf->bss->set[1].changed = -HCALL_EIO;
	CHECK_EQ(probe(&vm), -HCALL_EIO);
	EXPECT_SEEN(2, SEEN_EXIT, 1);
	CHECK_EQ(seen(2)->result, PROBED);
	EXPECT_SEEN(3, SEEN_EXIT, 0);
	CHECK_EQ(seen(3)->result, -HCALL_EIO);
	/* The launcher's answer is not there yet. */
	CHECK_EQ(vm_policy(&vm, 0xf0, KVM_HCALL_FORWARD, 1), 0);
	bpf->bss->nr_seen = 0;
	call_set(&vm.vcpu[0], HCALL_NR(0xf0, 0), 0, 0, 0, 0);
	CHECK_EQ(call_run(&vm.vcpu[0]), INT64_MIN);
	CHECK_EQ(vm.vcpu[0].run->exit_reason, KVM_EXIT_HYPERCALL);
	vm.vcpu[0].run->hypercall.ret = 77;
	CHECK_EQ(call_run(&vm.vcpu[0]), 77);
	CHECK_EQ(seen(2)->after, 3);
	CHECK_EQ(seen(3)->result, -HCALL_ENOSYS);
	done();
}

/* The end of the guest is one by any door, whatever exit makes of its result. */
static void changes_end(void)
{
	struct hcall_op *op;

	setup();
	load();
	CHECK_EQ(attach(0, bpf->maps.set0), 0);
	bpf->bss->set[0].change = 1;
	bpf->bss->set[0].changed = -HCALL_EINTR;
	CHECK_EQ(call(&vm, HCALL_SYS_EXIT, 0, 0, 0, 0), INT64_MIN);
	CHECK_EQ(vm.vcpu[0].run->exit_reason, KVM_EXIT_SYSTEM_EVENT);
	op = at(&vm, RAM);
	memset(op, 0, sizeof(*op));
	op->number = HCALL_SYS_EXIT;
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, RAM, 1, 0, 0), INT64_MIN);
	CHECK_EQ(vm.vcpu[0].run->exit_reason, KVM_EXIT_SYSTEM_EVENT);
	done();
}

/* ---- Who is asked --------------------------------------------------------------- */

static void order(void)
{
	setup();
	bpf->struct_ops.set0->order = 5;
	bpf->struct_ops.set1->order = -5;
	bpf->struct_ops.set2->order = 5;
	load();
	CHECK_EQ(attach(0, bpf->maps.set0), 0);
	CHECK_EQ(attach(1, bpf->maps.set1), 0);
	CHECK_EQ(attach(2, bpf->maps.set2), 0);
	CHECK_EQ(attach(3, bpf->maps.set3), 0);
	bpf->bss->nr_seen = 0;
	CHECK_EQ(probe(&vm), PROBED);
	CHECK_EQ(bpf->bss->nr_seen, 8);
	EXPECT_SEEN(0, SEEN_ENTER, 1);
	EXPECT_SEEN(1, SEEN_ENTER, 3);
	EXPECT_SEEN(2, SEEN_ENTER, 0);
	EXPECT_SEEN(3, SEEN_ENTER, 2);
	EXPECT_SEEN(4, SEEN_EXIT, 2);
	EXPECT_SEEN(5, SEEN_EXIT, 0);
	EXPECT_SEEN(6, SEEN_EXIT, 3);
	EXPECT_SEEN(7, SEEN_EXIT, 1);
	/* Those after one that denies neither enter nor exit. */
	bpf->bss->set[3].verdict = -HCALL_EPERM;
	bpf->bss->nr_seen = 0;
	CHECK_EQ(probe(&vm), -HCALL_EPERM);
	CHECK_EQ(bpf->bss->nr_seen, 4);
	EXPECT_SEEN(1, SEEN_ENTER, 3);
	EXPECT_SEEN(2, SEEN_EXIT, 3);
	EXPECT_SEEN(3, SEEN_EXIT, 1);
	/* One in the middle goes, and comes back last. */
	bpf->bss->set[3].verdict = 0;
	detach(0);
	CHECK_EQ(attach(0, bpf->maps.set0), 0);
	bpf->bss->nr_seen = 0;
	CHECK_EQ(probe(&vm), PROBED);
	EXPECT_SEEN(2, SEEN_ENTER, 2);
	EXPECT_SEEN(3, SEEN_ENTER, 0);
	done();
}

static void classes(void)
{
	setup();
	bpf->struct_ops.set0->classes = HCALL_CLASS_BIT(HCALL_CLASS_TIMER);
	bpf->struct_ops.set1->classes = HCALL_CLASS_BIT(0xf1);
	load();
	CHECK_EQ(attach(0, bpf->maps.set0), 0);
	CHECK_EQ(attach(1, bpf->maps.set1), 0);
	bpf->bss->nr_seen = 0;
	CHECK_EQ(probe(&vm), PROBED);
	CHECK_EQ(bpf->bss->nr_seen, 0);
	CHECK(call(&vm, HCALL_TIMER_NOW, 0, 0, 0, 0) > 0);
	CHECK_EQ(bpf->bss->nr_seen, 2);
	EXPECT_SEEN(0, SEEN_ENTER, 0);
	CHECK_EQ(call(&vm, HCALL_NR(0xf1, 0), 0, 0, 0, 0), -HCALL_ENOSYS);
	CHECK_EQ(bpf->bss->nr_seen, 4);
	EXPECT_SEEN(2, SEEN_ENTER, 1);
	CHECK_EQ(call(&vm, HCALL_NR(0xb1, 0), 0, 0, 0, 0), -HCALL_ENOSYS);
	CHECK_EQ(bpf->bss->nr_seen, 4);
	done();
}

/* setup() and another VM.  Return: its number; programs are open, not loaded */
static __u32 setup_other(struct vm *other)
{
	__u32 id;

	setup();
	vm_new(other);
	vm_bind(other);
	load();
	CHECK_EQ(attach(0, bpf->maps.set0), 0);
	CHECK_EQ(probe(other), PROBED);
	EXPECT_SEEN(2, SEEN_ENTER, 0);
	id = seen(2)->vm;
	fresh();
	return id;
}

/* A set that is for one VM. */
static void one_vm(void)
{
	struct vm other;
	__u32 id = setup_other(&other);

	bpf->struct_ops.set1->vm = id;
	bpf->struct_ops.set2->vm = 4000000;
	load();
	bpf->bss->set[1].verdict = -HCALL_EPERM;
	CHECK_EQ(attach(2, bpf->maps.set2), -ENOENT);
	CHECK_EQ(attach(1, bpf->maps.set1), 0);
	for (int i = 0; i < 1000; i++)
		CHECK_EQ(probe(&vm), PROBED);
	CHECK_EQ(bpf->bss->nr_seen, 1); /* attach */
	CHECK_EQ(seen(0)->vm, id);
	CHECK_EQ(probe(&other), -HCALL_EPERM);
	CHECK_EQ(bpf->bss->nr_seen, 3);

	/* With its VM it goes; the next one has the same number. */
	vm_free(&other);
	vm_new(&other);
	vm_bind(&other);
	CHECK_EQ(probe(&other), PROBED);
	CHECK(hung_up(1));
	CHECK(said_why());
	CHECK_EQ(bpf->bss->ejection.reason, HCALL_EJECTED_VM_CLOSED);
	CHECK_EQ(bpf->bss->ejection.vm, id);
	CHECK(strstr(bpf->bss->ejection.text, "is closed"));
	for (int i = 0; i < 1000; i++)
		CHECK_EQ(probe(&other), PROBED);
	CHECK_EQ(bpf->bss->nr_seen, 4); /* detach */
	EXPECT_SEEN(3, SEEN_DETACH, 1);

	fresh();
	load();
	CHECK_EQ(attach(0, bpf->maps.set0), 0);
	CHECK_EQ(probe(&other), PROBED);
	CHECK_EQ(seen(2)->vm, id);
	vm_free(&other);
	done();
}

/* One that could not be bound never was there. */
static void not_bound(void)
{
	struct kvm_hcall_bind bind = { .vm_fd = STDIN_FILENO };
	int fd;

	setup();
	load();
	CHECK_EQ(attach(0, bpf->maps.set0), 0);
	CHECK_EQ(bpf->bss->nr_seen, 1);
	fd = open("/dev/kvm-hcall", O_RDWR);
	NEED(fd >= 0);
	CHECK(ioctl(fd, KVM_HCALL_BIND, &bind) < 0);
	CHECK_EQ(errno, EINVAL);
	CHECK_EQ(bpf->bss->nr_seen, 1);
	close(fd);
	done();
}

static void vms_come_and_go(void)
{
	struct vm other;

	setup();
	load();
	CHECK_EQ(attach(0, bpf->maps.set0), 0);
	CHECK_EQ(bpf->bss->nr_seen, 1);
	EXPECT_SEEN(0, SEEN_ATTACH, 0);
	vm_new(&other);
	CHECK_EQ(bpf->bss->nr_seen, 1);
	vm_bind(&other);
	CHECK_EQ(bpf->bss->nr_seen, 2);
	EXPECT_SEEN(1, SEEN_ATTACH, 0);
	CHECK(seen(1)->vm != seen(0)->vm);
	vm_free(&other);
	CHECK_EQ(bpf->bss->nr_seen, 3);
	EXPECT_SEEN(2, SEEN_DETACH, 0);
	CHECK_EQ(seen(2)->vm, seen(1)->vm);
	detach(0);
	CHECK_EQ(bpf->bss->nr_seen, 4);
	EXPECT_SEEN(3, SEEN_DETACH, 0);
	CHECK_EQ(seen(3)->vm, seen(0)->vm);
	done();
}

/* Elements of batches are calls like others; those that wait, enter once. */
static void doors(void)
{
	struct hcall_op *op;

	setup();
	load();
	CHECK_EQ(attach(0, bpf->maps.set0), 0);
	bpf->bss->nr_seen = 0;
	op = at(&vm, RAM);
	memset(op, 0, 3 * sizeof(*op));
	for (int i = 0; i < 3; i++) {
		op[i].number = HCALL_SYS_RANDOM;
		op[i].args[0] = RAM2;
		op[i].args[1] = 10 + i;
	}
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, RAM, 3, 0, 0), 3);
	CHECK_EQ(bpf->bss->nr_seen, 8);
	for (int i = 0; i < 3; i++) {
		EXPECT_SEEN(1 + 2 * i, SEEN_ENTER, 0);
		CHECK_EQ(seen(1 + 2 * i)->door, 1);
		CHECK_EQ(seen(2 + 2 * i)->result, 10 + i);
		CHECK_EQ(op[i].result, 10 + i);
	}
	CHECK_EQ(seen(7)->result, 3);

	vm_disk(&vm, "disk", make_disk("ops", 65536), 0);
	bpf->bss->nr_seen = 0;
	memset(op, 0, 2 * sizeof(*op));
	op[0].number = HCALL_BLOCK_FLUSH;
	op[1].number = HCALL_SYS_RANDOM;
	op[1].args[0] = RAM2;
	op[1].args[1] = 9;
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, RAM, 2, HCALL_BATCH_ASYNC, 900), 2);
	for (int i = 0; i < 5000 && !(op[1].flags & HCALL_OP_DONE); i++)
		usleep(1000);
	CHECK_EQ(op[0].result, 0);
	CHECK_EQ(op[1].result, 9);
	CHECK_EQ(bpf->bss->nr_seen, 6);
	for (unsigned int i = 0, enters = 0; i < 6; i++) {
		enters += seen(i)->what == SEEN_ENTER && seen(i)->door == 2;
		if (seen(i)->door == 2)
			CHECK_EQ(seen(i)->vcpu, -1);
		if (i == 5)
			CHECK_EQ(enters, 2);
	}
	done();
}

/* ---- Answers that come later ----------------------------------------------------- */

#define LATER_SIZE 4 /* of the queue */
#define LATER_DISK HCALL_VIRTIO_DEV(HCALL_CLASS_BLOCK, 0)

/* What COMMAND prints. */
static const char *line_of(const char *command)
{
	static char line[64];
	FILE *from = popen(command, "r");

	NEED(from && fgets(line, sizeof(line), from) && !pclose(from));
	line[strcspn(line, "\n")] = 0;
	return line;
}

/* A disk whose file works while nobody waits.  Return: what to give to losetup -d */
static void add_loop(char name[64])
{
	char command[300];

	NEED(!system("modprobe -a loop dm-mod"));
	snprintf(command, sizeof(command), "losetup -f --show %s",
		 make_disk("ops", 65536));
	strcpy(name, line_of(command));
	CHECK(vm_disk(&vm, "disk", name, KVM_HCALL_ADD_DIRECT) < 2);
}

static void remove_loop(const char *name)
{
	char command[100];

	snprintf(command, sizeof(command), "losetup -d %s", name);
	NEED(!system(command));
}

static void start_queue_of(uint32_t dev, uint32_t index)
{
	struct hcall_virtio_queue *queue = at(&vm, RAM2);

	for (uint32_t bits = 1; bits <= 3; bits = bits * 2 + 1)
		CHECK_EQ(call(&vm, HCALL_VIRTIO_STATUS, dev, bits, 0, 0), bits);
	CHECK_EQ(call(&vm, HCALL_VIRTIO_FEATURES, dev, 1ull << 32, 0, 0), 0);
	CHECK_EQ(call(&vm, HCALL_VIRTIO_STATUS, dev, 11, 0, 0), 11);
	*queue = (struct hcall_virtio_queue){ .size = LATER_SIZE,
					      .channel = 600,
					      .desc = RAM,
					      .driver = RAM + 0x1000,
					      .device = RAM + 0x2000 };
	memset(at(&vm, RAM), 0, 0x4000);
	CHECK_EQ(
		call(&vm, HCALL_VIRTIO_QUEUE, dev, index, RAM2, sizeof(*queue)),
		0);
	CHECK_EQ(call(&vm, HCALL_VIRTIO_STATUS, dev, 15, 0, 0), 15);
}

static void start_queue(void)
{
	start_queue_of(LATER_DISK, 0);
}

/* Sectors from 3 on, to or from RAM2. */
static void kick_move(uint16_t request, uint32_t type, uint32_t sectors)
{
	struct virtio_blk_outhdr *head = at(&vm, RAM + 0x3000);
	struct vring_desc *table = at(&vm, RAM);
	struct vring_avail *avail = at(&vm, RAM + 0x1000);
	uint16_t in = type == VIRTIO_BLK_T_IN ? VRING_DESC_F_WRITE : 0;

	*head = (struct virtio_blk_outhdr){ .type = type, .sector = 3 };
	*(uint8_t *)at(&vm, RAM + 0x3010) = 0xee;
	table[0] = (struct vring_desc){ RAM + 0x3000, sizeof(*head),
					VRING_DESC_F_NEXT, 1 };
	table[1] = (struct vring_desc){ RAM2, sectors * 512,
					VRING_DESC_F_NEXT | in, 2 };
	table[2] =
		(struct vring_desc){ RAM + 0x3010, 1, VRING_DESC_F_WRITE, 0 };
	avail->ring[request % LATER_SIZE] = 0;
	atomic_thread_fence(memory_order_seq_cst);
	*(volatile uint16_t *)&avail->idx = request + 1;
	call(&vm, HCALL_VIRTIO_KICK, LATER_DISK, 0, 0,
	     0); /* its result is changed */
}

static void kick_read(uint16_t request)
{
	kick_move(request, VIRTIO_BLK_T_IN, 1);
}

/* Return: its status, when the answer has come. */
static uint8_t read_answer(uint16_t request)
{
	volatile struct vring_used *used = at(&vm, RAM + 0x2000);

	for (int i = 0; i < 5000 && used->idx != (uint16_t)(request + 1); i++)
		usleep(1000);
	CHECK_EQ(used->idx, request + 1);
	return *(volatile uint8_t *)at(&vm, RAM + 0x3010);
}

static uint8_t read_by_queue(uint16_t request)
{
	kick_read(request);
	return read_answer(request);
}

/* Who has been asked is told once the answer is there, and can change it. */
static void answered_later(void)
{
	char name[64];

	setup();
	load();
	add_loop(name);
	start_queue();
	CHECK_EQ(read_by_queue(0), VIRTIO_BLK_S_OK);
	CHECK_EQ(attach(0, bpf->maps.set0), 0);
	CHECK_EQ(attach(1, bpf->maps.set1), 0);
	bpf->bss->nr_seen = 0;
	bpf->bss->set[0].change = 1;
	bpf->bss->set[0].changed = -HCALL_EIO;
	CHECK_EQ(read_by_queue(1), VIRTIO_BLK_S_IOERR);
	usleep(20000);
	/* KICK is a call, too. */
	CHECK_EQ(bpf->bss->nr_seen, 8);
	for (unsigned int i = 0, exits = 0; i < 8; i++) {
		if (seen(i)->door != 3)
			continue;
		CHECK_EQ(seen(i)->nr, HCALL_BLOCK_READ);
		CHECK_EQ(seen(i)->vcpu, -1);
		if (seen(i)->what == SEEN_ENTER)
			continue;
		CHECK_EQ(seen(i)->bytes, 512);
		CHECK_EQ(seen(i)->set, !exits);
		CHECK_EQ(seen(i)->result, 1);
		exits++;
	}
	detach(0);
	CHECK_EQ(read_by_queue(2), VIRTIO_BLK_S_OK);
	done();
	remove_loop(name);
}

/* One that has moved less than was asked is no error: the rest follows. */
static void shortened_later(void)
{
	uint8_t *data, *file;
	char name[64];
	int fd;

	setup();
	bpf->struct_ops.set0->classes = HCALL_CLASS_BIT(HCALL_CLASS_BLOCK);
	load();
	add_loop(name);
	start_queue();
	data = at(&vm, RAM2);
	CHECK_EQ(attach(0, bpf->maps.set0), 0);
	bpf->bss->set[0].arg_index = 3; /* how many sectors */
	bpf->bss->set[0].arg = 2;
	bpf->bss->nr_seen = 0;
	memset(data, 0xee, 8 * 512);
	kick_move(0, VIRTIO_BLK_T_IN, 6);
	CHECK_EQ(read_answer(0), VIRTIO_BLK_S_OK);
	for (int i = 0; i < 6; i++)
		expect_sector(data + i * 512, 3 + i);
	CHECK_EQ(data[6 * 512], 0xee);
	CHECK_EQ(bpf->bss->nr_seen, 6);
	for (int i = 0; i < 6; i++)
		CHECK_EQ(seen(i)->args[1], 3 + i / 2 * 2);
	for (int i = 0; i < 6 * 512; i++)
		data[i] = i * 3 + (i >> 8);
	kick_move(1, VIRTIO_BLK_T_OUT, 6);
	CHECK_EQ(read_answer(1), VIRTIO_BLK_S_OK);
	file = malloc(6 * 512);
	fd = open(name, O_RDONLY);
	NEED(file && fd >= 0 && pread(fd, file, 6 * 512, 3 * 512) == 6 * 512);
	close(fd);
	CHECK(!memcmp(data, file, 6 * 512));
	free(file);
	done();
	remove_loop(name);
}

static atomic_bool removed;

static void *remove_other(void *arg)
{
	(void)arg;
	vm_remove(&vm, HCALL_CLASS_BLOCK, 1);
	removed = true;
	return NULL;
}

/* A disk that a program has turned to stays until it is done, too. */
static void redirected_later(void)
{
	char name[64], other[64], command[200];
	pthread_t thread;

	setup();
	bpf->struct_ops.set0->classes = HCALL_CLASS_BIT(HCALL_CLASS_BLOCK);
	load();
	add_loop(name);
	snprintf(command, sizeof(command), "losetup -f --show %s",
		 make_disk("ops2", 65536));
	strcpy(other, line_of(command));
	snprintf(
		command, sizeof(command),
		"echo 0 128 linear %s 0 | dmsetup create --noudevsync hcall-ops && "
		"dmsetup mknodes hcall-ops",
		other);
	NEED(!system(command));
	CHECK_EQ(vm_disk(&vm, "other", "/dev/mapper/hcall-ops",
			 KVM_HCALL_ADD_DIRECT),
		 1);
	start_queue();
	CHECK_EQ(attach(0, bpf->maps.set0), 0);
	bpf->bss->set[0].arg = 1; /* the unit */
	memset(at(&vm, RAM2), 0xee, 512);
	CHECK_EQ(read_by_queue(0), VIRTIO_BLK_S_OK);
	expect_sector(at(&vm, RAM2), 3);
	NEED(!system("dmsetup suspend --noudevsync --nolockfs hcall-ops"));
	kick_read(1);
	usleep(50000);
	removed = false;
	NEED(!pthread_create(&thread, NULL, remove_other, NULL));
	usleep(200000);
	CHECK(!removed);
	NEED(!system("dmsetup resume --noudevsync hcall-ops"));
	CHECK_EQ(read_answer(1), VIRTIO_BLK_S_OK);
	NEED(!pthread_join(thread, NULL));
	CHECK_EQ(read_by_queue(2), VIRTIO_BLK_S_IOERR);
	done();
	NEED(!system("dmsetup remove --noudevsync hcall-ops"));
	remove_loop(other);
	remove_loop(name);
}

/*
 * What a program does not let out now is lost: its queue goes on, as nobody would
 * tell when there is room.
 */
static void denied_in_queue(void)
{
	static const uint32_t classes[] = { HCALL_CLASS_CONSOLE,
					    HCALL_CLASS_NET };

	for (int i = 0; i < 2; i++) {
		uint32_t dev = HCALL_VIRTIO_DEV(classes[i], 0);
		struct kvm_hcall_add add = { .class_id = classes[i],
					     .name = "d",
					     .mac = { i ? 2 : 0 },
					     .mtu = i ? 1500 : 0 };
		volatile struct vring_used *used;
		struct vring_avail *avail;
		int in[2], out[2], full[2];
		char data[100] = {};

		setup();
		bpf->struct_ops.set0->classes = HCALL_CLASS_BIT(classes[i]);
		load();
		NEED(!pipe2(in, i ? O_DIRECT : 0) &&
		     !pipe2(out, i ? O_DIRECT : 0) &&
		     !pipe2(full, O_NONBLOCK | (i ? O_DIRECT : 0)));
		add.fd = out[1];
		add.fd_in = in[0];
		CHECK_EQ(vm_add_device(&vm, &add), 0);
		add.fd = full[1];
		add.name[0]++;
		CHECK_EQ(vm_add_device(&vm, &add), 1);
		while (write(full[1], data, sizeof(data)) > 0)
			;
		start_queue_of(dev, 1);
		avail = at(&vm, RAM + 0x1000);
		used = at(&vm, RAM + 0x2000);
		*(struct vring_desc *)at(&vm, RAM) =
			(struct vring_desc){ RAM2, 72, 0, 0 };
		memset(at(&vm, RAM2), 0, 72);
		CHECK_EQ(attach(0, bpf->maps.set0), 0);
		for (int k = 0; k < 6; k++) {
			/* Now, not now: denied, answered, or changed later. */
			bpf->bss->set[0].verdict =
				k == 1 ? -HCALL_EAGAIN : k == 3;
			bpf->bss->set[0].set_result = k == 3;
			bpf->bss->set[0].result = -HCALL_EAGAIN;
			bpf->bss->set[0].change = k == 5;
			bpf->bss->set[0].changed = -HCALL_EAGAIN;
			*(volatile uint16_t *)&avail->idx = k + 1;
			CHECK_EQ(call(&vm, HCALL_VIRTIO_KICK, dev, 1, 0, 0), 0);
			CHECK_EQ(used->idx, k + 1);
			if (k == 1 || k == 3)
				continue;
			CHECK_EQ(read(out[0], data, sizeof(data)), i ? 60 : 72);
		}
		/* Nor is the room of another device this one's. */
		bpf->bss->set[0].change = 0;
		bpf->bss->set[0].arg = 1;
		*(volatile uint16_t *)&avail->idx = 7;
		CHECK_EQ(call(&vm, HCALL_VIRTIO_KICK, dev, 1, 0, 0), 0);
		CHECK_EQ(used->idx, 7);
		done();
		for (int k = 0; k < 2; k++) {
			close(in[k]);
			close(out[k]);
			close(full[k]);
		}
	}
}

/* ---- Who does wrong ------------------------------------------------------------- */

static void expect_ejected(int i, __u32 reason, __s64 value, const char *text)
{
	CHECK(hung_up(i));
	CHECK(said_why());
	CHECK_EQ(bpf->bss->ejection.reason, reason);
	CHECK_EQ(bpf->bss->ejection.value, value);
	CHECK_EQ(bpf->bss->ejection.nr, HCALL_SYS_PROBE);
	if (!strstr(bpf->bss->ejection.text, text))
		printf("# %s\n", bpf->bss->ejection.text);
	CHECK(strstr(bpf->bss->ejection.text, text));
	/* Nobody asks it any more. */
	bpf->bss->nr_seen = 0;
	CHECK_EQ(probe(&vm), PROBED);
	CHECK_EQ(bpf->bss->nr_seen, 0);
	detach(i);
	memset(&bpf->bss->ejection, 0, sizeof(bpf->bss->ejection));
	memset(bpf->bss->set, 0, sizeof(bpf->bss->set));
}

static void nonsense(void)
{
	static const int verdicts[] = { 2,    INT32_MAX, -2,	   -529,
					-999, -4096,	 INT32_MIN };
	static const int64_t results[] = { -2, -529, INT64_MIN, -1001 };

	setup();
	load();
	for (unsigned int i = 0; i < 7; i++) {
		CHECK_EQ(attach(0, bpf->maps.set0), 0);
		bpf->bss->set[0].verdict = verdicts[i];
		CHECK_EQ(probe(&vm), PROBED);
		expect_ejected(0, HCALL_EJECTED_ENTER, verdicts[i],
			       "enter() returned");
	}
	for (unsigned int i = 0; i < 4; i++) {
		CHECK_EQ(attach(0, bpf->maps.set0), 0);
		bpf->bss->set[0].verdict = HCALL_OPS_ANSWERED;
		bpf->bss->set[0].set_result = 1;
		bpf->bss->set[0].result = results[i];
		CHECK_EQ(probe(&vm), PROBED);
		expect_ejected(0, HCALL_EJECTED_RESULT, results[i], "enter()");
		CHECK_EQ(attach(0, bpf->maps.set0), 0);
		bpf->bss->set[0].change = 1;
		bpf->bss->set[0].changed = results[i];
		CHECK_EQ(probe(&vm), PROBED);
		expect_ejected(0, HCALL_EJECTED_RESULT, results[i], "exit()");
	}
	done();
}

/* One that is ejected does not take the others along. */
static void others_stay(void)
{
	setup();
	load();
	CHECK_EQ(attach(0, bpf->maps.set0), 0);
	CHECK_EQ(attach(1, bpf->maps.set1), 0);
	bpf->bss->set[0].verdict = 7;
	bpf->bss->set[1].verdict = -HCALL_EPERM;
	CHECK_EQ(probe(&vm), -HCALL_EPERM);
	CHECK(hung_up(0));
	CHECK_EQ(bpf->bss->ejected_set, 0);
	CHECK_EQ(probe(&vm), -HCALL_EPERM);
	done();
}

static void fail_closed(void)
{
	setup();
	bpf->struct_ops.set0->flags = HCALL_OPS_FAIL_CLOSED;
	bpf->struct_ops.set0->classes = HCALL_CLASS_BIT(HCALL_CLASS_SYS);
	load();
	CHECK_EQ(attach(0, bpf->maps.set0), 0);
	CHECK_EQ(probe(&vm), PROBED);
	bpf->bss->set[0].verdict = 9;
	CHECK_EQ(probe(&vm), PROBED);
	CHECK(said_why());
	for (int i = 0; i < 100; i++)
		CHECK_EQ(probe(&vm), -HCALL_EPERM);
	CHECK(call(&vm, HCALL_TIMER_NOW, 0, 0, 0, 0) > 0);
	detach(0);
	CHECK_EQ(probe(&vm), PROBED);
	done();
}

/* ... but not longer than its VM is there. */
static void fail_closed_vm(void)
{
	struct vm other;
	__u32 id = setup_other(&other);

	bpf->struct_ops.set0->flags = HCALL_OPS_FAIL_CLOSED;
	bpf->struct_ops.set0->vm = id;
	load();
	bpf->bss->set[0].verdict = 9;
	CHECK_EQ(attach(0, bpf->maps.set0), 0);
	CHECK_EQ(probe(&other), PROBED);
	CHECK(said_why());
	CHECK_EQ(probe(&other), -HCALL_EPERM);
	CHECK(!hung_up_soon(0));
	memset(&bpf->bss->ejection, 0, sizeof(bpf->bss->ejection));
	vm_free(&other);
	CHECK(hung_up(0));
	/* It has been told why, once. */
	CHECK_EQ(bpf->bss->ejection.reason, 0);
	done();
}

/* ---- Classes that programs serve ------------------------------------------------------ */

static void serves(void)
{
	setup();
	load();
	CHECK_EQ(call(&vm, HCALL_SYS_PROBE, 0xe3, 0, 0, 0), 0);
	CHECK_EQ(attach(0, bpf->maps.server), 0);
	CHECK_EQ(call(&vm, HCALL_SYS_PROBE, 0xe3, 0, 0, 0), 0x7f);
	CHECK_EQ(call(&vm, HCALL_SYS_PROBE, 0xe4, 0, 0, 0), 0);
	for (int door = 0; door < DOORS; door++) {
		CHECK_EQ(call_door(&vm, door, SERVED(0), 40, 2, 0, 0), 42);
		CHECK_EQ(call_door(&vm, door, SERVED(1), 0, 0, 0, 0),
			 -HCALL_EAGAIN);
		strcpy(at(&vm, RAM), "fifteen letters");
		memset(at(&vm, RAM2 - 8), 0, 16);
		CHECK_EQ(call_door(&vm, door, SERVED(2), RAM, RAM2 - 8, 0, 0),
			 16);
		CHECK(!memcmp(at(&vm, RAM2 - 8), "fifteen ", 8));
		CHECK(!memcmp(at(&vm, RAM2), "letters", 8));
		CHECK_EQ(call_door(&vm, door, SERVED(2), HOLE, RAM, 0, 0),
			 -HCALL_EFAULT);
		CHECK_EQ(call_door(&vm, door, SERVED(2), RAM, ROM, 0, 0),
			 -HCALL_EFAULT);
		CHECK_EQ(call_door(&vm, door, SERVED(7), 0, 0, 0, 0),
			 -HCALL_ENOSYS);
		CHECK_EQ(call_door(&vm, door, SERVED(200), 0, 0, 0, 0),
			 -HCALL_ENOSYS);
	}
	CHECK_EQ(call(&vm, HCALL_NR(0xe4, 0), 1, 2, 0, 0), -HCALL_ENOSYS);
	/* The launcher's policy comes first. */
	CHECK_EQ(vm_policy(&vm, 0xe3, KVM_HCALL_DENY, 0), 0);
	CHECK_EQ(call(&vm, HCALL_SYS_PROBE, 0xe3, 0, 0, 0), 0);
	CHECK_EQ(call(&vm, SERVED(0), 1, 2, 0, 0), -HCALL_EPERM);
	CHECK_EQ(vm_policy(&vm, 0xe3, KVM_HCALL_HANDLE, 0), 0);
	CHECK_EQ(call(&vm, SERVED(0), 1, 2, 0, 0), 3);
	/* Others see these calls, too. */
	CHECK_EQ(attach(1, bpf->maps.set1), 0);
	bpf->bss->nr_seen = 0;
	CHECK_EQ(call(&vm, SERVED(0), 1, 2, 0, 0), 3);
	CHECK_EQ(bpf->bss->nr_seen, 3);
	EXPECT_SEEN(0, SEEN_ENTER, 1);
	EXPECT_SEEN(1, SEEN_SERVE, SERVER);
	EXPECT_SEEN(2, SEEN_EXIT, 1);
	CHECK_EQ(seen(2)->result, 3);
	/* Events, and waiting. */
	CHECK_EQ(call(&vm, SERVED(5), 700, 0, 0, 0), 1);
	CHECK(channel_take(&vm, 700));
	detach(1);
	detach(0);
	CHECK_EQ(call(&vm, HCALL_SYS_PROBE, 0xe3, 0, 0, 0), 0);
	CHECK_EQ(call(&vm, SERVED(0), 1, 2, 0, 0), -HCALL_ENOSYS);
	done();
}

static void serves_once(void)
{
	struct kvm_hcall_stats before, after;

	setup();
	load();
	CHECK_EQ(attach(0, bpf->maps.server), 0);
	CHECK_EQ(attach(1, bpf->maps.rival), -EBUSY);
	before = vm_stats(&vm, 0xe3);
	CHECK_EQ(call(&vm, SERVED(2), RAM, RAM + 64, 0, 0), 16);
	CHECK_EQ(call(&vm, SERVED(1), 0, 0, 0, 0), -HCALL_EAGAIN);
	after = vm_stats(&vm, 0xe3);
	CHECK_EQ(after.calls - before.calls, 2);
	CHECK_EQ(after.bytes - before.bytes, 32);
	CHECK_EQ(after.errors - before.errors, 1);
	detach(0);
	CHECK_EQ(attach(1, bpf->maps.rival), 0);
	CHECK_EQ(call(&vm, HCALL_SYS_PROBE, 0xe3, 0, 0, 0), 1);
	done();
}

static void serves_nonsense(void)
{
	setup();
	load();
	CHECK_EQ(attach(0, bpf->maps.server), 0);
	CHECK_EQ(call(&vm, SERVED(3), 0, 0, 0, 0), -HCALL_EIO);
	CHECK(hung_up(0));
	CHECK(said_why());
	CHECK_EQ(bpf->bss->ejection.reason, HCALL_EJECTED_RESULT);
	CHECK(strstr(bpf->bss->ejection.text, "serve() gave the result -4000"));
	CHECK_EQ(call(&vm, SERVED(0), 1, 2, 0, 0), -HCALL_ENOSYS);
	CHECK_EQ(call(&vm, HCALL_SYS_PROBE, 0xe3, 0, 0, 0), 0);
	detach(0);
	CHECK_EQ(attach(0, bpf->maps.server), 0);
	CHECK_EQ(call(&vm, SERVED(0), 1, 2, 0, 0), 3);
	done();
}

/* ---- Limits -------------------------------------------------------------------- */

static void limits(void)
{
	setup();
	load();
	for (int i = 0; i < HCALL_OPS_MAX; i++)
		CHECK_EQ(attach(i, bpf->maps.set0), 0);
	CHECK_EQ(attach(HCALL_OPS_MAX, bpf->maps.set1), -ENOSPC);
	bpf->bss->nr_seen = 0;
	CHECK_EQ(probe(&vm), PROBED);
	CHECK_EQ(bpf->bss->nr_seen, 2 * HCALL_OPS_MAX);
	detach(3);
	CHECK_EQ(attach(3, bpf->maps.set1), 0);
	for (int i = 0; i < HCALL_OPS_MAX; i++)
		detach(i);
	bpf->bss->nr_seen = 0;
	CHECK_EQ(probe(&vm), PROBED);
	CHECK_EQ(bpf->bss->nr_seen, 0);
	done();
}

static void fields(void)
{
	struct bpf_map *wrong[10];

	setup();
	load();
	wrong[0] = bpf->maps.wrong_nothing;
	wrong[1] = bpf->maps.wrong_no_name;
	wrong[2] = bpf->maps.wrong_long_name;
	wrong[3] = bpf->maps.wrong_bad_name;
	wrong[4] = bpf->maps.wrong_flags;
	wrong[5] = bpf->maps.wrong_low_class;
	wrong[6] = bpf->maps.wrong_high_class;
	wrong[7] = bpf->maps.wrong_no_functions;
	wrong[8] = bpf->maps.wrong_bit63;
	wrong[9] = bpf->maps.wrong_no_serve;
	for (int i = 0; i < 10; i++) {
		printf("# %s\n", bpf_map__name(wrong[i]));
		CHECK_EQ(attach(0, wrong[i]), -EINVAL);
	}
	CHECK_EQ(probe(&vm), PROBED);
	done();
}

static void verifier(void)
{
	static const struct {
		const char *program, *says;
	} mistakes[] = {
		{ "out_of_bounds", "unbounded min value is not allowed" },
		{ "endless", "infinite loop detected" },
		{ "writes_field", "only read is supported" },
		{ "beyond_call", "access beyond struct hcall_call" },
		{ "sleeps", "program must be sleepable" },
		{ "own_call", "must point to scalar" },
		{ "other_pointer", "must be" },
		{ "short_buffer",
		  "memory, len pair leads to invalid memory access" },
		{ "unbounded_size", "R4" },
		{ "overwrites_field", "is not supported" },
		{ "attach_sleeps", "attach to unsupported member attach" },
		{ "tracepoint", "is not allowed" },
	};
	static char log[1 << 20];

	setup();
	for (unsigned int i = 0; i < sizeof(mistakes) / sizeof(*mistakes);
	     i++) {
		struct rejected_bpf *rejected = rejected_bpf__open();
		struct bpf_program *program;
		struct bpf_map *map;
		char name[64];

		NEED(rejected);
		snprintf(name, sizeof(name), "ops_%s", mistakes[i].program);
		bpf_object__for_each_map(map, rejected->obj)
		{
			if (bpf_map__type(map) == BPF_MAP_TYPE_STRUCT_OPS)
				bpf_map__set_autocreate(
					map, !strcmp(bpf_map__name(map), name));
		}
		bpf_object__for_each_program(program, rejected->obj)
		{
			bool it = !strcmp(bpf_program__name(program),
					  mistakes[i].program);

			bpf_program__set_autoload(program, it);
			if (it) {
				log[0] = 0;
				bpf_program__set_log_buf(program, log,
							 sizeof(log));
				bpf_program__set_log_level(program, 1);
			}
		}
		CHECK(rejected_bpf__load(rejected));
		printf("# %s: %s\n", mistakes[i].program, mistakes[i].says);
		if (!strstr(log, mistakes[i].says))
			printf("# but: %s\n", log);
		CHECK(strstr(log, mistakes[i].says));
		rejected_bpf__destroy(rejected);
	}
	done();
}

/* ---- Functions that programs can call ----------------------------------------------- */

static int kfunc(__u64 what, __u64 gpa, __u64 unit, __u32 bytes)
{
	bpf->bss->kfunc_class = what;
	bpf->bss->kfunc_gpa = gpa;
	bpf->bss->kfunc_unit = unit;
	bpf->bss->kfunc_bytes = bytes;
	bpf->bss->kfunc_result = 12345;
	CHECK_EQ(probe(&vm), PROBED);
	return bpf->bss->kfunc_result;
}

static void kfuncs(void)
{
	struct kvm_hcall_stats before;
	char comm[16];

	setup();
	vm_disk(&vm, "a-disk", make_disk("kfuncs", 65536),
		KVM_HCALL_ADD_READONLY);
	load();
	CHECK_EQ(attach(0, bpf->maps.kfunc_set), 0);
	before = vm_stats(&vm, HCALL_CLASS_SYS);

	kfunc(KFUNC_VM, 0, 0, 0);
	CHECK(bpf->bss->vm_facts.id >= 1);
	CHECK_EQ(bpf->bss->vm_facts.pid, getpid());
	CHECK_EQ(bpf->bss->vm_facts.vcpus, MAX_VCPUS);
	CHECK_EQ(bpf->bss->vm_facts.flags, 0);
	prctl(PR_GET_NAME, comm);
	CHECK(!strcmp(bpf->bss->vm_facts.comm, comm));

	CHECK_EQ(kfunc(KFUNC_DEVICE, 0, 0, 0), 0);
	CHECK(!strcmp(bpf->bss->device_facts.name, "a-disk"));
	CHECK_EQ(bpf->bss->device_facts.flags, HCALL_DEVICE_READONLY);
	CHECK_EQ(bpf->bss->device_facts.u.block.sectors, 128);
	CHECK_EQ(kfunc(KFUNC_DEVICE, 0, 1, 0), -ENODEV);
	CHECK_EQ(bpf->bss->device_facts.name[0], 0);
	CHECK_EQ(kfunc(KFUNC_DEVICE, 0, UINT32_MAX, 0), -ENODEV);

	for (int i = 0; i < KFUNC_BYTES; i++)
		((char *)at(&vm, RAM2 - 100))[i < 100 ? i : 0] = (char)i;
	memset(at(&vm, RAM2 - 100), 'a', 100);
	memset(at(&vm, RAM2), 'b', KFUNC_BYTES);
	CHECK_EQ(kfunc(KFUNC_READ, RAM2 - 100, 0, 300), 0);
	CHECK_EQ(bpf->bss->kfunc_data[99], 'a');
	CHECK_EQ(bpf->bss->kfunc_data[100], 'b');
	CHECK_EQ(bpf->bss->kfunc_data[299], 'b');
	CHECK_EQ(bpf->bss->kfunc_data[300], 0);
	CHECK_EQ(kfunc(KFUNC_READ, RAM, 0, 0), -EFAULT);
	CHECK_EQ(kfunc(KFUNC_READ, HOLE, 0, 1), -EFAULT);
	CHECK_EQ(kfunc(KFUNC_READ, HOLE - 1, 0, 2), -EFAULT);
	CHECK_EQ(kfunc(KFUNC_READ, UINT64_MAX, 0, 2), -EFAULT);
	CHECK_EQ(kfunc(KFUNC_READ, ROM, 0, 8), 0);
	CHECK_EQ(kfunc(KFUNC_WRITE, ROM, 0, 8), -EFAULT);
	memset(bpf->bss->kfunc_data, 'w', KFUNC_BYTES);
	CHECK_EQ(kfunc(KFUNC_WRITE, RAM2 - 1, 0, KFUNC_BYTES), 0);
	CHECK_EQ(*(char *)at(&vm, RAM2 - 2), 'a');
	CHECK_EQ(*(char *)at(&vm, RAM2 - 1), 'w');
	CHECK_EQ(((char *)at(&vm, RAM2))[KFUNC_BYTES - 2], 'w');
	CHECK_EQ(((char *)at(&vm, RAM2))[KFUNC_BYTES - 1], 'b');
	/* All or nothing. */
	CHECK_EQ(kfunc(KFUNC_WRITE, HOLE - 8, 0, 16), -EFAULT);
	CHECK_EQ(*(char *)at(&vm, HOLE - 8), 0);
	CHECK_EQ(kfunc(KFUNC_BIG, RAM, 0, 0), -E2BIG);
	CHECK_EQ(kfunc(KFUNC_MEGABYTE, RAM, 0, 0), 0);
	CHECK_EQ(*(char *)at(&vm, RAM + HCALL_BPF_MAX_BYTES - 1), 0);

	CHECK_EQ(kfunc(KFUNC_FIRE, 0, 800, 0), 1);
	CHECK_EQ(kfunc(KFUNC_FIRE, 0, 800, 0), 0);
	CHECK(channel_take(&vm, 800));
	CHECK_EQ(kfunc(KFUNC_FIRE, 0, HCALL_CHANNELS, 0), -EINVAL);
	CHECK_EQ(kfunc(KFUNC_FIRE, 0, UINT32_MAX, 0), -EINVAL);
	CHECK_EQ(kfunc(KFUNC_SET_ARG, 0, 4, 0), -EINVAL);
	CHECK_EQ(kfunc(KFUNC_SET_ARG, 0, 3, 0), 0);
	/* What a program copies in enter is not the guest's ... */
	CHECK_EQ(vm_stats(&vm, HCALL_CLASS_SYS).bytes - before.bytes, 0);
	bpf->bss->kfunc_verdict = -HCALL_EPERM;
	bpf->bss->kfunc_class = KFUNC_READ;
	bpf->bss->kfunc_gpa = RAM;
	bpf->bss->kfunc_bytes = 64;
	CHECK_EQ(probe(&vm), -HCALL_EPERM);
	CHECK_EQ(vm_stats(&vm, HCALL_CLASS_SYS).bytes - before.bytes, 0);
	/* ... unless it answers. */
	bpf->bss->kfunc_verdict = HCALL_OPS_ANSWERED;
	CHECK_EQ(probe(&vm), 0);
	CHECK_EQ(vm_stats(&vm, HCALL_CLASS_SYS).bytes - before.bytes, 64);
	done();
}

static uint64_t delayed(__u64 ns, __u64 more, int want)
{
	uint64_t begun = now_ns();

	CHECK_EQ(kfunc(KFUNC_DELAY, ns, more, 0), want);
	return now_ns() - begun;
}

static void delay(void)
{
	setup();
	load();
	CHECK_EQ(attach(0, bpf->maps.kfunc_set), 0);
	CHECK(delayed(50000000, 0, 0) >= 50000000);
	CHECK(delayed(200000000, 300000000, 0) >= 500000000);
	CHECK(delayed(HCALL_BPF_MAX_DELAY_NS + 1, 0, -EINVAL) < 500000000);
	CHECK(delayed(UINT64_MAX, 0, -EINVAL) < 500000000);
	/* Together it would be too long: the second did not wait. */
	CHECK(delayed(100000000, 950000000, -EINVAL) < 800000000);
	CHECK(delayed(0, 0, 0) < 500000000);
	done();
}

/* Kill a launcher whose call is being delayed: it goes at once. */
static void delay_killed(void)
{
	uint64_t begun;
	int status;
	pid_t pid;

	setup();
	load();
	CHECK_EQ(attach(0, bpf->maps.kfunc_set), 0);
	bpf->bss->kfunc_class = KFUNC_DELAY;
	bpf->bss->kfunc_gpa = HCALL_BPF_MAX_DELAY_NS;
	bpf->bss->kfunc_unit = 0;
	pid = fork();
	NEED(pid >= 0);
	if (!pid) {
		static struct vm mine;

		vm_new(&mine);
		vm_bind(&mine);
		for (;;)
			probe(&mine);
	}
	usleep(600000);
	begun = now_ns();
	kill(pid, SIGKILL);
	NEED(waitpid(pid, &status, 0) == pid);
	CHECK(now_ns() - begun < 400000000);
	done();
}

/* ---- Under load ------------------------------------------------------------------ */

static volatile bool stop_load;

static void *load_thread(void *arg)
{
	struct vcpu *vcpu = arg;
	uint64_t calls = 0;

	while (!stop_load) {
		call_set(vcpu, HCALL_SYS_PROBE, HCALL_CLASS_SYS, 0, 0, 0);
		if (call_run(vcpu) != PROBED)
			return (void *)~0ull;
		calls++;
	}
	return (void *)calls;
}

/* Attach and detach while two guests call; one set stays, see hold-vm.c. */
static void under_load(void)
{
	uint64_t times = setting("ATTACHES", 1000);
	struct vm other;
	pthread_t threads[2];
	void *calls;

	setup();
	vm_new(&other);
	vm_bind(&other);
	load();
	CHECK_EQ(attach(1, bpf->maps.counter), 0);
	stop_load = false;
	NEED(!pthread_create(&threads[0], NULL, load_thread, &vm.vcpu[0]));
	NEED(!pthread_create(&threads[1], NULL, load_thread, &other.vcpu[0]));
	for (uint64_t i = 0; i < times; i++) {
		if (attach(0, bpf->maps.set0))
			break;
		bpf_link__destroy(links[0]);
		links[0] = NULL;
		if (i + 1 == times)
			stop_load = true;
	}
	CHECK(stop_load);
	for (int i = 0; i < 2; i++) {
		NEED(!pthread_join(threads[i], &calls));
		CHECK(calls != (void *)~0ull);
		CHECK((uint64_t)calls > 100);
	}
	CHECK(bpf->bss->nr_seen > 2 * times); /* VMs are told, at least */
	CHECK(bpf->bss->counted);
	vm_free(&other);
	done();
}

static void *detach_thread(void *arg)
{
	bpf_link_detach((int)(intptr_t)arg);
	return NULL;
}

/* The calls of two guests eject a set while two threads take it off. */
static void ejected_under_load(void)
{
	uint64_t times = setting("ATTACHES", 200);
	pthread_t threads[2], detacher;
	struct vm other;
	void *calls;

	setup();
	vm_new(&other);
	vm_bind(&other);
	load();
	stop_load = false;
	bpf->bss->set[0].verdict = 9;
	NEED(!pthread_create(&threads[0], NULL, load_thread, &vm.vcpu[0]));
	NEED(!pthread_create(&threads[1], NULL, load_thread, &other.vcpu[0]));
	for (uint64_t i = 0; i < times; i++) {
		int fd;

		if (attach(0, bpf->maps.set0))
			break;
		fd = dup(bpf_link__fd(links[0]));
		NEED(fd >= 0);
		NEED(!pthread_create(&detacher, NULL, detach_thread,
				     (void *)(intptr_t)fd));
		bpf_link__destroy(links[0]);
		links[0] = NULL;
		if (i & 1)
			close(fd);
		NEED(!pthread_join(detacher, NULL));
		if (!(i & 1))
			close(fd);
		if (i + 1 == times)
			stop_load = true;
	}
	CHECK(stop_load);
	stop_load = true;
	for (int i = 0; i < 2; i++) {
		NEED(!pthread_join(threads[i], &calls));
		CHECK(calls != (void *)~0ull);
	}
	vm_free(&other);
	done();
}

static void *free_thread(void *arg)
{
	vm_free(arg);
	return NULL;
}

/* The only VM of a set goes while the set does. */
static void both_go(void)
{
	for (int i = 0; i < 5; i++) {
		static struct vm other;
		__u32 id = setup_other(&other);
		pthread_t thread;

		bpf->struct_ops.set1->vm = id;
		load();
		CHECK_EQ(attach(1, bpf->maps.set1), 0);
		NEED(!pthread_create(&thread, NULL, free_thread, &other));
		usleep(i * 1000);
		detach(1);
		NEED(!pthread_join(thread, NULL));
		done();
	}
}

/* Loaders that are killed take their sets with them. */
static void killed(void)
{
	setup();
	load();
	for (int i = 0; i < 20; i++) {
		int status, ready[2];
		char byte;
		pid_t pid;

		NEED(!pipe(ready));
		pid = fork();
		NEED(pid >= 0);
		if (!pid) {
			bpf->bss->set[0].verdict = -HCALL_EPERM;
			if (!attach(0, bpf->maps.set0) &&
			    write(ready[1], "", 1) == 1)
				pause();
			_exit(1);
		}
		CHECK_EQ(read(ready[0], &byte, 1), 1);
		close(ready[0]);
		close(ready[1]);
		CHECK_EQ(probe(&vm), -HCALL_EPERM);
		kill(pid, SIGKILL);
		NEED(waitpid(pid, &status, 0) == pid);
		for (int k = 0; k < 5000 && probe(&vm) != PROBED; k++)
			usleep(1000);
		CHECK_EQ(probe(&vm), PROBED);
	}
	done();
}

/* Not by the old way, which has no link that could tell. */
static void only_by_link(void)
{
	struct bpf_map_info info = {};
	__u32 len = sizeof(info);

	setup();
	bpf_map__set_map_flags(bpf->maps.set0, 0);
	if (ops_bpf__load(bpf)) {
		printf("# libbpf wants a link, too\n");
	} else {
		CHECK_EQ(bpf_map_get_info_by_fd(bpf_map__fd(bpf->maps.set0),
						&info, &len),
			 0);
		CHECK(attach(0, bpf->maps.set0) < 0);
	}
	CHECK_EQ(probe(&vm), PROBED);
	done();
}

/* The module stays as long as a set is attached. */
static void holds_the_module(void)
{
	setup();
	load();
	vm_free(&vm);
	CHECK_EQ(attach(0, bpf->maps.set0), 0);
	CHECK_EQ(syscall(SYS_delete_module, "kvm_hcall", O_NONBLOCK), -1);
	CHECK(errno == EBUSY || errno == EAGAIN);
	printf("# rmmod: %m\n");
	fresh();
}

static const struct test tests[] = {
	{ "sees", sees },
	{ "denies", denies },
	{ "answers", answers },
	{ "forgets_results", forgets_results },
	{ "changes_arguments", changes_arguments },
	{ "changes_result", changes_result },
	{ "order", order },
	{ "changes_end", changes_end },
	{ "classes", classes },
	{ "one_vm", one_vm },
	{ "not_bound", not_bound },
	{ "vms_come_and_go", vms_come_and_go },
	{ "doors", doors },
	{ "answered_later", answered_later },
	{ "shortened_later", shortened_later },
	{ "redirected_later", redirected_later },
	{ "denied_in_queue", denied_in_queue },
	{ "nonsense", nonsense },
	{ "others_stay", others_stay },
	{ "fail_closed", fail_closed },
	{ "fail_closed_vm", fail_closed_vm },
	{ "serves", serves },
	{ "serves_once", serves_once },
	{ "serves_nonsense", serves_nonsense },
	{ "limits", limits },
	{ "fields", fields },
	{ "verifier", verifier },
	{ "kfuncs", kfuncs },
	{ "delay", delay },
	{ "delay_killed", delay_killed },
	{ "under_load", under_load },
	{ "ejected_under_load", ejected_under_load },
	{ "both_go", both_go },
	{ "killed", killed },
	{ "only_by_link", only_by_link },
	{ "holds_the_module", holds_the_module },
};

KTAP_MAIN(tests)
