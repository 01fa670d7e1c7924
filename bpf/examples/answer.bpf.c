// SPDX-License-Identifier: GPL-2.0
/*
 * Answer: random bytes are always the same, so that a run can be repeated.
 *
 * enter() answers the call itself: it writes the data into guest memory, sets
 * the result, and returns HCALL_OPS_ANSWERED.  The service never sees the call,
 * so what the ABI says of it has to hold here too: see "SYS_RANDOM" and "Order
 * of validation" in Documentation/abi.rst.
 */
#include "ejected.h"

/* Not const: the verifier lets no such memory be given to a kfunc. */
static __u8 bytes[HCALL_RANDOM_MAX_BYTES] = "chosen by a fair roll of dice";

/* Sleepable (struct_ops.s): guest memory may have to be paged in first. */
SEC("struct_ops.s/enter")
int BPF_PROG(answer_enter, struct hcall_call *call)
{
	__u64 gpa = call->args[0], count = call->args[1];

	if (call->nr != HCALL_SYS_RANDOM)
		return HCALL_OPS_PASS;
	/* What the guest asks for wrongly is the service's to refuse. */
	if (!count || count > sizeof(bytes))
		return HCALL_OPS_PASS;
	if (hcall_bpf_write(call, gpa, bytes, count))
		return -HCALL_EFAULT;
	hcall_bpf_set_result(call, count);
	return HCALL_OPS_ANSWERED;
}

SEC(".struct_ops.link")
struct hcall_ops answer = {
	.enter = (void *)answer_enter,
	.classes = HCALL_CLASS_BIT(HCALL_CLASS_SYS),
	.ejected = (void *)ejected,
	.name = "answer",
};

char _license[] SEC("license") = "GPL";
