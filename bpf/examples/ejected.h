/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For a struct hcall_ops: ".ejected = (void *)ejected" keeps the reason why the
 * module took it out in a map, where load.c finds it.
 */
#ifndef EJECTED_H
#define EJECTED_H

#include "hcall.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, char[HCALL_EJECTION_TEXT_BYTES]);
} ejection SEC(".maps");

SEC("struct_ops/ejected")
void BPF_PROG(ejected, struct hcall_ejection *why)
{
	__u32 zero = 0;
	char *text = bpf_map_lookup_elem(&ejection, &zero);

	if (text)
		bpf_probe_read_kernel_str(text, HCALL_EJECTION_TEXT_BYTES,
					  why->text);
}

#endif
