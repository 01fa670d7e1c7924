/* SPDX-License-Identifier: GPL-2.0 */
/* The kernel that kernel.h is like; not that of this machine's headers. */
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#define LINUX_VERSION_CODE	KERNEL_VERSION(6, 12, 0)
