// SPDX-License-Identifier: GPL-2.0
/*
 * hcalltop: who makes how many calls, how much they move and how long they take.
 *
 * Each exit of a call is counted here, in a map with a copy for each CPU, so
 * that nobody waits for anybody and userspace only looks now and then:
 *
 *	counts	row -> calls, errors, bytes, and a histogram of durations
 *	names	row -> the launcher's name, the device's name
 *
 * A row is a device, or a class's calls that are for no device.  A guest can
 * make up units and classes, but not rows: a unit counts only if there is such a
 * device, and a class only if the ABI has it or a call of it has succeeded.  If
 * there is no room for one more row, its calls are only counted as lost.
 *
 * A row takes its name from the module's table of devices, as the device may have
 * been attached long before this program was.  hcall_device_attach renews what was
 * copied.
 */
#include "tool.bpf.h"

#include "hcalltop.h"

char _license[] SEC("license") = "GPL";

/* Calls that found no room. */
__u64 lost;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__type(key, struct top_key);
	__type(value, struct top_count);
	__uint(max_entries, 1024);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct top_key);
	__type(value, struct top_names);
	__uint(max_entries, 1024);
} names SEC(".maps");

static const struct top_count zero;

/*
 * What this CPU counts of a row; a new one if there is room.  @answered: its class
 * is one that somebody has.
 */
static struct top_count *count_of(const struct hcall_vm *vm,
				  struct top_key *key, bool answered)
{
	struct top_count *count = bpf_map_lookup_elem(&counts, key);
	struct top_names of = {};

	if (count)
		return count;
	if (key->unit != TOP_NO_UNIT &&
	    !tool_find_device(vm, key->class_id, key->unit, of.device))
		key->unit = TOP_NO_UNIT;
	if (!answered)
		key->class_id = TOP_NO_CLASS;
	count = bpf_map_lookup_elem(&counts, key);
	if (count)
		return count;
	/* Another CPU may have been faster. */
	bpf_map_update_elem(&counts, key, &zero, BPF_NOEXIST);
	count = bpf_map_lookup_elem(&counts, key);
	if (count) {
		bpf_core_read(&of.comm, sizeof(of.comm), &vm->comm);
		bpf_map_update_elem(&names, key, &of, BPF_ANY);
	}
	return count;
}

static __u32 slot_of(__u64 ns)
{
	__u32 shift, slot;

	if (ns < TOP_SLOTS_PER_LOG2)
		return ns;
	shift = tool_log2(ns) - TOP_SLOT_BITS;
	/* ns >> shift has a bit more than TOP_SLOT_BITS, the highest is set. */
	slot = shift * TOP_SLOTS_PER_LOG2 + (ns >> shift);
	return slot < TOP_SLOTS ? slot : TOP_SLOTS - 1;
}

/*
 * The kernel skips a program that already runs on this CPU.  From Linux 7 on it may
 * be preempted by another call, which is missed then; the loader tells how many.  To
 * disable preemption here would only move that to where it is enabled again.
 */
SEC("tp_btf/hcall_exit")
int BPF_PROG(top_exit, struct hcall_call *call, __s64 result, __u64 duration_ns)
{
	struct top_key key = { .unit = TOP_NO_UNIT };
	const struct hcall_vm *vm;
	struct top_count *count;
	__u32 slot;

	if (!call || !tool_wants(call))
		return 0;
	vm = call->vm;
	key.vm = vm->id;
	key.pid = vm->pid;
	key.class_id = HCALL_NR_CLASS(call->nr);
	if (tool_has_units(key.class_id) && call->args[0] < KVM_HCALL_MAX_UNITS)
		key.unit = call->args[0];
	count = count_of(vm, &key,
			 tool_functions(key.class_id) ||
				 tool_succeeds(call, result));
	if (!count) {
		__sync_fetch_and_add(&lost, 1);
		return 0;
	}
	/* Only this program on this CPU writes here. */
	count->calls++;
	if (result < 0 && call->after != HCALL_AFTER_FORWARD)
		count->errors++;
	count->bytes += call->bytes;
	slot = slot_of(duration_ns);
	if (slot < TOP_SLOTS)
		count->slots[slot]++;
	return 0;
}

/* A unit may be given to another device. */
SEC("tp_btf/hcall_device_attach")
int BPF_PROG(top_device_attach, const struct hcall_dev *dev)
{
	struct top_key key = {};
	struct top_names *of;

	if (!dev)
		return 0;
	key.vm = dev->vm->id;
	key.pid = dev->vm->pid;
	key.class_id = dev->service->class_id;
	key.unit = dev->unit;
	of = bpf_map_lookup_elem(&names, &key);
	if (of)
		bpf_core_read(&of->device, sizeof(of->device), &dev->name);
	return 0;
}
