/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A virtual machine for tests: the guest is one hypercall instruction, and
 * the test itself sets its registers, runs it and looks at what came out.
 *
 * Guest-physical memory:
 *	LOW	2 MiB	code and page tables
 *	RAM	4 MiB	for the test, one memslot
 *	RAM2	1 MiB	right behind RAM, another memslot, elsewhere in the host
 *	(a hole)
 *	ROM	64 KiB	read-only memslot
 *	TILES	16 pages, each a memslot of its own, in reverse host order
 */
#ifndef VMM_H
#define VMM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "hcall.h"
#include <linux/kvm_hcall.h>

#include "ktap.h"

#ifndef LOW
#define LOW 0x000000u
#endif
#define LOW_BYTES  0x200000u
#define RAM	   0x200000u
#define RAM_BYTES  0x400000u
#define RAM2	   (RAM + RAM_BYTES)
#define RAM2_BYTES 0x100000u
#define HOLE	   (RAM2 + RAM2_BYTES)
#define ROM	   0x1000000u
#define ROM_BYTES  0x10000u
#define TILES	   0x2000000u
#define TILES_NR   16u

enum mode {
	MODE_64,
	MODE_32,
	MODE_64_USER, /* CPL 3 */
};

#ifndef MAX_VCPUS
#define MAX_VCPUS 4
#endif

/* vm_new() makes so many. */
extern int vm_vcpus;

/* On both sides of each memslot's pages there are so many bytes that are nobody's. */
#define VM_GUARD 4096u
/* Of a memslot's pages; with that of large ones KVM maps those. */
#ifndef VM_ALIGN
#define VM_ALIGN 4096u
#endif

struct vcpu {
	struct vm *vm;
	int fd;
	struct kvm_run *run;
	enum mode mode;
	const char *insn; /* "vmmcall", or "vmcall", which KVM rewrites */
	uint64_t upper; /* what is in the upper half of RAX before the call */
	int exits; /* returns of KVM_RUN */
	/* call_start() */
	pthread_t thread;
	uint32_t nr;
	uint64_t args[4];
	int64_t result;
	volatile int tid;
};

struct vm {
	int kvm;
	int fd;
	int hcall; /* -1: not bound */
	uint8_t *low, *ram, *ram2, *rom, *tiles;
	struct vcpu vcpu[MAX_VCPUS];
	struct routes *routes; /* vm_route() */
};

/* Where a guest-physical address of RAM is in this process. */
static inline void *at(struct vm *vm, uint64_t gpa)
{
	return gpa < RAM2 ? vm->ram + (gpa - RAM) : vm->ram2 + (gpa - RAM2);
}

void vm_new(struct vm *vm);
void vm_bind(struct vm *vm);
void vm_free(struct vm *vm);
/* Memory for a slot, zeroes. */
void *vm_pages(uint64_t bytes);
void vm_unmap(void *p, uint64_t bytes);
void vm_slot(struct vm *vm, uint32_t slot, uint64_t gpa, void *host,
	     uint64_t bytes, uint32_t flags);

/* Add a disk; the file's descriptor is closed here.  Return: its unit. */
uint32_t vm_disk(struct vm *vm, const char *name, const char *path,
		 uint32_t flags);
int vm_add(struct vm *vm, uint32_t class_id, const char *name, int fd,
	   int fd_in, uint32_t flags);
/* Add any device.  Return: its unit, or -errno. */
int vm_add_device(struct vm *vm, struct kvm_hcall_add *add);
void vm_remove(struct vm *vm, uint32_t class_id, uint32_t unit);
/* What the guest is told of a device; by a call on vCPU 0. */
struct hcall_device vm_device(struct vm *vm, uint32_t class_id, uint32_t unit);
struct kvm_hcall_stats vm_stats(struct vm *vm, uint32_t class_id);
int vm_policy(struct vm *vm, uint32_t class_id, uint32_t action,
	      uint64_t functions);

void vcpu_mode(struct vcpu *vcpu, enum mode mode);

/* Prepare a call; then KVM_RUN. */
void call_set(struct vcpu *vcpu, uint32_t nr, uint64_t a, uint64_t b,
	      uint64_t c, uint64_t d);
/* Run until the guest has made its call.  Return: RAX; INT64_MIN if KVM_RUN
 * ended otherwise, then the reason is in vcpu->run.
 */
int64_t call_run(struct vcpu *vcpu);

/* Make a call on vCPU 0 and wait for the result. */
int64_t call(struct vm *vm, uint32_t nr, uint64_t a, uint64_t b, uint64_t c,
	     uint64_t d);

/* The same by another door: an element of a batch, which is in LOW. */
enum door {
	DOOR_REGISTER,
	DOOR_BATCH,
	DOOR_ASYNC,
	DOORS
};
#define DOOR_CHANNEL 1000u /* of the asynchronous batches */
int64_t call_door(struct vm *vm, enum door door, uint32_t nr, uint64_t a,
		  uint64_t b, uint64_t c, uint64_t d);

/* Take a channel's event, by calls on vCPU 0; not longer than five seconds. */
bool channel_fires(struct vm *vm, uint32_t channel);
/* ... or say if it is pending now; then it no longer is. */
bool channel_take(struct vm *vm, uint32_t channel);

/* The same in a thread. */
void call_start(struct vcpu *vcpu, uint32_t nr, uint64_t a, uint64_t b,
		uint64_t c, uint64_t d);
int64_t call_wait(struct vcpu *vcpu);
bool call_asleep(struct vcpu *vcpu);
/* A call that has to sleep; now and then one ends early, and is made again. */
void call_sleeps(struct vcpu *vcpu, uint32_t nr, uint64_t a, uint64_t b,
		 uint64_t c, uint64_t d);

/* Has call_start()'s call come back?  Waits so long; true: do not call_wait(). */
bool call_ended(struct vcpu *vcpu, int ms);

/*
 * A vCPU sleeps, as call_asleep() has found: that costs no time, and kvm->srcu is
 * free, so that memslots can change.
 */
void sleep_is_free(struct vm *vm);
/* A signal ends KVM_RUN, but not the sleep. */
void call_interrupt(struct vcpu *vcpu);

/* The host's clocks, CLOCK_MONOTONIC, and the time that a thread has run. */
uint64_t host_ns(clockid_t clock);
uint64_t now_ns(void);
uint64_t thread_ns(pthread_t thread);

/* From now on the signal interrupts, and does nothing else. */
void harmless(int sig);

/* A number from the environment, or else @number. */
uint64_t setting(const char *name, uint64_t number);

/* ---- Guests that are programs ---------------------------------------------
 *
 * GUEST marks a function that runs in the guest, in 64-bit mode: a copy of its
 * section is there.  It may use its arguments, guest memory (of which LOW, RAM
 * and all else is where its gpa says) and other GUEST functions, no others and
 * no static data (nor tables that the compiler makes of a switch: Makefile).
 * Interrupts are counted, see guest_interrupts().
 */
#define GUEST                                                   \
	__attribute__((section("guest"), noinline, noipa, used, \
		       target("general-regs-only")))

/* Where a program that returns leaves to. */
#define GUEST_PORT 0x99

GUEST int64_t guest_call(uint32_t nr, uint64_t a, uint64_t b, uint64_t c,
			 uint64_t d);
/* Sleeps in HLT with interrupts on; they are off before and after. */
GUEST void guest_halt(void);

/* Once a VM: code, descriptor tables, local APICs on (x2APIC). */
void vm_guest(struct vm *vm);
/* Make a vCPU ready to run a program. */
void guest_set(struct vcpu *vcpu, int64_t (*program)(uint64_t), uint64_t arg,
	       bool interrupts);
/* Run it until it returns.  Calls for the launcher are answered by vm_route(), all
 * others are not.  Return: what it returned; INT64_MIN as call_run().
 */
int64_t guest_run(struct vcpu *vcpu);
/* The same in a thread; then call_wait() or call_ended(). */
void guest_start(struct vcpu *vcpu, int64_t (*program)(uint64_t), uint64_t arg,
		 bool interrupts);
/* Run what the vCPU is at, in a thread. */
void resume_start(struct vcpu *vcpu);
uint64_t guest_interrupts(struct vcpu *vcpu, uint8_t vector);

/* ---- Interrupts ------------------------------------------------------------- */

/* Answer the ROUTE with which the vCPU has left KVM_RUN: eventfd, irqfd, ioctl. */
void vm_route(struct vcpu *vcpu);
/* ROUTE as a guest and its launcher do it.  Return: the guest's result. */
int64_t route(struct vcpu *vcpu, uint64_t channel, uint64_t owner,
	      uint64_t vector, uint64_t flags);
/* ioctls; Return: 0 or -errno. */
int host_route(struct vm *vm, uint32_t channel, uint32_t vcpu, int fd);
int host_raise(struct vm *vm, uint32_t channel);
void host_msi(struct vm *vm, int vcpu, uint8_t vector);

/* A file of so many bytes, whose sectors are all different. */
const char *make_disk(const char *name, uint64_t bytes);
void expect_sector(const uint8_t *data, uint64_t sector);

#endif
