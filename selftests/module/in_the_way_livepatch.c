// SPDX-License-Identifier: GPL-2.0
/*
 * Test module: somebody else who wants kvm_emulate_hypercall() for himself,
 * with a livepatch.
 */
#include <linux/livepatch.h>
#include <linux/module.h>

struct kvm_vcpu;

/* Nobody calls it: the test only wants to see the patch stand in the way. */
static int patched(struct kvm_vcpu *vcpu)
{
	return 1;
}

static struct klp_func funcs[] = {
	{ .old_name = "kvm_emulate_hypercall", .new_func = patched }, {}
};

static struct klp_object objects[] = { { .name = "kvm", .funcs = funcs }, {} };

static struct klp_patch patch = { .mod = THIS_MODULE, .objs = objects };

static int __init in_the_way_init(void)
{
	return klp_enable_patch(&patch);
}

static void __exit in_the_way_exit(void)
{
}

module_init(in_the_way_init);
module_exit(in_the_way_exit);
MODULE_DESCRIPTION("kvm_hcall test: a livepatch in the way");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
