// SPDX-License-Identifier: GPL-2.0
/*
 * The convention itself, and class 0.
 */
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "vmm.h"

#define PROBE_SYS (1 << 0 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4)

static struct vm vm;

static void setup(void)
{
	vm_new(&vm);
	vm_bind(&vm);
}

static void probe(void)
{
	setup();
	CHECK_EQ(call(&vm, HCALL_SYS_PROBE, HCALL_CLASS_SYS, 0, 0, 0),
		 PROBE_SYS);
	CHECK_EQ(call(&vm, HCALL_SYS_PROBE, HCALL_CLASS_CONSOLE, 0, 0, 0),
		 0x1f);
	CHECK_EQ(call(&vm, HCALL_SYS_PROBE, HCALL_CLASS_BLOCK, 0, 0, 0),
		 1 << 0 | 1 << 1 | 1 << 4 | 1 << 11 | 1 << 13);
	CHECK_EQ(call(&vm, HCALL_SYS_PROBE, 0x55, 0, 0, 0), 0);
	CHECK_EQ(call(&vm, HCALL_SYS_PROBE, 256, 0, 0, 0), 0);
	CHECK_EQ(call(&vm, HCALL_SYS_PROBE, -1, 0, 0, 0), 0);
	/* Registers that a call does not use do not matter. */
	CHECK_EQ(call(&vm, HCALL_SYS_PROBE, HCALL_CLASS_SYS, -1, -2, -3),
		 PROBE_SYS);
	vm_free(&vm);
}

static void unknown(void)
{
	setup();
	CHECK_EQ(call(&vm, HCALL_NR(0, 5), 0, 0, 0, 0), -HCALL_ENOSYS);
	CHECK_EQ(call(&vm, HCALL_NR(0, 255), 0, 0, 0, 0), -HCALL_ENOSYS);
	CHECK_EQ(call(&vm, HCALL_NR(2, 2), 0, 0, 0, 0), -HCALL_ENOSYS);
	CHECK_EQ(call(&vm, HCALL_NR(3, 4), 0, 0, 0, 0), -HCALL_ENOSYS);
	CHECK_EQ(call(&vm, HCALL_NR(6, 6), 0, 0, 0, 0), -HCALL_ENOSYS);
	CHECK_EQ(call(&vm, HCALL_NR(7, 7), 0, 0, 0, 0), -HCALL_ENOSYS);
	CHECK_EQ(call(&vm, HCALL_NR(8, 0), 0, 0, 0, 0), -HCALL_ENOSYS);
	CHECK_EQ(call(&vm, HCALL_NR(0xe0, 0), 0, 0, 0, 0), -HCALL_ENOSYS);
	CHECK_EQ(call(&vm, HCALL_NR(0xff, 255), 0, 0, 0, 0), -HCALL_ENOSYS);
	CHECK_EQ(call(&vm, 0x68620000, 0, 0, 0, 0), -HCALL_ENOSYS);
	CHECK_EQ(call(&vm, 0x68640000, 0, 0, 0, 0), -HCALL_ENOSYS);
	/* KVM's own calls still are. */
	CHECK_EQ(call(&vm, 1 /* KVM_HC_VAPIC_POLL_IRQ */, 0, 0, 0, 0), 0);
	CHECK_EQ(call(&vm, 77, 0, 0, 0, 0), -HCALL_ENOSYS);
	vm_free(&vm);
}

/* 64 bits of RAX are the number in 64-bit mode, 32 in 32-bit mode. */
static void widths(void)
{
	setup();
	vm.vcpu[0].upper = 1;
	CHECK_EQ(call(&vm, HCALL_SYS_PROBE, 0, 0, 0, 0), -HCALL_ENOSYS);
	vcpu_mode(&vm.vcpu[0], MODE_32);
	CHECK_EQ(call(&vm, HCALL_SYS_PROBE, 0, 0, 0, 0), PROBE_SYS);
	/* The upper halves of arguments do not count either. */
	CHECK_EQ(call(&vm, HCALL_SYS_PROBE, 1ull << 32, 0, 0, 0), PROBE_SYS);
	CHECK_EQ(call(&vm, HCALL_SYS_PROBE, 256, 0, 0, 0), 0);
	CHECK_EQ(call(&vm, HCALL_NR(9, 9), 0, 0, 0, 0), -HCALL_ENOSYS);
	vm_free(&vm);
}

static void user_mode(void)
{
	setup();
	vcpu_mode(&vm.vcpu[0], MODE_64_USER);
	CHECK_EQ(call(&vm, HCALL_SYS_PROBE, 0, 0, 0, 0), -HCALL_EPERM);
	CHECK_EQ(call(&vm, HCALL_SYS_EXIT, 0, 0, 0, 0), -HCALL_EPERM);
	CHECK_EQ(vm_stats(&vm, HCALL_CLASS_SYS).calls, 0);
	vm_free(&vm);
}

/* KVM rewrites the instruction of the other vendor. */
static void vmcall(void)
{
	setup();
	vm.vcpu[0].insn = "vmcall";
	for (int i = 0; i < 3; i++)
		CHECK_EQ(call(&vm, HCALL_SYS_PROBE, 0, 0, 0, 0), PROBE_SYS);
	vcpu_mode(&vm.vcpu[1], MODE_32);
	vm.vcpu[1].insn = "vmcall";
	call_set(&vm.vcpu[1], HCALL_SYS_PROBE, 0, 0, 0, 0);
	CHECK_EQ(call_run(&vm.vcpu[1]), PROBE_SYS);
	vm_free(&vm);
}

static void device(void)
{
	struct hcall_device *info;
	int i;

	setup();
	info = at(&vm, RAM);
	CHECK_EQ(call(&vm, HCALL_SYS_DEVICE, 0, RAM, sizeof(*info), 0),
		 -HCALL_ENODEV);
	vm_disk(&vm, "first", make_disk("a", 8192), 0);
	vm_disk(&vm, "second", make_disk("b", 4096), KVM_HCALL_ADD_READONLY);

	memset(info, 0xaa, 2 * sizeof(*info));
	CHECK_EQ(call(&vm, HCALL_SYS_DEVICE, 0, RAM, 2 * sizeof(*info), 0),
		 sizeof(*info));
	CHECK_EQ(info->class_id, HCALL_CLASS_BLOCK);
	CHECK_EQ(info->unit, 0);
	CHECK_EQ(info->flags, 0);
	CHECK(!strcmp(info->name, "first"));
	CHECK_EQ(info->u.block.sectors, 16);
	CHECK_EQ(info->u.block.block_bytes, 512);
	CHECK_EQ(info->u.block.max_sectors, HCALL_BLOCK_MAX_SECTORS);
	for (i = 0; i < 9; i++)
		CHECK_EQ(info->u.block.reserved[i], 0);
	/* Nothing behind what the host says that it wrote. */
	for (i = 0; i < (int)sizeof(*info); i++)
		CHECK_EQ(((uint8_t *)(info + 1))[i], 0xaa);

	memset(info, 0xaa, sizeof(*info));
	CHECK_EQ(call(&vm, HCALL_SYS_DEVICE, 1, RAM, 64, 0), 64);
	CHECK_EQ(info->unit, 1);
	CHECK_EQ(info->flags, HCALL_DEVICE_READONLY);
	CHECK(!strcmp(info->name, "second"));
	for (i = 0; i < 64; i++)
		CHECK_EQ(info->u.bytes[i], 0xaa);

	CHECK_EQ(call(&vm, HCALL_SYS_DEVICE, 2, RAM, sizeof(*info), 0),
		 -HCALL_ENODEV);
	CHECK_EQ(call(&vm, HCALL_SYS_DEVICE, -1, RAM, sizeof(*info), 0),
		 -HCALL_ENODEV);
	CHECK_EQ(call(&vm, HCALL_SYS_DEVICE, 0, RAM, 63, 0), -HCALL_EINVAL);
	CHECK_EQ(call(&vm, HCALL_SYS_DEVICE, 0, HOLE, 128, 0), -HCALL_EFAULT);
	CHECK_EQ(call(&vm, HCALL_SYS_DEVICE, 0, ROM, 128, 0), -HCALL_EFAULT);
	CHECK_EQ(call(&vm, HCALL_SYS_DEVICE, 0, -64, 128, 0), -HCALL_EFAULT);
	vm_free(&vm);
}

static void random_bytes(void)
{
	uint8_t *p;
	int seen[256] = { 0 }, kinds = 0;

	setup();
	p = at(&vm, RAM);
	CHECK_EQ(call(&vm, HCALL_SYS_RANDOM, RAM + 1, 4096, 0, 0), 4096);
	CHECK_EQ(p[0], 0);
	CHECK_EQ(p[4097], 0);
	for (int i = 1; i <= 4096; i++)
		kinds += !seen[p[i]]++;
	CHECK(kinds > 200);
	CHECK(memcmp(p + 1, p + 257, 256));
	CHECK_EQ(call(&vm, HCALL_SYS_RANDOM, RAM2 - 3, 7, 0, 0), 7);
	CHECK_EQ(call(&vm, HCALL_SYS_RANDOM, RAM, 0, 0, 0), -HCALL_EINVAL);
	CHECK_EQ(call(&vm, HCALL_SYS_RANDOM, RAM, 4097, 0, 0), -HCALL_E2BIG);
	CHECK_EQ(call(&vm, HCALL_SYS_RANDOM, RAM, -1, 0, 0), -HCALL_E2BIG);
	CHECK_EQ(call(&vm, HCALL_SYS_RANDOM, ROM, 16, 0, 0), -HCALL_EFAULT);
	/* Wholly checked first: the part in RAM2 stays as it is. */
	memset(at(&vm, HOLE - 16), 0x5a, 16);
	CHECK_EQ(call(&vm, HCALL_SYS_RANDOM, HOLE - 16, 17, 0, 0),
		 -HCALL_EFAULT);
	CHECK_EQ(*(uint8_t *)at(&vm, HOLE - 16), 0x5a);
	vm_free(&vm);
}

static void exits(void)
{
	static const struct {
		uint32_t reason, type;
	} want[] = {
		{ HCALL_EXIT_OFF, KVM_SYSTEM_EVENT_SHUTDOWN },
		{ HCALL_EXIT_REBOOT, KVM_SYSTEM_EVENT_RESET },
		{ HCALL_EXIT_PANIC, KVM_SYSTEM_EVENT_CRASH },
	};

	setup();
	for (int i = 0; i < 3; i++) {
		struct kvm_run *run = vm.vcpu[0].run;

		CHECK_EQ(
			call(&vm, HCALL_SYS_EXIT, want[i].reason, 40 + i, 0, 0),
			INT64_MIN);
		CHECK_EQ(run->exit_reason, KVM_EXIT_SYSTEM_EVENT);
		CHECK_EQ(run->system_event.type, want[i].type);
		CHECK_EQ(run->system_event.ndata, 1);
		CHECK_EQ(run->system_event.data[0], 40 + i);
	}
	CHECK_EQ(call(&vm, HCALL_SYS_EXIT, 3, 0, 0, 0), -HCALL_EINVAL);
	CHECK_EQ(call(&vm, HCALL_SYS_EXIT, -1, 0, 0, 0), -HCALL_EINVAL);
	CHECK_EQ(call(&vm, HCALL_SYS_EXIT, 0, 256, 0, 0), -HCALL_EINVAL);
	vm_free(&vm);
}

/* ---- Batches --------------------------------------------------------------- */

static struct hcall_op *op_at(uint64_t gpa)
{
	return at(&vm, gpa);
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
	op->cookie = 0xc00c1e;
}

static void batch(void)
{
	struct hcall_op *op;
	uint64_t gpa;

	setup();
	/* In one memslot, and over two. */
	for (int i = 0; i < 2; i++) {
		gpa = i ? RAM2 - 64 : RAM;
		for (int k = 0; k < 4; k++) {
			op = op_at(gpa + k * 64);
			op_set(op, HCALL_SYS_PROBE, k, 0, 0, 0);
		}
		op_at(gpa + 192)->number = HCALL_NR(0, 99);
		CHECK_EQ(call(&vm, HCALL_SYS_BATCH, gpa, 4, 0, 0), 4);
		for (int k = 0; k < 4; k++) {
			op = op_at(gpa + k * 64);
			CHECK_EQ(op->flags, HCALL_OP_DONE);
			CHECK_EQ(op->cookie, 0xc00c1e);
			CHECK(k == 3 ? op->result == -HCALL_ENOSYS
				     : op->result > 0);
		}
		CHECK_EQ(op_at(gpa)->result, PROBE_SYS);
	}
	/* A number without the prefix is no call at all. */
	op_set(op_at(RAM), 1, 0, 0, 0, 0);
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, RAM, 1, 0, 0), 1);
	CHECK_EQ(op_at(RAM)->result, -HCALL_ENOSYS);
	vm_free(&vm);
}

static void batch_link(void)
{
	static const int64_t want[] = {
		PROBE_SYS, -HCALL_EINVAL, -HCALL_ECANCELED, -HCALL_ECANCELED,
		PROBE_SYS, -HCALL_EINVAL, PROBE_SYS,
	};
	static const int link[] = { 1, 1, 1, 0, 1, 0, 0 };

	setup();
	for (int k = 0; k < 7; k++) {
		op_set(op_at(RAM + k * 64), HCALL_SYS_PROBE, 0, 0, 0, 0);
		if (k == 1 || k == 5)
			op_set(op_at(RAM + k * 64), HCALL_SYS_EXIT, 9, 0, 0, 0);
		op_at(RAM + k * 64)->flags = link[k] ? HCALL_OP_LINK : 0;
	}
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, RAM, 7, 0, 0), 7);
	for (int k = 0; k < 7; k++) {
		CHECK_EQ(op_at(RAM + k * 64)->result, want[k]);
		CHECK(op_at(RAM + k * 64)->flags & HCALL_OP_DONE);
	}
	vm_free(&vm);
}

static void batch_errors(void)
{
	struct hcall_op *op;

	setup();
	op = op_at(RAM);
	op_set(op, HCALL_SYS_PROBE, 0, 0, 0, 0);
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, RAM, 0, 0, 0), -HCALL_EINVAL);
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, RAM + 4, 1, 0, 0), -HCALL_EINVAL);
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, RAM, 1, 2, 0), -HCALL_EINVAL);
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, RAM, 1, 0, 8), -HCALL_EINVAL);
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, RAM, 257, 0, 0), -HCALL_E2BIG);
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, RAM, 1ull << 60, 0, 0),
		 -HCALL_E2BIG);
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, HOLE, 1, 0, 0), -HCALL_EFAULT);
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, ROM, 1, 0, 0), -HCALL_EFAULT);
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, -64, 2, 0, 0), -HCALL_EFAULT);
	CHECK_EQ(op->result, 0x7777);
	/* The last element is in a hole: not even the first is done. */
	op_set(op_at(HOLE - 64), HCALL_SYS_PROBE, 0, 0, 0, 0);
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, HOLE - 64, 2, 0, 0), -HCALL_EFAULT);
	CHECK_EQ(op_at(HOLE - 64)->result, 0x7777);

	/* Mistakes of an element are that element's. */
	op_set(op, HCALL_SYS_PROBE, 0, 0, 0, 0);
	op->flags = 1 << 5;
	op_set(op + 1, HCALL_SYS_PROBE, 0, 0, 0, 0);
	op[1].reserved = 1;
	op_set(op + 2, HCALL_SYS_BATCH, RAM, 1, 0, 0);
	op_set(op + 3, HCALL_SYS_PROBE, 0, 0, 0, 0);
	op[3].flags = HCALL_OP_DONE;
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, RAM, 4, 0, 0), 4);
	CHECK_EQ(op[0].result, -HCALL_EINVAL);
	CHECK_EQ(op[1].result, -HCALL_EINVAL);
	CHECK_EQ(op[2].result, -HCALL_EOPNOTSUPP);
	CHECK_EQ(op[3].result, PROBE_SYS);
	vm_free(&vm);
}

/* The launcher's mapping under the array is not there, or not writable. */
static void batch_unmapped(void)
{
	struct hcall_op *op;

	setup();
	op = op_at(RAM + 0x8000);
	op_set(op + 63, HCALL_SYS_PROBE, 0, 0, 0, 0);
	op_set(op + 64, HCALL_SYS_PROBE, 0, 0, 0, 0);
	for (int mode = MODE_64; mode <= MODE_32; mode++) {
		vcpu_mode(&vm.vcpu[0], mode);
		NEED(!mprotect(op + 64, 4096, PROT_NONE));
		CHECK_EQ(call(&vm, HCALL_SYS_BATCH, RAM + 0x9000, 1, 0, 0),
			 -HCALL_EFAULT);
		/* The element before it is done, and counted. */
		CHECK_EQ(call(&vm, HCALL_SYS_BATCH, RAM + 0x8fc0, 2, 0, 0), 1);
		NEED(!mprotect(op + 64, 4096, PROT_READ));
		CHECK_EQ(call(&vm, HCALL_SYS_BATCH, RAM + 0x9000, 1, 0, 0),
			 -HCALL_EFAULT);
		NEED(!mprotect(op + 64, 4096, PROT_READ | PROT_WRITE));
		CHECK_EQ(call(&vm, HCALL_SYS_BATCH, RAM + 0x8fc0, 2, 0, 0), 2);
	}
	vm_free(&vm);
}

/* EXIT ends a batch; those behind it have not been done. */
static void batch_exit(void)
{
	struct hcall_op *op;
	struct kvm_regs regs;

	setup();
	op = op_at(RAM);
	op_set(op, HCALL_SYS_PROBE, 0, 0, 0, 0);
	op_set(op + 1, HCALL_SYS_EXIT, HCALL_EXIT_OFF, 7, 0, 0);
	op_set(op + 2, HCALL_SYS_PROBE, 0, 0, 0, 0);
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, RAM, 3, 0, 0), INT64_MIN);
	CHECK_EQ(vm.vcpu[0].run->exit_reason, KVM_EXIT_SYSTEM_EVENT);
	CHECK_EQ(vm.vcpu[0].run->system_event.data[0], 7);
	CHECK_EQ(op[1].flags, HCALL_OP_DONE);
	CHECK_EQ(op[2].flags, 0);
	NEED(!ioctl(vm.vcpu[0].fd, KVM_GET_REGS, &regs));
	CHECK_EQ(regs.rax, 2);
	vm_free(&vm);
}

/* A 32-bit guest reaches what does not fit in its registers. */
static void batch_32(void)
{
	struct hcall_op *op;

	setup();
	vm_disk(&vm, "d", make_disk("d", 4096), 0);
	vcpu_mode(&vm.vcpu[0], MODE_32);
	op = op_at(RAM);
	op_set(op, HCALL_BLOCK_READ, 0, 7, RAM + 4096, 1);
	op_set(op + 1, HCALL_BLOCK_READ, 0, 1ull << 32, RAM + 4096, 1);
	CHECK_EQ(call(&vm, HCALL_SYS_BATCH, RAM, 2, 0, 0), 2);
	CHECK_EQ(op[0].result, 1);
	expect_sector(at(&vm, RAM + 4096), 7);
	CHECK_EQ(op[1].result, -HCALL_ERANGE);
	vm_free(&vm);
}

#define DONE HCALL_CHANNEL_GUEST /* the channel of asynchronous batches */

/* Wait until the channel has fired, and clear it; five seconds at the most. */
static bool event_is(int64_t channel)
{
	for (int i = 0; i < 5000; i++) {
		int64_t next = call(&vm, HCALL_EVENT_NEXT, 0, 0, 0, 0);

		if (next != -HCALL_EAGAIN)
			return next == channel;
		usleep(1000);
	}
	return false;
}

static int64_t submit(uint64_t gpa, uint64_t count, uint64_t channel)
{
	return call(&vm, HCALL_SYS_BATCH, gpa, count, HCALL_BATCH_ASYNC,
		    channel);
}

static void async(void)
{
	struct hcall_op *op;

	setup();
	vm_disk(&vm, "d", make_disk("d", 65536), 0);
	op = op_at(RAM);
	/* The flush has to wait, so this takes the worker. */
	op_set(op, HCALL_BLOCK_READ, 0, 3, RAM + 4096, 1);
	op_set(op + 1, HCALL_BLOCK_FLUSH, 0, 0, 0, 0);
	op_set(op + 2, HCALL_BLOCK_READ, 0, 100, RAM + 8192, 2);
	op_set(op + 3, HCALL_BLOCK_READ, 9, 0, RAM + 8192, 2);
	CHECK_EQ(submit(RAM, 4, DONE), 4);
	CHECK(event_is(DONE));
	for (int k = 0; k < 4; k++)
		CHECK(op[k].flags == HCALL_OP_DONE);
	CHECK_EQ(op[0].result, 1);
	CHECK_EQ(op[1].result, 0);
	CHECK_EQ(op[2].result, 2);
	CHECK_EQ(op[3].result, -HCALL_ENODEV);
	expect_sector(at(&vm, RAM + 4096), 3);
	expect_sector(at(&vm, RAM + 8192 + 512), 101);

	/* Chains hold over the hand-over to the worker. */
	op_set(op, HCALL_BLOCK_FLUSH, 0, 0, 0, 0);
	op_set(op + 1, HCALL_BLOCK_READ, 0, 1 << 20, RAM + 4096, 1);
	op_set(op + 2, HCALL_BLOCK_READ, 0, 0, RAM + 4096, 1);
	op_set(op + 3, HCALL_BLOCK_READ, 0, 1, RAM + 4096, 1);
	op[0].flags = op[1].flags = HCALL_OP_LINK;
	CHECK_EQ(submit(RAM, 4, HCALL_CHANNELS - 1), 4);
	CHECK(event_is(HCALL_CHANNELS - 1));
	CHECK_EQ(op[0].result, 0);
	CHECK_EQ(op[1].result, -HCALL_ERANGE);
	CHECK_EQ(op[2].result, -HCALL_ECANCELED);
	CHECK_EQ(op[3].result, 1);

	/* What needs a vCPU cannot be asynchronous. */
	op_set(op, HCALL_SYS_EXIT, 0, 0, 0, 0);
	op_set(op + 1, HCALL_SYS_BATCH, RAM, 1, 0, 0);
	op_set(op + 2, HCALL_SYS_PROBE, 0, 0, 0, 0);
	CHECK_EQ(submit(RAM, 3, DONE + 1), 3);
	/* ... and what waits for nothing is there already. */
	CHECK_EQ(call(&vm, HCALL_EVENT_NEXT, 0, 0, 0, 0), DONE + 1);
	CHECK_EQ(op[0].result, -HCALL_EOPNOTSUPP);
	CHECK_EQ(op[1].result, -HCALL_EOPNOTSUPP);
	CHECK_EQ(op[2].result, PROBE_SYS);

	/* Nothing of the batch happens if it cannot be started. */
	op_set(op, HCALL_SYS_PROBE, 0, 0, 0, 0);
	CHECK_EQ(submit(RAM, 1, 0), -HCALL_EINVAL);
	CHECK_EQ(submit(RAM, 1, HCALL_CHANNEL_GUEST - 1), -HCALL_EINVAL);
	CHECK_EQ(submit(RAM, 1, HCALL_CHANNELS), -HCALL_EINVAL);
	CHECK_EQ(submit(RAM, 1, 1ull << 32 | DONE), -HCALL_EINVAL);
	CHECK_EQ(submit(RAM, 1, -1), -HCALL_EINVAL);
	CHECK_EQ(submit(RAM + 4, 1, DONE), -HCALL_EINVAL);
	CHECK_EQ(submit(RAM, 0, DONE), -HCALL_EINVAL);
	CHECK_EQ(submit(RAM, 257, DONE), -HCALL_E2BIG);
	CHECK_EQ(submit(HOLE, 1, DONE), -HCALL_EFAULT);
	CHECK_EQ(submit(HOLE - 64, 2, DONE), -HCALL_EFAULT);
	CHECK_EQ(op->flags, 0);
	CHECK_EQ(op->result, 0x7777);
	CHECK_EQ(call(&vm, HCALL_EVENT_NEXT, 0, 0, 0, 0), -HCALL_EAGAIN);
	vm_free(&vm);
}

/* Many batches at a time; the VM goes away while some are on their way. */
static void async_many(void)
{
	struct hcall_op *op;
	int started = 0, done = 0, late = 0;

	setup();
	vm_disk(&vm, "d", make_disk("d", 65536), 0);
	for (int i = 0; i < 500; i++) {
		int64_t ret;

		op = op_at(RAM + 0x10000 + i * 128);
		op_set(op, HCALL_BLOCK_FLUSH, 0, 0, 0, 0);
		op_set(op + 1, HCALL_BLOCK_READ, 0, i % 128,
		       RAM + 0x20000 + i * 512, 1);
		ret = submit(RAM + 0x10000 + i * 128, 2, DONE + i);
		if (ret == -HCALL_EAGAIN) {
			usleep(1000);
			i--;
			continue;
		}
		CHECK_EQ(ret, 2);
		started++;
	}
	CHECK_EQ(started, 500);
	/* Each fires its own channel, and only when all of it is done. */
	while (done < started && late < 5000) {
		int64_t next = call(&vm, HCALL_EVENT_NEXT, 0, 0, 0, 0);

		if (next == -HCALL_EAGAIN) {
			late++;
			usleep(1000);
			continue;
		}
		CHECK(next >= DONE && next < DONE + 500);
		op = op_at(RAM + 0x10000 + (next - DONE) * 128);
		CHECK_EQ(op[0].flags, HCALL_OP_DONE);
		CHECK_EQ(op[1].flags, HCALL_OP_DONE);
		CHECK_EQ(op[0].result, 0);
		CHECK_EQ(op[1].result, 1);
		op[1].flags = 0;
		expect_sector(at(&vm, RAM + 0x20000 + (next - DONE) * 512),
			      (next - DONE) % 128);
		done++;
	}
	CHECK_EQ(done, started);
	for (int i = 0; i < 60; i++) {
		op = op_at(RAM + 0x10000 + i * 128);
		op_set(op, HCALL_BLOCK_FLUSH, 0, 0, 0, 0);
		op_set(op + 1, HCALL_BLOCK_READ, 0, 0, RAM + 0x20000, 128);
		submit(RAM + 0x10000 + i * 128, 2, DONE);
	}
	vm_free(&vm);
}

/*
 * A second vCPU's worth of trouble: elements change between a harmless and an
 * impossible call while they are executed.  Each must be answered as one or
 * the other, and no read may go where neither said.
 */
static volatile bool flip_stop;

static void *flip(void *arg)
{
	struct hcall_op *op = arg;

	while (!flip_stop) {
		for (int k = 0; k < 64; k++) {
			op[k].args[1] ^= 1ull << 40;
			op[k].args[3] ^= 1ull << 50;
			op[k].number ^= 0x50;
		}
	}
	return NULL;
}

static void batch_flip(void)
{
	struct hcall_op *op;
	pthread_t thread;
	int good = 0, bad = 0;

	setup();
	vm_disk(&vm, "d", make_disk("d", 65536), KVM_HCALL_ADD_READONLY);
	op = op_at(RAM);
	for (int k = 0; k < 64; k++)
		op_set(op + k, HCALL_BLOCK_READ, 0, k, RAM + 0x10000 + k * 512,
		       1);
	flip_stop = false;
	NEED(!pthread_create(&thread, NULL, flip, op));
	for (int i = 0; i < 300; i++) {
		if (call(&vm, HCALL_SYS_BATCH, RAM, 64, 0, 0) != 64)
			break;
		for (int k = 0; k < 64; k++) {
			int64_t r = op[k].result;

			if (r == 1)
				good++;
			else if (r == -HCALL_ENOSYS || r == -HCALL_ERANGE ||
				 r == -HCALL_E2BIG)
				bad++;
		}
	}
	flip_stop = true;
	pthread_join(thread, NULL);
	CHECK_EQ(good + bad, 300 * 64);
	CHECK(good > 0);
	CHECK(bad > 0);
	vm_free(&vm);
}

static const struct test tests[] = {
	{ "sys.probe", probe },
	{ "sys.unknown", unknown },
	{ "sys.widths", widths },
	{ "sys.user_mode", user_mode },
	{ "sys.vmcall", vmcall },
	{ "sys.device", device },
	{ "sys.random", random_bytes },
	{ "sys.exit", exits },
	{ "sys.batch", batch },
	{ "sys.batch_link", batch_link },
	{ "sys.batch_errors", batch_errors },
	{ "sys.batch_unmapped", batch_unmapped },
	{ "sys.batch_exit", batch_exit },
	{ "sys.batch_32", batch_32 },
	{ "sys.batch_flip", batch_flip },
	{ "sys.async", async },
	{ "sys.async_many", async_many },
};

KTAP_MAIN(tests)
