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

/* For hcall_ops.ejected(): tell the loader, see tool_watch(). */
static inline void tool_ejected(struct tool_ejection *to,
				struct hcall_ejection *why)
{
	bpf_probe_read_kernel_str(to->text, sizeof(to->text), why->text);
	to->reason = why->reason;
}

#endif
#endif
