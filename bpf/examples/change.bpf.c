// SPDX-License-Identifier: GPL-2.0
/*
 * Change: the guests' date is a year ahead.
 *
 * exit() sees a call when it has been answered, and may give the guest another
 * result.  0 or more, or a negated HCALL_E*: anything else, and the program is
 * taken out.
 */
#include "ejected.h"

#define YEAR_NS (365 * 86400 * 1000000000ll)

SEC("struct_ops/exit")
void BPF_PROG(change_exit, struct hcall_call *call)
{
	if (call->nr != HCALL_TIMER_NOW ||
	    call->args[0] != HCALL_CLOCK_REALTIME)
		return;
	/* The launcher may answer the class itself, and has not done so yet. */
	if (call->after == HCALL_AFTER_FORWARD || call->result < 0)
		return;
	hcall_bpf_set_result(call, call->result + YEAR_NS);
}

SEC(".struct_ops.link")
struct hcall_ops change = {
	.exit = (void *)change_exit,
	.classes = HCALL_CLASS_BIT(HCALL_CLASS_TIMER),
	.ejected = (void *)ejected,
	.name = "change",
};

char _license[] SEC("license") = "GPL";
