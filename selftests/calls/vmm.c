// SPDX-License-Identifier: GPL-2.0
/*
 * See vmm.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm.h"

/* In LOW. */
#define CODE_VMMCALL 0x1000u
#define CODE_VMCALL  0x1100u
#define STACK	     0x8000u
#define PML4	     0x10000u
#define DOOR_OPS     0x20000u
#define PORT	     GUEST_PORT

int vm_vcpus = MAX_VCPUS;

void *vm_pages(uint64_t bytes)
{
	uint64_t all = bytes + 2 * VM_GUARD, room = all + VM_ALIGN, before;
	uint8_t *p = mmap(NULL, room, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	NEED(p != MAP_FAILED);
	before = -((uintptr_t)p + VM_GUARD) % VM_ALIGN;
	if (before)
		munmap(p, before);
	munmap(p + before + all, room - before - all);
	return p + before + VM_GUARD;
}

void vm_unmap(void *p, uint64_t bytes)
{
	munmap((uint8_t *)p - VM_GUARD, bytes + 2 * VM_GUARD);
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

	pml4[0] = (LOW + PML4 + 0x1000) | 7;
	pdpt[0] = (LOW + PML4 + 0x2000) | 7;
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

	vm->low = vm_pages(LOW_BYTES);
	vm->ram = vm_pages(RAM_BYTES);
	vm->ram2 = vm_pages(RAM2_BYTES);
	vm->rom = vm_pages(ROM_BYTES);
	vm->tiles = vm_pages(TILES_NR * 4096);
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
	for (int i = 0; i < vm_vcpus; i++)
		vcpu_new(vm, i);
}

void vm_bind(struct vm *vm)
{
	struct kvm_hcall_bind bind = { .vm_fd = vm->fd };

	vm->hcall = open(KVM_HCALL_PATH, O_RDWR | O_CLOEXEC);
	NEED(vm->hcall >= 0);
	NEED(!ioctl(vm->hcall, KVM_HCALL_BIND, &bind));
}

static void routes_free(struct vm *vm);

void vm_free(struct vm *vm)
{
	int size = ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

	for (int i = 0; i < vm_vcpus; i++) {
		munmap(vm->vcpu[i].run, size);
		close(vm->vcpu[i].fd);
	}
	if (vm->hcall >= 0)
		close(vm->hcall);
	close(vm->fd);
	close(vm->kvm);
	vm_unmap(vm->low, LOW_BYTES);
	vm_unmap(vm->ram, RAM_BYTES);
	vm_unmap(vm->ram2, RAM2_BYTES);
	vm_unmap(vm->rom, ROM_BYTES);
	vm_unmap(vm->tiles, TILES_NR * 4096);
	routes_free(vm);
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

int vm_add_device(struct vm *vm, struct kvm_hcall_add *add)
{
	return ioctl(vm->hcall, KVM_HCALL_ADD, add) ? -errno : (int)add->unit;
}

void vm_remove(struct vm *vm, uint32_t class_id, uint32_t unit)
{
	struct kvm_hcall_remove remove = { .class_id = class_id, .unit = unit };

	NEED(!ioctl(vm->hcall, KVM_HCALL_REMOVE, &remove));
}

struct hcall_device vm_device(struct vm *vm, uint32_t class_id, uint32_t unit)
{
	struct hcall_device info;

	for (int i = 0;; i++) {
		CHECK_EQ(call(vm, HCALL_SYS_DEVICE, i, LOW + DOOR_OPS,
			      sizeof(info), 0),
			 sizeof(info));
		memcpy(&info, vm->low + DOOR_OPS, sizeof(info));
		if (info.class_id == class_id && info.unit == unit)
			return info;
	}
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
		s.cr3 = LOW + PML4;
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
		.rsp = LOW + STACK,
		.rip = LOW + (strcmp(vcpu->insn, "vmcall") ? CODE_VMMCALL
							   : CODE_VMCALL),
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

int64_t call_door(struct vm *vm, enum door door, uint32_t nr, uint64_t a,
		  uint64_t b, uint64_t c, uint64_t d)
{
	volatile struct hcall_op *op = (void *)(vm->low + DOOR_OPS);
	struct hcall_op fresh = { .number = nr, .args = { a, b, c, d } };

	if (door == DOOR_REGISTER)
		return call(vm, nr, a, b, c, d);
	*(struct hcall_op *)op = fresh;
	if (door == DOOR_BATCH) {
		CHECK_EQ(call(vm, HCALL_SYS_BATCH, LOW + DOOR_OPS, 1, 0, 0), 1);
	} else {
		CHECK_EQ(call(vm, HCALL_SYS_BATCH, LOW + DOOR_OPS, 1,
			      HCALL_BATCH_ASYNC, DOOR_CHANNEL),
			 1);
		CHECK(channel_fires(vm, DOOR_CHANNEL));
	}
	CHECK_EQ(op->flags, HCALL_OP_DONE);
	return op->result;
}

bool channel_take(struct vm *vm, uint32_t channel)
{
	for (;;) {
		int64_t got = call(vm, HCALL_EVENT_NEXT, 0, 0, 0, 0);

		if (got == -HCALL_EAGAIN)
			return false;
		CHECK(got >= 0);
		if (got == channel)
			return true;
	}
}

bool channel_fires(struct vm *vm, uint32_t channel)
{
	for (int i = 0; i < 5000; i++) {
		if (channel_take(vm, channel))
			return true;
		usleep(1000);
	}
	return false;
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

bool call_ended(struct vcpu *vcpu, int ms)
{
	struct timespec until;

	NEED(!clock_gettime(CLOCK_REALTIME, &until));
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	return !pthread_timedjoin_np(vcpu->thread, NULL, &until);
}

void sleep_is_free(struct vm *vm)
{
	uint64_t before = host_ns(CLOCK_PROCESS_CPUTIME_ID);

	usleep(300000);
	/* Polling takes all of it; a CPU that stands still, some ms. */
	CHECK(host_ns(CLOCK_PROCESS_CPUTIME_ID) - before < 150000000);
	vm_slot(vm, 3, ROM, NULL, 0, 0);
	vm_slot(vm, 3, ROM, vm->rom, ROM_BYTES, KVM_MEM_READONLY);
}

void call_interrupt(struct vcpu *vcpu)
{
	harmless(SIGUSR1);
	vcpu->run->immediate_exit = 1;
	NEED(!pthread_kill(vcpu->thread, SIGUSR1));
	CHECK_EQ(call_wait(vcpu), INT64_MIN);
	CHECK_EQ(vcpu->run->exit_reason, KVM_EXIT_INTR);
	vcpu->run->immediate_exit = 0;
}

uint64_t host_ns(clockid_t clock)
{
	struct timespec ts;

	NEED(!clock_gettime(clock, &ts));
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

uint64_t now_ns(void)
{
	return host_ns(CLOCK_MONOTONIC);
}

uint64_t thread_ns(pthread_t thread)
{
	clockid_t clock;

	NEED(!pthread_getcpuclockid(thread, &clock));
	return host_ns(clock);
}

static void interrupt_only(int sig)
{
	(void)sig;
}

void harmless(int sig)
{
	struct sigaction act = { .sa_handler = interrupt_only };

	NEED(!sigaction(sig, &act, NULL));
}

uint64_t setting(const char *name, uint64_t number)
{
	const char *value = getenv(name);

	return value && *value ? strtoull(value, NULL, 0) : number;
}

/* ---- Guests that are programs ----------------------------------------------- */

#define GDT	    0x14000u
#define IDT	    0x15000u
#define ENTRIES	    0x16000u /* 16 bytes for each vector */
#define COUNTS	    0x18000u /* 256 words for each vCPU, at its GS */
#define PROGRAMS    0x20000u
#define STACKS	    0x40000u /* 16 KiB for each vCPU */
#define STACK_BYTES 0x4000u
#define CRASH_PORT  0x9a

extern const uint8_t __start_guest[], __stop_guest[], guest_interrupt[];

GUEST int64_t guest_call(uint32_t nr, uint64_t a, uint64_t b, uint64_t c,
			 uint64_t d)
{
	int64_t result;

	__asm__ __volatile__("vmmcall"
			     : "=a"(result)
			     : "a"((uint64_t)nr), "b"(a), "c"(b), "d"(c), "S"(d)
			     : "memory", "cc");
	return result;
}

GUEST void guest_halt(void)
{
	__asm__ __volatile__("sti; guest_halt_at: hlt; cli" ::: "memory");
}

/*
 * Every vector comes here, with its number on the stack.  Exceptions end the
 * program, see guest_run(); NMI has no end of interrupt; the PIC has its own.
 *
 * An interrupt between STI and HLT would find nobody who waits for it.  A CPU
 * takes none there, but the emulated one does when it leaves the guest just
 * then: two vCPUs that send each other IPIs show it, without a call of ours.  So
 * whoever is about to HLT no longer does.
 *
 * And the emulated CPU delivers an interrupt that VMRUN injects a second time if it
 * has to pause right after: its exception_index still names it.  That one comes
 * while interrupts are off, as none does, and is not counted.
 */
__asm__(".pushsection guest, \"ax\"\n"
	".globl guest_interrupt\n"
	"guest_interrupt:\n"
	"	push %rax\n"
	"	push %rcx\n"
	"	push %rdx\n"
	"	mov 24(%rsp), %rax\n"
	"	cmp $0x20, %eax\n"
	"	jb 5f\n"
	"	testl $0x200, 48(%rsp)\n" /* IF */
	"	jz 4f\n"
	"5:	incq %gs:(,%rax,8)\n"
	"	cmp $2, %eax\n"
	"	je 3f\n"
	"	cmp $16, %eax\n"
	"	jae 1f\n"
	"	out %al, $0x9a\n" /* CRASH_PORT */
	"1:	cmp $0x20, %eax\n"
	"	jb 2f\n"
	"	cmp $0x28, %eax\n"
	"	jae 2f\n"
	"	mov $0x20, %al\n"
	"	out %al, $0x20\n"
	"	jmp 3f\n"
	"2:	mov $0x80b, %ecx\n" /* x2APIC EOI */
	"	xor %eax, %eax\n"
	"	xor %edx, %edx\n"
	"	wrmsr\n"
	"3:	lea guest_halt_at(%rip), %rax\n"
	"	cmp %rax, 32(%rsp)\n"
	"	jne 4f\n"
	"	incq 32(%rsp)\n"
	"4:	pop %rdx\n"
	"	pop %rcx\n"
	"	pop %rax\n"
	"	add $8, %rsp\n"
	"	iretq\n"
	".popsection\n");

static uint32_t program_at(const void *program)
{
	return LOW + PROGRAMS + ((const uint8_t *)program - __start_guest);
}

static void set_msr(struct vcpu *vcpu, uint32_t index, uint64_t data)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msrs = { .head.nmsrs = 1, .entry = { .index = index, .data = data } };

	NEED(ioctl(vcpu->fd, KVM_SET_MSRS, &msrs) == 1);
}

void vm_guest(struct vm *vm)
{
	static const uint64_t gdt[] = { 0, 0x00af9b000000ffff,
					0x00cf93000000ffff };
	uint8_t *low = vm->low;

	NEED(__stop_guest - __start_guest <= STACKS - PROGRAMS);
	memcpy(low + PROGRAMS, __start_guest, __stop_guest - __start_guest);
	memcpy(low + GDT, gdt, sizeof(gdt));
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t entry = ENTRIES + i * 16;
		uint32_t at = LOW + entry;
		int32_t jump = program_at(guest_interrupt) - (at + 10);
		uint16_t gate[8] = { at, 8, 0x8e00 };

		low[entry] = 0x68; /* push */
		memcpy(low + entry + 1, &i, 4);
		low[entry + 5] = 0xe9; /* jmp */
		memcpy(low + entry + 6, &jump, 4);
		gate[3] = at >> 16;
		memcpy(low + IDT + i * 16, gate, 16);
	}
	for (int i = 0; i < vm_vcpus; i++) {
		struct vcpu *vcpu = &vm->vcpu[i];
		struct kvm_sregs s;

		NEED(!ioctl(vcpu->fd, KVM_GET_SREGS, &s));
		s.gdt.base = LOW + GDT;
		s.gdt.limit = sizeof(gdt) - 1;
		s.idt.base = LOW + IDT;
		s.idt.limit = 4095;
		s.gs.base = LOW + COUNTS + i * 2048;
		s.apic_base |= 3 << 10; /* on, x2APIC */
		NEED(!ioctl(vcpu->fd, KVM_SET_SREGS, &s));
		set_msr(vcpu, 0x80f, 0x1ff); /* SVR: on */
	}
}

void guest_set(struct vcpu *vcpu, int64_t (*program)(uint64_t), uint64_t arg,
	       bool interrupts)
{
	int i = vcpu - vcpu->vm->vcpu;
	uint64_t stack = STACKS + (i + 1) * STACK_BYTES - 8;
	uint64_t back = LOW + CODE_VMMCALL + 3; /* out, hlt */
	struct kvm_regs regs = {
		.rdi = arg,
		.rsp = LOW + stack,
		.rip = program_at((const void *)(uintptr_t)program),
		.rflags = 2 | (interrupts ? 1 << 9 : 0),
	};

	memcpy(vcpu->vm->low + stack, &back, 8);
	NEED(!ioctl(vcpu->fd, KVM_SET_REGS, &regs));
}

int64_t guest_run(struct vcpu *vcpu)
{
	struct kvm_regs regs;

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
		if (vcpu->run->exit_reason == KVM_EXIT_HYPERCALL &&
		    vcpu->run->hypercall.nr == HCALL_EVENT_ROUTE) {
			vm_route(vcpu);
			continue;
		}
		break;
	}
	NEED(!ioctl(vcpu->fd, KVM_GET_REGS, &regs));
	if (vcpu->run->exit_reason != KVM_EXIT_IO ||
	    vcpu->run->io.port != PORT) {
		printf("# guest: exit %u at %#llx, rax %#llx\n",
		       vcpu->run->exit_reason, regs.rip, regs.rax);
		return INT64_MIN;
	}
	return (int64_t)regs.rax;
}

static void *guest_thread(void *arg)
{
	struct vcpu *vcpu = arg;

	vcpu->tid = syscall(SYS_gettid);
	vcpu->result = guest_run(vcpu);
	return NULL;
}

void guest_start(struct vcpu *vcpu, int64_t (*program)(uint64_t), uint64_t arg,
		 bool interrupts)
{
	guest_set(vcpu, program, arg, interrupts);
	vcpu->tid = 0;
	NEED(!pthread_create(&vcpu->thread, NULL, guest_thread, vcpu));
}

static void *resume_thread(void *arg)
{
	struct vcpu *vcpu = arg;

	vcpu->tid = syscall(SYS_gettid);
	vcpu->result = call_run(vcpu);
	return NULL;
}

void resume_start(struct vcpu *vcpu)
{
	vcpu->tid = 0;
	NEED(!pthread_create(&vcpu->thread, NULL, resume_thread, vcpu));
}

uint64_t guest_interrupts(struct vcpu *vcpu, uint8_t vector)
{
	int i = vcpu - vcpu->vm->vcpu;
	volatile uint64_t *count =
		(volatile uint64_t *)(vcpu->vm->low + COUNTS + i * 2048);

	return count[vector];
}

/* ---- Interrupts --------------------------------------------------------------- */

#define GSI_MSI 24 /* + channel: the route of its own */

struct routes {
	pthread_mutex_t lock;
	int fd[HCALL_CHANNELS]; /* eventfds, -1: none */
	uint32_t gsi[HCALL_CHANNELS];
	struct kvm_irq_routing_entry msi[HCALL_CHANNELS]; /* gsi 0: none */
};

static struct routes *routes(struct vm *vm)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

	pthread_mutex_lock(&lock);
	if (!vm->routes) {
		vm->routes = calloc(1, sizeof(*vm->routes));
		NEED(vm->routes);
		memset(vm->routes->fd, 0xff, sizeof(vm->routes->fd));
		pthread_mutex_init(&vm->routes->lock, NULL);
	}
	pthread_mutex_unlock(&lock);
	return vm->routes;
}

static void routes_free(struct vm *vm)
{
	if (!vm->routes)
		return;
	for (unsigned int i = 0; i < HCALL_CHANNELS; i++) {
		if (vm->routes->fd[i] >= 0)
			close(vm->routes->fd[i]);
	}
	free(vm->routes);
	vm->routes = NULL;
}

/* What KVM_CREATE_IRQCHIP has set up, and the MSIs. */
static void set_gsi_routing(struct vm *vm)
{
	struct routes *r = vm->routes;
	struct kvm_irq_routing *table;
	struct kvm_irq_routing_entry *e;

	table = calloc(1, sizeof(*table) + (40 + HCALL_CHANNELS) * sizeof(*e));
	NEED(table);
	e = table->entries;
	for (uint32_t i = 0; i < 40; i++) {
		uint32_t chip = i < 24	 ? KVM_IRQCHIP_IOAPIC
				: i < 32 ? KVM_IRQCHIP_PIC_MASTER
					 : KVM_IRQCHIP_PIC_SLAVE;

		e->gsi = i < 24 ? i : i - 24;
		e->type = KVM_IRQ_ROUTING_IRQCHIP;
		e->u.irqchip.irqchip = chip;
		e->u.irqchip.pin = i < 24 ? i : (i - 24) % 8;
		e++;
	}
	for (unsigned int i = 0; i < HCALL_CHANNELS; i++) {
		if (r->msi[i].gsi)
			*e++ = r->msi[i];
	}
	table->nr = e - table->entries;
	NEED(!ioctl(vm->fd, KVM_SET_GSI_ROUTING, table));
	free(table);
}

static void set_irqfd(struct vm *vm, int fd, uint32_t gsi, uint32_t flags)
{
	struct kvm_irqfd irqfd = { .fd = fd, .gsi = gsi, .flags = flags };

	NEED(!ioctl(vm->fd, KVM_IRQFD, &irqfd));
}

void vm_route(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;
	struct routes *r = routes(vm);
	uint64_t args[4];
	uint32_t channel;
	int old, fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	NEED(fd >= 0);
	memcpy(args, (const void *)vcpu->run->hypercall.args, sizeof(args));
	NEED(args[0] < HCALL_CHANNELS);
	channel = args[0];
	pthread_mutex_lock(&r->lock);
	old = r->fd[channel];
	if (old >= 0)
		set_irqfd(vm, old, r->gsi[channel], KVM_IRQFD_FLAG_DEASSIGN);
	if (args[3] & HCALL_ROUTE_LINE) {
		r->gsi[channel] = args[2];
	} else {
		struct kvm_irq_routing_entry *e = &r->msi[channel];

		e->gsi = r->gsi[channel] = GSI_MSI + channel;
		e->type = KVM_IRQ_ROUTING_MSI;
		e->u.msi.address_lo = 0xfee00000 | (uint32_t)args[1] << 12;
		e->u.msi.data = args[2];
		set_gsi_routing(vm);
	}
	set_irqfd(vm, fd, r->gsi[channel], 0);
	vcpu->run->hypercall.ret = host_route(vm, channel, args[1], fd);
	if (old >= 0)
		close(old);
	r->fd[channel] = fd;
	pthread_mutex_unlock(&r->lock);
}

int64_t route(struct vcpu *vcpu, uint64_t channel, uint64_t owner,
	      uint64_t vector, uint64_t flags)
{
	int64_t ret;

	call_set(vcpu, HCALL_EVENT_ROUTE, channel, owner, vector, flags);
	ret = call_run(vcpu);
	if (ret == INT64_MIN && vcpu->run->exit_reason == KVM_EXIT_HYPERCALL &&
	    vcpu->run->hypercall.nr == HCALL_EVENT_ROUTE) {
		vm_route(vcpu);
		ret = call_run(vcpu);
	}
	return ret;
}

int host_route(struct vm *vm, uint32_t channel, uint32_t vcpu, int fd)
{
	struct kvm_hcall_route route = { .channel = channel,
					 .vcpu = vcpu,
					 .fd = fd };

	return ioctl(vm->hcall, KVM_HCALL_ROUTE, &route) ? -errno : 0;
}

int host_raise(struct vm *vm, uint32_t channel)
{
	struct kvm_hcall_raise raise = { .channel = channel };

	return ioctl(vm->hcall, KVM_HCALL_RAISE, &raise) ? -errno : 0;
}

void host_msi(struct vm *vm, int vcpu, uint8_t vector)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000 | vcpu << 12,
			       .data = vector };

	NEED(ioctl(vm->fd, KVM_SIGNAL_MSI, &msi) >= 0);
}

void call_sleeps(struct vcpu *vcpu, uint32_t nr, uint64_t a, uint64_t b,
		 uint64_t c, uint64_t d)
{
	for (int i = 0; i < 3; i++) {
		call_start(vcpu, nr, a, b, c, d);
		if (call_asleep(vcpu))
			return;
		CHECK_EQ(call_wait(vcpu), -HCALL_EAGAIN);
	}
	CHECK(!"asleep");
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
