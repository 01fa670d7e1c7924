// SPDX-License-Identifier: GPL-2.0
/*
 * Programs for ops.c: four equal sets whose behaviour is in variables, and one
 * that serves a class.  All that they see goes to a log.
 */
#include "ops.h"
#include "hcall.bpf.h"

char LICENSE[] SEC("license") = "GPL";

struct behaviour set[SETS];
struct seen seen[SEEN];
__u32 nr_seen;
struct hcall_ejection ejection;
__u32 ejected_set;
struct hcall_bpf_vm vm_facts;
struct hcall_device device_facts;
int kfunc_result, kfunc_verdict;
__u64 kfunc_class, kfunc_unit, kfunc_gpa;
__u32 kfunc_bytes;
char kfunc_data[KFUNC_BYTES];
char big[HCALL_BPF_MAX_BYTES + 1];
__u64 counted;

static void see(__u32 what, __u32 who, struct hcall_call *call)
{
	__u32 i = __sync_fetch_and_add(&nr_seen, 1);

	if (i >= SEEN)
		return;
	seen[i].what = what;
	seen[i].set = who;
	seen[i].vm = call->vm->id;
	seen[i].nr = call->nr;
	seen[i].door = call->door;
	seen[i].after = call->after;
	seen[i].vcpu = hcall_bpf_vcpu(call);
	seen[i].result = call->result;
	seen[i].bytes = call->bytes;
	for (int k = 0; k < 4; k++)
		seen[i].args[k] = call->args[k];
}

static int enter(__u32 who, struct hcall_call *call)
{
	struct behaviour *behave = &set[who];

	see(SEEN_ENTER, who, call);
	if (behave->arg)
		hcall_bpf_set_arg(call, behave->arg_index, behave->arg);
	if (behave->set_result)
		hcall_bpf_set_result(call, behave->result);
	return behave->verdict;
}

static void leave(__u32 who, struct hcall_call *call)
{
	see(SEEN_EXIT, who, call);
	if (set[who].change)
		hcall_bpf_set_result(call, set[who].changed);
	if (set[who].exit_arg)
		hcall_bpf_set_arg(call, 0, set[who].exit_arg);
}

static void vm_event(__u32 what, __u32 who, __u32 vm)
{
	__u32 i = __sync_fetch_and_add(&nr_seen, 1);

	if (i >= SEEN)
		return;
	seen[i].what = what;
	seen[i].set = who;
	seen[i].vm = vm;
}

#define SET(n)                                                              \
	SEC("struct_ops")                                                   \
	int BPF_PROG(enter##n, struct hcall_call *call)                     \
	{                                                                   \
		return enter(n, call);                                      \
	}                                                                   \
	SEC("struct_ops")                                                   \
	void BPF_PROG(exit##n, struct hcall_call *call)                     \
	{                                                                   \
		leave(n, call);                                             \
	}                                                                   \
	SEC("struct_ops")                                                   \
	void BPF_PROG(attach##n, struct hcall_vm *vm)                       \
	{                                                                   \
		vm_event(SEEN_ATTACH, n, vm->id);                           \
	}                                                                   \
	SEC("struct_ops")                                                   \
	void BPF_PROG(detach##n, struct hcall_vm *vm)                       \
	{                                                                   \
		vm_event(SEEN_DETACH, n, vm->id);                           \
	}                                                                   \
	SEC("struct_ops")                                                   \
	void BPF_PROG(ejected##n, struct hcall_ejection *why)               \
	{                                                                   \
		ejected_set = n;                                            \
		ejection.vm = why->vm;                                      \
		ejection.nr = why->nr;                                      \
		ejection.value = why->value;                                \
		bpf_probe_read_kernel(ejection.text, sizeof(ejection.text), \
				      why->text);                           \
		ejection.reason = why->reason;                              \
	}                                                                   \
	SEC(".struct_ops.link")                                             \
	struct hcall_ops set##n = {                                         \
		.enter = (void *)enter##n,                                  \
		.exit = (void *)exit##n,                                    \
		.attach = (void *)attach##n,                                \
		.detach = (void *)detach##n,                                \
		.ejected = (void *)ejected##n,                              \
		.name = "set" #n,                                           \
	}

SET(0);
SET(1);
SET(2);
SET(3);

/* ---- A class ---------------------------------------------------------------- */

SEC("struct_ops.s")
__s64 BPF_PROG(serve, struct hcall_call *call)
{
	see(SEEN_SERVE, SERVER, call);
	switch (HCALL_NR_FUNCTION(call->nr)) {
	case 0:
		return call->args[0] + call->args[1];
	case 1:
		return -HCALL_EAGAIN;
	case 2: /* copy, at most 16 bytes */
		if (hcall_bpf_read(call, call->args[0], kfunc_data, 16))
			return -HCALL_EFAULT;
		if (hcall_bpf_write(call, call->args[1], kfunc_data, 16))
			return -HCALL_EFAULT;
		return 16;
	case 3:
		return -4000;
	case 4:
		return hcall_bpf_delay(call, call->args[0]);
	case 5:
		return hcall_bpf_fire(call, call->args[0]);
	default:
		return 99;
	}
}

SEC("struct_ops")
void BPF_PROG(server_ejected, struct hcall_ejection *why)
{
	ejected_set = SERVER;
	bpf_probe_read_kernel(ejection.text, sizeof(ejection.text), why->text);
	ejection.reason = why->reason;
}

SEC(".struct_ops.link")
struct hcall_ops server = {
	.serve = (void *)serve,
	.ejected = (void *)server_ejected,
	.name = "server",
	.service = 0xe3,
	.functions = 0x7f,
};

SEC(".struct_ops.link")
struct hcall_ops rival = {
	.serve = (void *)serve,
	.name = "rival",
	.service = 0xe3,
	.functions = 1,
};

/* ---- Functions that it can call: what set 0's do in enter ---------------------------- */

SEC("struct_ops.s")
int BPF_PROG(kfuncs, struct hcall_call *call)
{
	__u32 bytes = kfunc_bytes;

	switch (kfunc_class) {
	case KFUNC_VM:
		hcall_bpf_vm(call, &vm_facts);
		break;
	case KFUNC_DEVICE:
		kfunc_result = hcall_bpf_device(call, HCALL_CLASS_BLOCK,
						kfunc_unit, &device_facts);
		break;
	case KFUNC_READ:
		if (bytes <= sizeof(kfunc_data))
			kfunc_result = hcall_bpf_read(call, kfunc_gpa,
						      kfunc_data, bytes);
		break;
	case KFUNC_WRITE:
		if (bytes <= sizeof(kfunc_data))
			kfunc_result = hcall_bpf_write(call, kfunc_gpa,
						       kfunc_data, bytes);
		break;
	case KFUNC_BIG:
		kfunc_result =
			hcall_bpf_read(call, kfunc_gpa, big, sizeof(big));
		break;
	case KFUNC_MEGABYTE:
		kfunc_result = hcall_bpf_write(call, kfunc_gpa, big,
					       HCALL_BPF_MAX_BYTES);
		break;
	case KFUNC_FIRE:
		kfunc_result = hcall_bpf_fire(call, kfunc_unit);
		break;
	case KFUNC_SET_ARG:
		kfunc_result = hcall_bpf_set_arg(call, kfunc_unit, 1);
		break;
	case KFUNC_DELAY:
		kfunc_result = hcall_bpf_delay(call, kfunc_gpa);
		if (!kfunc_result && kfunc_unit)
			kfunc_result = hcall_bpf_delay(call, kfunc_unit);
		break;
	}
	return kfunc_verdict;
}

SEC(".struct_ops.link")
struct hcall_ops kfunc_set = {
	.enter = (void *)kfuncs,
	.name = "kfuncs",
};

/* ---- Under load ----------------------------------------------------------------- */

SEC("struct_ops")
int BPF_PROG(count_enter, struct hcall_call *call)
{
	__sync_fetch_and_add(&counted, call->vm->id);
	return HCALL_OPS_PASS;
}

SEC("struct_ops")
void BPF_PROG(count_exit, struct hcall_call *call)
{
	__sync_fetch_and_add(&counted, 1);
}

SEC(".struct_ops.link")
struct hcall_ops counter = {
	.enter = (void *)count_enter,
	.exit = (void *)count_exit,
	.name = "counter",
};

/* ---- Fields that are wrong ----------------------------------------------------- */

#define WRONG(what, ...)        \
	SEC(".struct_ops.link") \
	struct hcall_ops wrong_##what = { __VA_ARGS__ }

WRONG(nothing, .name = "nothing");
WRONG(no_name, .enter = (void *)enter0);
WRONG(long_name, .enter = (void *)enter0,
      .name = "as-long-as-the-field-without-end");
WRONG(bad_name, .enter = (void *)enter0, .name = "two words");
WRONG(flags, .enter = (void *)enter0, .name = "flags", .flags = 2);
WRONG(low_class, .serve = (void *)serve, .name = "low", .service = 0xdf,
      .functions = 1);
WRONG(high_class, .serve = (void *)serve, .name = "high", .service = 0xf0,
      .functions = 1);
WRONG(no_functions, .serve = (void *)serve, .name = "none", .service = 0xe0);
WRONG(bit63, .serve = (void *)serve, .name = "bit63", .service = 0xe0,
      .functions = 1ull << 63);
WRONG(no_serve, .enter = (void *)enter0, .name = "noserve", .service = 0xe0);
