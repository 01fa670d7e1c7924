// SPDX-License-Identifier: GPL-2.0
/*
 * hcalllat: adds up how long calls take, in log2 histograms in a per-CPU hash
 * table, which the loader reads now and then.  Nothing is ever taken back: it
 * subtracts what it has seen before.
 *
 * Nobody else changes the counts of this CPU meanwhile: no call is made in an
 * interrupt, and a program that is preempted is not run again on its CPU, see
 * tool_missed().  All entries are there from the start: with those that are made
 * when they are needed, a few calls were lost.
 */
#include "tool.bpf.h"

#include "hcalllat.h"

/* Options: what is told apart. */
const volatile bool by_vm, by_class, by_function, by_unit;

__u64 lost;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct lat_key);
	__type(value, struct lat_counts);
} latencies SEC(".maps");

static const struct lat_counts nothing;

static __u32 unit_of(struct hcall_call *call)
{
	if (!tool_has_units(HCALL_NR_CLASS(call->nr)) ||
	    call->args[0] >= KVM_HCALL_MAX_UNITS)
		return LAT_NONE;
	return call->args[0];
}

/*
 * A new histogram is for what there is; a guest cannot fill the table with what it
 * makes up.
 */
static void fold(struct hcall_call *call, __s64 result, struct lat_key *key)
{
	__u32 class_id = HCALL_NR_CLASS(call->nr);

	if (by_unit && key->unit != LAT_NONE &&
	    !tool_find_device(call->vm, class_id, key->unit, NULL))
		key->unit = LAT_NONE;
	if (tool_knows(call->nr) || tool_succeeds(call, result))
		return;
	if (by_function)
		key->function = LAT_NONE;
	if (by_class && !tool_functions(class_id))
		key->class_id = LAT_NONE;
}

SEC("tp_btf/hcall_exit")
int BPF_PROG(lat, struct hcall_call *call, __s64 result, __u64 duration_ns)
{
	struct lat_counts *counts;
	struct lat_key key;
	__u32 bucket;

	if (!call || !tool_wants(call))
		return 0;
	key.vm = by_vm ? call->vm->id : LAT_ALL;
	key.class_id = by_class ? HCALL_NR_CLASS(call->nr) : LAT_ALL;
	key.function = by_function ? HCALL_NR_FUNCTION(call->nr) : LAT_ALL;
	key.unit = by_unit ? unit_of(call) : LAT_ALL;
	counts = bpf_map_lookup_elem(&latencies, &key);
	if (!counts) {
		fold(call, result, &key);
		bpf_map_update_elem(&latencies, &key, &nothing, BPF_NOEXIST);
		counts = bpf_map_lookup_elem(&latencies, &key);
	}
	if (!counts) {
		__sync_fetch_and_add(&lost, 1);
		return 0;
	}
	bucket = tool_log2(duration_ns);
	if (bucket >= LAT_BUCKETS)
		bucket = LAT_BUCKETS - 1;
	counts->buckets[bucket]++;
	counts->errors += result < 0 && call->after != HCALL_AFTER_FORWARD;
	counts->total_ns += duration_ns;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
