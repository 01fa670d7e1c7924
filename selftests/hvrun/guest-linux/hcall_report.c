// SPDX-License-Identifier: GPL-2.0
/*
 * What a program in a Linux guest says, by calls, which only a kernel may make:
 * /proc/hcall_console writes to the launcher's console, and a number in
 * /proc/hcall_exit ends the VM with that status.
 */
#include <linux/cpufeature.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <asm/alternative.h>

/* The kernel's text cannot be written, so KVM cannot mend it: choose as it does. */
#define HCALL_INSN ALTERNATIVE("vmcall", "vmmcall", X86_FEATURE_VMMCALL)
#include "hcall_call.h"

static ssize_t console_write(struct file *file, const char __user *from,
			     size_t bytes, loff_t *offset)
{
	s64 answer;
	void *data;

	if (bytes > PAGE_SIZE)
		bytes = PAGE_SIZE;
	data = memdup_user(from, bytes);
	if (IS_ERR(data))
		return PTR_ERR(data);
	answer = hcall_console_write_all(0, virt_to_phys(data), bytes);
	kfree(data);
	return answer ? -EIO : bytes;
}

static ssize_t exit_write(struct file *file, const char __user *from,
			  size_t bytes, loff_t *offset)
{
	unsigned int status;
	int err = kstrtouint_from_user(from, bytes, 0, &status);

	if (err)
		return err;
	hcall_exit(HCALL_EXIT_OFF, status);
	return -EINVAL;
}

static const struct proc_ops console_ops = { .proc_write = console_write };
static const struct proc_ops exit_ops = { .proc_write = exit_write };

static int __init report_init(void)
{
	if (!(hcall_features() & HCALL_FEATURE_CALLS))
		return -ENODEV;
	if (!proc_create("hcall_console", 0200, NULL, &console_ops) ||
	    !proc_create("hcall_exit", 0200, NULL, &exit_ops))
		return -ENOMEM;
	return 0;
}

module_init(report_init);
MODULE_DESCRIPTION("What a Linux guest says, by hcall calls");
MODULE_LICENSE("GPL");
