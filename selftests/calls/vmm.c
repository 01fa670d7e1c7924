// SPDX-License-Identifier: GPL-2.0
/*
 * See vmm.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm.h"

#define CODE_VMMCALL 0x1000u
#define CODE_VMCALL  0x1100u
#define STACK	     0x8000u
#define PML4	     0x10000u
#define PORT	     0x99

static void *pages(uint64_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	NEED(p != MAP_FAILED);
	return p;
}

void vm_slot(struct vm *vm, uint32_t slot, uint64_t gpa, void *host,
	     uint64_t bytes, uint32_t flags)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = flags,
		.guest_phys_addr = gpa,
		.memory_size = bytes,
		.userspace_addr = (uintptr_t)host,
	};

	NEED(!ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region));
}

/* Identity mapping of the first GiB, for user and kernel. */
static void page_tables(struct vm *vm)
{
	uint64_t *pml4 = (uint64_t *)(vm->low + PML4);
	uint64_t *pdpt = pml4 + 512, *pd = pdpt + 512;

	pml4[0] = (PML4 + 0x1000) | 7;
	pdpt[0] = (PML4 + 0x2000) | 7;
	for (uint64_t i = 0; i < 512; i++)
		pd[i] = i << 21 | 0x87;
}

static void vcpu_new(struct vm *vm, int i)
{
	struct vcpu *vcpu = &vm->vcpu[i];
	struct kvm_mp_state runnable = { KVM_MP_STATE_RUNNABLE };
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[256];
	} cpuid = { .head.nent = 256 };
	int size = ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

	vcpu->vm = vm;
	vcpu->insn = "vmmcall";
	vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, i);
	NEED(vcpu->fd >= 0);
	vcpu->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
			 vcpu->fd, 0);
	NEED(vcpu->run != MAP_FAILED);
	NEED(!ioctl(vm->kvm, KVM_GET_SUPPORTED_CPUID, &cpuid));
	NEED(!ioctl(vcpu->fd, KVM_SET_CPUID2, &cpuid));
	/* Not only the first runs without an INIT. */
	NEED(!ioctl(vcpu->fd, KVM_SET_MP_STATE, &runnable));
	vcpu_mode(vcpu, MODE_64);
}

void vm_new(struct vm *vm)
{
	static const uint8_t vmmcall[] = { 0x0f, 0x01, 0xd9, 0xe6, PORT, 0xf4 };
	static const uint8_t vmcall[] = { 0x0f, 0x01, 0xc1, 0xe6, PORT, 0xf4 };

	memset(vm, 0, sizeof(*vm));
	vm->hcall = -1;
	vm->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	NEED(vm->kvm >= 0);
	vm->fd = ioctl(vm->kvm, KVM_CREATE_VM, 0);
	NEED(vm->fd >= 0);
	NEED(!ioctl(vm->fd, KVM_SET_TSS_ADDR, 0xfffbd000));
	NEED(!ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0));

	vm->low = pages(LOW_BYTES);
	vm->ram = pages(RAM_BYTES);
	vm->ram2 = pages(RAM2_BYTES);
	vm->rom = pages(ROM_BYTES);
	vm->tiles = pages(TILES_NR * 4096);
	vm_slot(vm, 0, LOW, vm->low, LOW_BYTES, 0);
	vm_slot(vm, 1, RAM, vm->ram, RAM_BYTES, 0);
	vm_slot(vm, 2, RAM2, vm->ram2, RAM2_BYTES, 0);
	vm_slot(vm, 3, ROM, vm->rom, ROM_BYTES, KVM_MEM_READONLY);
	for (uint32_t i = 0; i < TILES_NR; i++)
		vm_slot(vm, 4 + i, TILES + i * 4096,
			vm->tiles + (TILES_NR - 1 - i) * 4096, 4096, 0);

	memcpy(vm->low + CODE_VMMCALL, vmmcall, sizeof(vmmcall));
	memcpy(vm->low + CODE_VMCALL, vmcall, sizeof(vmcall));
	page_tables(vm);
	for (int i = 0; i < MAX_VCPUS; i++)
		vcpu_new(vm, i);
}

void vm_bind(struct vm *vm)
{
	struct kvm_hcall_bind bind = { .vm_fd = vm->fd };

	vm->hcall = open(KVM_HCALL_PATH, O_RDWR | O_CLOEXEC);
	NEED(vm->hcall >= 0);
	NEED(!ioctl(vm->hcall, KVM_HCALL_BIND, &bind));
}

void vm_free(struct vm *vm)
{
	int size = ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

	for (int i = 0; i < MAX_VCPUS; i++) {
		munmap(vm->vcpu[i].run, size);
		close(vm->vcpu[i].fd);
	}
	if (vm->hcall >= 0)
		close(vm->hcall);
	close(vm->fd);
	close(vm->kvm);
	munmap(vm->low, LOW_BYTES);
	munmap(vm->ram, RAM_BYTES);
	munmap(vm->ram2, RAM2_BYTES);
	munmap(vm->rom, ROM_BYTES);
	munmap(vm->tiles, TILES_NR * 4096);
}

int vm_add(struct vm *vm, uint32_t class_id, const char *name, int fd,
	   int fd_in, uint32_t flags)
{
	struct kvm_hcall_add add = {
		.flags = flags,
		.class_id = class_id,
		.fd = fd,
		.fd_in = fd_in,
	};

	strncpy(add.name, name, sizeof(add.name) - 1);
	if (ioctl(vm->hcall, KVM_HCALL_ADD, &add))
		return -errno;
	return add.unit;
}

uint32_t vm_disk(struct vm *vm, const char *name, const char *path,
		 uint32_t flags)
{
	int fd = open(path,
		      (flags & KVM_HCALL_ADD_READONLY ? O_RDONLY : O_RDWR) |
			      (flags & KVM_HCALL_ADD_DIRECT ? O_DIRECT : 0));
	int unit;

	NEED(fd >= 0);
	unit = vm_add(vm, HCALL_CLASS_BLOCK, name, fd, -1, flags);
	close(fd);
	if (unit < 0)
		errno = -unit;
	NEED(unit >= 0);
	return unit;
}

struct kvm_hcall_stats vm_stats(struct vm *vm, uint32_t class_id)
{
	struct kvm_hcall_stats stats = { .class_id = class_id };

	NEED(!ioctl(vm->hcall, KVM_HCALL_STATS, &stats));
	return stats;
}

int vm_policy(struct vm *vm, uint32_t class_id, uint32_t action,
	      uint64_t functions)
{
	struct kvm_hcall_policy policy = {
		.class_id = class_id,
		.action = action,
		.functions = functions,
	};

	return ioctl(vm->hcall, KVM_HCALL_POLICY, &policy) ? -errno : 0;
}

static struct kvm_segment segment(enum mode mode, bool code)
{
	struct kvm_segment s = {
		.limit = 0xffffffff,
		.selector = code ? 8 : 16,
		.type = code ? 11 : 3,
		.present = 1,
		.s = 1,
		.g = 1,
		.db = !code || mode == MODE_32,
		.l = code && mode != MODE_32,
	};

	if (mode == MODE_64_USER) {
		s.dpl = 3;
		s.selector |= 3;
	}
	return s;
}

void vcpu_mode(struct vcpu *vcpu, enum mode mode)
{
	struct kvm_sregs s;

	vcpu->mode = mode;
	NEED(!ioctl(vcpu->fd, KVM_GET_SREGS, &s));
	s.cs = segment(mode, true);
	s.ds = s.es = s.fs = s.gs = s.ss = segment(mode, false);
	s.cr0 = 1 | 1 << 5; /* PE, NE */
	s.cr4 = s.efer = s.cr3 = 0;
	if (mode != MODE_32) {
		s.cr0 |= 1u << 31; /* PG */
		s.cr4 = 1 << 5; /* PAE */
		s.cr3 = PML4;
		s.efer = 1 << 8 | 1 << 10; /* LME, LMA */
	}
	NEED(!ioctl(vcpu->fd, KVM_SET_SREGS, &s));
}

void call_set(struct vcpu *vcpu, uint32_t nr, uint64_t a, uint64_t b,
	      uint64_t c, uint64_t d)
{
	struct kvm_regs regs = {
		.rax = vcpu->upper << 32 | nr,
		.rbx = a,
		.rcx = b,
		.rdx = c,
		.rsi = d,
		.rdi = 0x1111,
		.rbp = 0x2222,
		.r8 = 0x8888,
		.r15 = 0xffff,
		.rsp = STACK,
		.rip = strcmp(vcpu->insn, "vmcall") ? CODE_VMMCALL
						    : CODE_VMCALL,
		/* IOPL 3, so that CPL 3 can leave by the port. */
		.rflags = 2 | 3 << 12,
	};

	NEED(!ioctl(vcpu->fd, KVM_SET_REGS, &regs));
}

int64_t call_run(struct vcpu *vcpu)
{
	struct kvm_regs before, after;

	NEED(!ioctl(vcpu->fd, KVM_GET_REGS, &before));
	for (;;) {
		int ret = ioctl(vcpu->fd, KVM_RUN, 0);

		vcpu->exits++;
		if (ret && (errno == EINTR || errno == EAGAIN)) {
			vcpu->run->exit_reason = KVM_EXIT_INTR;
			if (vcpu->run->immediate_exit)
				return INT64_MIN;
			continue;
		}
		NEED(!ret);
		break;
	}
	if (vcpu->run->exit_reason != KVM_EXIT_IO || vcpu->run->io.port != PORT)
		return INT64_MIN;
	NEED(!ioctl(vcpu->fd, KVM_GET_REGS, &after));
	/* All but RAX are kept. */
	NEED(after.rbx == before.rbx && after.rcx == before.rcx &&
	     after.rdx == before.rdx && after.rsi == before.rsi &&
	     after.rdi == before.rdi && after.rbp == before.rbp &&
	     after.rsp == before.rsp && after.r8 == before.r8 &&
	     after.r15 == before.r15 && after.rflags == before.rflags);
	if (vcpu->mode == MODE_32) {
		NEED(!(after.rax >> 32));
		return (int32_t)after.rax;
	}
	return (int64_t)after.rax;
}

int64_t call(struct vm *vm, uint32_t nr, uint64_t a, uint64_t b, uint64_t c,
	     uint64_t d)
{
	call_set(&vm->vcpu[0], nr, a, b, c, d);
	return call_run(&vm->vcpu[0]);
}

static void *call_thread(void *arg)
{
	struct vcpu *vcpu = arg;

	vcpu->tid = syscall(SYS_gettid);
	call_set(vcpu, vcpu->nr, vcpu->args[0], vcpu->args[1], vcpu->args[2],
		 vcpu->args[3]);
	vcpu->result = call_run(vcpu);
	return NULL;
}

void call_start(struct vcpu *vcpu, uint32_t nr, uint64_t a, uint64_t b,
		uint64_t c, uint64_t d)
{
	vcpu->nr = nr;
	vcpu->args[0] = a;
	vcpu->args[1] = b;
	vcpu->args[2] = c;
	vcpu->args[3] = d;
	vcpu->tid = 0;
	NEED(!pthread_create(&vcpu->thread, NULL, call_thread, vcpu));
}

int64_t call_wait(struct vcpu *vcpu)
{
	NEED(!pthread_join(vcpu->thread, NULL));
	return vcpu->result;
}

/* Wait until the thread sleeps; not longer than five seconds. */
bool call_asleep(struct vcpu *vcpu)
{
	char path[64], line[512];

	for (int i = 0; i < 500; i++) {
		FILE *f;
		char *state = NULL;

		usleep(10000);
		if (!vcpu->tid)
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%d/stat",
			 vcpu->tid);
		f = fopen(path, "r");
		if (!f)
			return false;
		if (fgets(line, sizeof(line), f))
			state = strrchr(line, ')');
		fclose(f);
		if (state && state[2] == 'S')
			return true;
	}
	return false;
}

static void fill_sector(uint8_t *data, uint64_t sector)
{
	for (int i = 0; i < 512; i += 8) {
		uint64_t word = (sector + 1) * 0x9e3779b97f4a7c15u + i;

		memcpy(data + i, &word, 8);
	}
}

const char *make_disk(const char *name, uint64_t bytes)
{
	static char path[4][128];
	static int next;
	char *p = path[next++ % 4];
	uint8_t data[512];
	int fd;

	snprintf(p, sizeof(path[0]), "%s/hcall-%d-%s", "/tmp", getpid(), name);
	fd = open(p, O_RDWR | O_CREAT | O_TRUNC, 0600);
	NEED(fd >= 0);
	for (uint64_t s = 0; s < bytes / 512; s++) {
		fill_sector(data, s);
		NEED(write(fd, data, 512) == 512);
	}
	NEED(!ftruncate(fd, bytes));
	close(fd);
	return p;
}

void expect_sector(const uint8_t *data, uint64_t sector)
{
	uint8_t want[512];

	fill_sector(want, sector);
	CHECK(!memcmp(data, want, 512));
}
