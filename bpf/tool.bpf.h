/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the programs of all tools have in common with their loaders: which calls
 * are wanted, and why a program was taken out.
 */
#ifndef TOOL_BPF_H
#define TOOL_BPF_H

#ifdef __bpf__
#include "hcall.bpf.h"

#include <bpf/bpf_core_read.h>

#include <linux/kvm_hcall.h>
#else
#include <linux/types.h>

#include <linux/kvm_hcall_bpf.h>
#endif

/**
 * struct tool_filter - which calls a tool wants; all of it must be true
 * @vm:       of this VM; 0: all
 * @pid:      ... which this process opened: a number is given to another VM later
 * @ancestor: of a VM that a descendant of this process opened; 0: all
 * @classes:  a bit for each class, class 0 is bit 0 of the first; none: all
 * @has_unit: only of devices of @unit
 * @unit:     of whatever class; a class without devices has none
 */
struct tool_filter {
	__u32 vm;
	__u32 pid;
	__u32 ancestor;
	__u64 classes[4];
	__u32 has_unit;
	__u32 unit;
};

/**
 * struct tool_ejection - the part of a struct hcall_ejection that loaders read
 * @reason: HCALL_EJECTED_*, or 0: it was not
 * @text:   the same in words
 */
struct tool_ejection {
	__u32 reason;
	char text[HCALL_EJECTION_TEXT_BYTES];
};

/**
 * struct tool_vm - an instance that is open
 * @id:   1 or more
 * @pid:  the launcher's
 * @comm: its name then
 */
struct tool_vm {
	__u32 id;
	__u32 pid;
	char comm[16];
};

#ifdef __bpf__

/* Set by the loader, before the program is loaded: see tool_filter(). */
const volatile struct tool_filter filter;

/* There was a VM that is wanted: see tool_expect_vm(). */
bool tool_matched;

static inline bool tool_has_units(__u32 class_id)
{
	return class_id == HCALL_CLASS_CONSOLE ||
	       class_id == HCALL_CLASS_BLOCK || class_id == HCALL_CLASS_INPUT ||
	       class_id == HCALL_CLASS_NET;
}

/* ---- Whose VM is it? --------------------------------------------------------- */

#pragma clang attribute push(__attribute__((preserve_access_index)), \
			     apply_to = record)

struct task_struct {
	int tgid;
	struct task_struct *real_parent;
};

#pragma clang attribute pop

extern struct task_struct *bpf_task_from_pid(__s32 pid) __ksym;
extern void bpf_task_release(struct task_struct *task) __ksym;

struct tool_opener {
	__u32 vm;
	__u32 pid;
};

/*
 * Is it a descendant of @filter.ancestor?  Found out when the VM is seen first:
 * later the opener may be gone, and a call may come in a thread of any process.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct tool_opener);
	__type(value, bool);
	__uint(max_entries, 4096);
} tool_openers SEC(".maps");

/* Global, so that the verifier walks only once. */
__noinline int tool_descends(__u32 pid)
{
	struct task_struct *opener = bpf_task_from_pid(pid), *task = opener;
	__u32 tgid = pid;

	if (!opener)
		return 0;
	for (int i = 0; i < 1000 && tgid > 1 && tgid != filter.ancestor; i++) {
		task = BPF_CORE_READ(task, real_parent);
		tgid = BPF_CORE_READ(task, tgid);
	}
	bpf_task_release(opener);
	return tgid == filter.ancestor;
}

static inline bool tool_is_descendants(struct hcall_vm *vm)
{
	struct tool_opener opener = { vm->id, vm->pid };
	bool *known = bpf_map_lookup_elem(&tool_openers, &opener);
	bool descends;

	if (known)
		return *known;
	descends = tool_descends(opener.pid);
	bpf_map_update_elem(&tool_openers, &opener, &descends, BPF_ANY);
	return descends;
}

/* ---- Which calls ------------------------------------------------------------- */

static inline bool tool_wants_vm(struct hcall_vm *vm)
{
	if (filter.vm && (vm->id != filter.vm || vm->pid != filter.pid))
		return false;
	if (filter.ancestor && !tool_is_descendants(vm))
		return false;
	if (!tool_matched)
		tool_matched = true;
	return true;
}

static inline bool tool_wants(struct hcall_call *call)
{
	__u32 class_id = HCALL_NR_CLASS(call->nr);

	if (!tool_wants_vm(call->vm))
		return false;
	if ((filter.classes[0] | filter.classes[1] | filter.classes[2] |
	     filter.classes[3]) &&
	    !(filter.classes[class_id >> 6] >> (class_id & 63) & 1))
		return false;
	return !filter.has_unit ||
	       (tool_has_units(class_id) && call->args[0] == filter.unit);
}

/* ---- What is there, of all that a guest can ask for -------------------------- */

#define TOOL_FN(nr) (1u << HCALL_NR_FUNCTION(nr))

/* A bit for each function that the ABI has in a class. */
static __always_inline __u32 tool_functions(__u32 class_id)
{
	switch (class_id) {
	case HCALL_CLASS_SYS:
		return TOOL_FN(HCALL_SYS_PROBE) | TOOL_FN(HCALL_SYS_DEVICE) |
		       TOOL_FN(HCALL_SYS_BATCH) | TOOL_FN(HCALL_SYS_EXIT) |
		       TOOL_FN(HCALL_SYS_RANDOM);
	case HCALL_CLASS_CONSOLE:
		return TOOL_FN(HCALL_CONSOLE_WRITE) |
		       TOOL_FN(HCALL_CONSOLE_READ) |
		       TOOL_FN(HCALL_CONSOLE_PUTC) |
		       TOOL_FN(HCALL_CONSOLE_GETC) |
		       TOOL_FN(HCALL_CONSOLE_SIZE);
	case HCALL_CLASS_BLOCK:
		return TOOL_FN(HCALL_BLOCK_READ) | TOOL_FN(HCALL_BLOCK_WRITE) |
		       TOOL_FN(HCALL_BLOCK_FLUSH) |
		       TOOL_FN(HCALL_BLOCK_DISCARD) |
		       TOOL_FN(HCALL_BLOCK_WRITE_ZEROES);
	case HCALL_CLASS_TIMER:
		return TOOL_FN(HCALL_TIMER_NOW) | TOOL_FN(HCALL_TIMER_ARM) |
		       TOOL_FN(HCALL_TIMER_CANCEL) |
		       TOOL_FN(HCALL_TIMER_EXPIRED);
	case HCALL_CLASS_INPUT:
		return TOOL_FN(HCALL_INPUT_READ) | TOOL_FN(HCALL_INPUT_WRITE) |
		       TOOL_FN(HCALL_INPUT_CONFIG);
	case HCALL_CLASS_NET:
		return TOOL_FN(HCALL_NET_SEND) | TOOL_FN(HCALL_NET_RECV) |
		       TOOL_FN(HCALL_NET_SENDV) | TOOL_FN(HCALL_NET_RECVV) |
		       TOOL_FN(HCALL_NET_FEATURES) | TOOL_FN(HCALL_NET_LINK);
	case HCALL_CLASS_EVENT:
		return TOOL_FN(HCALL_EVENT_PAGE) | TOOL_FN(HCALL_EVENT_NEXT) |
		       TOOL_FN(HCALL_EVENT_WAIT) | TOOL_FN(HCALL_EVENT_MASK) |
		       TOOL_FN(HCALL_EVENT_ROUTE) | TOOL_FN(HCALL_EVENT_RAISE);
	default:
		return 0;
	}
}

static __always_inline bool tool_knows(__u32 nr)
{
	__u32 function = HCALL_NR_FUNCTION(nr);

	return function < 32 &&
	       tool_functions(HCALL_NR_CLASS(nr)) & 1u << function;
}

/* Somebody has answered, or the launcher will: it is not only made up. */
static inline bool tool_succeeds(struct hcall_call *call, __s64 result)
{
	return result >= 0 || call->after == HCALL_AFTER_FORWARD;
}

#pragma clang attribute push(__attribute__((preserve_access_index)), \
			     apply_to = record)

struct hcall_service {
	__u32 class_id;
};

struct hcall_dev {
	const struct hcall_service *service;
	struct hcall_vm *vm;
	__u32 unit;
	char name[HCALL_NAME_BYTES];
};

/*
 * struct hcall_vm; by class and unit.  It is an array of arrays, of which some
 * versions of pahole make one dimension.
 */
struct hcall_vm___nested {
	struct hcall_dev *dev[8][KVM_HCALL_MAX_UNITS];
};

struct hcall_vm___flat {
	struct hcall_dev *dev[8 * KVM_HCALL_MAX_UNITS];
};

#pragma clang attribute pop

/*
 * Is there this device?  It stays while a call is in progress.  @name: its name, if
 * it can be known; or NULL.  The module's table is no interface, but found with the
 * help of CO-RE; where there is none, all devices are there.
 */
static inline bool tool_find_device(const struct hcall_vm *vm, __u32 class_id,
				    __u32 unit, char *name)
{
	const struct hcall_dev *dev = NULL;
	__u64 at;

	if (bpf_core_field_exists(struct hcall_vm___nested, dev))
		at = bpf_core_field_offset(struct hcall_vm___nested, dev);
	else if (bpf_core_field_exists(struct hcall_vm___flat, dev))
		at = bpf_core_field_offset(struct hcall_vm___flat, dev);
	else
		return true;
	at += (__u64)vm + (class_id * KVM_HCALL_MAX_UNITS + unit) * sizeof(dev);
	bpf_probe_read_kernel(&dev, sizeof(dev), (const void *)at);
	if (!dev)
		return false;
	if (name)
		bpf_core_read_str(name, HCALL_NAME_BYTES, &dev->name);
	return true;
}

/* Of 0: 0. */
static inline __u32 tool_log2(__u64 value)
{
	__u32 log2 = 0;

	for (int bits = 32; bits; bits >>= 1) {
		if (value >> bits) {
			value >>= bits;
			log2 += bits;
		}
	}
	return log2;
}

/* For hcall_ops.ejected(): tell the loader, see tool_watch(). */
static inline void tool_ejected(struct tool_ejection *to,
				struct hcall_ejection *why)
{
	bpf_probe_read_kernel_str(to->text, sizeof(to->text), why->text);
	to->reason = why->reason;
}

#endif
#endif
