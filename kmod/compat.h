/* SPDX-License-Identifier: GPL-2.0 */
/*
 * All that differs between the kernels this module builds for.  Nothing else
 * in kmod/ tests a version.
 */
#ifndef HCALL_COMPAT_H
#define HCALL_COMPAT_H

#include <linux/version.h>
#include <linux/btf.h>
#include <linux/fs.h>
#include <linux/hrtimer.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 12, 0)
#error "kvm_hcall needs Linux 6.12 or newer"
#endif
#ifndef CONFIG_X86_64
#error "kvm_hcall needs an x86-64 host"
#endif

/* 6.19: a write to a pipe without a reader need not raise SIGPIPE. */
#ifndef IOCB_NOSIGNAL
#define IOCB_NOSIGNAL 0
#endif

/* 6.13: one call for hrtimer_init() and the function. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
static inline void
hrtimer_setup(struct hrtimer *timer,
	      enum hrtimer_restart (*function)(struct hrtimer *timer),
	      clockid_t clock, enum hrtimer_mode mode)
{
	hrtimer_init(timer, clock, mode);
	timer->function = function;
}
#endif

/* 7.0: all arguments of all functions for BPF programs have to be trusted. */
#ifndef KF_TRUSTED_ARGS
#define KF_TRUSTED_ARGS 0
#endif

#endif
