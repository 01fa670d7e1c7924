// SPDX-License-Identifier: GPL-2.0
/*
 * Test module: somebody else who wants kvm_emulate_hypercall() for himself,
 * with a kprobe that has a post handler, as ftrace cannot share it then.
 */
#include <linux/kprobes.h>
#include <linux/module.h>

static void post(struct kprobe *p, struct pt_regs *regs, unsigned long flags)
{
}

static struct kprobe probe = {
	.symbol_name = "kvm_emulate_hypercall",
	.post_handler = post,
};

static int __init in_the_way_init(void)
{
	return register_kprobe(&probe);
}

static void __exit in_the_way_exit(void)
{
	unregister_kprobe(&probe);
}

module_init(in_the_way_init);
module_exit(in_the_way_exit);
MODULE_DESCRIPTION("kvm_hcall test: a kprobe in the way");
MODULE_LICENSE("GPL");
