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
 * make up units, but not rows: a unit counts only if there is such a device.
 * If there is no room for one more row, its calls are only counted as lost.
 *
 * The table of devices is no interface of the module.  A row takes its name from
 * there, with the help of CO-RE, because the device may have been attached long
 * before this program was; if another version of the module has no such table,
 * rows have no names.  hcall_device_attach renews what was copied.
 */
#include "tool.bpf.h"

#include <linux/kvm_hcall.h>

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

#pragma clang attribute push(__attribute__((preserve_access_index)), \
			     apply_to = record)

struct hcall_service {
	__u32 class_id;
};

struct hcall_dev {
	const struct hcall_service *service;
	struct hcall_vm *vm;
	__u32 unit;
	char name[HCALL_NAME_BYTES];
};

/*
 * struct hcall_vm; by class and unit.  It is an array of arrays, of which some
 * versions of pahole make one dimension.
 */
struct hcall_vm___nested {
	struct hcall_dev *dev[8][KVM_HCALL_MAX_UNITS];
};

struct hcall_vm___flat {
	struct hcall_dev *dev[8 * KVM_HCALL_MAX_UNITS];
};

#pragma clang attribute pop

/*
 * Is there this device?  It stays while a call is in progress.  Its name, if it
 * can be known.
 */
static bool find_device(const struct hcall_vm *vm, const struct top_key *key,
			char *name)
{
	const struct hcall_dev *dev = NULL;
	__u64 at;

	if (bpf_core_field_exists(struct hcall_vm___nested, dev))
		at = bpf_core_field_offset(struct hcall_vm___nested, dev);
	else if (bpf_core_field_exists(struct hcall_vm___flat, dev))
		at = bpf_core_field_offset(struct hcall_vm___flat, dev);
	else
		return true;
	at += (__u64)vm +
	      (key->class_id * KVM_HCALL_MAX_UNITS + key->unit) * sizeof(dev);
	bpf_probe_read_kernel(&dev, sizeof(dev), (const void *)at);
	if (!dev)
		return false;
	bpf_core_read_str(name, HCALL_NAME_BYTES, &dev->name);
	return true;
}

/* What this CPU counts of a row; a new one if there is room. */
static struct top_count *count_of(const struct hcall_vm *vm,
				  struct top_key *key)
{
	struct top_count *count = bpf_map_lookup_elem(&counts, key);
	struct top_names of = {};

	if (count)
		return count;
	if (key->unit != TOP_NO_UNIT && !find_device(vm, key, of.device)) {
		key->unit = TOP_NO_UNIT;
		count = bpf_map_lookup_elem(&counts, key);
		if (count)
			return count;
	}
	/* Another CPU may have been faster. */
	bpf_map_update_elem(&counts, key, &zero, BPF_NOEXIST);
	count = bpf_map_lookup_elem(&counts, key);
	if (count) {
		bpf_core_read(&of.comm, sizeof(of.comm), &vm->comm);
		bpf_map_update_elem(&names, key, &of, BPF_ANY);
	}
	return count;
}

static __u32 log2_of(__u64 value)
{
	__u32 log2 = 0;

#pragma unroll
	for (__u32 step = 32; step; step /= 2) {
		if (value >> step) {
			value >>= step;
			log2 += step;
		}
	}
	return log2;
}

static __u32 slot_of(__u64 ns)
{
	__u32 shift, slot;

	if (ns < TOP_SLOTS_PER_LOG2)
		return ns;
	shift = log2_of(ns) - TOP_SLOT_BITS;
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
	count = count_of(vm, &key);
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
