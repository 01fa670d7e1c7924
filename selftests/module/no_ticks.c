// SPDX-License-Identifier: GPL-2.0
/*
 * Test module: no timer interrupts, while the parameter "on" is set.  Time goes
 * on, and what was to happen meanwhile happens when it is cleared.
 *
 * For the bench's emulated host, which has one CPU with an APIC in memory: an
 * interrupt of that CPU lets the emulator deliver a guest's interrupt twice.
 */
#include <linux/io.h>
#include <linux/module.h>
#include <linux/smp.h>
#include <asm/apicdef.h>

static void __iomem *apic;
static bool on;

static int on_set(const char *value, const struct kernel_param *param)
{
	unsigned long flags;
	int err = param_set_bool(value, param);
	u32 lvt;

	if (err)
		return err;
	local_irq_save(flags);
	lvt = readl(apic + APIC_LVTT);
	if (on) {
		writel(lvt | APIC_LVT_MASKED, apic + APIC_LVTT);
	} else {
		writel(lvt & ~APIC_LVT_MASKED, apic + APIC_LVTT);
		/* The one that has been missed; it sets the next. */
		writel(1, apic + APIC_TMICT);
	}
	local_irq_restore(flags);
	return 0;
}

static const struct kernel_param_ops on_ops = {
	.set = on_set,
	.get = param_get_bool,
};

module_param_cb(on, &on_ops, &on, 0600);

static int __init no_ticks_init(void)
{
	if (num_online_cpus() != 1)
		return -ENODEV;
	apic = ioremap(APIC_DEFAULT_PHYS_BASE, PAGE_SIZE);
	return apic ? 0 : -ENOMEM;
}

static void __exit no_ticks_exit(void)
{
	iounmap(apic);
}

module_init(no_ticks_init);
module_exit(no_ticks_exit);
MODULE_DESCRIPTION("kvm_hcall test: a CPU without timer interrupts");
MODULE_LICENSE("GPL");
