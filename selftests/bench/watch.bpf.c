// SPDX-License-Identifier: GPL-2.0
/*
 * Programs that do nothing, for what it costs that they are there.
 */
#include "hcall.bpf.h"

char LICENSE[] SEC("license") = "GPL";

SEC("struct_ops")
int BPF_PROG(enter, struct hcall_call *call)
{
	return HCALL_OPS_PASS;
}

SEC("struct_ops")
void BPF_PROG(leave, struct hcall_call *call)
{
}

SEC(".struct_ops.link")
struct hcall_ops watch_enter = {
	.enter = (void *)enter,
	.name = "enter",
};

SEC(".struct_ops.link")
struct hcall_ops watch_exit = {
	.exit = (void *)leave,
	.name = "exit",
};

/* Of other calls. */
SEC(".struct_ops.link")
struct hcall_ops watch_class = {
	.enter = (void *)enter,
	.name = "class",
	.classes = HCALL_CLASS_BIT(HCALL_CLASS_BPF_FIRST),
};

SEC("tp_btf/hcall_exit")
int BPF_PROG(tracepoint, struct hcall_call *call)
{
	return 0;
}
