/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The one place through which every call passes, whatever door it came by:
 * policy, the table of services, statistics, and who watches.
 */
#ifndef HCALL_DISPATCH_H
#define HCALL_DISPATCH_H

#include <linux/jump_label.h>

#include "internal.h"

DECLARE_STATIC_KEY_FALSE(hcall_watched);

s64 hcall_not_handled(struct hcall_call *call, u8 policy);
s64 hcall_dispatch_watched(struct hcall_call *call);

/* What nobody watches.  See hcall_dispatch(). */
static __always_inline s64 hcall_answer(struct hcall_call *call)
{
	struct hcall_vm *vm = call->vm;
	/* Eight bits each, so in bounds of every table of 256. */
	u8 class_id = HCALL_NR_CLASS(call->nr);
	u32 function = HCALL_NR_FUNCTION(call->nr);
	const struct hcall_service *service = hcall_service(class_id);
	u8 policy = READ_ONCE(vm->policy[class_id]);
	struct hcall_counts __percpu *counts;
	const hcall_fn *fns;
	hcall_fn fn = NULL;
	s64 result;

	if (unlikely(policy != KVM_HCALL_HANDLE || !service))
		return hcall_not_handled(call, policy);
	fns = service->fn;
	if (likely(function < HCALL_MAX_FN))
		fn = fns[array_index_nospec(function, HCALL_MAX_FN)];
	counts = vm->stats->of + service->index;

	result = likely(fn) ? fn(call) : -HCALL_ENOSYS;
	if (unlikely(result < 0)) {
		if (result == HCALL_DEFER)
			return result;
		if (call->after != HCALL_AFTER_FORWARD)
			this_cpu_inc(counts->errors);
	}
	this_cpu_inc(counts->calls);
	this_cpu_add(counts->bytes, call->bytes);
	return result;
}

/**
 * hcall_dispatch() - answer a call
 * @call: all IN fields set, @call->after HCALL_AFTER_RETURN, @call->bytes 0
 *
 * Inline: a call and a return cost as much as half of what it does.
 *
 * Context: process, inside kvm->srcu; may sleep.
 * Return: the guest's result; HCALL_DEFER if @call->nowait and it cannot be
 * answered without waiting, then nothing has been counted; or if @call->later, and
 * hcall_finish() will answer it.
 */
static __always_inline s64 hcall_dispatch(struct hcall_call *call)
{
	if (static_branch_unlikely(&hcall_watched))
		return hcall_dispatch_watched(call);
	return hcall_answer(call);
}

#endif
