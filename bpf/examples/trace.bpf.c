// SPDX-License-Identifier: GPL-2.0
/*
 * Trace: print each call that fails.
 *
 * A tracepoint program sees every call of every VM and can change nothing.  It
 * is the right kind for whatever only watches: it costs less than a struct_ops
 * and cannot be ejected.  Documentation/tracing.rst has all tracepoints and
 * their arguments.
 */
#include "hcall.bpf.h"

/*
 * tp_btf: the arguments are the tracepoint's own, and a program may follow
 * their pointers.  "call" is never NULL, but the verifier wants to see it
 * compared.
 */
SEC("tp_btf/hcall_exit")
int BPF_PROG(trace, struct hcall_call *call, __s64 result, __u64 duration_ns)
{
	if (!call || result >= 0)
		return 0;
	/* Goes to /sys/kernel/tracing/trace_pipe. */
	bpf_printk("vm %u: call 0x%x failed with %lld", call->vm->id, call->nr,
		   result);
	return 0;
}

char _license[] SEC("license") = "GPL";
