// SPDX-License-Identifier: GPL-2.0
/*
 * A virtual CPU and its thread.  Calls are answered in the kernel; KVM_RUN
 * comes back here only for the guest's end, for a ROUTE call that asks for an
 * interrupt, for an access to nothing, or because of vcpu_join().
 *
 * vcpu_join() sets immediate_exit first and sends the signal then: a KVM_RUN
 * that starts later sees the flag, one that is under way sees the signal.
 * Nobody clears the flag, so the kick cannot be lost.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "hvrun.h"

#define KICK_SIGNAL	    SIGUSR2
#define STACK_BYTES	    (128 * KIB)
#define UNCLAIMED_TO_REPORT 8
#define KVM_NO_SUCH_CALL    -1000ll /* KVM_ENOSYS */

#define CR0_PE		    0x1
#define CR0_MP		    0x2
#define CR0_ET		    0x10
#define CR0_NE		    0x20
#define CR0_WP		    0x10000
#define CR0_PG		    0x80000000u
#define CR4_PAE		    0x20
#define CR4_OSFXSR	    0x200
#define CR4_OSXMMEXCPT	    0x400
#define EFER_LME	    0x100
#define EFER_LMA	    0x400
#define RFLAGS_ALWAYS	    0x2
#define RESET_RIP	    0xfff0

void vcpu_create(struct vcpu *vcpu, struct vm *vm, unsigned int id,
		 struct cpuid *cpuid)
{
	void *run;

	vcpu->vm = vm;
	vcpu->id = id;
	vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, id);
	if (vcpu->fd < 0)
		die("KVM makes no vCPU %u: %s", id, strerror(errno));
	run = mmap(NULL, vm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		   vcpu->fd, 0);
	if (run == MAP_FAILED)
		die("cannot map vCPU %u: %s", id, strerror(errno));
	vcpu->run = run;
	cpuid_set(cpuid, vcpu->fd, id);
}

void vcpu_destroy(struct vcpu *vcpu)
{
	munmap(vcpu->run, vcpu->vm->run_bytes);
	close(vcpu->fd);
}

/* ---- The state at the kernel's entry point ------------------------------- */

static struct kvm_segment flat_segment(uint16_t selector, uint8_t type,
				       bool is_64)
{
	return (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.type = type,
		.present = 1,
		.s = 1,
		.g = 1,
		.db = !is_64,
		.l = is_64,
	};
}

void vcpu_enter_at(struct vcpu *vcpu, const struct boot *boot)
{
	const uint8_t code = 0xb, data = 0x3; /* read and accessed */
	struct kvm_regs regs = {
		.rip = boot->rip,
		.rsp = boot->rsp,
		.rax = boot->rax,
		.rbx = boot->rbx,
		.rsi = boot->rsi,
		.rdi = boot->rdi,
		.rflags = RFLAGS_ALWAYS,
	};
	uint16_t selector = 0x08;
	struct kvm_sregs sregs;

	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0)
		die("KVM_GET_SREGS: %s", strerror(errno));
	if (boot->long_mode)
		selector = boot->code_selector;
	sregs.cs = flat_segment(selector, code, boot->long_mode);
	sregs.ds = flat_segment(selector + 8, data, false);
	sregs.es = sregs.fs = sregs.gs = sregs.ss = sregs.ds;
	sregs.tr.limit = 0x67;
	sregs.idt.limit = 0;
	sregs.gdt.limit = 0;
	sregs.cr0 = CR0_PE | CR0_ET;
	if (boot->long_mode) {
		sregs.gdt.base = boot->gdt;
		sregs.gdt.limit = boot->gdt_bytes - 1;
		sregs.cr0 |= CR0_MP | CR0_NE | CR0_WP | CR0_PG;
		sregs.cr3 = boot->cr3;
		sregs.cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
		sregs.efer = EFER_LME | EFER_LMA;
	}
	if (ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) < 0 ||
	    ioctl(vcpu->fd, KVM_SET_REGS, &regs) < 0)
		die("KVM refuses the state at the kernel's entry: %s",
		    strerror(errno));
}

/* ---- The thread ---------------------------------------------------------- */

/* Say why the guest cannot go on, and where it was; then stop it. */
__attribute__((format(printf, 2, 3))) static void fail(struct vcpu *vcpu,
						       const char *format, ...)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	char why[160];
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why), format, args);
	va_end(args);
	say("vCPU %u: %s", vcpu->id, why);
	if (ioctl(vcpu->fd, KVM_GET_REGS, &regs) == 0 &&
	    ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) == 0) {
		if (!(sregs.cr0 & CR0_PE) && regs.rip == RESET_RIP)
			say("  where it was is not known: this CPU has reset its state");
		else
			say("  RIP %#llx RSP %#llx RFLAGS %#llx CR0 %#llx CR2 %#llx CR3 %#llx CR4 %#llx EFER %#llx",
			    regs.rip, regs.rsp, regs.rflags, sregs.cr0,
			    sregs.cr2, sregs.cr3, sregs.cr4, sregs.efer);
	}
	vm_stop(vcpu->vm, HVRUN_FAILED);
}

static void count_unclaimed(struct vcpu *vcpu, const char *what, bool is_write,
			    uint64_t address, unsigned int bytes)
{
	uint64_t n = atomic_fetch_add(&vcpu->vm->unclaimed, 1);

	if (n < UNCLAIMED_TO_REPORT)
		note("vCPU %u: %s %s 0x%llx (%u bytes), where there is nothing",
		     vcpu->id, is_write ? "write to" : "read of", what,
		     (unsigned long long)address, bytes);
	else if (n == UNCLAIMED_TO_REPORT)
		note("more of these are only counted");
}

/* The registers of acpi.c; true if it was one of them, and did something. */
static bool exit_power(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t value = *((uint8_t *)run + run->io.data_offset);

	if (run->io.port == ACPI_PORT_SLEEP_CONTROL &&
	    value == ACPI_SLEEP_OFF) {
		note("the guest turns the machine off");
		vm_stop(vcpu->vm, 0);
		return true;
	}
	if (run->io.port == ACPI_PORT_RESET && value == ACPI_RESET_VALUE) {
		say("the guest has reset the machine, to reboot or in a panic");
		vm_stop(vcpu->vm, HVRUN_RESET);
		return true;
	}
	return false;
}

static void exit_io(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	bool out = run->io.direction == KVM_EXIT_IO_OUT;

	if (out && exit_power(vcpu))
		return;
	count_unclaimed(vcpu, "port", out, run->io.port, run->io.size);
	if (!out)
		memset((uint8_t *)run + run->io.data_offset, 0xff,
		       (size_t)run->io.size * run->io.count);
}

static void exit_mmio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	count_unclaimed(vcpu, "address", run->mmio.is_write,
			run->mmio.phys_addr, run->mmio.len);
	if (!run->mmio.is_write)
		memset(run->mmio.data, 0xff, sizeof(run->mmio.data));
}

static void exit_internal_error(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION)
		fail(vcpu, "KVM cannot emulate an instruction of the guest; "
			   "did it jump out of its code?");
	else
		fail(vcpu, "KVM gave up: internal error %u",
		     run->internal.suberror);
}

/* The guest made an EXIT call. */
static void exit_system_event(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t code = run->system_event.ndata ? run->system_event.data[0] : 0;

	switch (run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		vm_stop(vcpu->vm, code);
		return;
	case KVM_SYSTEM_EVENT_RESET:
		note("the guest reboots");
		vm_stop(vcpu->vm, VM_REBOOT);
		return;
	case KVM_SYSTEM_EVENT_CRASH:
		say("the guest panicked (code %u)", code);
		vm_stop(vcpu->vm, code ? code : 1);
		return;
	default:
		fail(vcpu, "unknown system event %u", run->system_event.type);
	}
}

/* We forward no class, so it is the one call that the module leaves to us. */
static void exit_hypercall(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	int64_t answer = KVM_NO_SUCH_CALL;
	uint64_t args[4];

	memcpy(args, run->hypercall.args, sizeof(args));
	if (run->hypercall.nr == HCALL_EVENT_ROUTE)
		answer = interrupts_route(vcpu->vm->interrupts, args);
	run->hypercall.ret = answer;
}

static void handle_exit(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		exit_io(vcpu);
		return;
	case KVM_EXIT_MMIO:
		exit_mmio(vcpu);
		return;
	case KVM_EXIT_SYSTEM_EVENT:
		exit_system_event(vcpu);
		return;
	case KVM_EXIT_HYPERCALL:
		exit_hypercall(vcpu);
		return;
	case KVM_EXIT_INTR:
		return;
	case KVM_EXIT_SHUTDOWN:
		fail(vcpu,
		     "triple fault: an exception that the guest could not handle");
		return;
	case KVM_EXIT_INTERNAL_ERROR:
		exit_internal_error(vcpu);
		return;
	case KVM_EXIT_FAIL_ENTRY:
		fail(vcpu, "the CPU refuses to enter the guest (reason 0x%llx)",
		     run->fail_entry.hardware_entry_failure_reason);
		return;
	default:
		fail(vcpu, "KVM gave up: exit reason %u", run->exit_reason);
	}
}

static uint64_t thread_switches(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nvcsw + usage.ru_nivcsw;
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *vcpu = arg;
	struct vm *vm = vcpu->vm;
	uint64_t switches = thread_switches();
	sigset_t kick;
	int ret;

	sigemptyset(&kick);
	sigaddset(&kick, KICK_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &kick, NULL);

	while (atomic_load(&vm->outcome) == VM_RUNNING) {
		ret = ioctl(vcpu->fd, KVM_RUN, 0);
		vcpu->exits++;
		if (ret == 0)
			handle_exit(vcpu);
		else if (errno == EAGAIN && !vcpu->id)
			/* No CPU that waits to be started: KVM wants a thread. */
			fail(vcpu, "KVM cannot start a thread: %s",
			     strerror(errno));
		else if (errno != EINTR && errno != EAGAIN)
			fail(vcpu, "KVM_RUN: %s", strerror(errno));
	}
	vcpu->switches = thread_switches() - switches;
	return NULL;
}

static void on_kick(int sig)
{
	(void)sig; /* KVM_RUN has ended, which is all */
}

void vcpu_start(struct vcpu *vcpu)
{
	struct sigaction kick = { .sa_handler = on_kick };
	pthread_attr_t attr;
	sigset_t all, before;
	int err;

	/* Every signal but the kick is for the main thread. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	sigaction(KICK_SIGNAL, &kick, NULL);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	err = pthread_create(&vcpu->thread, &attr, vcpu_thread, vcpu);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err)
		die("no thread for vCPU %u: %s", vcpu->id, strerror(err));
	vcpu->started = true;
}

void vcpu_join(struct vcpu *vcpu)
{
	if (!vcpu->started)
		return;
	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	pthread_kill(vcpu->thread, KICK_SIGNAL);
	pthread_join(vcpu->thread, NULL);
	vcpu->started = false;
}
