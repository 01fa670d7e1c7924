// SPDX-License-Identifier: GPL-2.0
/*
 * What tool.c itself asks: which VMs are there, and when is one closed?
 */
#include "tool.bpf.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), \
			     apply_to = record)

struct module {
	char name[56];
};

struct file_operations {
	struct module *owner;
};

struct file {
	const struct file_operations *f_op;
	void *private_data;
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct file *file;
};

#pragma clang attribute pop

/*
 * Among the files of all tasks those of the module's device.  Each is written as a
 * struct tool_vm, perhaps several times.
 */
SEC("iter/task_file")
int vms(struct bpf_iter__task_file *ctx)
{
	static const char ours[] = "kvm_hcall";
	struct tool_vm found = {};
	struct file *file = ctx->file;
	struct hcall_vm *vm;
	struct module *owner;
	char name[sizeof(ours)];

	if (!file)
		return 0;
	owner = file->f_op->owner;
	if (!owner)
		return 0;
	bpf_probe_read_kernel(name, sizeof(name), owner->name);
	for (unsigned int i = 0; i < sizeof(ours); i++)
		if (name[i] != ours[i])
			return 0;
	vm = file->private_data;
	bpf_core_read(&found.id, sizeof(found.id), &vm->id);
	bpf_core_read(&found.pid, sizeof(found.pid), &vm->pid);
	bpf_core_read(&found.comm, sizeof(found.comm), &vm->comm);
	bpf_seq_write(ctx->meta->seq, &found, sizeof(found));
	return 0;
}

/* A set that sees no call, and is ejected when its VM is closed. */
struct tool_ejection ejection;
__u32 opener;

SEC("struct_ops/attach")
void BPF_PROG(watch_attach, struct hcall_vm *vm)
{
	opener = vm->pid;
}

SEC("struct_ops/ejected")
void BPF_PROG(watch_ejected, struct hcall_ejection *why)
{
	tool_ejected(&ejection, why);
}

SEC(".struct_ops.link")
struct hcall_ops watch = {
	.attach = (void *)watch_attach,
	.ejected = (void *)watch_ejected,
	.name = "watch",
};

char LICENSE[] SEC("license") = "GPL";
