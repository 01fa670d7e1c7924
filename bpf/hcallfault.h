/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What hcallfault and its BPF programs share: which calls give data, which may
 * do less than they were asked for, and what is told of an injection.
 */
#ifndef HCALLFAULT_H
#define HCALLFAULT_H

#include <stdbool.h>

#include <linux/types.h>

#include <hcall.h>

enum fault_action {
	FAULT_FAIL,
	FAULT_DELAY,
	FAULT_CORRUPT,
	FAULT_SHORTEN,
};

/* Which of the calls that the action can be done to. */
enum fault_choice {
	FAULT_NTH,
	FAULT_EVERY,
	FAULT_RANDOM,
};

#define FAULT_FUNCTIONS_BYTES \
	(65536 / 8) /* a bit for each class and function */

/**
 * struct fault_event - an injection
 * @vm:       of the call
 * @vcpu:     index, or -1
 * @nr:       the call's number
 * @door:     enum hcall_door
 * @args:     the guest's; with FAULT_SHORTEN as they were before
 * @number:   the how manieth of the calls that could be chosen, from 1
 * @value:    FAULT_SHORTEN: the count that the service is asked for instead;
 *	      FAULT_CORRUPT: the bytes of data
 * @bit:      FAULT_CORRUPT: which bit of the data was flipped, bit b % 8 of
 *	      byte b / 8
 * @gpa:      FAULT_CORRUPT: of the data; 0: the data is the result
 */
struct fault_event {
	__u32 vm;
	__s32 vcpu;
	__u32 nr;
	__u32 door;
	__u64 args[4];
	__u64 number;
	__u64 value;
	__u64 bit;
	__u64 gpa;
};

#define FAULT_NONE -1

/* Which argument says where a call puts its data; or FAULT_NONE. */
static inline int fault_data_arg(__u32 nr)
{
	switch (nr) {
	case HCALL_SYS_RANDOM:
		return 0;
	case HCALL_SYS_DEVICE:
	case HCALL_CONSOLE_READ:
	case HCALL_INPUT_READ:
	case HCALL_NET_RECV:
	case HCALL_NET_RECVV: /* an array of frames, see fault_data() */
		return 1;
	case HCALL_BLOCK_READ:
	case HCALL_INPUT_CONFIG:
		return 2;
	default:
		return FAULT_NONE;
	}
}

/* How many bytes each of the result counts. */
static inline __u32 fault_data_unit_bytes(__u32 nr)
{
	switch (nr) {
	case HCALL_BLOCK_READ:
		return HCALL_SECTOR_BYTES;
	case HCALL_INPUT_READ:
		return sizeof(struct hcall_input_event);
	default:
		return 1;
	}
}

/* GETC has its data in the result. */
static inline bool fault_gives_data(__u32 nr)
{
	return nr == HCALL_CONSOLE_GETC || fault_data_arg(nr) != FAULT_NONE;
}

/*
 * Which argument is the count of a call that may answer with less; or
 * FAULT_NONE.  Not a BATCH: who stops in the middle of a chain has to skip the
 * rest of it if it has failed, and only the service knows that.
 */
static inline int fault_count_arg(__u32 nr)
{
	switch (nr) {
	case HCALL_CONSOLE_WRITE:
	case HCALL_CONSOLE_READ:
	case HCALL_BLOCK_DISCARD:
	case HCALL_BLOCK_WRITE_ZEROES:
	case HCALL_INPUT_READ:
	case HCALL_INPUT_WRITE:
	case HCALL_NET_SENDV:
	case HCALL_NET_RECVV:
		return 2;
	case HCALL_BLOCK_READ:
	case HCALL_BLOCK_WRITE:
		return 3;
	default:
		return FAULT_NONE;
	}
}

/* Which argument counts the sectors of a block call; or FAULT_NONE. */
static inline int fault_sectors_arg(__u32 nr)
{
	return HCALL_NR_CLASS(nr) == HCALL_CLASS_BLOCK ? fault_count_arg(nr)
						       : FAULT_NONE;
}

#endif
