// SPDX-License-Identifier: GPL-2.0
/*
 * Deny: no guest may change a disk.
 *
 * enter() sees a call before its service does.  A negated HCALL_E* is the
 * guest's result, and nobody after this program sees the call.  No other error
 * is allowed: a program that returns one is taken out.
 */
#include "ejected.h"

SEC("struct_ops/enter")
int BPF_PROG(deny_enter, struct hcall_call *call)
{
	switch (call->nr) {
	case HCALL_BLOCK_WRITE:
	case HCALL_BLOCK_DISCARD:
	case HCALL_BLOCK_WRITE_ZEROES:
		return -HCALL_EROFS;
	default:
		return HCALL_OPS_PASS;
	}
}

/*
 * A set of functions, which is what is attached.  Without "classes" it would
 * see, and slow down, the calls of all classes.
 */
SEC(".struct_ops.link")
struct hcall_ops deny = {
	.enter = (void *)deny_enter,
	.classes = HCALL_CLASS_BIT(HCALL_CLASS_BLOCK),
	.ejected = (void *)ejected,
	.name = "deny",
	/* Should this program ever be taken out: rather no disk than a write. */
	.flags = HCALL_OPS_FAIL_CLOSED,
};

char _license[] SEC("license") = "GPL";
