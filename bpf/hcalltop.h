/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What hcalltop's program and its loader share.
 */
#ifndef HCALLTOP_H
#define HCALLTOP_H

/* The unit of calls that are for no device, and the class of those for none. */
#define TOP_NO_UNIT	   0xffffffffu
#define TOP_NO_CLASS	   0xffffffffu

/*
 * Durations are counted in slots: eight for each power of two, so that a slot is
 * at most an eighth as wide as what it counts; up to 2^36 ns (68 s), what is
 * longer is in the last.
 */
#define TOP_SLOT_BITS	   3
#define TOP_SLOTS_PER_LOG2 (1 << TOP_SLOT_BITS)
#define TOP_MAX_LOG2	   36
#define TOP_SLOTS	   ((TOP_MAX_LOG2 - TOP_SLOT_BITS + 1) * TOP_SLOTS_PER_LOG2)

/**
 * struct top_key - a row: a device, or a class's calls that are for none
 * @vm:       id; may be given to another VM once it is free
 * @pid:      so this is of which VM
 * @class_id: HCALL_CLASS_*, or TOP_NO_CLASS
 * @unit:     of the device, or TOP_NO_UNIT
 */
struct top_key {
	__u32 vm;
	__u32 pid;
	__u32 class_id;
	__u32 unit;
};

/* What a CPU has counted of a row since the start. */
struct top_count {
	__u64 calls;
	__u64 errors;
	__u64 bytes;
	__u32 slots[TOP_SLOTS];
};

struct top_names {
	char comm[16];
	char device[HCALL_NAME_BYTES];
};

#endif
