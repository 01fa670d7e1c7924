// SPDX-License-Identifier: GPL-2.0
/*
 * hcallsnoop: each call, once it has been answered, goes through a ring buffer to
 * the loader, which prints it.  What is not wanted is dropped here, and what does
 * not fit into the buffer is counted.
 */
#include "tool.bpf.h"

#include "hcallsnoop.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), \
			     apply_to = record)

struct kvm_vcpu {
	int vcpu_idx;
};

/* The module's own field; "___" and what follows is no part of the name. */
struct hcall_call___vcpu {
	struct kvm_vcpu *vcpu;
};

#pragma clang attribute pop

/* Options. */
const volatile bool errors_only;
const volatile __u64 min_latency_ns;

__u64 lost;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} calls SEC(".maps");

static __s32 vcpu_of(struct hcall_call *call)
{
	struct kvm_vcpu *vcpu =
		BPF_CORE_READ((struct hcall_call___vcpu *)call, vcpu);

	return vcpu ? BPF_CORE_READ(vcpu, vcpu_idx) : -1;
}

SEC("tp_btf/hcall_exit")
int BPF_PROG(snoop, struct hcall_call *call, __s64 result, __u64 duration_ns)
{
	struct snoop_call *entry;
	bool forwarded;

	if (!call || !tool_wants(call) || duration_ns < min_latency_ns)
		return 0;
	forwarded = call->after == HCALL_AFTER_FORWARD;
	if (errors_only && (result >= 0 || forwarded))
		return 0;
	entry = bpf_ringbuf_reserve(&calls, sizeof(*entry), 0);
	if (!entry) {
		__sync_fetch_and_add(&lost, 1);
		return 0;
	}
	entry->time_ns = bpf_ktime_get_ns();
	entry->duration_ns = duration_ns;
	for (int i = 0; i < 4; i++)
		entry->args[i] = call->args[i];
	entry->result = result;
	entry->bytes = call->bytes;
	entry->vm = call->vm->id;
	entry->pid = call->vm->pid;
	entry->nr = call->nr;
	entry->vcpu = vcpu_of(call);
	entry->door = call->door;
	entry->forwarded = forwarded;
	bpf_core_read(entry->comm, sizeof(entry->comm), &call->vm->comm);
	bpf_ringbuf_submit(entry, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
