// SPDX-License-Identifier: GPL-2.0
/*
 * kvm_hcall.ko: calls from a guest OS to its host, answered in the host
 * kernel.  This file loads and unloads it.
 *
 * The hook is in place before the device appears, and goes after it: an open
 * device holds the module, so that nobody is bound when it unloads.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/init.h>
#include <linux/module.h>

#include "internal.h"

static int __init hcall_init(void)
{
	int ret;

	ret = hcall_hook_attach();
	if (ret)
		return ret;
	ret = hcall_bpf_init();
	if (ret)
		goto hook;
	ret = hcall_vm_init();
	if (ret)
		goto bpf;
	hcall_bpf_register();
	return 0;

bpf:
	hcall_bpf_exit();
hook:
	hcall_hook_detach();
	return ret;
}

static void __exit hcall_exit(void)
{
	hcall_vm_exit();
	hcall_bpf_exit();
	hcall_hook_detach();
}

module_init(hcall_init);
module_exit(hcall_exit);

MODULE_DESCRIPTION("Block, console and other services for KVM guests, by hypercall");
MODULE_AUTHOR("The hcall authors");
MODULE_LICENSE("GPL");
