// SPDX-License-Identifier: GPL-2.0
/*
 * The table of services, and what is uncommon about dispatch.h.
 */
#include <linux/jump_label.h>
#include <linux/kernel.h>
#include <linux/timekeeping.h>

#include "dispatch.h"
#include "internal.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

/* A new service is one line here and one file in hcall/. */
const struct hcall_service *const hcall_services[256] = {
	[HCALL_CLASS_SYS] = &hcall_sys,
	[HCALL_CLASS_CONSOLE] = &hcall_console,
	[HCALL_CLASS_BLOCK] = &hcall_block,
	[HCALL_CLASS_TIMER] = &hcall_timer,
	[HCALL_CLASS_INPUT] = &hcall_input,
	[HCALL_CLASS_NET] = &hcall_net,
	[HCALL_CLASS_EVENT] = &hcall_event,
	[HCALL_CLASS_VIRTIO] = &hcall_virtio,
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
	case -ENOBUFS:
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

/**
 * hcall_forward() - let the launcher answer a call
 * @call:  a register call: only a vCPU can go to the launcher and come back
 * @index: HCALL_INDEX_* of its class
 *
 * Return: the result until the launcher answers.
 */
s64 hcall_forward(struct hcall_call *call, u32 index)
{
	this_cpu_inc(call->vm->stats->of[index].forwarded);
	call->after = HCALL_AFTER_FORWARD;
	return -HCALL_ENOSYS;
}

/**
 * hcall_count() - count a call that hcall_answer() has not
 * @call:   the call
 * @result: its result
 */
void hcall_count(struct hcall_call *call, s64 result)
{
	const struct hcall_service *service =
		hcall_service(HCALL_NR_CLASS(call->nr));
	u32 index = service ? service->index : HCALL_INDEX_OTHER;
	struct hcall_counts __percpu *counts = &call->vm->stats->of[index];

	this_cpu_inc(counts->calls);
	this_cpu_add(counts->bytes, call->bytes);
	if (result < 0)
		this_cpu_inc(counts->errors);
}

/**
 * hcall_not_handled() - answer and count a call that goes to no service
 * @call:   the call
 * @policy: of its class; if KVM_HCALL_HANDLE, no service of ours has the class
 *
 * Return: the guest's result.
 */
s64 hcall_not_handled(struct hcall_call *call, u8 policy)
{
	const struct hcall_service *service =
		hcall_service(HCALL_NR_CLASS(call->nr));
	u32 index = service ? service->index : HCALL_INDEX_OTHER;
	struct hcall_counts __percpu *counts = &call->vm->stats->of[index];
	s64 result = -HCALL_ENOSYS;

	if (policy == KVM_HCALL_FORWARD && call->door == HCALL_DOOR_REGISTER) {
		this_cpu_inc(counts->calls);
		return hcall_forward(call, index);
	}
	if (policy == KVM_HCALL_DENY) {
		this_cpu_inc(counts->denied);
		result = -HCALL_EPERM;
	} else if (policy == KVM_HCALL_FORWARD) {
		result = -HCALL_EOPNOTSUPP;
	} else {
		result = hcall_bpf_serve(call);
	}
	if (result != HCALL_DEFER)
		hcall_count(call, result);
	return result;
}

/* ---- Who watches ------------------------------------------------------------ */

/*
 * On as long as anybody does.  Not a deferred key, which is patched back later:
 * tracepoints are turned off when the module goes, after its exit function.
 */
DEFINE_STATIC_KEY_FALSE(hcall_watched);

int hcall_watch(void)
{
	static_branch_inc(&hcall_watched);
	return 0;
}

void hcall_unwatch(void)
{
	static_branch_dec(&hcall_watched);
}

/* hcall_dispatch() if somebody watches. */
s64 hcall_dispatch_watched(struct hcall_call *call)
{
	bool timed = trace_hcall_exit_enabled();
	u64 start_ns = 0;
	s64 result;

	/* Perhaps only BPF programs do. */
	if (!timed && !trace_hcall_enter_enabled())
		return hcall_bpf_call(call);
	trace_hcall_enter(call);
	if (timed)
		start_ns = ktime_get_ns();
	result = hcall_bpf_call(call);
	if (timed && result != HCALL_DEFER)
		trace_hcall_exit(call, result, ktime_get_ns() - start_ns);
	/* Else it has not been answered yet, and will enter again or is finished. */
	else if (timed && call->later)
		container_of(call, struct hcall_later, call)->start_ns = start_ns;
	return result;
}

/**
 * hcall_finish() - the end of a call whose answer comes later
 * @later: its @done was called
 *
 * Context: as hcall_dispatch().
 * Return: the guest's result.
 */
s64 hcall_finish(struct hcall_later *later)
{
	s64 result = later->answer(later);

	hcall_count(&later->call, result);
	result = hcall_bpf_finish(later, result);
	if (later->start_ns)
		trace_hcall_exit(&later->call, result,
				 ktime_get_ns() - later->start_ns);
	return result;
}
