// SPDX-License-Identifier: GPL-2.0
/*
 * Add: a class of calls that no C code knows.  Numbers are put under keys, and
 * all guests see the same ones.
 *
 * samples/store.c is a guest that makes these calls; samples/store.h has their
 * numbers.  As long as this is attached, PROBE tells guests that the class is
 * there.
 */
#include "ejected.h"

#include <store.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, __u64);
} store SEC(".maps");

static __s64 put(__u64 key, __u64 value)
{
	/* GET could not tell it from an error. */
	if ((__s64)value < 0)
		return -HCALL_EINVAL;
	return bpf_map_update_elem(&store, &key, &value, BPF_ANY)
		       ? -HCALL_ENOSPC
		       : 0;
}

static __s64 get(__u64 key)
{
	const __u64 *value = bpf_map_lookup_elem(&store, &key);

	return value ? (__s64)*value : -HCALL_EAGAIN;
}

/*
 * Calls of the class come here; those of functions that are not named below do
 * not.  The result is the guest's: 0 or more, or a negated HCALL_E*.
 */
SEC("struct_ops/serve")
__s64 BPF_PROG(add_serve, struct hcall_call *call)
{
	if (call->nr == STORE_PUT)
		return put(call->args[0], call->args[1]);
	return get(call->args[0]);
}

SEC(".struct_ops.link")
struct hcall_ops add = {
	.serve = (void *)add_serve,
	.service = STORE_CLASS,
	.functions = 1 << HCALL_NR_FUNCTION(STORE_PUT) |
		     1 << HCALL_NR_FUNCTION(STORE_GET),
	.ejected = (void *)ejected,
	.name = "add",
};

char _license[] SEC("license") = "GPL";
