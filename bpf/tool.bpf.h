/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the programs of all tools have in common with their loaders: which calls
 * are wanted, and why a program was taken out.
 */
#ifndef TOOL_BPF_H
#define TOOL_BPF_H

#ifdef __bpf__
#include "hcall.bpf.h"
#else
#include <linux/types.h>

#include <linux/kvm_hcall_bpf.h>
#endif

/**
 * struct tool_filter - which calls a tool wants; all of it must be true
 * @vm:       of this VM; 0: all
 * @pid:      of a VM that this process opened; 0: all
 * @classes:  a bit for each class, class 0 is bit 0 of the first; none: all
 * @has_unit: only of devices of @unit
 * @unit:     of whatever class; a class without devices has none
 */
struct tool_filter {
	__u32 vm;
	__u32 pid;
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

static inline bool tool_wants_vm(struct hcall_vm *vm)
{
	if ((filter.vm && vm->id != filter.vm) ||
	    (filter.pid && vm->pid != filter.pid))
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

/* For hcall_ops.ejected(): tell the loader, see tool_watch(). */
static inline void tool_ejected(struct tool_ejection *to,
				struct hcall_ejection *why)
{
	bpf_probe_read_kernel_str(to->text, sizeof(to->text), why->text);
	to->reason = why->reason;
}

#endif
#endif
