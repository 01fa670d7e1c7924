// SPDX-License-Identifier: GPL-2.0
/*
 * Programs that the verifier must refuse, each with one mistake; ops.c has what
 * it says of them.
 */
#include "hcall.bpf.h"

char LICENSE[] SEC("license") = "GPL";

__u64 words[8];

#define ENTER(what, type) \
	SEC(type)         \
	int BPF_PROG(what, struct hcall_call *call)

#define OPS(what)                       \
	SEC(".struct_ops.link")         \
	struct hcall_ops ops_##what = { \
		.enter = (void *)what,  \
		.name = "rejected",     \
	}

ENTER(out_of_bounds, "struct_ops")
{
	return words[call->args[0]] ? HCALL_OPS_PASS : -HCALL_EPERM;
}
OPS(out_of_bounds);

ENTER(endless, "struct_ops")
{
	while (call->nr)
		__sync_fetch_and_add(&words[0], 1);
	return HCALL_OPS_PASS;
}
OPS(endless);

ENTER(writes_field, "struct_ops")
{
	call->args[0] = 0;
	return HCALL_OPS_PASS;
}
OPS(writes_field);

ENTER(beyond_call, "struct_ops")
{
	return *(__u64 *)((char *)call + 4096) ? HCALL_OPS_PASS : -HCALL_EPERM;
}
OPS(beyond_call);

ENTER(sleeps, "struct_ops")
{
	hcall_bpf_delay(call, 1);
	return HCALL_OPS_PASS;
}
OPS(sleeps);

ENTER(own_call, "struct_ops")
{
	__u64 fake[16] = {};

	hcall_bpf_set_result((struct hcall_call *)fake, 1);
	return HCALL_OPS_PASS;
}
OPS(own_call);

ENTER(other_pointer, "struct_ops")
{
	hcall_bpf_set_result((struct hcall_call *)call->vm, 1);
	return HCALL_OPS_PASS;
}
OPS(other_pointer);

ENTER(short_buffer, "struct_ops.s")
{
	hcall_bpf_read(call, call->args[0], words, sizeof(words) + 1);
	return HCALL_OPS_PASS;
}
OPS(short_buffer);

ENTER(unbounded_size, "struct_ops.s")
{
	hcall_bpf_read(call, call->args[0], words, call->args[1]);
	return HCALL_OPS_PASS;
}
OPS(unbounded_size);

/* The same as writes_field by way of a function that writes. */
ENTER(overwrites_field, "struct_ops.s")
{
	hcall_bpf_read(call, call->args[0], (void *)&call->args,
		       sizeof(call->args));
	return HCALL_OPS_PASS;
}
OPS(overwrites_field);

/* attach(), detach() and ejected() are called under a lock. */
extern int bpf_copy_from_user_str(void *to, __u32 to__sz, const void *from__ign,
				  __u64 flags) __ksym;

SEC("struct_ops.s")
void BPF_PROG(attach_sleeps, struct hcall_vm *vm)
{
	bpf_copy_from_user_str(words, sizeof(words), (void *)(long)vm->id, 0);
}
SEC(".struct_ops.link")
struct hcall_ops ops_attach_sleeps = {
	.attach = (void *)attach_sleeps,
	.name = "rejected",
};

/* Of another kind: it only looks. */
SEC("tp_btf/hcall_enter")
int BPF_PROG(tracepoint, struct hcall_call *call)
{
	if (call)
		hcall_bpf_set_result(call, 1);
	return 0;
}
