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

#include "hcall.h"
#include <linux/kvm_hcall.h>

#include "ktap.h"

#define LOW	   0x000000u
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

#define MAX_VCPUS 4

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
};

/* Where a guest-physical address of RAM is in this process. */
static inline void *at(struct vm *vm, uint64_t gpa)
{
	return gpa < RAM2 ? vm->ram + (gpa - RAM) : vm->ram2 + (gpa - RAM2);
}

void vm_new(struct vm *vm);
void vm_bind(struct vm *vm);
void vm_free(struct vm *vm);
void vm_slot(struct vm *vm, uint32_t slot, uint64_t gpa, void *host,
	     uint64_t bytes, uint32_t flags);

/* Add a disk; the file's descriptor is closed here.  Return: its unit. */
uint32_t vm_disk(struct vm *vm, const char *name, const char *path,
		 uint32_t flags);
int vm_add(struct vm *vm, uint32_t class_id, const char *name, int fd,
	   int fd_in, uint32_t flags);
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

/* The same in a thread. */
void call_start(struct vcpu *vcpu, uint32_t nr, uint64_t a, uint64_t b,
		uint64_t c, uint64_t d);
int64_t call_wait(struct vcpu *vcpu);
bool call_asleep(struct vcpu *vcpu);

/* A file of so many bytes, whose sectors are all different. */
const char *make_disk(const char *name, uint64_t bytes);
void expect_sector(const uint8_t *data, uint64_t sector);

#endif
