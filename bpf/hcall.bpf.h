/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a BPF program for hcall includes: the types that it sees, by CO-RE, and
 * the functions that it can call.  Documentation/bpf.rst tells how to begin;
 * bpf/examples/ has one small program of each kind.
 *
 * Only the fields that are here are an interface.  The kernel's own structs
 * have more of them, and in another order.
 */
#ifndef HCALL_BPF_H
#define HCALL_BPF_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <linux/types.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include <hcall.h>
#include <linux/kvm_hcall_bpf.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), \
			     apply_to = record)

/**
 * struct hcall_vm - an instance: an open /dev/kvm-hcall
 * @id:   1 or more, unique among the open ones
 * @pid:  process of the launcher, in the first PID namespace
 * @comm: its name when it opened the instance
 */
struct hcall_vm {
	__u32 id;
	__u32 pid;
	char comm[16];
};

/* struct hcall_call.door: how a call came. */
enum hcall_door {
	HCALL_DOOR_REGISTER, /* by itself */
	HCALL_DOOR_BATCH, /* an element of a BATCH */
	HCALL_DOOR_ASYNC, /* of one with HCALL_BATCH_ASYNC; there is no vCPU */
	HCALL_DOOR_QUEUE, /* a request in a virtqueue; there may be no vCPU */
};

/* struct hcall_call.after: what follows, once it has been answered. */
enum hcall_after {
	HCALL_AFTER_RETURN, /* the guest goes on */
	HCALL_AFTER_HALT, /* the vCPU sleeps until it is woken */
	HCALL_AFTER_EXIT, /* the guest ends */
	HCALL_AFTER_FORWARD, /* the launcher answers: @result is not the guest's */
};

/**
 * struct hcall_call - a call; read only
 * @vm:     whose
 * @nr:     the number: HCALL_NR_CLASS() and HCALL_NR_FUNCTION() of it
 * @door:   enum hcall_door
 * @after:  enum hcall_after; known in exit()
 * @args:   as the guest, or a program before, has set them: nobody has checked
 *	    them
 * @result: in exit(): 0 or more, or a negated HCALL_E*
 * @bytes:  in exit(): moved from or to guest memory
 */
struct hcall_call {
	struct hcall_vm *vm;
	__u32 nr;
	__u8 door;
	__u8 after;
	__u64 args[4];
	__s64 result;
	__u64 bytes;
};

/**
 * struct hcall_ejection - why a program was taken out
 * @reason: HCALL_EJECTED_*
 * @vm:     of the call, or that was closed
 * @nr:     of the call, or 0
 * @value:  what the program returned or set, or 0
 * @text:   the same in words, one line without its end
 */
struct hcall_ejection {
	__u32 reason;
	__u32 vm;
	__u32 nr;
	__s64 value;
	char text[HCALL_EJECTION_TEXT_BYTES];
};

/**
 * struct hcall_ops - a set of programs that sees calls; a struct_ops, attached
 *		      by link
 *
 * All functions may be NULL, but not all of them.  enter, exit and serve may be
 * sleepable (SEC("struct_ops.s/...")).  Calls come from many vCPUs at once.
 *
 * @enter:   a call comes.  Those who are before this one have let it pass.
 *	     Return: HCALL_OPS_PASS: go on, with the arguments as they are now;
 *	     less than 0: the guest gets this error, a negated HCALL_E*, and
 *	     nobody after this one sees the call; HCALL_OPS_ANSWERED: the same
 *	     with the result of hcall_bpf_set_result(), or 0
 * @exit:    it has been answered, perhaps by @enter.  Whoever was asked in
 *	     enter is told here, in reverse order, with the same arguments; may
 *	     change the result, unless @after is HCALL_AFTER_FORWARD
 * @serve:   answers the calls of class @service, which the kernel knows
 *	     nothing of.  Return: the result: 0 or more, or a negated HCALL_E*
 * @attach:  a VM is there: it was bound just now and has made no call yet, or
 *	     it was there when this set was attached, and no call of it has been
 *	     seen here
 * @detach:  it goes, or this set is taken off: no call will be seen any more.
 *	     Not called after an ejection
 * @ejected: something was wrong, and no other function will be called any
 *	     more; see HCALL_EJECTION().  Then the link is detached, which its
 *	     descriptor tells by EPOLLHUP; with HCALL_OPS_FAIL_CLOSED it stays,
 *	     and denies (-HCALL_EPERM) until the loader detaches it
 *
 * @name:      printable, without spaces
 * @vm:        only this VM's calls are seen (id); 0: all
 * @order:     sets are asked in ascending order, those with the same in the
 *	       order that they were attached in
 * @classes:   HCALL_CLASS_BIT() of each class of calls that enter and exit see;
 *	       0: all
 * @flags:     HCALL_OPS_*
 * @service:   class of @serve: HCALL_CLASS_BPF_FIRST to HCALL_CLASS_BPF_LAST
 * @functions: a bit for each function that @serve has, which is what the
 *	       guest's PROBE gets; the others give -HCALL_ENOSYS.  Not bit 63
 *
 * Attaching fails with EINVAL: a field is not as above; ENOENT: no such VM;
 * EBUSY: another set serves this class for this VM; ENOSPC: HCALL_OPS_MAX are
 * attached; EOPNOTSUPP: not by link.
 */
struct hcall_ops {
	int (*enter)(struct hcall_call *call);
	void (*exit)(struct hcall_call *call);
	__s64 (*serve)(struct hcall_call *call);
	void (*attach)(struct hcall_vm *vm);
	void (*detach)(struct hcall_vm *vm);
	void (*ejected)(struct hcall_ejection *why);
	char name[HCALL_OPS_NAME_BYTES];
	__u32 vm;
	__s32 order;
	__u64 classes;
	__u64 flags;
	__u32 service;
	__u64 functions;
};

#pragma clang attribute pop

/**
 * hcall_bpf_set_arg() - change an argument
 * @call:  in enter()
 * @index: 0 to 3
 * @value: what everybody after this program sees, and the service
 *
 * Return: 0; -EINVAL: no such argument, or not in enter().
 */
extern int hcall_bpf_set_arg(struct hcall_call *call, __u32 index,
			     __u64 value) __ksym;

/**
 * hcall_bpf_set_result() - change the result
 * @call:   in enter(), to return HCALL_OPS_ANSWERED, or in exit()
 * @result: 0 or more, or a negated HCALL_E*; another ejects the program
 */
extern void hcall_bpf_set_result(struct hcall_call *call, __s64 result) __ksym;

/**
 * hcall_bpf_read() - copy from guest memory
 * @call:     whose guest
 * @gpa:      guest-physical address, of any alignment
 * @to:       the program's memory
 * @to__sz:   in bytes, 1 to HCALL_BPF_MAX_BYTES
 *
 * Context: sleepable programs.
 * Return: 0; -EFAULT: not all of it is guest memory; -E2BIG.
 */
extern int hcall_bpf_read(struct hcall_call *call, __u64 gpa, void *to,
			  __u32 to__sz) __ksym;

/**
 * hcall_bpf_write() - copy to guest memory
 * @call:     whose guest
 * @gpa:      guest-physical address, of any alignment
 * @from:     the program's memory; not const, as the verifier takes no such memory
 * @from__sz: in bytes, 1 to HCALL_BPF_MAX_BYTES
 *
 * Context: sleepable programs.
 * Return: 0; -EFAULT: not all of it is writable guest memory, and nothing was
 * written, or the launcher has unmapped some of it, and what comes before may be;
 * -E2BIG.
 */
extern int hcall_bpf_write(struct hcall_call *call, __u64 gpa, const void *from,
			   __u32 from__sz) __ksym;

/**
 * hcall_bpf_fire() - tell the guest that there is news
 * @call:    whose guest
 * @channel: 0 to HCALL_CHANNELS - 1
 *
 * Return: 1; 0 if the guest has not taken the news from before; -EINVAL.
 */
extern int hcall_bpf_fire(struct hcall_call *call, __u32 channel) __ksym;

/**
 * hcall_bpf_vcpu() - who calls
 * @call: the call
 *
 * Return: the vCPU's index in order of creation, from 0; -1: an element of an
 * asynchronous batch.
 */
extern int hcall_bpf_vcpu(struct hcall_call *call) __ksym;

/**
 * hcall_bpf_vm() - facts of the VM
 * @call:     whose
 * @info:     OUT
 */
extern void hcall_bpf_vm(struct hcall_call *call,
			 struct hcall_bpf_vm *info) __ksym;

/**
 * hcall_bpf_device() - what the guest's DEVICE would say of a device
 * @call:     whose guest
 * @class_id: HCALL_CLASS_*
 * @unit:     the guest's number for it
 * @info:     OUT; zeroes if there is no such device
 *
 * Context: sleepable programs.
 * Return: 0 or -ENODEV.
 */
extern int hcall_bpf_device(struct hcall_call *call, __u32 class_id, __u32 unit,
			    struct hcall_device *info) __ksym;

/**
 * hcall_bpf_delay() - let the calling vCPU wait; for testing
 * @call: the call
 * @ns:   how long; all delays of a call together HCALL_BPF_MAX_DELAY_NS at most
 *
 * Each element of a batch is a call.  Changes of the VM's memory and devices wait
 * for the call, or the whole batch, as well.
 *
 * Context: sleepable programs.
 * Return: 0; -EINVAL: more than that, and it did not wait; -EINTR: the launcher
 * is being killed.
 */
extern int hcall_bpf_delay(struct hcall_call *call, __u64 ns) __ksym;

#endif
