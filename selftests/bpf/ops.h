/* SPDX-License-Identifier: GPL-2.0 */
/* What ops.bpf.c and ops.c share. */
#ifndef OPS_H
#define OPS_H

#include <linux/types.h>

#define SETS	    4
#define SERVER	    4
#define SEEN	    256
#define KFUNC_BYTES 8192

enum {
	SEEN_ENTER = 1,
	SEEN_EXIT,
	SEEN_SERVE,
	SEEN_ATTACH,
	SEEN_DETACH,
};

enum {
	KFUNC_VM = 1,
	KFUNC_DEVICE,
	KFUNC_READ,
	KFUNC_WRITE,
	KFUNC_BIG,
	KFUNC_MEGABYTE,
	KFUNC_FIRE,
	KFUNC_SET_ARG,
	KFUNC_DELAY,
};

/* What a set does: enter's return value, then what it sets. */
struct behaviour {
	__s32 verdict;
	__u32 arg_index;
	__u64 arg; /* 0: none */
	__u64 set_result; /* bool */
	__s64 result;
	__u64 change; /* bool: in exit */
	__s64 changed;
	__u64 exit_arg; /* 0: none */
};

struct seen {
	__u32 what;
	__u32 set;
	__u32 vm;
	__u32 nr;
	__u32 door;
	__u32 after;
	__s32 vcpu;
	__s64 result;
	__u64 bytes;
	__u64 args[4];
};

#endif
