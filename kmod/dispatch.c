// SPDX-License-Identifier: GPL-2.0
/*
 * The one place through which every call passes, whatever door it came by:
 * policy, the table of services, statistics.
 */
#include <linux/kernel.h>

#include "internal.h"

/* A new service is one line here and one file in hcall/. */
const struct hcall_service *const hcall_services[256] = {
	[HCALL_CLASS_SYS] = &hcall_sys,
	[HCALL_CLASS_CONSOLE] = &hcall_console,
	[HCALL_CLASS_BLOCK] = &hcall_block,
};

/**
 * hcall_error() - a kernel error in terms of the ABI's table
 * @error: a negative errno of the kernel
 *
 * Return: the negated number of the table that says the same, or -HCALL_EIO.
 */
s64 hcall_error(long error)
{
	switch (error) {
	case -EINTR:
	case -ERESTARTSYS:
	case -ERESTARTNOINTR:
	case -ERESTARTNOHAND:
	case -ERESTART_RESTARTBLOCK:
		return -HCALL_EINTR;
	case -EAGAIN:
		return -HCALL_EAGAIN;
	case -ENOMEM:
		return -HCALL_ENOMEM;
	case -EFAULT:
		return -HCALL_EFAULT;
	case -ENOSPC:
	case -EDQUOT:
	case -EFBIG:
		return -HCALL_ENOSPC;
	case -EROFS:
		return -HCALL_EROFS;
	case -EOPNOTSUPP:
		return -HCALL_EOPNOTSUPP;
	default:
		return -HCALL_EIO;
	}
}

static s64 dispatch_by_policy(struct hcall_call *call, u8 policy,
			      struct hcall_stats __percpu *stats, u32 index)
{
	if (policy == KVM_HCALL_DENY) {
		this_cpu_inc(stats->of[index].denied);
		return -HCALL_EPERM;
	}
	/* Only a vCPU can go to the launcher and come back. */
	if (call->door != HCALL_DOOR_REGISTER)
		return -HCALL_EOPNOTSUPP;
	this_cpu_inc(stats->of[index].forwarded);
	call->after = HCALL_AFTER_FORWARD;
	return 0;
}

/**
 * hcall_dispatch() - answer a call
 * @call: all IN fields set, @call->after HCALL_AFTER_RETURN, @call->bytes 0
 *
 * Context: process, inside kvm->srcu; may sleep.
 * Return: the guest's result; HCALL_DEFER if @call->nowait and it cannot be
 * answered without waiting, then nothing has been counted.
 */
s64 hcall_dispatch(struct hcall_call *call)
{
	struct hcall_vm *vm = call->vm;
	struct hcall_stats __percpu *stats = vm->stats;
	/* Eight bits each, so in bounds of every table of 256. */
	u8 class_id = HCALL_NR_CLASS(call->nr);
	u8 function = HCALL_NR_FUNCTION(call->nr);
	const struct hcall_service *service = hcall_services[class_id];
	u32 index = service ? service->index : HCALL_INDEX_OTHER;
	u8 policy = READ_ONCE(vm->policy[class_id]);
	hcall_fn fn = NULL;
	s64 result;

	if (unlikely(policy != KVM_HCALL_HANDLE)) {
		result = dispatch_by_policy(call, policy, stats, index);
		goto count;
	}

	if (likely(service && function < service->nr_fn))
		fn = service->fn[array_index_nospec(function, service->nr_fn)];
	result = likely(fn) ? fn(call) : -HCALL_ENOSYS;
	if (unlikely(result == HCALL_DEFER))
		return result;
count:
	this_cpu_inc(stats->of[index].calls);
	if (result < 0)
		this_cpu_inc(stats->of[index].errors);
	if (call->bytes)
		this_cpu_add(stats->of[index].bytes, call->bytes);
	return result;
}
