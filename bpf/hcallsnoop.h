/* SPDX-License-Identifier: GPL-2.0 */
#ifndef HCALLSNOOP_H
#define HCALLSNOOP_H

#include <linux/types.h>

/**
 * struct snoop_call - a call that was answered, in the ring buffer
 * @time_ns:     when, on CLOCK_MONOTONIC
 * @duration_ns: how long that took
 * @args:        as the guest set them
 * @result:      0 or more, or a negated HCALL_E*
 * @bytes:       moved from or to guest memory
 * @vm:          which
 * @pid:         launcher's
 * @nr:          class and function
 * @vcpu:        its index; -1: an element of an asynchronous batch
 * @door:        enum hcall_door
 * @forwarded:   to the launcher: @result is not the guest's
 * @comm:        launcher's name
 */
struct snoop_call {
	__u64 time_ns;
	__u64 duration_ns;
	__u64 args[4];
	__s64 result;
	__u64 bytes;
	__u32 vm;
	__u32 pid;
	__u32 nr;
	__s32 vcpu;
	__u8 door;
	__u8 forwarded;
	char comm[16];
};

#endif
